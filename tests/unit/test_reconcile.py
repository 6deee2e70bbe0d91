"""What lacks of a run by Airflow's record, and what fills it; `gap_of` is pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.collect.airflow_record import DagRunRecord, TryRecord
from airflow_provenance.collect.reconcile import gap_of
from airflow_provenance.domain.identity import DagRunKey, TaskRunKey
from airflow_provenance.domain.run import RunState, synthesised
from airflow_provenance.formats.notes import TaskRunNote, encode_note
from airflow_provenance.store.memory import MemoryStore

if TYPE_CHECKING:
    from airflow_provenance.collect.reconcile import Gap
    from airflow_provenance.formats.notes import Note

KEY = TaskRunKey("air", "flights", "r", "ingest", -1, 1)
S = 1_000_000
RECORD = TryRecord(*KEY[1:], "success", 10 * S, 20 * S, 30 * S, 40 * S, "vm", 41 * S)


def gap(store: MemoryStore, record: TryRecord = RECORD) -> Gap:
    view = store.runs_by_key([KEY]).get(KEY)
    return gap_of(KEY, record, view, store.run_docs([view.id])[view.id] if view else None)


def put(store: MemoryStore, *notes: Note) -> int:
    entries = [("N", encode_note(note)) for note in notes]
    return store.ingest(entries, received_us=50 * S).ingested  # type: ignore[arg-type]


def test_a_try_without_any_event_lacks_start_and_end_and_one_repair_fills_it_once() -> None:
    store = MemoryStore()
    found = gap(store)
    assert found.missing == ["start", "end"]

    assert put(store, *found.notes) == len(found.notes)

    assert put(store, *found.notes) == 0
    assert gap(store).notes == []
    view = store.runs_by_key([KEY])[KEY]
    assert (view.state, view.started_us, view.ended_us, view.hostname) == (
        *(RunState.COMPLETE, 30 * S, 40 * S),
        "vm",
    )
    facts = ["state", "started_at", "ended_at", "scheduled_at", "queued_at", "hostname"]
    assert synthesised(store.run_doc(view.id)) == facts


def test_what_a_hook_said_later_wins_over_the_record() -> None:
    store = MemoryStore()
    put(store, *gap(store, RECORD._replace(state="failed")).notes)
    put(store, TaskRunNote(*KEY, at_us=39 * S, state="UP_FOR_RETRY", ended_at_us=39 * S))

    view = store.runs_by_key([KEY])[KEY]

    assert (view.state, view.ended_us) == (RunState.UP_FOR_RETRY, 40 * S)
    assert "state" not in synthesised(store.run_doc(view.id))


def test_a_state_that_was_changed_without_a_hook_is_as_the_record_says() -> None:
    store = MemoryStore()
    put(store, TaskRunNote(*KEY, at_us=40 * S, state="COMPLETE", ended_at_us=40 * S))
    put(store, *gap(store).notes)
    changed = RECORD._replace(state="failed", updated_us=60 * S)
    found = gap(store, changed)
    assert found.differs == {"state": (RunState.COMPLETE, RunState.FAIL)}

    put(store, *found.notes)

    view = store.runs_by_key([KEY])[KEY]
    assert (view.state, view.execution_state) == (RunState.FAIL, RunState.COMPLETE)
    assert view.override == (RunState.FAIL, 60 * S, None)
    assert gap(store, changed).differs == {}
    assert "state" in synthesised(store.run_doc(view.id))


def test_of_a_test_run_only_what_it_sends_can_be_missing() -> None:
    ended = DagRunRecord("flights", "r", "success", None, 30 * S, 40 * S, 41 * S)
    key = DagRunKey("air", "flights", "r")
    assert gap_of(key, ended, None, None).missing == ["start", "end"]
    assert gap_of(key, ended._replace(is_test=True), None, None).missing == ["end"]

    skipped = RECORD._replace(try_number=0, state="skipped")
    skipped_key = KEY._replace(try_number=0)
    assert gap_of(skipped_key, skipped, None, None).missing == ["end"]
    found = gap_of(skipped_key, skipped._replace(is_test=True), None, None)
    assert found.missing == []
    assert found.notes  # it is filled in all the same

    assert gap(MemoryStore(), RECORD._replace(is_test=True)).missing == ["start", "end"]


def test_a_time_that_is_only_not_exact_is_made_exact_and_not_listed() -> None:
    store = MemoryStore()
    put(store, *gap(store).notes)
    ended_us = RECORD.ended_us
    assert ended_us is not None

    near = gap(store, RECORD._replace(ended_us=ended_us + S // 2))
    far = gap(store, RECORD._replace(ended_us=ended_us + 2 * S))

    assert "ended_at" not in near.filled
    assert near.notes
    assert "ended_at" in far.filled
