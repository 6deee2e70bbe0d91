"""``db``: the store's schema and the life of its raw events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance import settings, wiring
from airflow_provenance.cli.output import add_common, say, say_json
from airflow_provenance.domain.clock import format_time

if TYPE_CHECKING:
    import argparse


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("db", help="make, check and trim the store's schema and log")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    migrate = actions.add_parser("migrate", help="bring the schema up to this release")
    check = actions.add_parser("check", help="tell whether the schema is this release's")
    expire = actions.add_parser(
        "expire",
        help="drop raw events past raw_retention_days (their facts stay, frozen), and how promises "
        "stood past sla_retention_days",
    )
    for action, function in ((migrate, _migrate), (check, _check), (expire, _expire)):
        add_common(action)
        action.set_defaults(function=function)


def _migrate(options: argparse.Namespace) -> int:
    before, after = wiring.migrate_store(options.store)
    if options.json:
        say_json({"before": before, "after": after})
    elif before == after:
        say(f"The store is at revision {after} already.")
    else:
        say(f"Migrated the store from revision {before or '(empty)'} to {after}.")
    return 0


def _check(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    counts = store.counts()
    store.close()
    if options.json:
        say_json({"ok": True, "counts": counts})
    else:
        what = ", ".join(f"{count} {name}" for name, count in counts.items())
        say(f"The store is up to date: {what}.")
    return 0


def _expire(options: argparse.Namespace) -> int:
    days = settings.raw_retention_days()
    before_us = wiring.retention_horizon_us()
    store = wiring.open_store(options.store)
    dropped = store.expire(before_us)
    changes = store.expire_promises(wiring.promises_horizon_us())
    store.close()
    if options.json:
        before = format_time(before_us)
        say_json({"dropped": dropped, "before": before, "evaluation_changes": changes})
    else:
        say(f"Dropped {dropped} raw events from before {format_time(before_us)} ({days} days).")
        if changes:
            say(f"Dropped {changes} changes of how promises stood, past sla_retention_days.")
    return 0
