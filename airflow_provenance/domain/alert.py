"""Alerts as they are kept: what is broken, which incident told of it, and the notices to deliver.

`alerts.lifecycle` decides what becomes of them; the store keeps them between two rounds.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from airflow_provenance.domain.evaluation_change import EvaluationChange

NoticeKind = Literal[
    "firing", "update", "repeat", "escalated", "acknowledged", "resolved", "digest"
]
ActionKind = Literal["ack", "silence", "excuse"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One promise that is broken, or at risk, in one period; or suspended.

    Attributes:
        fingerprint: of its labels; the same for as long as they are.
        change: how the promise stood last.
        began_us: since when it is so; people are told once it has lasted for `hold_us`.
        ended_us: when it was over, and by what `outcome`.
        absorbed_by: the alert upstream that explains it, whose notice lists it.
        absorbed_until_us: it stays absorbed so long after that alert's end.
        is_settled: it is over, and nobody waits to hear of it.
        is_suspended: nothing is broken: its DAG is paused.
    """

    fingerprint: str
    labels: dict[str, str]
    change: EvaluationChange
    began_us: int
    hold_us: int = 0
    ended_us: int | None = None
    outcome: str | None = None
    absorbed_by: str | None = None
    absorbed_until_us: int = 0
    is_settled: bool = False
    is_suspended: bool = False

    @property
    def broken_as(self) -> str:
        """What it is, or was before it ended."""
        if self.is_suspended:
            return "suspended"
        return "at_risk" if self.change.breached_us is None else "breached"


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """What one route has told of a group of alerts, from the first notice to the last.

    Attributes:
        key: of the route and of the labels it groups by.
        number: tells it from others of this key: when it opened, in milliseconds.
        told: which alerts people know of, and in which state.
        channels: that were told, and hear of the end.
        transition: the number of its last notice.
        unacked_us: since when nobody has acknowledged it; escalation counts from here.
        level: how many escalations have been sent since.
    """

    key: str
    route: str
    labels: dict[str, str]
    number: int
    opened_us: int
    told: dict[str, str] = {}
    channels: tuple[str, ...] = ()
    transition: int = 0
    last_told_us: int | None = None
    unacked_us: int | None = None
    level: int = 0
    acked_by: str | None = None
    closed_us: int | None = None

    @property
    def id(self) -> str:
        """Its name towards all channels; PagerDuty's dedup_key, which takes 255 characters."""
        return f"airflow-provenance-{self.key}-{self.number}"


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One alert in a notice. Times in UTC microseconds.

    Attributes:
        cause: one of `sla.causes`; `explanation` is what broke it in words, from the provenance.
    """

    fingerprint: str
    policy: str
    target: str
    state: str
    period: str = ""
    severity: str = "ticket"
    owner: str | None = None
    observed: float | None = None
    threshold: float | None = None
    unit: str = ""
    due_us: int | None = None
    breached_us: int | None = None
    detected_us: int | None = None
    ended_us: int | None = None
    outcome: str | None = None
    cause: str | None = None
    explanation: str | None = None
    affected: tuple[Item, ...] = ()


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one channel: there is one for each transition of an incident.

    Attributes:
        firing: what is broken; `resolved` what is so no longer.
        by: who acknowledged or excused it, and why.
    """

    incident: str
    transition: int
    kind: NoticeKind
    channel: str
    at_us: int
    route: str = ""
    labels: dict[str, str] = {}
    firing: tuple[Item, ...] = ()
    resolved: tuple[Item, ...] = ()
    by: str | None = None

    @property
    def id(self) -> str:
        """The same in every channel."""
        return f"{self.incident}-{self.transition}"

    @property
    def severity(self) -> str:
        """The greatest of its alerts."""
        items = self.firing or self.resolved
        return "page" if any(one.severity == "page" for one in items) else "ticket"


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A notice in the outbox, and how its delivery stands."""

    id: int
    notice: Notice
    attempts: int = 0
    next_attempt_us: int = 0
    delivered_us: int | None = None
    dead_us: int | None = None  # given up: the channel does not take it
    last_error: str | None = None
    last_error_us: int | None = None


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said about alerts: acknowledged, silenced or excused.

    Attributes:
        matchers: which alerts, as ``policy="orders"``; all must match.
        until_us: when it ends; None where it does not.
    """

    kind: ActionKind
    matchers: tuple[str, ...]
    author: str
    reason: str
    at_us: int
    until_us: int | None = None
    id: int = 0


class AlertState(msgspec.Struct, kw_only=True):
    """All that the life cycle goes on from.

    Attributes:
        version: of the whole; two that go on from the same one cannot both be kept.
        cursor: the last change of evaluations that was taken in.
        began_us: when anybody watched first: what was over before is not told.
    """

    version: int = 0
    cursor: int = 0
    began_us: int = 0
    alerts: dict[str, Alert] = {}
    incidents: dict[str, Incident] = {}


class ChannelState(msgspec.Struct, frozen=True, kw_only=True):
    """How a channel is doing."""

    name: str
    waiting: int = 0
    delivered: int = 0
    dead: int = 0
    attempts: int = 0  # of the notice that has waited longest
    waits_since_us: int | None = None
    last_error: str | None = None
    last_error_us: int | None = None
    delivered_us: int | None = None
    dead_us: int | None = None
