"""``sla alerts``, and what people say of them: ``sla ack``, ``silence``, ``excuse`` and ``end``."""

from __future__ import annotations

import getpass
import re
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance import settings, wiring
from airflow_provenance.alerts.channels.known import parse_channels
from airflow_provenance.alerts.deliver import channel_problem
from airflow_provenance.alerts.matchers import match, parse_matcher
from airflow_provenance.alerts.routes import parse_routes, routes_of
from airflow_provenance.cli.output import add_common, count, say, say_json, say_table
from airflow_provenance.domain.alert import Action
from airflow_provenance.domain.clock import SystemClock, format_time, parse_time
from airflow_provenance.errors import EventError, SettingsError, SubjectError
from airflow_provenance.sla.durations import microseconds, parse_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from airflow_provenance.alerts.routes import Route
    from airflow_provenance.domain.alert import Alert, AlertState

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


def _matcher(text: str) -> str:
    is_id = re.fullmatch(r"[A-Za-z0-9._-]+", text) is not None
    return str(parse_matcher(f'policy="{text}"' if is_id else text))


def _until(text: str | None, now_us: int) -> int | None:
    if text is None:
        return None
    try:
        if re.match(r"\d{4}-", text):
            until_us = parse_time(text)
        else:
            until_us = now_us + microseconds(parse_duration(text))
    except (EventError, ValueError) as error:
        raise SettingsError(f"--until: {error}") from error
    if until_us <= now_us:
        raise SettingsError(f"--until {text}: it is over already")
    return until_us


def _act(options: argparse.Namespace) -> int:
    now_us = SystemClock().now_us()
    by = (options.by or getpass.getuser()).strip()
    if not (by and options.reason.strip()):
        raise SettingsError("say who (--by) and why (--reason)")
    action = Action(
        kind=options.kind,
        matchers=tuple(map(_matcher, options.matchers)),
        author=by,
        reason=options.reason.strip(),
        at_us=now_us,
        until_us=_until(options.until, now_us),
    )
    matchers = [parse_matcher(one) for one in action.matchers]
    store = wiring.open_store(options.store)
    try:
        alerts = [one for one in store.alert_state().alerts.values() if one.ended_us is None]
        meant = [one for one in alerts if match(matchers, one.labels)]
        met = sorted(one.change.policy_id for one in meant)
        if options.kind == "excuse":  # with what is broken, from when it broke
            since_us = min([now_us, *(one.began_us for one in meant)])
            action = msgspec.structs.replace(action, at_us=since_us)
        if options.kind == "ack" and not met:
            raise SubjectError("nothing that is broken matches: 'sla alerts' lists what is")
        action = store.add_action(action)
    finally:
        store.close()
    if options.json:
        say_json({**_action_json(action), "alerts": met})
    else:
        until = f" until {format_time(action.until_us)}" if action.until_us else ""
        say(f"{action.kind} {action.id} by {by}{until}: {len(met)} alerts match now.")
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
        channels = {one.name: one for one in store.channel_states()}
    finally:
        store.close()
    alerts = [_alert_json(one, state, routes, actions) for one in _sorted(state)]
    shown = [
        {
            "channel": name,
            "configured": name in names,
            "waiting": one.waiting if one else 0,
            "delivered": one.delivered if one else 0,
            "given_up": one.dead if one else 0,
            "problem": channel_problem(one, SystemClock().now_us()) if one else None,
            "last_error": one.last_error if one else None,
            "last_error_at": format_time(one.last_error_us) if one else None,
        }
        for name in sorted({*names, *channels})
        for one in [channels.get(name)]
    ]
    if options.json:
        said = [_action_json(one) for one in actions]
        say_json({"alerts": alerts, "channels": shown, "actions": said})
    else:
        _say(alerts, shown, actions)
    is_bad = any(one["problem"] for one in shown if one["configured"])
    is_broken = any(one["state"] != "suspended" for one in alerts)
    return 1 if is_broken or is_bad else 0


def _sorted(state: AlertState) -> list[Alert]:
    active = [one for one in state.alerts.values() if one.ended_us is None]
    return sorted(active, key=lambda one: (one.began_us, one.fingerprint))


def _alert_json(
    one: Alert, state: AlertState, routes: Sequence[Route], actions: Sequence[Action]
) -> dict[str, Any]:
    incidents = [
        each.id
        for each in state.incidents.values()
        if each.closed_us is None and one.fingerprint in each.told
    ]
    return {
        "policy": one.change.policy_id,
        "target": one.change.target,
        "period": one.change.period,
        "state": one.change.state,
        "severity": one.change.severity,
        "owner": one.change.owner,
        "since": format_time(one.began_us),
        "incidents": incidents,
        "told": _told(one, state, routes, actions, incidents),
    }


def _told(
    one: Alert,
    state: AlertState,
    routes: Sequence[Route],
    actions: Sequence[Action],
    incidents: Sequence[str],
) -> str:
    """Return who knows of it, or why nobody does."""
    for action in actions:
        is_meant = match([parse_matcher(text) for text in action.matchers], one.labels)
        if is_meant and (action.kind != "ack" or one.began_us <= action.at_us):
            return f"{action.kind} {action.id} by {action.author}: {action.reason}"
    if one.absorbed_by is not None and one.absorbed_by in state.alerts:
        return f"with {state.alerts[one.absorbed_by].change.policy_id}, which is upstream"
    found = routes_of(routes, one.labels, one.change.notify)
    if incidents:
        return ", ".join(dict.fromkeys(name for route in found for name in route.channels))
    return "not yet" if found else "nobody: no route has it"


def _action_json(one: Action) -> dict[str, Any]:
    return {
        "id": one.id,
        "kind": one.kind,
        "matchers": list(one.matchers),
        "by": one.author,
        "reason": one.reason,
        "at": format_time(one.at_us),
        "until": format_time(one.until_us),
    }


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
