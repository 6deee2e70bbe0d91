"""``quarantine``: what could not be ingested, why, and another try."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow_provenance import wiring
from airflow_provenance.cli.output import add_common, say, say_json, say_table
from airflow_provenance.collect.quarantine import replay_quarantine
from airflow_provenance.domain.clock import SystemClock, format_time
from airflow_provenance.errors import SubjectError

if TYPE_CHECKING:
    import argparse

    from airflow_provenance.store.base import QuarantineEntry


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("quarantine", help="what could not be ingested, and why")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list what is quarantined")
    show = actions.add_parser("show", help="write one entry as it was received")
    show.add_argument("id", type=int)
    replay = actions.add_parser("replay", help="ingest again, after the cause was mended")
    replay.add_argument("id", type=int, nargs="*", help="which; all without")
    for action, function in ((listing, _list), (show, _show), (replay, _replay)):
        add_common(action)
        action.set_defaults(function=function)


def _list(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    entries = store.quarantine()
    store.close()
    if options.json:
        say_json([_json(entry) for entry in entries])
    elif not entries:
        say("The quarantine is empty.")
    else:
        say_table(
            ["ID", "RECEIVED", "REASON", "BYTES", "SOURCE", "MESSAGE"],
            [
                (
                    entry.id,
                    format_time(entry.received_us),
                    entry.reason,
                    entry.size_bytes,
                    entry.source,
                    entry.message[:120],
                )
                for entry in entries
            ],
        )
    return 0


def _show(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    entries = {entry.id: entry for entry in store.quarantine(with_raw=True)}
    store.close()
    entry = entries.get(options.id)
    if entry is None:
        raise SubjectError(
            f"{options.id} is not in the quarantine: 'quarantine list' shows what is"
        )
    raw = entry.raw or b""
    if options.json:
        say_json({**_json(entry), "raw": raw.decode("utf-8", "backslashreplace")})
    else:
        say(f"{entry.reason}: {entry.message}")
        sys.stdout.flush()
        sys.stdout.buffer.write(raw + b"\n")
    return 0


def _replay(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    try:
        released, refused = replay_quarantine(store, options.id, SystemClock())
    finally:
        store.close()
    if options.json:
        say_json({"released": released, "refused": refused})
    else:
        say(f"{len(released)} ingested, {len(refused)} still refused.")
    return 1 if refused else 0


def _json(entry: QuarantineEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "received_at": format_time(entry.received_us),
        "kind": {"E": "event", "N": "note"}.get(entry.kind, "spool line"),
        "reason": entry.reason,
        "message": entry.message,
        "source": entry.source,
        "size_bytes": entry.size_bytes,
    }
