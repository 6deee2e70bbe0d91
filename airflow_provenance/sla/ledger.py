"""What a store keeps of expected runs and of what kept DAGs from running, as facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.sla.causes import PAUSED
from airflow_provenance.sla.facts import Condition, ExpectedRun
from airflow_provenance.sla.recorded import RecordedProvenance

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.store.base import Store

_DAY_US = 86_400_000_000
_USUAL_US = 41 * _DAY_US  # what is usual is learned from the runs of this time


def recorded_with_ledger(
    store: Store, dag_ids: Collection[str], since_us: int, *, is_brief: bool = False
) -> RecordedProvenance:
    """Return the facts of a store, with what was expected of some DAGs since a time.

    With `is_brief`, for promises alone that `evaluate.needs_documents` says no of.
    """
    expected: dict[str, list[ExpectedRun]] = {}
    for row in store.expected_runs(dag_ids, since_us - _DAY_US):
        one = ExpectedRun(due_us=row.due_us, logical_us=row.logical_us, came_us=row.came_us)
        expected.setdefault(row.dag_id, []).append(one)
    pauses: dict[str, list[tuple[int, int | None]]] = {}
    held: dict[str, list[Condition]] = {dag_id: [] for dag_id in dag_ids}
    for kept in store.conditions(since_us - _DAY_US):
        if kept.kind == PAUSED:
            pauses.setdefault(kept.dag_id, []).append((kept.from_us, kept.until_us))
            continue
        condition = Condition(
            kind=kept.kind, from_us=kept.from_us, until_us=kept.until_us, detail=kept.detail
        )
        for dag_id in [kept.dag_id] if kept.dag_id else list(held):
            held.setdefault(dag_id, []).append(condition)
    return RecordedProvenance(store, expected, pauses, held, is_brief=is_brief)


def with_history(store: Store, policy: Policy, at_us: int) -> RecordedProvenance:
    """Return the facts that say what is usual of a promise's DAG, and what held it up."""
    dags = {policy.target.dag} if policy.target.dag is not None else set[str]()
    return recorded_with_ledger(store, dags, at_us - _USUAL_US)
