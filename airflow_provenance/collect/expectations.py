"""Keeps in our store what Airflow's schedules ask for, and what keeps DAGs from running.

Read at intervals while Airflow's database can be reached, some time ahead: what is expected stays
known while it cannot, and whatever becomes of the DAG. A condition is kept from when it was first
seen, or when it was last seen not to be, until it is seen no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from airflow_provenance.sla import causes
from airflow_provenance.store.promises import ConditionRow, ExpectedRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from airflow_provenance.collect.airflow_expected import DagRunSeen, Seen
    from airflow_provenance.store.promises import PromiseStore

_DAY_US = 86_400_000_000
AHEAD_US = 2 * _DAY_US
BACK_US = 8 * _DAY_US
# Who did not look for so long asks the store again: another host may have led meanwhile.
_STALE_US = 60_000_000
_NEAR_US = 1_000_000


class AirflowState(Protocol):
    """What is asked of Airflow; see `collect.airflow_expected`."""

    def conditions_now(self, dag_ids: Collection[str]) -> list[Seen]:
        """Return what keeps these DAGs from running at this moment."""

    def scheduler_gaps(self, since_us: int, now_us: int) -> list[tuple[int, int | None]]:
        """Return from when to when no scheduler lived; None: none does now."""

    def scheduled_runs(self, dag_ids: Collection[str], since_us: int) -> list[DagRunSeen]:
        """Return the runs that schedules and assets made that were due since a time."""

    def Timetables(self) -> Any:  # noqa: N802 - a class of the module
        """Return what tells the schedules."""


class Expectations:
    """The ledger of expected runs.

    Args:
        store: where it is kept.
        airflow: whom to ask.
    """

    def __init__(self, store: PromiseStore, airflow: AirflowState) -> None:
        self._store, self._airflow = store, airflow
        self._timetables = airflow.Timetables()
        self._looked_us: int | None = None
        self._open: dict[tuple[str, str], ConditionRow] = {}
        self._rows: dict[str, dict[int, ExpectedRow]] = {}

    def observe(self, dag_ids: Collection[str], now_us: int, last_us: int | None) -> set[str]:
        """Look at Airflow; return the DAGs of which something changed.

        Args:
            dag_ids: those that something is promised of.
            now_us: the moment.
            last_us: when somebody looked before, if this process did not.

        Raises:
            StoreUnavailableError: a database cannot be read.
        """
        self._remember(dag_ids, now_us)
        before_us = last_us if self._looked_us is None else self._looked_us
        changed = self._note(self._airflow.conditions_now(dag_ids), dag_ids, now_us, before_us)
        if self._note_scheduler(now_us):
            changed |= set(dag_ids)
        changed |= self._expect(dag_ids, now_us)
        self._looked_us = now_us
        return changed

    def unreachable(self, now_us: int) -> bool:
        """Keep that Airflow's database cannot be read; return whether that is new."""
        key = "", causes.AIRFLOW_UNREACHABLE
        if key in self._open:
            return False
        from_us = now_us if self._looked_us is None else self._looked_us
        self._open[key] = ConditionRow(dag_id="", kind=key[1], from_us=from_us)
        self._store.put_conditions([self._open[key]])
        return True

    def _remember(self, dag_ids: Collection[str], now_us: int) -> None:
        """Read from the store what is kept there, unless that is known."""
        if self._looked_us is None or now_us - self._looked_us > _STALE_US:
            open_ = [one for one in self._store.conditions(now_us) if one.until_us is None]
            self._open = {(one.dag_id, one.kind): one for one in open_}
            self._rows = {}
        unknown = [one for one in dag_ids if one not in self._rows]
        if unknown:
            self._rows |= {one: {} for one in unknown}
            for row in self._store.expected_runs(unknown, now_us - BACK_US):
                self._rows[row.dag_id][row.due_us] = row

    def _note(
        self,
        seen: Iterable[Seen],
        dag_ids: Collection[str],
        now_us: int,
        before_us: int | None,
    ) -> set[str]:
        holds = {(one.dag_id, one.kind): one for one in seen}
        written = []
        for key, one in holds.items():
            if key in self._open:
                continue
            from_us = one.from_us if one.kind == causes.PAUSED else before_us
            if from_us is None:
                from_us = now_us if before_us is None else before_us
            row = ConditionRow(dag_id=one.dag_id, kind=one.kind, from_us=from_us, detail=one.detail)
            self._open[key] = row
            written.append(row)
        for key, row in list(self._open.items()):
            is_whole = row.kind == causes.AIRFLOW_UNREACHABLE
            if is_whole or (key not in holds and row.dag_id in dag_ids):
                written.append(msgspec.structs.replace(row, until_us=now_us))
                del self._open[key]
        self._store.put_conditions(written)
        return {row.dag_id for row in written}

    def _note_scheduler(self, now_us: int) -> bool:
        gaps = self._airflow.scheduler_gaps(now_us - BACK_US, now_us)
        rows = [
            ConditionRow(dag_id="", kind=causes.SCHEDULER_DOWN, from_us=a, until_us=b)
            for a, b in gaps
        ]
        known = {
            one.from_us: one
            for one in self._store.conditions(now_us - BACK_US)
            if one.kind == causes.SCHEDULER_DOWN
        }
        written = [one for one in rows if known.get(one.from_us) != one]
        # One that hung and goes on has no gap in what it tells afterwards: it ended by now.
        written += [
            msgspec.structs.replace(one, until_us=now_us)
            for from_us, one in known.items()
            if one.until_us is None and from_us not in {gap[0] for gap in gaps}
        ]
        self._store.put_conditions(written)
        return bool(written)

    def _expect(self, dag_ids: Collection[str], now_us: int) -> set[str]:
        changed = set()
        expected = self._timetables.expected(dag_ids, now_us + AHEAD_US)
        came = self._came(dag_ids, now_us)
        for dag_id in dag_ids:
            known = self._rows[dag_id]
            rows = {due: row for due, row in known.items() if due <= now_us}
            # What is not told again has changed: its schedule, or there is none any more.
            for row in expected.get(dag_id, ()):
                if row.due_us > now_us or row.due_us >= now_us - BACK_US:
                    rows.setdefault(row.due_us, row)
            rows = {due: _with_run(row, came.get(dag_id, ())) for due, row in rows.items()}
            rows = {due: row for due, row in rows.items() if due >= now_us - BACK_US}
            if rows == {due: row for due, row in known.items() if due >= now_us - BACK_US}:
                continue
            new = [row for due, row in rows.items() if known.get(due) != row or due > now_us]
            self._store.put_expected(dag_id, now_us, new)
            self._rows[dag_id] = rows
            changed.add(dag_id)
        return changed

    def _came(self, dag_ids: Collection[str], now_us: int) -> dict[str, list[DagRunSeen]]:
        """Return the runs that were made for what was awaited."""
        awaited = [
            row.due_us
            for dag_id in dag_ids
            for row in self._rows[dag_id].values()
            if row.came_us is None and row.due_us <= now_us
        ]
        since_us = min(awaited, default=now_us) - 60_000_000
        found: dict[str, list[DagRunSeen]] = {}
        for one in self._airflow.scheduled_runs(dag_ids, max(since_us, now_us - BACK_US)):
            found.setdefault(one.dag_id, []).append(one)
        return found


def _with_run(row: ExpectedRow, runs: Sequence[DagRunSeen]) -> ExpectedRow:
    if row.came_us is not None:
        return row
    came = [one.came_us for one in runs if abs(one.due_us - row.due_us) < _NEAR_US]
    return msgspec.structs.replace(row, came_us=min(came)) if came else row
