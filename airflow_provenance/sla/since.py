"""Done so long after a run was due: a duration that counts from before the run's start.

What has not begun is late all the same, so it is looked for here: a task of which there is no run
yet is awaited from its DAG run's time on.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.sla import causes
from airflow_provenance.sla.durations import microseconds
from airflow_provenance.sla.evaluation import Evaluation, Maker, State
from airflow_provenance.sla.policy import Target
from airflow_provenance.sla.run_kinds import counted, instances

if TYPE_CHECKING:
    from airflow_provenance.sla.facts import Provenance, RunFact
    from airflow_provenance.sla.objectives import Duration
    from airflow_provenance.sla.policy import Policy


def done_since(
    policy: Policy, promised: Duration, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """Judge each DAG run, or all instances of a task in one, by when the last succeeded."""
    limit_us, found = microseconds(promised.at_most), []
    runs = counted(policy, provenance.runs(policy.target, since_us))
    last = [(tries[-1], tries) for tries in instances(runs)]
    last.sort(key=lambda one: (one[0].run_id or str(one[0].id), one[0].map_index))
    begun: set[str] = set()
    for run_id, group in groupby(last, key=lambda one: one[0].run_id or str(one[0].id)):
        members = list(group)
        begun.add(run_id)
        every = [run for _, tries in members for run in tries]
        origin_us = _origin_us(promised, every[0])
        if origin_us is not None:
            ends = [run for run, _ in members]
            found.append(_judged(policy, maker, every, ends, run_id, origin_us + limit_us))
    for run in _without(policy, provenance, since_us, begun):
        origin_us = _origin_us(promised, run)
        if origin_us is not None:
            found.append(_judged(policy, maker, [run], [], run.run_id, origin_us + limit_us))
    return sorted(found, key=lambda one: (one.due_us or 0, one.period))


def _origin_us(promised: Duration, run: RunFact) -> int | None:
    if promised.since == "logical_date" and run.logical_us is not None:
        return run.logical_us
    if promised.since == "queued":
        return run.started_us if run.queued_us is None else run.queued_us
    return run.due_us


def _without(
    policy: Policy, provenance: Provenance, since_us: int, begun: set[str]
) -> list[RunFact]:
    """Return the DAG runs that go on and have not come to the task."""
    if policy.target.task is None:
        return []
    whole = Target(dag=policy.target.dag)
    runs = counted(policy, provenance.runs(whole, since_us))
    return [run for run in runs if run.run_id not in begun and not run.state.is_done]


def _judged(
    policy: Policy,
    maker: Maker,
    runs: list[RunFact],
    last: list[RunFact],
    run_id: str,
    due_us: int,
) -> Evaluation:
    """Judge a run by the last tries of its instances; none: it has not come to the task."""
    period = f"{policy.target.job or _name(policy.target)}/{run_id}"
    shared: dict[str, Any] = {"threshold": due_us / 1e6, "unit": "time"}
    if last and all(run.succeeded and run.ended_us is not None for run in last):
        came_us = max(run.ended_us or 0 for run in last)
        return maker.awaited(period, due_us, came_us, runs, observed=came_us / 1e6, **shared)
    failed = [run for run in last if run.failed]
    if failed and policy.on_failure == "ignore":
        return maker.make(State.NO_DATA, period, runs, due_us=due_us, reason="failed: not counted")
    if failed and policy.on_failure == "breach_now":
        failed_us = min(run.ended_us or due_us for run in failed)
        times = {"due_us": due_us, "breached_us": min(failed_us, due_us)}
        said = {"reason": "it failed", "cause": causes.FAILED}
        return maker.make(State.BREACHED, period, runs, waits=True, **said, **shared, **times)
    reason = "it failed" if failed else "it runs" if last else "it has not begun"
    cause = (causes.FAILED if failed else causes.RUNNING) if maker.now_us > due_us else None
    return maker.awaited(period, due_us, None, runs, reason=reason, cause=cause, **shared)


def _name(target: Target) -> str:
    return ".".join(filter(None, msgspec.structs.astuple(target)[:2]))
