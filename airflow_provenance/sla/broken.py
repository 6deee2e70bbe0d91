"""What broke a promise in a period: what was late, which data it was made from, or an error.

`why` and `attribution` say what was late, `lineage.why` what the data came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.errors import PolicyError
from airflow_provenance.lineage.why import why_nodes
from airflow_provenance.sla.evaluate import evaluate
from airflow_provenance.sla.evaluation import Evaluation, State
from airflow_provenance.sla.explanation import OF_DATA, explain_data, last_error
from airflow_provenance.sla.ledger import with_history
from airflow_provenance.sla.objectives import Deadline, Duration
from airflow_provenance.sla.why import Blast, blast_of_data, blast_radius, why_late
from airflow_provenance.sla.words import period_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.lineage.why import Why
    from airflow_provenance.sla.attribution import Attribution
    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.store.base import ProvenanceReader, Store


class Broken(NamedTuple):
    """The verdict, what speaks for its cause (lateness, data, an error, nothing), who is hit."""

    one: Evaluation
    late: Attribution | None = None
    blast: Blast | None = None
    data: Why | None = None
    error: str | None = None
    explanation: str | None = None  # of data, in a line


def broken_period(store: Store, policy: Policy, period: str | None, at_us: int) -> Evaluation:
    """Return the verdict on a period of a promise.

    Args:
        store: what was recorded.
        policy: the promise.
        period: which; None: the newest that was broken, or is at risk.
        at_us: as seen at this moment.

    Raises:
        PolicyError: there is no such period, or none was broken.
    """
    periods = [
        one
        for one in evaluate(policy, with_history(store, policy, at_us), at_us)
        if period in (one.period, period_text(one.period))
        or (period is None and (one.is_miss or one.state is State.AT_RISK))
    ]
    if not periods:
        text = "it was not broken" if period is None else f"no period {period}"
        raise PolicyError(f"{policy.id}: {text}: 'sla evaluate' lists its periods")
    return periods[-1]


def what_broke(
    store: Store,
    seen: ProvenanceReader,
    declared: Iterable[Policy],
    policy: Policy,
    one: Evaluation,
    at_us: int,
) -> Broken:
    """Return what broke a promise.

    Args:
        store: what was recorded, which says what was late.
        seen: what of it who asks may see: data, errors and what is downstream are of that.
        declared: the promises that may be told of as affected.
        policy: the promise.
        one: its verdict on the period.
        at_us: as seen at this moment.

    Raises:
        PolicyError: nothing is known of what it is about.
    """
    if isinstance(policy.objective, Deadline | Duration):
        late = why_late(policy, with_history(store, policy, at_us), one, at_us)
        return Broken(one, late=late, blast=blast_radius(seen, declared, late))
    if isinstance(policy.objective, OF_DATA) and one.runs:
        answer = why_nodes(seen, one.runs)
        wanted = getattr(policy.objective, "assertions", ())
        answer.findings.sort(key=lambda found: found.outcome.name not in wanted)
        return Broken(
            one,
            data=answer,
            blast=blast_of_data(seen, declared, policy, one),
            explanation=explain_data(seen, policy, one.runs, answer),
        )
    return Broken(one, error=last_error(seen, one.runs))
