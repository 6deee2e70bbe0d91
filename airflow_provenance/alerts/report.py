"""How far the promises in force were kept, without what somebody has excused; see `attainment`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from airflow_provenance.alerts.excused import Excuses
from airflow_provenance.sla.attainment import By, Line, Promised, Span, attainment
from airflow_provenance.sla.changes import LEVELS
from airflow_provenance.sla.policy import from_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.store.base import Store
    from airflow_provenance.store.promises import PolicyRow

_PAGE = 10_000


def report(
    store: Store,
    rows: Sequence[PolicyRow],
    changes: Iterable[EvaluationChange],
    span: Span,
    by: By,
) -> list[Line]:
    """Return how far promises were kept.

    Args:
        store: has what people excused.
        rows: the promises.
        changes: all that were written of them, in order.
        span: what is looked at.
        by: the stretches that it is cut into.
    """
    policies = {row.policy_id: from_plain(json.loads(row.body)) for row in rows}
    promised = {
        row.policy_id: Promised(
            zone=policies[row.policy_id].tz_name,
            is_level=isinstance(policies[row.policy_id].objective, LEVELS),
            since_us=row.since_us,
        )
        for row in rows
    }
    excused = Excuses(policies, store.actions(span.until_us))
    return attainment(changes, promised, span, by, excused)


def changes_of(store: Store, rows: Iterable[PolicyRow]) -> Iterator[EvaluationChange]:
    """Return all that was written of some promises, in order."""
    wanted = {row.policy_id for row in rows}
    cursor = 0
    while found := store.evaluation_changes(cursor, _PAGE):
        yield from (one for one in found if one.policy_id in wanted)
        cursor = found[-1].seq
