"""``doctor``: what is wrong with this installation, a line each, with what to do about it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provenance import settings, wiring
from airflow_provenance.cli.doctor_settings import (
    channels_and_routes,
    feed_connections,
    send_test,
    unknown_names,
)
from airflow_provenance.cli.findings import Finding
from airflow_provenance.cli.init import TRANSPORT, wanted_transport
from airflow_provenance.cli.output import add_common, say, say_json
from airflow_provenance.cli.waiting import DRAIN, undrained
from airflow_provenance.collect.airflow_database import airflow_database_problem
from airflow_provenance.domain.clock import SystemClock, format_time
from airflow_provenance.errors import ProvenanceError, SettingsError, StoreMigrationError
from airflow_provenance.service.lock import is_held

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

_LOW_DISK_BYTES = 1 << 30
_STALE_SPOOL_SECONDS = 600
# Older releases lack the hooks or the transport's place that we rest on.
_NEEDED = (("apache-airflow", (3, 3)), ("apache-airflow-providers-openlineage", (2, 20)))


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", help="what is wrong with this installation")
    parser.add_argument(
        "--send-test", action="store_true", help="send a test notice, and its end, to every channel"
    )
    add_common(parser)
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    # Airflow logs to standard output, where the answer must stand alone.
    with contextlib.redirect_stdout(sys.stderr):
        findings = list(examine(options.store, sends_test=options.send_test))
    if options.json:
        say_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            say(f"{finding.level:<5} {finding.check}: {finding.message}")
    return 1 if any(finding.level == "fail" for finding in findings) else 0


def examine(store_url: str | None, *, sends_test: bool = False) -> Iterator[Finding]:
    """Run every check; one that breaks is itself a finding."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _packages,
        _transport,
        _environment,
        _settings,
        unknown_names,
        _budgets,
        _values,
        _granularity,
        _feeds,
        feed_connections,
        channels_and_routes,
        _api,
        _airflow_database,
        lambda: _spool(store_url),
        lambda: _store(store_url),
        *((send_test,) if sends_test else ()),
    )
    told = set()
    for finding in (one for check in checks for one in _guarded(check)):
        if finding.message not in told:  # a bad setting is met by every check that reads it
            told.add(finding.message)
            yield finding


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except ProvenanceError as error:
        yield Finding("fail", "settings", str(error))


def _packages() -> Iterator[Finding]:
    for name, needed in _NEEDED:
        found = version(name)
        numbers = tuple(int(part) for part in found.split(".")[:2])
        wanted = ".".join(map(str, needed))
        if numbers < needed:
            yield Finding(
                "fail", "packages", f"{name} {found} is too old: install {wanted} or newer"
            )
        else:
            yield Finding("ok", "packages", f"{name} {found}")
    try:
        found = version("openlineage-airflow")
        yield Finding(
            "fail",
            "packages",
            f"openlineage-airflow {found} is for Airflow 2 and holds OpenLineage's packages back: "
            "uninstall it, apache-airflow-providers-openlineage has taken its place",
        )
    except PackageNotFoundError:
        pass
    if "airflow_provenance" in entry_points(group="airflow.plugins").names:
        yield Finding("ok", "plugin", "Airflow finds our plugin")
    else:
        yield Finding(
            "fail", "plugin", "Airflow does not find our plugin: install the package again"
        )


def _transport() -> Iterator[Finding]:
    current = settings.openlineage_transport()
    if current == TRANSPORT:
        yield Finding("ok", "transport", "events pass through ours")
    elif current is not None and wanted_transport(current) == current:
        yield Finding(
            "warn",
            "transport",
            "events pass through ours; its siblings in 'composite' get them without what we add",
        )
    else:
        what = "is not set" if current is None else f"is of type {current.get('type')!r}"
        yield Finding(
            "fail",
            "transport",
            f"[openlineage] transport {what}: 'airflow-provenance init' says how",
        )


def _environment() -> Iterator[Finding]:
    """The official client obeys variables that go before Airflow's configuration."""
    if os.environ.get("OPENLINEAGE_DISABLED", "").lower() == "true":
        yield Finding("fail", "environment", "OPENLINEAGE_DISABLED is true: unset it")
    if settings.openlineage_disabled():
        yield Finding("fail", "environment", "[openlineage] disabled is true: turn it off")
    if not settings.openlineage_in_thread():
        yield Finding(
            "warn",
            "environment",
            "[openlineage] execute_in_thread is not set: a fork sends each event, and where it "
            "waits for what its parent held, the event is lost; 'airflow-provenance init' sets it",
        )


def _settings() -> Iterator[Finding]:
    """Read every option: some are read by tasks only, whose logs nobody looks at."""
    for name in settings.OPTIONS:
        try:
            getattr(settings, name)()
        except SettingsError as error:
            yield Finding("fail", "settings", str(error))


def _budgets() -> Iterator[Finding]:
    """A task that has succeeded is ended after a while, whatever it is still looking at."""
    looking = settings.hash_timeout_seconds() + settings.table_timeout_seconds()
    allowed = settings.task_success_overtime_seconds()
    if looking >= allowed:
        yield Finding(
            "warn",
            "budgets",
            f"hash_timeout_seconds and table_timeout_seconds allow {looking:g} s together, and "
            f"Airflow ends a task after {allowed:g} s: raise [core] task_success_overtime",
        )


def _values() -> Iterator[Finding]:
    if settings.keep_values():
        yield Finding("warn", "values", "keep_values is on: literals of SQL and the like are kept")
    else:
        yield Finding("ok", "values", "values of data are left out")


def _granularity() -> Iterator[Finding]:
    rules = settings.granularity().rules
    yield Finding("ok", "granularity", "; ".join(rule.text for rule in rules))


def _feeds() -> Iterator[Finding]:
    feeds = [f"{one.name} ({one.type})" for one in settings.feeds() if one.enabled]
    yield Finding("ok", "feeds", ", ".join(feeds) or "none: events stay in the store")


def _api() -> Iterator[Finding]:
    if (url := settings.api_url()) is None:
        return
    parts = urlsplit(url)
    if settings.api_token() is None:
        yield Finding("fail", "api", "api_url is set without api_token: nothing will be taken")
    elif parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        yield Finding("warn", "api", f"the token goes to {url} in the clear: use https")
    else:
        yield Finding("ok", "api", f"what is spooled here is sent to {url}")


def _spool(store_url: str | None) -> Iterator[Finding]:
    directory = settings.spool_dir()
    try:
        # The folder is not made here: made by root, tasks could not write there.
        nearest = next(one for one in (directory, *directory.parents) if one.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
        free = shutil.disk_usage(nearest).free
    except OSError as error:
        yield Finding(
            "fail",
            "spool",
            f"cannot write to {directory} ({error.strerror}): no event will be recorded; change "
            "its rights, or set [provenance] spool_dir",
        )
        return
    if free < _LOW_DISK_BYTES:
        yield Finding("warn", "spool", f"only {free >> 20} MiB are free below {directory}")
    left = undrained(store_url)
    size = sum(one.left_bytes for one in left)
    oldest = min((one.modified_at for one in left), default=None)
    now = SystemClock().now_us() / 1e6
    waiting = f"{len(left)} files with {size / 1e6:.1f} MB wait in {directory}"
    if oldest is not None and now - oldest > _STALE_SPOOL_SECONDS:
        since = format_time(int(oldest * 1e6))
        yield Finding("warn", "spool", f"{waiting}, the oldest since {since}: {DRAIN}")
    elif left and not is_held(directory):
        yield Finding("warn", "spool", f"{waiting}, and no service runs on this host: {DRAIN}")
    else:
        yield Finding("ok", "spool", waiting)


def _airflow_database() -> Iterator[Finding]:
    if wiring.sends_spool(None) and not settings.is_airflow_database_set():
        return  # a host that only runs tasks
    if (problem := airflow_database_problem()) is not None:
        yield Finding("warn", "airflow", problem)
    elif settings.is_airflow_database_set():
        yield Finding("ok", "airflow", "Airflow's database is there")


def _store(url: str | None) -> Iterator[Finding]:
    if wiring.sends_spool(url) and not settings.is_store_set():
        yield Finding("ok", "store", "none on this host: api_url has it")
        return
    try:
        store = wiring.open_store(url)
    except StoreMigrationError as error:
        new = "yet" in str(error)
        yield Finding("warn" if new else "fail", "store", str(error))
        return
    except ProvenanceError as error:
        yield Finding("fail", "store", str(error))
        return
    counts = store.counts()
    store.close()
    what = ", ".join(f"{count} {name}" for name, count in counts.items())
    yield Finding("ok", "store", what)
    if counts["quarantined"]:
        yield Finding(
            "warn",
            "quarantine",
            f"{counts['quarantined']} entries: 'airflow-provenance quarantine list' says why",
        )
