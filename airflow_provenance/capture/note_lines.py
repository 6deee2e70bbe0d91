"""Note lines: what only the scheduler and the API server are told, straight into their spool.

A DAG run's states, a task that was lost, a state that somebody set. Ingest joins them to runs.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance import settings
from airflow_provenance.capture.instances import task_ref, us_of
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.emit import spool
from airflow_provenance.emit.redact import Redactor
from airflow_provenance.formats.notes import (
    DagRunNote,
    Note,
    StateOverrideNote,
    TaskRunNote,
    encode_note,
)

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provenance.emit.notes import TaskRunNotes
    from airflow_provenance.formats.notes import NoteState

_clock = SystemClock()
# How Airflow's API server begins the message of a DAG run that a user has set.
SET_BY_HAND = "Dag Run's state was manually set"
_MAX_FRAMES = 15
_NAMES = ("namespace", "dag_id", "run_id", "task_id", "hostname", "who")


def note_dag_run(dag_run: Any, msg: str, state: NoteState) -> None:
    """Write a line about a DAG run that is in a state now."""
    if state != "RUNNING" and (msg or "").startswith(SET_BY_HAND):
        _spool_note(
            StateOverrideNote(
                namespace=settings.namespace(),
                dag_id=dag_run.dag_id,
                run_id=dag_run.run_id,
                at_us=_clock.now_us(),
                state=state,
                who=_current_user(),
            )
        )
        return
    _spool_note(
        DagRunNote(
            namespace=settings.namespace(),
            dag_id=dag_run.dag_id,
            run_id=dag_run.run_id,
            at_us=_clock.now_us(),
            state=state,
            started_at_us=us_of(_dag_run_start(dag_run)),
            ended_at_us=None if state == "RUNNING" else us_of(dag_run.end_date),
            queued_at_us=us_of(getattr(dag_run, "queued_at", None)),
        )
    )


def note_set_by_hand(task_instance: Any, state: NoteState) -> None:
    """Write that somebody set the state of a task, and since when it had waited."""
    _spool_note(_task_override(task_instance, state))
    _spool_waits(task_instance)


def note_lost(task_instance: Any, state: NoteState) -> None:
    """Write that the scheduler found a task gone."""
    _spool_note(_lost_task(task_instance, state))


def note_task_end(noted: TaskRunNotes) -> None:
    """Write how a task ended, from its own process; synced, as the event would have been."""
    note = TaskRunNote(
        namespace=settings.namespace(),
        at_us=noted.ended_at_us or _clock.now_us(),
        state=noted.state,
        started_at_us=noted.started_at_us,
        ended_at_us=noted.ended_at_us,
        hostname=noted.hostname,
        **noted.ref._asdict(),
    )
    spool.current().append("N", encode_note(_redacted(note)), sync=True)


def _dag_run_start(dag_run: Any) -> datetime | None:
    # `dag.test()` takes the logical date for the start: a run of 2013 did not begin in 2013.
    started: datetime | None = dag_run.start_date
    return None if started == dag_run.logical_date else started


def _task_override(task_instance: Any, state: NoteState) -> StateOverrideNote:
    return StateOverrideNote(
        namespace=settings.namespace(),
        at_us=_clock.now_us(),
        state=state,
        who=_current_user(),
        **task_ref(task_instance)._asdict(),
    )


def _lost_task(task_instance: Any, state: NoteState) -> TaskRunNote:
    return TaskRunNote(
        namespace=settings.namespace(),
        at_us=_clock.now_us(),
        state=state,
        started_at_us=us_of(task_instance.start_date),
        ended_at_us=us_of(task_instance.end_date),
        hostname=task_instance.hostname or None,
        **_waits(task_instance),
        **task_ref(task_instance)._asdict(),
    )


def _spool_waits(task_instance: Any) -> None:
    """Note since when a task had waited: its own process is never told."""
    if waits := _waits(task_instance):
        _spool_note(
            TaskRunNote(
                namespace=settings.namespace(),
                at_us=_clock.now_us(),
                **waits,
                **task_ref(task_instance)._asdict(),
            )
        )


def _waits(task_instance: Any) -> dict[str, Any]:
    moments = {
        "scheduled_at_us": us_of(getattr(task_instance, "scheduled_dttm", None)),
        "queued_at_us": us_of(getattr(task_instance, "queued_dttm", None)),
    }
    return {name: at_us for name, at_us in moments.items() if at_us is not None}


def _spool_note(note: Note) -> None:
    # Not synced: the scheduler's loop must not wait for a disk.
    spool.open_own().append("N", encode_note(_redacted(note)))


def _redacted(note: Note) -> Note:
    """Return a note whose names are redacted as they are in events, so that both still join."""
    redactor = Redactor.configured()
    names = {
        name: redactor.name(value)
        for name in _NAMES
        if isinstance(value := getattr(note, name, None), str)
    }
    return msgspec.structs.replace(note, **names)


def _current_user() -> str | None:
    """Return the name of the user whose request this is.

    Airflow tells no hook who set a state, and its audit log is in the database. The routes that
    call the hooks have the user at hand, so it is read from them.
    """
    frame = inspect.currentframe()
    for _ in range(_MAX_FRAMES):
        if frame is None:
            return None
        holder = frame.f_locals.get("self")
        user = frame.f_locals.get("user") or getattr(holder, "user", None)
        if callable(get_name := getattr(user, "get_name", None)):
            return str(get_name())
        frame = frame.f_back
    return None
