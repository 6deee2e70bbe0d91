"""Note lines: what is written reads back, and what cannot be a note is refused."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given, strategies as st

from airflow_provenance.errors import EventError
from airflow_provenance.formats.notes import (
    DagRunNote,
    Note,
    NoteState,
    StateOverrideNote,
    TaskRunNote,
    decode_note,
    encode_note,
)

names = st.text(min_size=1).filter(lambda text: "\0" not in text and text.isprintable())
LAST_US_OF_9999 = 253_402_300_799_999_999
times = st.integers(0, LAST_US_OF_9999)
states = st.sampled_from(get_args(NoteState))
of_dag_run = {"namespace": names, "dag_id": names, "run_id": names, "at_us": times}
of_task = {
    "task_id": names,
    "map_index": st.integers(-1, 1000),
    "try_number": st.integers(0, 1000),
}
span = {"started_at_us": st.none() | times, "ended_at_us": st.none() | times}
notes = st.one_of(
    st.builds(DagRunNote, **of_dag_run, **span, state=st.none() | states),
    st.builds(
        TaskRunNote,
        **of_dag_run,
        **of_task,
        **span,
        state=st.none() | states,
        hostname=st.none() | names,
    ),
    st.builds(StateOverrideNote, **of_dag_run, state=states, who=st.none() | names),
    st.builds(StateOverrideNote, **of_dag_run, **of_task, state=states, who=st.none() | names),
)


@given(notes)
def test_a_note_reads_back_as_it_was_written(note: Note) -> None:
    payload = encode_note(note)

    assert b"\n" not in payload
    assert decode_note(payload) == note


def test_a_note_of_a_task_run_is_the_json_that_ingest_expects() -> None:
    note = TaskRunNote(
        namespace="flights",
        dag_id="flights_month",
        run_id="manual__1",
        task_id="ingest",
        map_index=-1,
        try_number=2,
        at_us=1_800_000_000_000_000,
        state="FAIL",
        started_at_us=1_799_999_999_000_001,
        hostname="worker-1",
    )

    assert json.loads(encode_note(note)) == {
        "kind": "task_run",
        "namespace": "flights",
        "dagId": "flights_month",
        "runId": "manual__1",
        "taskId": "ingest",
        "mapIndex": -1,
        "tryNumber": 2,
        "at": "2027-01-15T08:00:00.000000Z",
        "startedAt": "2027-01-15T07:59:59.000001Z",
        "state": "FAIL",
        "hostname": "worker-1",
    }


def test_a_time_in_any_zone_is_understood() -> None:
    note = decode_note(json.dumps(dag_run(at="2027-01-15T09:00:00+01:00")).encode())

    assert note.at_us == 1_800_000_000_000_000


def test_members_of_a_later_release_do_not_matter() -> None:
    assert decode_note(json.dumps(dag_run(mood="good")).encode()).dag_id == "flights"


def dag_run(**members: Any) -> dict[str, Any]:
    note = {
        "kind": "dag_run",
        "namespace": "default",
        "dagId": "flights",
        "runId": "manual__1",
        "at": "2027-01-15T08:00:00Z",
        "state": "COMPLETE",
    }
    return {key: value for key, value in {**note, **members}.items() if value is not ...}


@pytest.mark.parametrize(
    ("note", "reason", "text"),
    [
        (b"{", "invalid_json", "JSON"),
        (b'{"kind":"dag_run\xff"}', "invalid_json", "JSON"),
        (b"[]", "invalid_event", "object"),
        (dag_run(kind="other"), "invalid_event", "other"),
        (dag_run(dagId=...), "invalid_event", "dagId"),
        (dag_run(dagId=""), "invalid_event", "dag_id"),
        (dag_run(runId="a\0b"), "invalid_event", "run_id"),
        (dag_run(state="DONE"), "invalid_event", "DONE"),
        (dag_run(at="yesterday"), "invalid_event", "yesterday"),
        (dag_run(at="2027-01-15T08:00:00"), "no_time_zone", "zone"),
        (dag_run(endedAt="2027-01-15T08:00:00"), "no_time_zone", "zone"),
        (dag_run(taskId="ingest"), "invalid_event", "task"),
        (dag_run(kind="task_run"), "invalid_event", "taskId"),
        (dag_run(kind="task_run", taskId="t", mapIndex=-1), "invalid_event", "tryNumber"),
        (dag_run(kind="state_override", state=...), "invalid_event", "state"),
        (dag_run(kind="state_override", taskId="t"), "invalid_event", "tryNumber"),
    ],
)
def test_what_cannot_be_a_note_is_refused_with_a_reason(note: Any, reason: str, text: str) -> None:
    payload = note if isinstance(note, bytes) else json.dumps(note).encode()

    with pytest.raises(EventError, match=text) as caught:
        decode_note(payload)

    assert caught.value.reason == reason
