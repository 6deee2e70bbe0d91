"""``ingest``: OpenLineage events from files, or what tasks have spooled, into the store."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provenance import settings, wiring
from airflow_provenance.cli.output import add_common, say, say_json, tell
from airflow_provenance.collect.files import read_events
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.errors import ProvenanceError, SettingsError, StoreError
from airflow_provenance.store.base import IngestReport

if TYPE_CHECKING:
    import argparse

    from airflow_provenance.collect.files import Batch
    from airflow_provenance.store.base import Store

_BATCH = 2000
_POLL_SECONDS = 1.0
_EXPIRY_SECONDS = 3600.0
_SHOWN_WARNINGS = 20


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ingest", help="load OpenLineage events from files, or drain the spool"
    )
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="JSON, a JSON array or NDJSON; - is stdin"
    )
    parser.add_argument("--spool", action="store_true", help="drain [provenance] spool_dir")
    parser.add_argument("--follow", action="store_true", help="with --spool: go on until stopped")
    add_common(parser)
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    if bool(options.files) == options.spool or (options.follow and not options.spool):
        raise SettingsError("name files to ingest, or --spool (with --follow to go on)")
    unread: list[str] = []
    if options.spool and wiring.sends_spool(options.store):
        report = _drain(None, options)
    else:
        store = wiring.open_store(options.store, create=True)
        try:
            if options.spool:
                report = _drain(store, options)
            else:
                report, unread = _load(store, options.files)
        finally:
            store.close()
    refused = report.quarantined + report.refused_again
    if unread and not report.received:
        raise ProvenanceError("; ".join(unread))
    for warning in report.warnings[:_SHOWN_WARNINGS]:
        tell(warning)
    if len(report.warnings) > _SHOWN_WARNINGS:
        tell(f"... and {len(report.warnings) - _SHOWN_WARNINGS} more warnings")
    if options.json:
        say_json(
            {
                "received": report.received,
                "ingested": report.ingested,
                "repeated": report.repeated,
                "quarantined": report.quarantined,
                "refused_again": report.refused_again,
                "warnings": report.warnings,
            }
        )
    else:
        say(
            f"{report.received} received: {report.ingested} ingested, {report.repeated} known "
            f"already, {report.quarantined} newly quarantined, {report.refused_again} in the "
            "quarantine already."
        )
        if refused:
            say("See 'airflow-provenance quarantine list'.")
    for line in unread:
        tell(f"airflow-provenance: {line}")
    return 1 if refused or unread else 0


def _load(store: Store, files: list[str]) -> tuple[IngestReport, list[str]]:
    """Ingest files; one that cannot be read does not keep the others out, but is told."""
    total = IngestReport()
    unread: list[str] = []
    for name in files:
        try:
            for batch in read_events(name, settings.max_event_bytes(), _BATCH):
                total.add(_ingest(store, Path(name).name, batch))
                if total.received > _BATCH:
                    tell(f"{total.received} events read so far")
        except StoreError:
            raise
        except ProvenanceError as error:
            unread.append(str(error))
    return total, unread


def _ingest(store: Store, source: str, batch: Batch) -> IngestReport:
    return store.ingest(
        batch.entries,
        received_us=SystemClock().now_us(),
        source=source,
        rejected=batch.rejected,
    )


def _drain(store: Store | None, options: argparse.Namespace) -> IngestReport:
    if not options.follow:
        return wiring.open_drain(store).run_once(_tell_progress)
    total = IngestReport()
    # How a person stops it; the transaction under way is rolled back, and the spool waits.
    with contextlib.suppress(KeyboardInterrupt):
        _follow(store, total)
    return total


def _follow(store: Store | None, total: IngestReport) -> None:
    """Drain again and again, and once an hour drop raw events that are past their retention."""
    drain, next_expiry = wiring.open_drain(store), 0.0
    while True:
        try:
            total.add(drain.run_once(_tell_progress))
            if store is not None and time.monotonic() >= next_expiry:
                next_expiry = time.monotonic() + _EXPIRY_SECONDS
                store.expire(wiring.retention_horizon_us())
        except ProvenanceError as error:
            tell(f"airflow-provenance: {error}")
        time.sleep(_POLL_SECONDS)


def _tell_progress(done: IngestReport) -> None:
    tell(f"{done.received} lines drained so far")
