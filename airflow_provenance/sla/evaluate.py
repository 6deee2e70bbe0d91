"""``evaluate(policy, provenance, now)``: how a promise stands. Pure: it reads no clock, no store.

What is evaluated is every period that was open at, or has come due since, ``since_us``. The same
facts and the same moment give the same verdicts, so the live loop, the catch-up after an outage and
a back-test are this one function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.sla import (
    costs,
    dataset_kinds,
    deadlines,
    quality_kind,
    ratio_kinds,
    run_kinds,
)
from airflow_provenance.sla.at_risk import with_predictions
from airflow_provenance.sla.durations import microseconds
from airflow_provenance.sla.evaluation import Evaluation, Maker, State
from airflow_provenance.sla.facts import AsOf
from airflow_provenance.sla.left_out import left_out
from airflow_provenance.sla.objectives import (
    Completeness,
    ConsecutiveMisses,
    Cost,
    DataQuality,
    Deadline,
    Duration,
    EndToEndLatency,
    Freshness,
    MissingRun,
    QueueLatency,
    SchemaContract,
    StartDelay,
    SuccessRatio,
    Throughput,
    Volume,
)
from airflow_provenance.sla.prediction import Known
from airflow_provenance.sla.recorded_versions import Asked
from airflow_provenance.sla.since import done_since

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.sla.facts import Provenance
    from airflow_provenance.sla.policy import Policy

LOOKBACK_US = 8 * 86_400_000_000

_KINDS: dict[type, Callable[..., list[Evaluation]]] = {
    Duration: run_kinds.duration,
    Deadline: deadlines.deadline,
    StartDelay: run_kinds.start_delay,
    QueueLatency: run_kinds.queue_latency,
    MissingRun: deadlines.missing_run,
    Freshness: dataset_kinds.freshness,
    Volume: dataset_kinds.volume,
    Completeness: dataset_kinds.completeness,
    Throughput: run_kinds.throughput,
    SuccessRatio: ratio_kinds.success_ratio,
    DataQuality: quality_kind.data_quality,
    SchemaContract: dataset_kinds.schema_contract,
    EndToEndLatency: dataset_kinds.end_to_end_latency,
    Cost: costs.cost,
}


def _function(objective: Any) -> Callable[..., list[Evaluation]]:
    if isinstance(objective, Duration) and objective.since != "start":
        return done_since
    return _KINDS[type(objective)]


def evaluate(
    policy: Policy,
    provenance: Provenance,
    now_us: int,
    since_us: int | None = None,
    known: Known | None = None,
) -> list[Evaluation]:
    """Return how a promise stood at a moment, period by period, the oldest first.

    Args:
        policy: the promise.
        provenance: what was recorded; what is later than ``now_us`` is not looked at.
        now_us: the moment.
        since_us: from when on periods are told, as from when a promise is in force; None: eight
            days before, and no deadline before anything was known of what it is about.
        known: what predictions go by at this moment, to share it between promises.
    """
    maker, seen = Maker(policy, now_us), AsOf(provenance, now_us)
    since_us = _since(policy, seen, now_us - LOOKBACK_US) if since_us is None else since_us
    objective: Any = policy.objective
    if isinstance(objective, ConsecutiveMisses):
        found = _in_a_row(policy, objective, seen, maker, since_us)
    else:
        found = _function(objective)(policy, objective, seen, maker, since_us)
    if policy.at_risk is not None:
        found = with_predictions(policy, seen, known or Known(seen, now_us), found)
    found = found or [maker.nothing("no run of this kind is known")]
    is_checked = isinstance(objective, DataQuality) and policy.target.dataset is not None
    if is_checked or any(one.runs for one in found):
        return found
    # Nothing that was recorded counts: say what there is beside it.
    aside = left_out(policy, seen, since_us)
    return [
        msgspec.structs.replace(one, reason="; ".join(filter(None, (one.reason, aside))))
        for one in found
    ]


def asks(policy: Policy, now_us: int, since_us: int) -> Asked:
    """Return what an evaluation looks at, to read that of many promises together."""
    objective, before = policy.objective, 0
    if isinstance(objective, Volume):
        before = dataset_kinds.USUAL_OF
    elif isinstance(objective, Freshness | SchemaContract):
        before = dataset_kinds.FEW_BEFORE
    checks = isinstance(objective, DataQuality)
    return Asked(asks_from_us(policy, now_us, since_us), before, checks)


def asks_from_us(policy: Policy, now_us: int, since_us: int) -> int:
    """Return from when on an evaluation looks at runs, to read those of many promises together."""
    objective = getattr(policy.objective, "of", None) or policy.objective
    if isinstance(policy.objective, SuccessRatio):
        return min(since_us, now_us - microseconds(policy.objective.window))
    if isinstance(objective, Deadline):  # from the period before the first; there are weekends
        return since_us - 5 * deadlines.DAY_US
    return since_us - deadlines.DAY_US if isinstance(objective, MissingRun) else since_us


def needs_documents(policy: Policy) -> bool:
    """Whether an evaluation looks at more of runs than their briefs hold: see `formats.brief`."""
    objective: Any = policy.objective
    if isinstance(objective, ConsecutiveMisses):
        objective = objective.of
    if isinstance(objective, DataQuality):  # of a dataset, checks are asked for apart from runs
        return policy.target.dataset is None
    if isinstance(objective, Completeness):
        return objective.of == "rows"
    if isinstance(objective, Cost):
        return objective.metric != "slot_seconds"
    return policy.at_risk is not None or isinstance(objective, SchemaContract | Throughput)


def _since(policy: Policy, seen: AsOf, since_us: int) -> int:
    """Return from when on to look: nothing was broken before anybody watched."""
    objective = getattr(policy.objective, "of", policy.objective)
    if not isinstance(objective, Deadline):
        return since_us
    if policy.target.dataset is not None:
        known = [one.at_us for one in seen.writes(policy.target.dataset)]
    else:
        runs = seen.runs(policy.target, since_us)
        known = [run.known_us if run.due_us is None else run.due_us for run in runs]
    return max(since_us, min(known, default=since_us))


def _in_a_row(
    policy: Policy, objective: ConsecutiveMisses, seen: AsOf, maker: Maker, since_us: int
) -> list[Evaluation]:
    if objective.of is None:
        if policy.target.dataset is not None:
            return [maker.nothing("a dataset does not fail: say of what (of)")]
        count = objective.count
        return ratio_kinds.failures_in_a_row(policy, count, seen, maker, since_us)
    each = msgspec.structs.replace(policy, objective=objective.of)
    judged = [
        (one.is_miss, one.breached_us or one.due_us or maker.now_us, one.runs)
        for one in _function(objective.of)(
            each, objective.of, seen, Maker(each, maker.now_us), since_us
        )
        if one.state in _JUDGED
    ]
    return [ratio_kinds.in_a_row(maker, objective.count, judged)]


_JUDGED = {State.OK, State.BREACHED, State.RECOVERED, State.EXPIRED}
