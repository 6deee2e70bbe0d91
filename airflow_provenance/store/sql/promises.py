"""What a SQL store keeps of promises."""

from __future__ import annotations

import json
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.store.promises import OPEN, ConditionRow, ExpectedRow, PolicyRow, in_force
from airflow_provenance.store.sql.engine import reading, writing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy.engine import Engine

    from airflow_provenance.store.sql.bulk import Bulk

_POLICY = "policy_id, revision, source, place, body, since_us, next_us, active"
_CHANGE = (
    "seq, at_us, policy_id, revision, period, state, severity, owner, notify, observed, threshold, "
    "unit, due_us, breached_us, detected_us, recovered_us, runs, cause, target"
)
_CHANGE_OF = attrgetter(*_CHANGE.split(", "))
_LISTS = [_CHANGE.split(", ").index(name) for name in ("notify", "runs")]
_EXPECTED = "dag_id, due_us, logical_us, came_us"
_CONDITION = "dag_id, kind, from_us, until_us, detail"
_AT_ONCE = 300
_NAMES = msgspec.json.Decoder(tuple[str, ...])
_NUMBERS = msgspec.json.Decoder(tuple[int, ...])


class SqlPromises:
    """See `store.promises.PromiseStore`."""

    _engine: Engine

    def put_policies(self, rows: Sequence[PolicyRow], at_us: int) -> None:
        with writing(self._engine) as bulk:
            changed = in_force(_policies(bulk), rows, at_us)
            values = [
                tuple(int(v) if isinstance(v, bool) else v for v in _values(row, _POLICY))
                for row in changed
            ]
            _put(bulk, "policy", _POLICY, 2, values)

    def policies(self) -> list[PolicyRow]:
        with reading(self._engine) as bulk:
            return [row for row in _policies(bulk) if row.active]

    def add_changes(
        self,
        changes: Sequence[EvaluationChange],
        next_us: Mapping[tuple[str, str], int | None],
        at_us: int,
    ) -> list[EvaluationChange]:
        written: list[EvaluationChange] = []
        with writing(self._engine) as bulk:
            last = _states(bulk, changes)
            (top,) = bulk.fetch("SELECT coalesce(max(seq), 0) FROM evaluation_change")[0]
            for one in changes:
                key = one.policy_id, one.revision, one.period
                if last.get(key) == one.state:
                    continue
                last[key] = one.state
                seq = int(top) + len(written) + 1
                written.append(msgspec.structs.replace(one, seq=seq, at_us=at_us))
            bulk.insert("evaluation_change", _CHANGE, [_change_values(one) for one in written])
            if next_us:
                bulk.execute(
                    "UPDATE policy SET next_us = ? WHERE policy_id = ? AND revision = ?",
                    [(us, *pair) for pair, us in next_us.items()],
                )
        return written

    def evaluation_changes(self, after_seq: int = 0, limit: int = 1000) -> list[EvaluationChange]:
        query = f"SELECT {_CHANGE} FROM evaluation_change WHERE seq > ? ORDER BY seq LIMIT ?"
        with reading(self._engine) as bulk:
            return [_change(row) for row in bulk.fetch(query, (after_seq, limit))]

    def latest_changes(self, since_us: int = 0) -> list[EvaluationChange]:
        marks = ", ".join("?" * len(OPEN))
        query = (
            f"SELECT {_CHANGE} FROM evaluation_change c WHERE (at_us >= ? OR state IN ({marks})) "
            "AND NOT EXISTS (SELECT 1 FROM evaluation_change n WHERE n.policy_id = c.policy_id "
            "AND n.revision = c.revision AND n.period = c.period AND n.seq > c.seq) ORDER BY seq"
        )
        with reading(self._engine) as bulk:
            return [_change(row) for row in bulk.fetch(query, (since_us, *OPEN))]

    def expire_promises(self, before_us: int) -> int:
        marks = ", ".join("?" * len(OPEN))
        gone = (
            f"FROM evaluation_change WHERE at_us < ? AND (state NOT IN ({marks}) OR EXISTS ("
            "SELECT 1 FROM evaluation_change n WHERE n.policy_id = evaluation_change.policy_id "
            "AND n.revision = evaluation_change.revision AND n.period = evaluation_change.period "
            "AND n.seq > evaluation_change.seq)) "
            "AND seq < (SELECT max(seq) FROM evaluation_change)"
        )
        with writing(self._engine) as bulk:
            (count,) = bulk.fetch(f"SELECT count(*) {gone}", (before_us, *OPEN))[0]
            bulk.execute(f"DELETE {gone}", [(before_us, *OPEN)])
            bulk.execute("DELETE FROM expected_run WHERE due_us < ?", [(before_us,)])
            bulk.execute("DELETE FROM dag_condition WHERE until_us < ?", [(before_us,)])
            bulk.execute(
                "DELETE FROM policy WHERE active = 0 AND since_us < ? AND NOT EXISTS ("
                "SELECT 1 FROM evaluation_change c WHERE c.policy_id = policy.policy_id "
                "AND c.revision = policy.revision)",
                [(before_us,)],
            )
        return int(count)

    def put_expected(self, dag_id: str, after_us: int, rows: Sequence[ExpectedRow]) -> None:
        with writing(self._engine) as bulk:
            bulk.execute(
                "DELETE FROM expected_run WHERE dag_id = ? AND due_us > ?", [(dag_id, after_us)]
            )
            _put(bulk, "expected_run", _EXPECTED, 2, [_values(row, _EXPECTED) for row in rows])

    def expected_runs(self, dag_ids: Collection[str], since_us: int) -> list[ExpectedRow]:
        if not dag_ids:
            return []
        query = (
            f"SELECT {_EXPECTED} FROM expected_run WHERE dag_id IN (%s) AND due_us >= ? "
            "ORDER BY dag_id, due_us"
        )
        with reading(self._engine) as bulk:
            names = bulk.texts()
            rows = bulk.fetch(query % names, (json.dumps(sorted(dag_ids)), since_us))
        return [_row(ExpectedRow, _EXPECTED, row) for row in rows]

    def put_conditions(self, rows: Iterable[ConditionRow]) -> None:
        values = [_values(row, _CONDITION) for row in rows]
        if not values:
            return
        with writing(self._engine) as bulk:
            _put(bulk, "dag_condition", _CONDITION, 3, values)

    def conditions(self, since_us: int) -> list[ConditionRow]:
        query = (
            f"SELECT {_CONDITION} FROM dag_condition WHERE until_us IS NULL OR until_us >= ? "
            "ORDER BY from_us, dag_id, kind"
        )
        with reading(self._engine) as bulk:
            return [_row(ConditionRow, _CONDITION, row) for row in bulk.fetch(query, (since_us,))]


def _policies(bulk: Bulk) -> list[PolicyRow]:
    rows = bulk.fetch(f"SELECT {_POLICY} FROM policy ORDER BY policy_id, revision")
    return [_row(PolicyRow, _POLICY, (*row[:-1], bool(row[-1]))) for row in rows]


def _states(bulk: Bulk, changes: Sequence[EvaluationChange]) -> dict[tuple[str, str, str], str]:
    """Return the last state of each policy, revision and period among these."""
    found = {}
    keys = sorted({(one.policy_id, one.revision, one.period) for one in changes})
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        places = ", ".join(["(?, ?, ?)"] * len(some))
        query = (
            "SELECT policy_id, revision, period, state FROM evaluation_change WHERE seq IN ("
            "SELECT max(seq) FROM evaluation_change WHERE (policy_id, revision, period) IN "
            f"({'VALUES ' if _is_sqlite(bulk) else ''}{places}) "
            "GROUP BY policy_id, revision, period)"
        )
        for row in bulk.fetch(query, [value for key in some for value in key]):
            found[row[0], row[1], row[2]] = row[3]
    return found


def _is_sqlite(bulk: Bulk) -> bool:
    return type(bulk).__name__ == "SqliteBulk"


def _put(bulk: Bulk, table: str, columns: str, keys: int, rows: Sequence[Sequence[Any]]) -> None:
    if not rows:
        return
    names = columns.split(", ")
    places = ", ".join("?" * len(names))
    sets = ", ".join(f"{name} = excluded.{name}" for name in names[keys:])
    bulk.execute(
        f"INSERT INTO {table} ({columns}) VALUES ({places}) "
        f"ON CONFLICT ({', '.join(names[:keys])}) DO UPDATE SET {sets}",
        rows,
    )


def _values(row: Any, columns: str) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in columns.split(", "))


def _row(kind: Any, columns: str, row: Sequence[Any]) -> Any:
    return kind(**dict(zip(columns.split(", "), row, strict=True)))


def _change_values(one: EvaluationChange) -> tuple[Any, ...]:
    values = list(_CHANGE_OF(one))
    for place in _LISTS:
        values[place] = json.dumps(values[place])
    return tuple(values)


def _change(row: Sequence[Any]) -> EvaluationChange:
    values = dict(zip(_CHANGE.split(", "), row, strict=True))
    values["notify"] = _NAMES.decode(values["notify"])
    values["runs"] = _NUMBERS.decode(values["runs"])
    return EvaluationChange(**values)
