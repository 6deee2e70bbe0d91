"""What is broken now: changes of evaluations, one after the other, become alerts and end them.

An alert is a promise in a period. Numbered, as tests name them:

1. broken, or at risk: there is an alert, since the promise broke;
2. at risk, then broken: the same alert, and its time to hold begins anew;
3. made good, expired, suspended or open again: it ends;
4. a later period was kept: what was broken before it ends, too. So ends what nothing makes good,
   as a run that took too long; how fast an error budget burns is no later period of how full it is;
5. nothing to judge by (`no_data`): it stays as it was;
6. made good before anybody saw it broken, as after an outage: an alert that began and ended;
7. suspended, as its DAG is paused: an alert of its own once something is due, and a ticket, since
   nothing is broken. All periods of a pause are one, until the DAG is paused no more (`lifecycle`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.alert import Alert
from airflow_provenance.sla.evaluation import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provenance.domain.evaluation_change import EvaluationChange

_ACTIVE = (State.BREACHED, State.AT_RISK)
_KEPT = (State.OK, State.RECOVERED)
_OUTCOMES = {
    State.OK: "kept",
    State.RECOVERED: "recovered",
    State.EXPIRED: "expired",
    State.SUSPENDED: "suspended",
    State.PENDING: "open again",
}
_A_MOMENT_US = 60_000_000
PASSED = "a later period was kept"


def labels_of(change: EvaluationChange) -> dict[str, str]:
    """Return what an alert is matched and grouped by."""
    labels = {
        **target_labels(change.target),
        "policy": change.policy_id,
        "severity": change.severity,
        "owner": change.owner or "",
        # The window of a clock moves on while it is broken: that is one alert, not one each time.
        # So are all that are suspended by one pause.
        "period": "" if _is_moving(change) or change.state == State.SUSPENDED else change.period,
    }
    return {name: text for name, text in labels.items() if text}


def target_labels(target: str) -> dict[str, str]:
    """Return what an alert is matched by of what a promise is about."""
    kind, _, name = target.partition(":")
    return {
        "target": target,
        "dag": name.partition(".")[0] if kind == "task" else name if kind == "dag" else "",
        "channel": name if kind == "channel" else "",
    }


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return 16 characters that are the same for the same labels."""
    text = "\0".join(f"{name}\0{labels[name]}" for name in sorted(labels))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def _is_moving(change: EvaluationChange) -> bool:
    return change.due_us is None and "/" not in change.period


def _identity(change: EvaluationChange) -> str:
    # Not of the severity and the owner, which may change while it is broken.
    labels = {**labels_of(change), "period": "" if _is_moving(change) else change.period}
    return fingerprint({one: labels.get(one, "") for one in ("policy", "target", "period")})


def take(
    alerts: Mapping[str, Alert],
    changes: Iterable[EvaluationChange],
    hold_us: Callable[[str], int],
) -> dict[str, Alert]:
    """Return the alerts after some changes."""
    found = dict(alerts)
    for change in changes:
        key, state = _identity(change), State(change.state)
        known = found.get(key)
        if state in _ACTIVE:
            found[key] = _broken(known, key, change, hold_us)
        elif known is not None and known.ended_us is None and state in _OUTCOMES:
            found[key] = _ended(known, change, _OUTCOMES[state])
        elif known is None and state is State.RECOVERED and _is_seen_now(change):
            found[key] = _ended(_broken(None, key, change, hold_us), change, "recovered")
        if state is State.SUSPENDED:
            one = _suspended(change, hold_us)
            if (before := found.get(one.fingerprint)) is None or before.ended_us is not None:
                found[one.fingerprint] = one
        if state in _KEPT:
            found |= _passed(found.values(), key, change)
    return found


def _passed(alerts: Iterable[Alert], key: str, change: EvaluationChange) -> dict[str, Alert]:
    """Return what a period that was kept ends: a pause is not among it."""
    return {
        one.fingerprint: msgspec.structs.replace(one, ended_us=change.at_us, outcome=PASSED)
        for one in alerts
        if one.ended_us is None
        and not one.is_suspended
        and one.fingerprint != key
        and _is_before(one, change)
    }


def _is_seen_now(change: EvaluationChange) -> bool:
    """Whether this is the first that anybody sees of the breach."""
    return change.detected_us is None or change.at_us - change.detected_us < _A_MOMENT_US


def _broken(
    known: Alert | None, key: str, change: EvaluationChange, hold_us: Callable[[str], int]
) -> Alert:
    since_us = change.breached_us if _is_seen_now(change) else None
    since_us = change.at_us if since_us is None else since_us
    if known is not None and known.ended_us is not None:
        since_us = max(since_us, known.ended_us)  # it was well in between
    elif known is not None and known.change.state == change.state:
        since_us = known.began_us
    return Alert(
        fingerprint=key,
        labels=labels_of(change),
        change=change,
        began_us=since_us,
        hold_us=hold_us(change.policy_id),
        absorbed_by=known.absorbed_by if known is not None else None,
        absorbed_until_us=known.absorbed_until_us if known is not None else 0,
    )


def _suspended(change: EvaluationChange, hold_us: Callable[[str], int]) -> Alert:
    change = msgspec.structs.replace(change, severity="ticket")
    labels = labels_of(change)
    return Alert(
        fingerprint=fingerprint({"state": "suspended", **labels, "owner": ""}),
        labels=labels,
        change=change,
        # A DAG may be paused for a while: nobody misses anything before it is due.
        began_us=max(change.at_us, change.due_us or 0),
        hold_us=hold_us(change.policy_id),
        is_suspended=True,
    )


def _ended(known: Alert, change: EvaluationChange, outcome: str) -> Alert:
    ended_us = change.recovered_us or change.at_us
    if change.breached_us is None:  # keep what is known of the breach: the notice tells it
        change = msgspec.structs.replace(
            change,
            breached_us=known.change.breached_us,
            detected_us=known.change.detected_us,
            due_us=change.due_us or known.change.due_us,
        )
    return msgspec.structs.replace(known, change=change, ended_us=ended_us, outcome=outcome)


def _is_before(alert: Alert, change: EvaluationChange) -> bool:
    before = alert.change
    if before.is_burn or change.is_burn:  # a budget that burns no more was used up all the same
        return False
    if (before.policy_id, before.target) != (change.policy_id, change.target):
        return False
    if before.due_us is not None and change.due_us is not None:
        return before.due_us < change.due_us
    return before.seq < change.seq
