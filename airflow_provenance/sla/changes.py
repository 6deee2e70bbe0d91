"""From verdicts to what is kept of them: one row for each change of state of a period.

Pure, as the evaluation is. Two things differ from a verdict. Its period is the moment itself where
there was nothing to judge by: that is kept once. And a promise about what is usual (`LEVELS`) has
no period that ends: it is broken until it is no more, and the row that says so has the period with
which it broke.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.evaluation_change import BURN, EvaluationChange
from airflow_provenance.sla.evaluation import State
from airflow_provenance.sla.objectives import ConsecutiveMisses, Freshness, SuccessRatio

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provenance.sla.evaluation import Evaluation
    from airflow_provenance.sla.policy import Policy

LEVELS = (SuccessRatio, ConsecutiveMisses)
_RECHECK_US = 900_000_000
_ROLLING_US = 60_000_000
_OPEN = {State.PENDING, State.AT_RISK}
_CALM = {State.OK, State.RECOVERED}


def changes_of(
    policy: Policy,
    evaluations: Iterable[Evaluation],
    known: Mapping[str, EvaluationChange],
    moment_us: int,
    since_us: int,
) -> list[EvaluationChange]:
    """Return what differs from what is known.

    Args:
        policy: the promise.
        evaluations: its verdicts of a moment.
        known: the last change of each of its periods, in the order in which they were written.
        moment_us: the moment.
        since_us: since when the promise is in force.
    """
    found = []
    if isinstance(policy.objective, LEVELS):
        every = list(evaluations)
        ratio = [one for one in every if not one.period.startswith(BURN)]
        its = {period: one for period, one in known.items() if not one.is_burn}
        found = [_kept(policy, *one) for one in _of_level(ratio, its, moment_us)]
        evaluations = [one for one in every if one.period.startswith(BURN)]
    for one in evaluations:
        period = one.period
        if one.state is State.NO_DATA and period == format_time(moment_us):
            period = format_time(since_us) or ""  # nothing to judge by: the same from tick to tick
        last = known.get(period)
        if last.state == one.state if last is not None else _is_unsaid(one):
            continue
        found.append(_kept(policy, msgspec.structs.replace(one, period=period), last))
    return found


def _is_unsaid(one: Evaluation) -> bool:
    """Whether nothing is told of what was never otherwise."""
    burns = one.period.startswith(BURN)
    return one.state is State.PENDING or (burns and one.state is State.OK)


def _of_level(
    evaluations: Iterable[Evaluation], known: Mapping[str, EvaluationChange], moment_us: int
) -> Iterable[tuple[Evaluation, EvaluationChange | None]]:
    last = max(known.values(), key=lambda one: one.seq, default=None)
    for one in evaluations:
        before = None if last is None else State(last.state)
        if one.state == before or (before in _CALM and one.state in _CALM):
            continue
        if last is not None and before is State.BREACHED:
            times = {"breached_us": last.breached_us, "recovered_us": moment_us}
            state = State.RECOVERED if one.state is State.OK else one.state
            yield msgspec.structs.replace(one, period=last.period, state=state, **times), last
        else:
            yield one, None


def _kept(policy: Policy, one: Evaluation, last: EvaluationChange | None) -> EvaluationChange:
    detected_us, cause = one.detected_us, one.cause
    if last is not None and last.breached_us is not None:
        detected_us = last.detected_us if one.breached_us == last.breached_us else detected_us
        cause = cause or last.cause
    return EvaluationChange(
        policy_id=policy.id,
        revision=one.revision,
        period=one.period,
        state=one.state.value,
        severity=one.severity or policy.severity,
        owner=policy.owner,
        notify=policy.notify,
        observed=one.observed,
        threshold=one.threshold,
        unit=one.unit,
        due_us=one.due_us,
        breached_us=one.breached_us,
        detected_us=detected_us,
        recovered_us=one.recovered_us,
        runs=one.runs,
        cause=cause,
        target=one.target,
    )


def next_due(evaluations: Iterable[Evaluation], now_us: int) -> int | None:
    """Return the first moment to come at which something promised is due."""
    every = list(evaluations)
    is_open = [one for one in every if one.state in _OPEN]
    if every and every[-1].kind == Freshness.__struct_config__.tag:
        is_open.append(every[-1])  # kept until the next write is due
    dues = [one.due_us for one in is_open if one.due_us is not None and one.due_us >= now_us]
    return min(dues, default=None)


def wakes_us(policy: Policy, evaluations: Iterable[Evaluation], now_us: int) -> int:
    """Return when to look again though nothing is recorded: a verdict may change by the clock."""
    found = [now_us + _RECHECK_US]
    if isinstance(policy.objective, LEVELS):
        found.append(now_us + _ROLLING_US)
    expires_us = int(policy.expires_after.total_seconds() * 1e6)
    for one in evaluations:
        if one.due_us is not None and one.due_us >= now_us:
            found.append(one.due_us + 1)
        elif one.state is State.PENDING:
            found.append(now_us + _ROLLING_US)
        if one.state is State.BREACHED and one.breached_us is not None:
            found.append(one.breached_us + expires_us + 1)
    return min(us for us in found if us > now_us)
