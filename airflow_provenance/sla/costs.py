"""What runs cost: the seconds for which they held a slot, or a number of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.sla.evaluation import Evaluation, Maker, State
from airflow_provenance.sla.run_kinds import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.sla.facts import Provenance, RunFact
    from airflow_provenance.sla.objectives import Cost
    from airflow_provenance.sla.policy import Policy


def cost(
    policy: Policy, promised: Cost, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """Slot-seconds, or a number of the user's, of all tries of a run together, times a price."""
    target = policy.target
    if target.kind == "dag":
        tries = provenance.task_runs(target.dag or "", since_us)
        whole = {run.run_id: run for run in provenance.runs(target, since_us)}
    else:
        tries, whole = provenance.runs(target, since_us), {}
    groups: dict[str, list[RunFact]] = {}
    for run in counted(policy, tries):
        groups.setdefault(run.run_id or str(run.id), []).append(run)
    found = []
    for run_id, runs in groups.items():
        period = f"{target.dag}/{run_id}" if target.kind == "dag" else f"{runs[0].job}/{run_id}"
        spent = _spent(promised, runs, maker.now_us)
        if spent is None:
            reason = f"no run says {promised.metric}"
            found.append(maker.make(State.NO_DATA, period, runs, reason=reason))
            continue
        amount, at_us, broke_us = spent
        last = whole.get(run_id, runs[-1])
        one = maker.measured(
            period,
            amount,
            at_us,
            runs,
            at_most=promised.at_most,
            unit=promised.unit,
            broke_us=broke_us,
        )
        if one.state is State.OK and not (
            last.state.is_done and all(r.state.is_done for r in runs)
        ):
            one = maker.make(
                *(State.PENDING, period, runs),
                observed=one.observed,
                threshold=one.threshold,
                unit=one.unit,
            )
        found.append(one)
    return found


def _spent(
    promised: Cost, runs: Sequence[RunFact], now_us: int
) -> tuple[float, int, int | None] | None:
    """Return what was spent, until when, and when that went over what was promised."""
    if promised.metric != "slot_seconds":
        known = [
            (run.ended_us or now_us, run.numbers[promised.metric])
            for run in runs
            if promised.metric in run.numbers
        ]
        if not known:
            return None
        total, broke_us = 0.0, None
        for at_us, number in sorted(known):
            total += number * promised.price
            if broke_us is None and total > promised.at_most:
                broke_us = at_us
        return total, max(known)[0], broke_us
    spans = [
        (run.started_us, now_us if run.ended_us is None else run.ended_us, run.slots)
        for run in runs
        if run.started_us is not None
    ]
    if not spans:
        return None
    rate = promised.price
    total = sum((end - start) / 1e6 * slots for start, end, slots in spans) * rate
    return total, max(end for _, end, _ in spans), _crossing(spans, promised.at_most / rate)


def _crossing(spans: list[tuple[int, int, int]], limit: float) -> int | None:
    """Return when slots that were taken over spans of time had added up to more than a limit."""
    changes = sorted([(a, n) for a, _, n in spans] + [(b, -n) for _, b, n in spans])
    spent, busy, last_us = 0.0, 0, changes[0][0]
    for us, change in changes:
        step = (us - last_us) / 1e6 * busy
        if busy and spent + step > limit:
            return last_us + int((limit - spent) / busy * 1e6)
        spent, last_us, busy = spent + step, us, busy + change
    return None
