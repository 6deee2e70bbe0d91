"""What the store in memory keeps of promises."""

from __future__ import annotations

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
            seq = len(self._changes) + 1
            self._last[key] = row = msgspec.structs.replace(one, seq=seq, at_us=at_us)
            self._changes.append(row)
            written.append(row)
        for pair, us in next_us.items():
            if pair in self._policies:
                self._policies[pair] = msgspec.structs.replace(self._policies[pair], next_us=us)
        return written

    def evaluation_changes(self, after_seq: int = 0, limit: int = 1000) -> list[EvaluationChange]:
        return self._changes[max(after_seq, 0) :][:limit]

    def latest_changes(self, since_us: int = 0) -> list[EvaluationChange]:
        found = [one for one in self._last.values() if one.at_us >= since_us or one.state in OPEN]
        return sorted(found, key=lambda one: one.seq)

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
