"""How promises stand by what the service recorded: each one's newest verdict, and what is due next.

`standing` says which verdict that is. Evaluations are kept; why there is no verdict is not, and is
found anew for who asks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.domain.clock import format_time
from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.evaluate import LOOKBACK_US, evaluate
from airflow_provenance.sla.ledger import recorded_with_ledger
from airflow_provenance.sla.policy import from_plain
from airflow_provenance.sla.standing import LastBroken, last_broken, newest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.sla.facts import Provenance
    from airflow_provenance.store.base import Store
    from airflow_provenance.store.promises import PolicyRow

_BACK_US = 90 * 86_400_000_000
# Periods of these have a moment at which they are due, which orders them: one may be judged after
# the next. Those of the others come in the order in which they were written.
_DUE = ("deadline", "duration", "freshness", "missing_run", "queue_latency", "start_delay")
_WITHOUT_VERDICT = ("pending", "no_data", "insufficient_history")


class Stand(NamedTuple):
    """How a promise stands, and why that is no verdict, where it is none.

    Attributes:
        changes: how its periods stand, the oldest first.
        runs: the numbers of all runs that something here tells of.
    """

    row: PolicyRow
    last: EvaluationChange | None
    broken: LastBroken | None
    why: str
    changes: Sequence[EvaluationChange] = ()
    runs: frozenset[int] = frozenset()

    @property
    def state(self) -> str:
        """Its state: pending, where nothing was recorded yet."""
        return "pending" if self.last is None else self.last.state


def stands(store: Store, rows: Sequence[PolicyRow], evaluated_us: int, now_us: int) -> list[Stand]:
    """Return how promises in force stand by what the service recorded.

    Args:
        store: what was recorded.
        rows: the promises.
        evaluated_us: when they were evaluated last.
        now_us: now; what was written long before is not looked at.
    """
    wanted = {(row.policy_id, row.revision) for row in rows}
    changes: dict[tuple[str, str], list[EvaluationChange]] = {}
    for one in store.latest_changes(max(now_us - _BACK_US, 0)):
        key = one.policy_id, one.revision
        if key in wanted and (not one.is_burn or one.state == "at_risk"):  # see `sla.standing`
            changes.setdefault(key, []).append(one)
    dags = {json.loads(row.body)["target"].get("dag", "") for row in rows} - {""}
    provenance = recorded_with_ledger(store, dags, evaluated_us - LOOKBACK_US)
    found = []
    for row in rows:
        of_it = _in_order(row, changes.get((row.policy_id, row.revision), ()))
        last = newest(of_it) if of_it else None
        broken = last_broken(of_it)
        why, runs = "", frozenset(() if last is None else last.runs)
        if last is None or last.state != "ok":
            why, of_why = _why(row, provenance, evaluated_us, last)
            runs = runs.union(of_why)
        if broken is not None:
            runs = runs.union(*(one.runs for one in of_it if one.period == broken.period))
        found.append(Stand(row, last, broken, why, of_it, runs))
    return found


def _in_order(row: PolicyRow, found: Iterable[EvaluationChange]) -> list[EvaluationChange]:
    by_due = json.loads(row.body)["objective"]["kind"] in _DUE
    return sorted(found, key=lambda one: (one.due_us or 0 if by_due else 0, one.seq))


def _why(
    row: PolicyRow, provenance: Provenance, at_us: int, last: EvaluationChange | None
) -> tuple[str, tuple[int, ...]]:
    """Return why a promise stands so, and by which runs: that can be told at any time."""
    try:
        found = evaluate(from_plain(json.loads(row.body)), provenance, at_us)
    except PolicyError as error:
        return str(error), ()
    if last is None or last.state in _WITHOUT_VERDICT:
        one = newest(found)
        return one.reason, one.runs
    same = [one for one in found if one.period == last.period]
    return (same[-1].reason, same[-1].runs) if same else ("", ())


def since_us(one: EvaluationChange) -> int:
    """Return since when a promise stands as it does."""
    return one.recovered_us or one.breached_us or one.at_us


def stand_json(stand: Stand) -> dict[str, Any]:
    """Return how a promise stands, and the promise, as JSON."""
    row, last = stand.row, stand.last
    found: dict[str, Any] = {
        "policy": row.policy_id,
        "revision": row.revision,
        "where": row.place,
        "in_force_since": format_time(row.since_us or None),
        "next_due_at": format_time(row.next_us),
        "promise": json.loads(row.body),
        "state": "pending",
        "since": format_time(row.since_us or None),
        "reason": stand.why,
        "last_broken_at": None if stand.broken is None else format_time(stand.broken.at_us),
        "last_broken_period": None if stand.broken is None else stand.broken.period,
    }
    if last is not None:
        found |= {"since": format_time(since_us(last)), **change_json(last)}
    return found


def change_json(one: EvaluationChange) -> dict[str, Any]:
    """Return how a promise stands for a period, as JSON."""
    return {
        "state": one.state,
        "period": one.period,
        "severity": one.severity,
        "observed": one.observed,
        "threshold": one.threshold,
        "unit": one.unit,
        "due_at": format_time(one.due_us),
        "breached_at": format_time(one.breached_us),
        "detected_at": format_time(one.detected_us),
        "recovered_at": format_time(one.recovered_us),
        "runs": list(one.runs),
        "cause": one.cause,
    }
