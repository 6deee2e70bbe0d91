"""``events``: the log of what was received, listed or exported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow_provenance import wiring
from airflow_provenance.cli.output import add_common, count, say_json, say_table
from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.identity import format_event_id
from airflow_provenance.lineage.answers import entry_json
from airflow_provenance.lineage.subject import find_run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from airflow_provenance.store.base import LogEntry, Store

_PAGE = 1000


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("events", help="list or export the events that are stored")
    parser.add_argument("--run", metavar="ID", help="only those of this run")
    parser.add_argument(
        "--after",
        metavar="SEQ",
        type=count,
        help="only later ones, oldest first (else newest first)",
    )
    parser.add_argument(
        "--limit", type=count, default=None, help="at most so many (50; export: all)"
    )
    parser.add_argument(
        "--export", action="store_true", help="write the events as they were received, a line each"
    )
    parser.add_argument("--notes", action="store_true", help="with --export: our notes, too")
    add_common(parser)
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    try:
        run_id = find_run(store, options.run).id if options.run else None
        if options.export:
            for entry in _pages(store, options, run_id):
                if entry.kind != "note" or options.notes:
                    # One line each: JSON has no line break but between tokens.
                    line = (entry.raw or b"").replace(b"\n", b" ").replace(b"\r", b" ")
                    sys.stdout.buffer.write(line + b"\n")
            return 0
        limit = 50 if options.limit is None else options.limit
        entries = store.entries(
            after_seq=options.after or 0,
            limit=limit,
            run_id=run_id,
            newest_first=options.after is None,
        )
    finally:
        store.close()
    if options.json:
        say_json([entry_json(entry) for entry in entries])
    else:
        say_table(
            ["SEQ", "TIME", "KIND", "TYPE", "RUN", "EVENT ID"],
            [
                (
                    entry.seq,
                    format_time(entry.event_us),
                    entry.kind,
                    entry.event_type or "",
                    entry.run_id or "",
                    format_event_id(entry.id),
                )
                for entry in entries
            ],
        )
    return 0


def _pages(store: Store, options: argparse.Namespace, run_id: int | None) -> Iterator[LogEntry]:
    after, left = options.after or 0, options.limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = store.entries(after_seq=after, limit=size, run_id=run_id, with_raw=True)
        if not page:
            return
        yield from page
        after = page[-1].seq
        left = None if left is None else left - len(page)
