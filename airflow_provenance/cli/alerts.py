"""``sla alerts``, and what people say of them: ``sla ack``, ``silence``, ``excuse`` and ``end``."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

from airflow_provenance import settings, wiring
from airflow_provenance.alerts.actions import act, read_action
from airflow_provenance.alerts.channels.known import parse_channels
from airflow_provenance.alerts.listing import action_json, active, alert_json, channels_json
from airflow_provenance.alerts.routes import parse_routes
from airflow_provenance.cli.output import add_common, count, say, say_json, say_table
from airflow_provenance.domain.clock import SystemClock, format_time
from airflow_provenance.errors import SubjectError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from airflow_provenance.domain.alert import Action

_WHAT = {
    "ack": "say that somebody takes care: no repeats, no escalation",
    "silence": "tell nobody of some alerts for a time",
    "excuse": "end alerts that are no fault, for a time",
}


def register(actions: Any) -> None:
    """Add the commands to those of ``sla``."""
    listed = actions.add_parser("alerts", help="what is broken, who was told, how channels do")
    add_common(listed)
    listed.set_defaults(function=_list)
    for kind, said in _WHAT.items():
        parser = actions.add_parser(kind, help=said)
        parser.add_argument(
            "matchers",
            nargs="+",
            metavar="MATCHER",
            help="a promise's id, or LABEL=VALUE (also !=, =~, !~); all must match",
        )
        parser.add_argument("--reason", required=True, help="why")
        parser.add_argument("--by", help="who; else the user of this computer")
        parser.add_argument(
            "--until",
            required=kind != "ack",
            metavar="T",
            help="ISO 8601 with a zone, or a length of time from now, such as 2h",
        )
        add_common(parser)
        parser.set_defaults(function=_act, kind=kind)
    ended = actions.add_parser("end", help="end an acknowledgement, a silence or an excuse")
    ended.add_argument("id", type=count, help="as 'sla alerts' shows it")
    add_common(ended, with_json=False)
    ended.set_defaults(function=_end)


def _act(options: argparse.Namespace) -> int:
    now_us = SystemClock().now_us()
    by = options.by or getpass.getuser()
    action = read_action(options.kind, options.matchers, by, options.reason, options.until, now_us)
    store = wiring.open_store(options.store)
    try:
        action, met = act(store, action)
    finally:
        store.close()
    if options.json:
        say_json({**action_json(action), "alerts": met})
    else:
        until = f" until {format_time(action.until_us)}" if action.until_us else ""
        say(f"{action.kind} {action.id} by {action.author}{until}: {len(met)} alerts match now.")
    return 0


def _end(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    try:
        if not store.end_action(options.id, SystemClock().now_us()):
            raise SubjectError(f"{options.id} is not in force: 'sla alerts' lists what is")
    finally:
        store.close()
    say(f"{options.id} has ended.")
    return 0


def _list(options: argparse.Namespace) -> int:
    names = [one.name for one in parse_channels(settings.channels())]
    routes = parse_routes(settings.routes(), names)
    now_us = SystemClock().now_us()
    store = wiring.open_store(options.store)
    try:
        state, actions = store.alert_state(), store.actions(now_us)
        channels = store.channel_states()
    finally:
        store.close()
    alerts = [alert_json(one, state, routes, actions) for one in active(state)]
    shown = channels_json(names, channels, now_us)
    if options.json:
        said = [action_json(one) for one in actions]
        say_json({"alerts": alerts, "channels": shown, "actions": said})
    else:
        _say(alerts, shown, actions)
    is_bad = any(one["problem"] for one in shown if one["configured"])
    is_broken = any(one["state"] != "suspended" for one in alerts)
    return 1 if is_broken or is_bad else 0


def _say(
    alerts: list[dict[str, Any]], channels: list[dict[str, Any]], actions: Sequence[Action]
) -> None:
    if not alerts:
        say("Nothing is broken.")
    else:
        names = ("policy", "state", "severity", "since", "period", "told")
        say_table([one.upper() for one in names], [[one[name] for name in names] for one in alerts])
    if channels:
        say()
        say_table(
            ["CHANNEL", "WAITING", "DELIVERED", "GIVEN UP", "PROBLEM"],
            [
                (
                    one["channel"],
                    one["waiting"],
                    one["delivered"],
                    one["given_up"],
                    one["problem"] or ("" if one["configured"] else "not in the settings"),
                )
                for one in channels
            ],
        )
    if actions:
        say()
        say_table(
            ["ID", "KIND", "OF", "BY", "WHY", "UNTIL"],
            [
                (
                    one.id,
                    one.kind,
                    " ".join(one.matchers),
                    one.author,
                    one.reason,
                    format_time(one.until_us) or "",
                )
                for one in actions
            ],
        )
