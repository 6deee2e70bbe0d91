"""Promises about many runs: what part of them succeeds, and how many misses come in a row."""

from __future__ import annotations

import itertools
from statistics import median
from typing import TYPE_CHECKING

from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.run import RunState
from airflow_provenance.sla.burn_rate import Event
from airflow_provenance.sla.evaluation import Evaluation, Maker, State
from airflow_provenance.sla.ratio_windows import spend, window_start_us
from airflow_provenance.sla.run_kinds import counted, instances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.sla.facts import Provenance, RunFact
    from airflow_provenance.sla.objectives import SuccessRatio
    from airflow_provenance.sla.policy import Policy


def outcomes(policy: Policy, provenance: Provenance, since_us: int) -> list[tuple[RunFact, Event]]:
    """Return the last try of each run that ended, and whether it went well.

    What an excusal covers spares the budget, unless the excusal says that it counts.
    """
    found = []
    for tries in instances(counted(policy, provenance.runs(policy.target, since_us))):
        last = tries[-1]
        if last.ended_us is None or not last.state.is_done or last.state is RunState.UP_FOR_RETRY:
            continue
        if last.failed and _is_spared(policy, last.ended_us):
            continue
        found.append((last, Event(last.ended_us, last.succeeded)))
    return sorted(found, key=lambda one: (one[1].at_us, one[0].id))


def _is_spared(policy: Policy, us: int) -> bool:
    return any(not one.counts and one.covers(us, policy.tz) for one in policy.excusals)


def success_ratio(
    policy: Policy, promised: SuccessRatio, provenance: Provenance, maker: Maker, _since_us: int
) -> list[Evaluation]:
    """Good runs of all that ended in the window, which ends now."""
    from_us = window_start_us(policy, promised, maker.now_us)
    ended = [one for one in outcomes(policy, provenance, from_us) if one[1].at_us > from_us]
    runs, period = [run for run, _ in ended], format_time(maker.now_us) or ""
    if len(ended) < promised.min_events:
        reason = f"{len(ended)} of {promised.min_events} runs"
        state = State.INSUFFICIENT_HISTORY if ended else State.NO_DATA
        return [maker.make(state, period, runs, reason=reason, threshold=promised.at_least)]
    spent = spend(promised, [event for _, event in ended], from_us)
    return [
        maker.measured(
            *(period, spent.ratio, maker.now_us, runs),
            at_least=promised.at_least,
            unit="ratio",
            broke_us=spent.broke_us,
            reason=f"budget left: {spent.left:g} {'slices' if promised.slice else 'failures'}",
        )
    ]


def failures_in_a_row(
    policy: Policy, count: int, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """Runs that failed, up to the last that ended."""
    ended = outcomes(policy, provenance, since_us)
    return [in_a_row(maker, count, [(not e.good, e.at_us, (run.id,)) for run, e in ended])]


def in_a_row(
    maker: Maker, count: int, misses: Sequence[tuple[bool, int, tuple[int, ...]]]
) -> Evaluation:
    """Judge the misses up to now: (whether it is one, when it was known, its runs), in order."""
    if not misses:
        return maker.nothing("nothing has ended")
    row: list[tuple[bool, int, tuple[int, ...]]] = []
    for one in misses:
        row = [*row, one] if one[0] else []
    runs = {run for _, _, some in (row or misses[-1:]) for run in some}
    shared = {"observed": float(len(row)), "threshold": float(count), "unit": "misses"}
    period = format_time((row or misses[-1:])[0][1]) or ""
    if len(row) >= count:
        return maker.make(State.BREACHED, period, runs, **shared, breached_us=row[count - 1][1])
    return maker.make(State.OK, period, runs, **shared)


def usual_interval_us(events: Sequence[Event]) -> int | None:
    """Return how far apart events usually are."""
    gaps = [b.at_us - a.at_us for a, b in itertools.pairwise(events)]
    return int(median(gaps)) if gaps else None
