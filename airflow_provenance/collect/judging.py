"""How a tick judges a promise: at every moment since the last tick, from facts read for many.

`evaluator` says which promises are looked at, and keeps what is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from airflow_provenance.sla.changes import LEVELS, changes_of, next_due, wakes_us
from airflow_provenance.sla.evaluate import LOOKBACK_US, asks, evaluate, needs_documents
from airflow_provenance.sla.facts import AsOf
from airflow_provenance.sla.ledger import recorded_with_ledger
from airflow_provenance.sla.objectives import ConsecutiveMisses, MissingRun
from airflow_provenance.sla.prediction import Known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.sla.calendar import Excusal
    from airflow_provenance.sla.facts import Provenance
    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.store.base import Store

_MOMENTS_AT_MOST = 200


class Watched(NamedTuple):
    """A promise in force."""

    policy: Policy
    revision: str
    since_us: int


class Span(NamedTuple):
    """What time a tick looks at: up to now, back to where the last one was."""

    now_us: int
    from_us: int  # where the first tick took up
    mark_us: int | None  # up to when all was looked at

    def since_us(self, one: Watched) -> int:
        """Return from when on a promise's periods are looked at: some may not have expired."""
        lookback_us = int(one.policy.expires_after.total_seconds() * 1e6) + 86_400_000_000
        return max(one.since_us, self.from_us - max(LOOKBACK_US, lookback_us))


class Judged(NamedTuple):
    """What changed of a promise, when it is due next, and when to look again."""

    changes: list[EvaluationChange]
    due_us: int | None
    wake_us: int


def together(one: Watched) -> tuple[bool, str, str]:
    """Return what promises are ordered by, so that those about the same are looked at together."""
    target, needs = one.policy.target, needs_documents(one.policy)
    return needs, target.dag or target.dataset or target.job or "", one.policy.id


def dags_of(watched: Iterable[Watched]) -> set[str]:
    """Return the DAGs that something is promised of."""
    return {dag for one in watched if (dag := one.policy.target.dag) is not None}


def facts_for(store: Store, some: Sequence[Watched], span: Span) -> Provenance:
    """Return the facts that some promises look at; their runs are read together."""
    since_us = min(map(span.since_us, some))
    is_brief = not any(needs_documents(one.policy) for one in some)
    provenance = recorded_with_ledger(store, dags_of(some), since_us, is_brief=is_brief)
    first_us = span.now_us if span.mark_us is None else min(span.mark_us, span.now_us)
    provenance.prepare(
        (one.policy.target, asks(one.policy, first_us, span.since_us(one))) for one in some
    )
    return provenance


def judge(
    one: Watched,
    excused: Sequence[Excusal],
    told: Mapping[str, EvaluationChange],
    provenance: Provenance,
    predicted: dict[int, Known],
    span: Span,
) -> Judged:
    """Judge a promise.

    Args:
        one: the promise.
        excused: what people excused by hand.
        told: the last change of each of its periods.
        provenance: see `facts_for`.
        predicted: what predictions go by, by moment, which promises share.
        span: the time.
    """
    policy, since_us, now_us = one.policy, span.since_us(one), span.now_us
    if excused:
        policy = msgspec.structs.replace(policy, excusals=(*policy.excusals, *excused))
    known = dict(told)
    seq = max((old.seq for old in known.values()), default=0)
    changes: list[EvaluationChange] = []
    evaluations: list[Any] = []
    for moment_us in [*_moments(one, provenance, known, span), now_us]:
        if policy.at_risk is not None and moment_us not in predicted:
            predicted[moment_us] = Known(AsOf(provenance, moment_us), moment_us)
        learned = predicted.get(moment_us)
        evaluations = evaluate(policy, provenance, moment_us, since_us, learned)
        for change in changes_of(policy, evaluations, known, moment_us, one.since_us):
            seq += 1
            values: dict[str, Any] = {"seq": seq}
            if change.detected_us is not None and moment_us == change.detected_us:
                values["detected_us"] = now_us
            known[change.period] = msgspec.structs.replace(change, **values)
            changes.append(known[change.period])
    wake_us = wakes_us(policy, evaluations, now_us)
    if isinstance(policy.objective, MissingRun | ConsecutiveMisses):
        coming = provenance.expected(policy.target.dag or "", now_us, now_us + LOOKBACK_US)
        wake_us = min([wake_us, *[run.due_us + 1 for run in coming or ()]])
    return Judged(changes, next_due(evaluations, now_us), wake_us)


def _moments(
    one: Watched, provenance: Provenance, known: Mapping[str, EvaluationChange], span: Span
) -> list[int]:
    """Return the moments since the last tick at which a level may have changed."""
    if not isinstance(one.policy.objective, LEVELS):
        return []
    last_us = max((change.at_us for change in known.values()), default=0)
    from_us = max(one.since_us, span.mark_us or span.now_us, last_us)
    runs = provenance.runs(one.policy.target, from_us)
    ends = {run.ended_us for run in runs if run.ended_us is not None}
    return sorted(us for us in ends if from_us < us < span.now_us)[-_MOMENTS_AT_MOST:]
