"""From alerts to notices: pure, with the time given; words are Alertmanager's.

In each round `advance` takes in what changed, and for each route and group of alerts decides
whether people are told now:

=============  ====================================================================================
``firing``     the first notice of an incident, `group_wait` after it opened
``update``     others joined or ended, `group_interval` after the last notice
``repeat``     it is still so after `repeat_interval`, and nobody has acknowledged it
``escalated``  nobody has acknowledged it for so long: more channels are told
``acknowledged``  somebody has: for channels that show it
``resolved``   none of it is so any more: all channels that were told hear it, and it is closed
``digest``     instead of these: all that is open, once a day
=============  ====================================================================================

The state goes in and out whole. Its version, and a notice's number within its incident, see to it
that two processes that go on from the same state make one notice: the store keeps one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from airflow_provenance.alerts.group import Group, flush
from airflow_provenance.alerts.inhibit import (
    Explains,
    Upstream,
    absorb,
    everything,
    nothing_upstream,
)
from airflow_provenance.alerts.matchers import match, parse_matcher
from airflow_provenance.alerts.routes import routes_of
from airflow_provenance.alerts.standing import fingerprint, take
from airflow_provenance.domain.alert import AlertState, Incident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provenance.alerts.routes import Route
    from airflow_provenance.domain.alert import Action, Alert, Notice
    from airflow_provenance.domain.evaluation_change import EvaluationChange

EXCUSED = "excused"
UNPAUSED = "the DAG is paused no more"


class Rules(NamedTuple):
    """What people have set, and what is known of the lineage.

    Attributes:
        actions: what was acknowledged, silenced and excused.
        hold_us: how long a breach of a promise must last before anybody is told.
        channels: the names of all there are.
        is_withdrawn: whether a promise is in force no more: nobody waits for it.
        is_paused: whether a DAG is paused, as long as what is promised of it is suspended.
        can_explain: see `inhibit.absorb`.
    """

    routes: Sequence[Route]
    actions: Sequence[Action] = ()
    hold_us: Callable[[str], int] = lambda _policy: 0
    upstream: Upstream = nothing_upstream
    channels: Sequence[str] = ()
    is_withdrawn: Callable[[str], bool] = lambda _policy: False
    is_paused: Callable[[str], bool] = lambda _dag: True
    can_explain: Explains = everything


class Advanced(NamedTuple):
    """The state after a round, and the notices it made."""

    state: AlertState
    notices: list[Notice]


def advance(
    before: AlertState, changes: Sequence[EvaluationChange], rules: Rules, now_us: int
) -> Advanced:
    """Take in changes of evaluations, and return what people are to be told now."""
    began_us = before.began_us or now_us
    said = _Said(rules.actions, now_us)
    told = {key for one in before.incidents.values() if not one.closed_us for key in one.told}
    alerts = take(before.alerts, changes, rules.hold_us)
    alerts = {key: said.excused(_withdrawn(one, rules, now_us)) for key, one in alerts.items()}
    grace_us = max((one.group_interval_us for one in rules.routes), default=0)
    alerts = absorb(alerts, told, rules.upstream, now_us, grace_us, rules.can_explain)
    incidents, notices = dict(before.incidents), []
    waiting: set[str] = set()
    for route, labels, members in _groups(rules.routes, alerts, incidents.values()):
        key = fingerprint({"": route.name, **labels})
        group = Group(
            *(route, members, alerts, said.silenced, said.acked_by, began_us, rules.channels)
        )
        incident = _opened(incidents.get(key), key, route, labels, now_us)
        after, made = flush(group, incident, now_us)
        notices += made
        if key in incidents or after.closed_us is None or made:
            incidents[key] = after
        if not made:
            waiting |= group.firing(now_us).keys()
            waiting |= {one.fingerprint for one in group.missed(after)}
    state = AlertState(
        version=before.version + 1,
        cursor=max([before.cursor, *(one.seq for one in changes)]),
        began_us=began_us,
        alerts=_kept(alerts, incidents.values(), waiting, now_us),
        incidents={key: one for key, one in incidents.items() if not _is_old(one, now_us)},
    )
    return Advanced(state, notices)


def _withdrawn(alert: Alert, rules: Rules, now_us: int) -> Alert:
    if alert.ended_us is not None:
        return alert
    if rules.is_withdrawn(alert.change.policy_id):
        return msgspec.structs.replace(alert, ended_us=now_us, outcome="no longer promised")
    if alert.is_suspended and not rules.is_paused(alert.labels.get("dag", "")):
        return msgspec.structs.replace(alert, ended_us=now_us, outcome=UNPAUSED)
    return alert


def _opened(
    known: Incident | None, key: str, route: Route, labels: dict[str, str], now_us: int
) -> Incident:
    if known is not None and known.closed_us is None:
        return known
    number = now_us // 1000
    return Incident(key=key, route=route.name, labels=labels, number=number, opened_us=now_us)


def _groups(
    routes: Sequence[Route], alerts: dict[str, Alert], incidents: Iterable[Incident]
) -> list[tuple[Route, dict[str, str], list[Alert]]]:
    """Return the groups of each route; an open incident keeps the alerts that it told of."""
    found: dict[tuple[str, str], tuple[Route, dict[str, str], dict[str, Alert]]] = {}
    for one in alerts.values():
        for route in routes_of(routes, one.labels, one.change.notify):
            labels = {name: one.labels.get(name, "") for name in route.group_by}
            place = (route.name, fingerprint(labels))
            found.setdefault(place, (route, labels, {}))[2][one.fingerprint] = one
    by_name = {route.name: route for route in routes}
    for incident in incidents:
        if incident.closed_us is None and incident.route in by_name:
            place = (incident.route, fingerprint(incident.labels))
            empty: tuple[Route, dict[str, str], dict[str, Alert]]
            empty = (by_name[incident.route], incident.labels, {})
            members = found.setdefault(place, empty)[2]
            members.update({key: alerts[key] for key in incident.told if key in alerts})
    return [(route, labels, list(members.values())) for route, labels, members in found.values()]


def _kept(
    alerts: dict[str, Alert], incidents: Iterable[Incident], waiting: set[str], now_us: int
) -> dict[str, Alert]:
    """Return the alerts without those that are over, and that nobody waits to hear of.

    One that must hold before it is told is remembered for some time: if it breaks again, its time
    begins anew.
    """
    heard = waiting | {key for one in incidents if one.closed_us is None for key in one.told}
    kept = {}
    for key, one in alerts.items():
        if one.ended_us is None or key in heard:
            kept[key] = one
        elif one.hold_us and now_us - one.ended_us < one.hold_us + _DAY_US:
            kept[key] = msgspec.structs.replace(one, is_settled=True)
    return kept


_DAY_US = 86_400_000_000
_KEPT_US = 7 * _DAY_US  # of what is over, for whoever lists it


def _is_old(incident: Incident, now_us: int) -> bool:
    return incident.closed_us is not None and now_us - incident.closed_us > _KEPT_US


class _Said:
    """What people said of alerts, as far as it holds now."""

    def __init__(self, actions: Iterable[Action], now_us: int) -> None:
        self._actions = [
            (one, [parse_matcher(text) for text in one.matchers])
            for one in actions
            if one.at_us <= now_us and (one.until_us is None or now_us < one.until_us)
        ]

    def _first(self, kind: str, alert: Alert) -> Action | None:
        return next(
            (
                one
                for one, matchers in self._actions
                if one.kind == kind
                and match(matchers, alert.labels)
                # What breaks later was not meant by who acknowledged it before.
                and (kind != "ack" or alert.began_us <= one.at_us)
            ),
            None,
        )

    def silenced(self, alert: Alert) -> bool:
        return self._first("silence", alert) is not None

    def acked_by(self, alert: Alert) -> str | None:
        found = self._first("ack", alert)
        return None if found is None else f"{found.author}: {found.reason}"

    def excused(self, alert: Alert) -> Alert:
        if alert.ended_us is not None or (found := self._first("excuse", alert)) is None:
            return alert
        outcome = f"{EXCUSED} by {found.author}: {found.reason}"
        ended_us = max(found.at_us, alert.began_us)
        return msgspec.structs.replace(alert, ended_us=ended_us, outcome=outcome)
