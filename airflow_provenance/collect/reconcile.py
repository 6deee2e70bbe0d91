"""Airflow's own record against the store, try by try: what lacks is filled in, and is marked so.

A note of what the record says is ingested like any other, only marked ``synthesised``. Written of
the same row it has the same bytes, so it is one entry however often and by whomever it is written;
what events and hooks say wins over it (`domain.synthesised`).

What lacks is of two kinds. *Missing*: an event that should be there, of the start or the end of a
try. *Filled*: what no event tells, such as since when a task was queued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.collect import airflow_record
from airflow_provenance.domain.identity import DagRunKey, TaskRunKey
from airflow_provenance.domain.run import RunState
from airflow_provenance.domain.synthesised import BEGAN, OVERRIDE, queued_us, scheduled_us
from airflow_provenance.emit.redact import Redactor
from airflow_provenance.formats.notes import (
    DagRunNote,
    Note,
    StateOverrideNote,
    TaskRunNote,
    encode_note,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provenance.collect.airflow_record import DagRunRecord, TryRecord
    from airflow_provenance.domain.clock import Clock
    from airflow_provenance.domain.run import RunDoc
    from airflow_provenance.store.base import RunView, Store

# Airflow's states that are an end; in others something is still to come.
_ENDS = {
    "success": RunState.COMPLETE,
    "failed": RunState.FAIL,
    "skipped": RunState.SKIPPED,
    "upstream_failed": RunState.UPSTREAM_FAILED,
    "removed": RunState.REMOVED,
    "up_for_retry": RunState.UP_FOR_RETRY,
}
# Airflow's history says ``failed`` of a try that was retried, too.
_SAME = {(RunState.UP_FOR_RETRY, RunState.FAIL), (RunState.FAIL, RunState.UP_FOR_RETRY)}
MARK = "reconciled"
# A scheduler's transaction becomes visible later than the time that it writes.
OVERLAP_US = 300_000_000
# An event is sent a moment after what it tells of.
_NEAR_US = 1_000_000


class Gap(msgspec.Struct, frozen=True):
    """What the store lacks of one run.

    Attributes:
        missing: which events: ``start``, ``end``.
        differs: facts that the store has otherwise: name -> (in the store, in Airflow's record).
        notes: what fills it, and makes times exact that are known to the second.
    """

    key: TaskRunKey | DagRunKey
    missing: list[str]
    filled: list[str]
    differs: dict[str, tuple[Any, Any]]
    notes: list[Note]


class Coverage(msgspec.Struct):
    """What a comparison found."""

    runs: int = 0
    gaps: list[Gap] = []
    repaired: int = 0

    @property
    def missing(self) -> int:
        """How many events were missing."""
        return sum(len(gap.missing) for gap in self.gaps)


class Reconciler:
    """Compares, and repairs.

    Args:
        store: what is compared and repaired.
        namespace: of Airflow's jobs.
        clock: says what is recent.
        grace_us: a row that changed later than this ago is left: its events may be on their way.
    """

    def __init__(
        self, store: Store, namespace: str, clock: Clock, grace_us: int = 60_000_000
    ) -> None:
        self._store, self._namespace = store, namespace
        self._clock, self._grace_us = clock, grace_us
        self._redactor = Redactor.configured()

    def run_once(
        self, horizon_us: int, *, should_stop: Callable[[], bool] = lambda: False
    ) -> Coverage:
        """Repair what changed since the last time, or since the horizon."""
        mark_us = self._store.mark(MARK) or 0
        until_us = self._clock.now_us() - self._grace_us
        since_us = max(mark_us - OVERLAP_US, horizon_us)
        coverage = self.compare(since_us, horizon_us, repair=True, should_stop=should_stop)
        if not should_stop() and until_us > mark_us:
            self._store.set_mark(MARK, until_us)
        return coverage

    def compare(
        self,
        since_us: int,
        horizon_us: int,
        *,
        repair: bool,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Coverage:
        """Compare what changed since a time; entries before the horizon would come too late."""
        coverage = Coverage()
        for records in self._records(since_us):
            if should_stop():
                break
            until_us = self._clock.now_us() - self._grace_us
            due = [
                one
                for one in records
                if one.state in _ENDS and horizon_us <= one.updated_us <= until_us
            ]
            gaps = self._gaps(due)
            coverage.runs += len(due)
            coverage.gaps += gaps
            notes = [("N", encode_note(note)) for gap in gaps for note in gap.notes]
            if repair and notes:
                report = self._store.ingest(
                    notes,  # type: ignore[arg-type]
                    received_us=self._clock.now_us(),
                    source="Airflow's own record",
                )
                coverage.repaired += report.ingested
        return coverage

    def _records(self, since_us: int) -> Iterator[Sequence[TryRecord | DagRunRecord]]:
        yield from airflow_record.dag_runs(since_us)
        yield from airflow_record.tries(since_us)

    def _gaps(self, records: Sequence[TryRecord | DagRunRecord]) -> list[Gap]:
        keyed = {self._key(record): record for record in records}
        views = self._store.runs_by_key(keyed)
        docs = self._store.run_docs([view.id for view in views.values()])
        gaps = []
        for key, record in keyed.items():
            view = views.get(key)
            gap = gap_of(key, record, view, docs.get(view.id) if view else None)
            if gap.missing or gap.filled or gap.differs or gap.notes:
                gaps.append(gap)
        return gaps

    def _key(self, record: TryRecord | DagRunRecord) -> TaskRunKey | DagRunKey:
        # Named as events and hooks name them, or they would not join.
        name = self._redactor.name
        names = (name(self._namespace), name(record.dag_id), name(record.run_id))
        if isinstance(record, airflow_record.DagRunRecord):
            return DagRunKey(*names)
        return TaskRunKey(*names, name(record.task_id), record.map_index, record.try_number)


def gap_of(
    key: TaskRunKey | DagRunKey,
    record: TryRecord | DagRunRecord,
    view: RunView | None,
    doc: RunDoc | None,
) -> Gap:
    """Return what the store lacks of a run that has ended, by Airflow's record. Pure."""
    known = _known(view, doc)
    state = _ENDS[record.state or ""]
    recorded = _recorded(record, state)
    said = doc.synthesised if doc else {}
    lacks = {name for name, value in recorded.items() if known.get(name) is None}
    missing = []
    ran = isinstance(key, DagRunKey) or key.try_number > 0
    if ran and record.started_us and not _has_start(key, doc) and BEGAN not in said:
        missing.append("start")
    if isinstance(key, TaskRunKey):  # of these the record is the better witness
        times = recorded.keys() & {"started_at", "ended_at"}
        lacks |= {name for name in times if known.get(name) != recorded[name]}
    if not (doc and (doc.terminal or doc.override)) and "state" not in said:
        missing.append("end")
        lacks.add("state")
    differs = {
        name: (known[name], value)
        for name, value in recorded.items()
        if name not in lacks and known[name] != value and (known[name], value) not in _SAME
    }
    if isinstance(key, DagRunKey):  # one that was run again has the times of its last time
        differs = {name: both for name, both in differs.items() if name == "state"}
    notes: list[Note] = []
    if lacks:
        notes.append(_note(key, record.updated_us, {name: recorded[name] for name in lacks}))
    if "start" in missing:
        began = {"started_at": record.started_us, "state": RunState.RUNNING}
        notes.append(_note(key, record.updated_us, began))
    if "state" in differs and not (OVERRIDE in said and said[OVERRIDE][2] == state):
        notes.append(_override(key, record.updated_us, state))
    if record.is_test:  # which sends no start of a DAG run, and nothing of a task that it skips
        untold = "start" if isinstance(key, DagRunKey) else "" if ran else "end"
        missing = [one for one in missing if one != untold]
    lacked = {name for name in lacks if not _is_near(name, view, recorded[name])}
    filled = sorted(lacked - ({"state"} if "end" in missing else set()))
    return Gap(key, missing, filled, differs, notes)


def _is_near(name: str, view: RunView | None, exact: Any) -> bool:
    """Say whether an event told a time, and Airflow's own is only more exact."""
    if view is None or name not in ("started_at", "ended_at"):
        return False
    told = view.started_us if name == "started_at" else view.ended_us
    return told is not None and abs(told - exact) < _NEAR_US


def _has_start(key: TaskRunKey | DagRunKey, doc: RunDoc | None) -> bool:
    if doc is None:
        return False
    # Of a DAG run the scheduler's hook tells as much as the event.
    noted = doc.noted_start_us if isinstance(key, DagRunKey) else None
    return doc.first_start_us is not None or noted is not None


def _known(view: RunView | None, doc: RunDoc | None) -> dict[str, Any]:
    if view is None or doc is None:
        return {}
    told = doc.synthesised
    return {
        "state": view.state if view.state.is_done else None,
        # An event's time is a stand-in for Airflow's own.
        "started_at": view.started_us if doc.noted_start_us or "started_at" in told else None,
        "ended_at": view.ended_us if doc.noted_end_us or "ended_at" in told else None,
        "scheduled_at": scheduled_us(doc),
        "queued_at": queued_us(doc),
        "hostname": view.hostname,
    }


def _recorded(record: TryRecord | DagRunRecord, state: RunState) -> dict[str, Any]:
    values: dict[str, Any] = {
        "state": state,
        "started_at": record.started_us,
        "ended_at": record.ended_us,
        "queued_at": record.queued_us,
        "scheduled_at": getattr(record, "scheduled_us", None),
        "hostname": getattr(record, "hostname", None),
    }
    return {name: value for name, value in values.items() if value is not None}


def _note(key: TaskRunKey | DagRunKey, at_us: int, facts: dict[str, Any]) -> Note:
    members = {
        (name if name in ("state", "hostname") else f"{name}_us"): value
        for name, value in facts.items()
    }
    if "state" in members:
        members["state"] = members["state"].name
    if isinstance(key, DagRunKey):
        return DagRunNote(**key._asdict(), at_us=at_us, synthesised=True, **members)
    return TaskRunNote(**key._asdict(), at_us=at_us, synthesised=True, **members)


def _override(key: TaskRunKey | DagRunKey, at_us: int, state: RunState) -> Note:
    return StateOverrideNote(
        **key._asdict(),
        at_us=at_us,
        state=state.name,  # type: ignore[arg-type]
        synthesised=True,
    )
