"""``feeds``: how delivery to each backend is doing, and doing it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance import settings, wiring
from airflow_provenance.cli.output import add_common, say, say_json, say_table, tell
from airflow_provenance.domain.clock import SystemClock, format_time, parse_time
from airflow_provenance.errors import EventError, SettingsError, SubjectError
from airflow_provenance.store.outbox import FeedState

if TYPE_CHECKING:
    import argparse

    from airflow_provenance.store.base import Store
    from airflow_provenance.store.outbox import DeadLetter


def register(commands: Any) -> None:
    """Add the commands."""
    parser = commands.add_parser("feeds", help="delivery to each backend: state, retry, replay")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    status = actions.add_parser("status", help="cursor, backlog, last error, dead letters")
    retry = actions.add_parser("retry", help="try a feed now, and its dead letters again")
    replay = actions.add_parser("replay", help="deliver again what was received since a time")
    replay.add_argument("--since", required=True, metavar="TIME", help="ISO 8601 with a zone")
    for action in (retry, replay):
        action.add_argument("name", metavar="NAME")
    forward = commands.add_parser("forward", help="deliver what waits, to every feed")
    forward.add_argument("--once", action="store_true", required=True, help="and then end")
    for action, function in (
        (status, _status),
        (retry, _retry),
        (replay, _replay),
        (forward, _forward),
    ):
        add_common(action)
        action.set_defaults(function=function)


def _status(options: argparse.Namespace) -> int:
    configured = {one.name: one for one in settings.feeds()}
    store = wiring.open_store(options.store)
    try:
        states = {one.name: one for one in store.feeds()}
        for name, config in configured.items():
            states.setdefault(name, FeedState(name, enabled=config.enabled))
        last_seq = store.last_seq()
        letters = {name: store.dead_letters(name) for name in states}
    finally:
        store.close()
    rows = [
        _json(one, last_seq, letters[name], configured[name].type if name in configured else None)
        for name, one in sorted(states.items())
    ]
    if options.json:
        say_json(rows)
    elif not rows:
        say("No feeds: set [provenance] feeds.")
    else:
        say_table(
            ["FEED", "TYPE", "STATE", "CURSOR", "BACKLOG", "DEAD", "LAST ERROR"],
            [
                (
                    row["name"],
                    row["type"] or "",
                    row["state"],
                    row["cursor"],
                    row["backlog"],
                    len(row["dead_letters"]),
                    (row["last_error"] or "")[:160],
                )
                for row in rows
            ],
        )
        for row in rows:
            for letter in row["dead_letters"][:20]:
                say(f"{row['name']}: dead letter {letter['seq']}: {letter['error'][:200]}")
    wrong = any(row["state"] in ("waiting", "suspended") or row["dead_letters"] for row in rows)
    return 1 if wrong else 0


def _json(
    feed: FeedState, last_seq: int, letters: list[DeadLetter], type_: str | None
) -> dict[str, Any]:
    return {
        "name": feed.name,
        "type": type_,
        "state": _state(feed, is_configured=type_ is not None),
        "cursor": feed.cursor,
        "backlog": last_seq - feed.cursor,
        "attempts": feed.attempts,
        "next_attempt_at": format_time(feed.next_attempt_us or None),
        "delivered_at": format_time(feed.delivered_us),
        "last_error": feed.last_error,
        "last_error_at": format_time(feed.last_error_us),
        "suspended": feed.suspended,
        "dead_letters": [
            {
                "seq": one.seq,
                "attempts": one.attempts,
                "error": one.error,
                "at": format_time(one.at_us),
            }
            for one in letters
        ],
    }


def _state(feed: FeedState, *, is_configured: bool) -> str:
    if not is_configured or not feed.enabled:
        return "off"
    if feed.suspended is not None:
        return "suspended"
    return "waiting" if feed.attempts else "on"


def _retry(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    forwarder = wiring.open_forwarder(store)
    try:
        _known(store, options.name)
        store.resume_feed(options.name)
        delivered, waiting = forwarder.retry_dead_letters(options.name)
    finally:
        forwarder.close()
        store.close()
    if options.json:
        say_json({"delivered": delivered, "waiting": waiting})
    else:
        say(f"{delivered} dead letters delivered, {waiting} still wait; the feed goes on.")
    return 1 if waiting else 0


def _replay(options: argparse.Namespace) -> int:
    try:
        since_us = parse_time(options.since)
    except EventError as error:
        raise SettingsError(f"--since: {error}") from error
    store = wiring.open_store(options.store)
    try:
        _known(store, options.name)
        cursor = store.rewind_feed(options.name, since_us)
        waiting = store.last_seq() - cursor
    finally:
        store.close()
    if options.json:
        say_json({"cursor": cursor, "backlog": waiting})
    else:
        say(f"{waiting} entries wait for {options.name} now; what it has had comes again.")
    return 0


def _known(store: Store, name: str) -> None:
    if name not in {one.name for one in store.feeds()}:
        raise SubjectError(f"no feed {name!r} has delivered yet: 'feeds status' lists them")


def _forward(options: argparse.Namespace) -> int:
    if not settings.feeds():
        raise SettingsError("there are no feeds: set [provenance] feeds")
    store = wiring.open_store(options.store)
    forwarder = wiring.open_forwarder(store)
    started_us = SystemClock().now_us()
    try:
        report = forwarder.run_once(patience_s=None)
    finally:
        forwarder.close()
        store.close()
    seconds = (SystemClock().now_us() - started_us) / 1e6
    if options.json:
        say_json(
            {
                name: {
                    "sent": one.sent,
                    "left_out": one.left_out,
                    "dead": one.dead,
                    "backlog": one.backlog,
                    "error": one.error,
                }
                for name, one in report.feeds.items()
            }
        )
    else:
        for name, one in report.feeds.items():
            say(
                f"{name}: {one.sent} sent, {one.left_out} not for it, {one.dead} dead letters, "
                f"{one.backlog} wait ({seconds:.1f}s)."
            )
    for name, text in report.errors.items():
        tell(f"airflow-provenance: feed {name} waits: {text}")
    return 1 if report.errors or report.dead else 0
