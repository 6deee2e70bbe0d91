"""What the store in memory keeps of promises."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.store.promises import OPEN, ConditionRow, ExpectedRow, PolicyRow, in_force

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from airflow_provenance.domain.evaluation_change import EvaluationChange


class MemoryPromises:
    """See `store.promises.PromiseStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._policies: dict[tuple[str, str], PolicyRow] = {}
        self._changes: list[EvaluationChange] = []
        self._last: dict[tuple[str, str, str], EvaluationChange] = {}
        self._expectations: dict[tuple[str, int], ExpectedRow] = {}
        self._conditions: dict[tuple[str, str, int], ConditionRow] = {}

    def put_policies(self, rows: Sequence[PolicyRow], at_us: int) -> None:
        for row in in_force(self._policies.values(), rows, at_us):
            self._policies[row.policy_id, row.revision] = row

    def policies(self) -> list[PolicyRow]:
        return [row for _, row in sorted(self._policies.items()) if row.active]

    def add_changes(
        self,
        changes: Sequence[EvaluationChange],
        next_us: Mapping[tuple[str, str], int | None],
        at_us: int,
    ) -> list[EvaluationChange]:
        written = []
        for one in changes:
            key = one.policy_id, one.revision, one.period
            if (last := self._last.get(key)) is not None and last.state == one.state:
                continue
            seq = self._changes[-1].seq + 1 if self._changes else 1
            self._last[key] = row = msgspec.structs.replace(one, seq=seq, at_us=at_us)
            self._changes.append(row)
            written.append(row)
        for pair, us in next_us.items():
            if pair in self._policies:
                self._policies[pair] = msgspec.structs.replace(self._policies[pair], next_us=us)
        return written

    def evaluation_changes(self, after_seq: int = 0, limit: int = 1000) -> list[EvaluationChange]:
        first = bisect_right(self._changes, after_seq, key=lambda one: one.seq)
        return self._changes[first : first + limit]

    def latest_changes(self, since_us: int = 0) -> list[EvaluationChange]:
        found = [one for one in self._last.values() if one.at_us >= since_us or one.state in OPEN]
        return sorted(found, key=lambda one: one.seq)

    def expire_promises(self, before_us: int) -> int:
        kept = [one for one in self._changes[:-1] if one.at_us >= before_us or self._is_open(one)]
        gone = len(self._changes[:-1]) - len(kept)
        self._changes = [*kept, *self._changes[-1:]]
        told = {(one.policy_id, one.revision, one.period) for one in self._changes}
        self._last = {key: one for key, one in self._last.items() if key in told}
        revisions = {key[:2] for key in told}
        self._policies = {
            key: row
            for key, row in self._policies.items()
            if row.active or row.since_us >= before_us or key in revisions
        }
        self._expectations = {
            key: row for key, row in self._expectations.items() if row.due_us >= before_us
        }
        self._conditions = {
            key: one
            for key, one in self._conditions.items()
            if one.until_us is None or one.until_us >= before_us
        }
        return gone

    def _is_open(self, one: EvaluationChange) -> bool:
        return one.state in OPEN and self._last[one.policy_id, one.revision, one.period] == one

    def put_expected(self, dag_id: str, after_us: int, rows: Sequence[ExpectedRow]) -> None:
        for key in [one for one in self._expectations if one[0] == dag_id and one[1] > after_us]:
            del self._expectations[key]
        self._expectations |= {(row.dag_id, row.due_us): row for row in rows}

    def expected_runs(self, dag_ids: Collection[str], since_us: int) -> list[ExpectedRow]:
        wanted = set(dag_ids)
        return [
            row
            for (dag_id, due_us), row in sorted(self._expectations.items())
            if dag_id in wanted and due_us >= since_us
        ]

    def put_conditions(self, rows: Iterable[ConditionRow]) -> None:
        self._conditions |= {(one.dag_id, one.kind, one.from_us): one for one in rows}

    def conditions(self, since_us: int) -> list[ConditionRow]:
        return sorted(
            (
                one
                for one in self._conditions.values()
                if one.until_us is None or one.until_us >= since_us
            ),
            key=lambda one: (one.from_us, one.dag_id, one.kind),
        )
