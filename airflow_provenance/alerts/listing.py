"""What is broken and who knows of it, what people said of it, and how channels do, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.alerts.deliver import channel_problem
from airflow_provenance.alerts.matchers import match, parse_matcher
from airflow_provenance.alerts.routes import routes_of
from airflow_provenance.domain.clock import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from airflow_provenance.alerts.routes import Route
    from airflow_provenance.domain.alert import Action, Alert, AlertState, ChannelState


class Routing(NamedTuple):
    """By which routes people are told, and the names of all channels."""

    routes: Sequence[Route] = ()
    channels: Collection[str] = ()


def active(state: AlertState) -> list[Alert]:
    """Return what is broken, or at risk, now: the oldest first."""
    found = [one for one in state.alerts.values() if one.ended_us is None]
    return sorted(found, key=lambda one: (one.began_us, one.fingerprint))


def alert_json(
    one: Alert,
    state: AlertState,
    routes: Sequence[Route],
    actions: Sequence[Action],
    is_seen: Callable[[Alert], bool] = lambda _: True,
) -> dict[str, Any]:
    """Return an alert as JSON.

    Args:
        one: the alert.
        state: all there are, and what was told of them.
        routes: by which people are told.
        actions: what was said and holds.
        is_seen: whether another alert may be named.
    """
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
        "told": _said_of(one, actions)
        or _told_with(state.alerts.get(one.absorbed_by or ""), is_seen)
        or _told_by(one, routes, incidents),
    }


def _said_of(one: Alert, actions: Sequence[Action]) -> str:
    for action in actions:
        is_meant = match([parse_matcher(text) for text in action.matchers], one.labels)
        if is_meant and (action.kind != "ack" or one.began_us <= action.at_us):
            return f"{action.kind} {action.id} by {action.author}: {action.reason}"
    return ""


def _told_with(upstream: Alert | None, is_seen: Callable[[Alert], bool]) -> str:
    if upstream is None:
        return ""
    name = upstream.change.policy_id if is_seen(upstream) else "another"
    return f"with {name}, which is upstream"


def _told_by(one: Alert, routes: Sequence[Route], incidents: Sequence[str]) -> str:
    found = routes_of(routes, one.labels, one.change.notify)
    if incidents:
        return ", ".join(dict.fromkeys(name for route in found for name in route.channels))
    return "not yet" if found else "nobody: no route has it"


def action_json(one: Action) -> dict[str, Any]:
    """Return what somebody said as JSON."""
    return {
        "id": one.id,
        "kind": one.kind,
        "matchers": list(one.matchers),
        "by": one.author,
        "reason": one.reason,
        "at": format_time(one.at_us),
        "until": format_time(one.until_us),
    }


def channels_json(
    names: Collection[str], states: Iterable[ChannelState], now_us: int
) -> list[dict[str, Any]]:
    """Return how channels do as JSON: those in the settings, and those that had notices before."""
    known = {one.name: one for one in states}
    return [
        {
            "channel": name,
            "configured": name in names,
            "waiting": one.waiting if one else 0,
            "delivered": one.delivered if one else 0,
            "given_up": one.dead if one else 0,
            "problem": channel_problem(one, now_us) if one else None,
            "last_error": one.last_error if one else None,
            "last_error_at": format_time(one.last_error_us) if one else None,
        }
        for name in sorted({*names, *known})
        for one in [known.get(name)]
    ]
