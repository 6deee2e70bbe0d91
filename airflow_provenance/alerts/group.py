"""One group of alerts of one route: whether people are told now, and what."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from airflow_provenance.domain.alert import Item, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provenance.alerts.routes import Route
    from airflow_provenance.domain.alert import Alert, Incident, NoticeKind


class Group(NamedTuple):
    """A group as it is now.

    Attributes:
        alerts: all there are, for those that a member has absorbed.
        began_us: what was over before is not told.
        channels: all there are: if a route's own channel is what is broken, others tell it.
    """

    route: Route
    members: list[Alert]
    alerts: Mapping[str, Alert]
    silenced: Callable[[Alert], bool]
    acked_by: Callable[[Alert], str | None]
    began_us: int
    channels: Sequence[str] = ()

    def firing(self, now_us: int) -> dict[str, Alert]:
        """Return what people are to know of, silenced or not."""
        return {one.fingerprint: one for one in self.members if self._fires(one, now_us)}

    def _fires(self, one: Alert, now_us: int) -> bool:
        if one.absorbed_by is not None or not self._is_wanted(one):
            return False
        if one.ended_us is None:
            return now_us >= one.began_us + one.hold_us
        has_fired = one.ended_us >= one.began_us + one.hold_us
        return has_fired and now_us < one.ended_us + self.route.keep_firing_us

    def _is_wanted(self, one: Alert) -> bool:
        # A budget that burns is measured; what only is likely is told where a route asks for it.
        return self.route.at_risk or one.broken_as != "at_risk" or one.change.is_burn

    def missed(self, incident: Incident) -> list[Alert]:
        """Return what was broken for long enough, and was over before anybody could tell it."""
        wait_us = self.route.group_wait_us
        return [
            one
            for one in self.members
            if one.ended_us is not None
            and not one.is_settled
            and one.fingerprint not in incident.told
            and one.absorbed_by is None
            and self._is_wanted(one)
            and one.change.breached_us is not None
            and one.began_us >= self.began_us
            and one.ended_us >= one.began_us + one.hold_us + wait_us
            and not self.silenced(one)
        ]


def flush(group: Group, incident: Incident, now_us: int) -> tuple[Incident, list[Notice]]:
    """Return the incident after this round, and the notices to its channels."""
    route, all_firing = group.route, group.firing(now_us)
    firing = {key: one for key, one in all_firing.items() if not group.silenced(one)}
    over = {key for key in incident.told if key not in all_firing}
    missed = [] if incident.told else group.missed(incident)
    if not (all_firing or incident.told or missed):
        return msgspec.structs.replace(incident, closed_us=now_us), []
    if any(one.covers(now_us) for one in route.mute):
        return incident, []
    kind = _kind(group, incident, firing, over or {one.fingerprint for one in missed}, now_us)
    made: list[Notice] = []
    if kind is not None:
        ended = [group.alerts[key] for key in sorted(over) if key in group.alerts]
        incident, made = _tell(group, incident, kind, firing, [*ended, *missed], now_us)
        if not all_firing:
            return msgspec.structs.replace(incident, told={}, closed_us=now_us), made
        told = {key: state for key, state in incident.told.items() if key in all_firing}
        told |= {key: one.broken_as for key, one in firing.items()}
        incident = msgspec.structs.replace(incident, told=told)
    incident, answered = _acknowledged(group, incident, firing, now_us)
    incident, escalated = _escalated(group, incident, firing, now_us)
    return incident, [*made, *answered, *escalated]


def _kind(
    group: Group, incident: Incident, firing: Mapping[str, Alert], over: set[str], now_us: int
) -> NoticeKind | None:
    """Return which notice is due, if one is."""
    route, last_us = group.route, incident.last_told_us
    if route.digest is not None:
        due_us = route.digest.next_us(last_us or incident.opened_us)
        return "digest" if (firing or over) and now_us >= due_us else None
    if last_us is None:
        is_due = now_us >= incident.opened_us + route.group_wait_us
        return ("firing" if firing else "resolved") if is_due and (firing or over) else None
    if any(incident.told.get(key) != one.broken_as for key, one in firing.items()) or over:
        if now_us < last_us + route.group_interval_us:
            return None
        return "resolved" if over == incident.told.keys() and not firing else "update"
    is_due = now_us >= last_us + route.repeat_interval_us
    return "repeat" if _is_urgent(firing) and is_due and not _ackers(group, firing) else None


def _is_urgent(firing: Mapping[str, Alert]) -> bool:
    """Whether anything is wrong: that a DAG is paused is told once, since somebody wanted it."""
    return any(not one.is_suspended for one in firing.values())


def _ackers(group: Group, firing: Mapping[str, Alert]) -> str | None:
    """Return who has acknowledged all of it."""
    found = [group.acked_by(one) for one in firing.values()]
    return found[0] if found and all(one is not None for one in found) else None


def _tell(
    group: Group,
    incident: Incident,
    kind: NoticeKind,
    firing: Mapping[str, Alert],
    ended: Iterable[Alert],
    now_us: int,
    channels: tuple[str, ...] = (),
    by: str | None = None,
) -> tuple[Incident, list[Notice]]:
    known = _able(group, (*incident.channels, *group.route.channels))
    names = _able(group, channels or (incident.channels if kind == "acknowledged" else known))
    number = incident.transition + 1
    told = msgspec.structs.replace(
        incident,
        transition=number,
        channels=tuple(dict.fromkeys((*known, *channels))),
        last_told_us=incident.last_told_us if channels or by else now_us,
    )
    if any(incident.told.get(key) != one.broken_as for key, one in firing.items()):
        told = msgspec.structs.replace(told, unacked_us=now_us, level=0, acked_by=None)
    shown = tuple(_item(one, group.alerts) for one in sorted(firing.values(), key=_since))
    over = tuple(_item(one, group.alerts) for one in sorted(ended, key=_since))
    return told, [
        Notice(
            incident=incident.id,
            transition=number,
            kind=kind,
            channel=name,
            at_us=now_us,
            route=incident.route,
            labels=incident.labels,
            firing=shown,
            resolved=over,
            by=by,
        )
        for name in names
    ]


def _able(group: Group, names: Sequence[str]) -> tuple[str, ...]:
    """Return channels, without one that the alerts say is broken."""
    broken = {one.labels.get("channel") for one in group.members}
    able = [one for one in names if one not in broken]
    return tuple(dict.fromkeys(able or [one for one in group.channels if one not in broken]))


def _acknowledged(
    group: Group, incident: Incident, firing: Mapping[str, Alert], now_us: int
) -> tuple[Incident, list[Notice]]:
    by = _ackers(group, firing) if incident.last_told_us is not None else None
    if by is None or by == incident.acked_by:
        return incident, []
    incident = msgspec.structs.replace(incident, acked_by=by, unacked_us=None)
    return _tell(group, incident, "acknowledged", firing, [], now_us, by=by)


def _escalated(
    group: Group, incident: Incident, firing: Mapping[str, Alert], now_us: int
) -> tuple[Incident, list[Notice]]:
    steps, since_us = group.route.escalate, incident.unacked_us
    if not _is_urgent(firing) or since_us is None or incident.level >= len(steps):
        return incident, []
    step = steps[incident.level]
    if now_us < since_us + step.after_us:
        return incident, []
    incident = msgspec.structs.replace(incident, level=incident.level + 1)
    return _tell(group, incident, "escalated", firing, [], now_us, channels=step.channels)


def _since(alert: Alert) -> tuple[int, str, str]:
    return alert.began_us, alert.change.policy_id, alert.fingerprint


def _item(alert: Alert, alerts: Mapping[str, Alert]) -> Item:
    absorbed = [one for one in alerts.values() if one.absorbed_by == alert.fingerprint]
    change = alert.change
    return Item(
        fingerprint=alert.fingerprint,
        policy=change.policy_id,
        target=change.target,
        state=change.state,
        period=change.period,
        severity=change.severity,
        owner=change.owner,
        observed=change.observed,
        threshold=change.threshold,
        unit=change.unit,
        due_us=change.due_us,
        breached_us=change.breached_us,
        detected_us=change.detected_us,
        ended_us=alert.ended_us,
        outcome=alert.outcome,
        cause=change.cause,
        affected=tuple(_item(one, {}) for one in sorted(absorbed, key=_since)),
    )
