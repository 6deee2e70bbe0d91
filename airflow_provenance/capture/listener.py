"""Our listener: runs before the official one and notes what no event tells.

===================  ==========================  ================================================
process              hook                        what is noted
===================  ==========================  ================================================
task                 running                     who runs, since when, where, why, its manifest
task                 success, failed, skipped    how and when it ended, content of files, tables
scheduler            failed                      a task that was lost: a ``task_run`` line
scheduler            DAG run                     a ``dag_run`` line
API server           any of these                somebody set a state: a ``state_override`` line
===================  ==========================  ================================================

Never an Airflow session: one opened in the scheduler's listener kills the scheduler. No hook waits
for anything but looking at files and at tables, which have budgets; none can fail its caller.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec

from airflow.listeners import hookimpl

from airflow_provenance import settings
from airflow_provenance.capture import hook_lineage
from airflow_provenance.capture.files import Deadline, Memory, inspect_files, read_footers
from airflow_provenance.capture.manifest import manifest_of
from airflow_provenance.domain.clock import SystemClock, to_us
from airflow_provenance.domain.identity import TaskRef
from airflow_provenance.emit import failure, notes, spool
from airflow_provenance.emit.notes import Content, TaskRunNotes
from airflow_provenance.errors import SettingsError
from airflow_provenance.formats import facets
from airflow_provenance.formats.notes import (
    DagRunNote,
    Note,
    StateOverrideNote,
    TaskRunNote,
    encode_note,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from airflow_provenance.capture.hook_lineage import LocalFiles
    from airflow_provenance.formats.notes import NoteState

_P = ParamSpec("_P")
_clock = SystemClock()
# How Airflow's API server begins the message of a DAG run that a user has set.
_SET_BY_HAND = "Dag Run's state was manually set"
_MAX_FRAMES = 15


def _harmless(hook: Callable[_P, None]) -> Callable[_P, None]:
    """Let no exception of a hook reach Airflow: one line in the log says what is lost."""

    @functools.wraps(hook)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            hook(*args, **kwargs)
        except OSError as error:
            failure.report("check space and rights of [provenance] spool_dir", error)
        except SettingsError as error:
            failure.report("mend the setting", error)
        except Exception as error:  # noqa: BLE001 - a listener must never fail its host
            failure.report("report this to airflow-provenance, a note was lost", error)

    return guarded


@hookimpl(tryfirst=True)
@_harmless
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:  # noqa: ARG001 - named by Airflow
    """Note who runs, and open the spool so that the provider's forks share it."""
    if _is_orm(task_instance):
        return
    failure.begin()
    noted = TaskRunNotes(
        ref=_task_ref(task_instance),
        started_at_us=_us(task_instance.start_date),
        hostname=getattr(task_instance, "hostname", None) or None,
    )
    notes.begin(noted)
    spool.open_own()
    # What can go wrong comes last: whatever it is, who runs is noted and the spool is open.
    hook_lineage.forget_collected()
    noted.consumed_asset_events = _consumed_asset_events(task_instance)
    noted.manifest = manifest_of(task_instance)


@hookimpl(tryfirst=True)
@_harmless
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """Note that the task succeeded, or that somebody says so."""
    _task_ended(previous_state, task_instance, "COMPLETE")


@hookimpl(tryfirst=True)
@_harmless
def on_task_instance_skipped(previous_state: Any, task_instance: Any) -> None:
    """Note that the task skipped itself: the official event says COMPLETE."""
    _task_ended(previous_state, task_instance, "SKIPPED")


@hookimpl(tryfirst=True)
@_harmless
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:  # noqa: ARG001 - named by Airflow
    """Note whether the failure is final: the official event says FAIL either way."""
    retried = getattr(task_instance, "state", None) == "up_for_retry"
    _task_ended(previous_state, task_instance, "UP_FOR_RETRY" if retried else "FAIL")


@hookimpl(tryfirst=True)
@_harmless
def on_dag_run_running(dag_run: Any, msg: str) -> None:
    """Note that a DAG run began."""
    _dag_run_is(dag_run, msg, "RUNNING")


@hookimpl(tryfirst=True)
@_harmless
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """Note that a DAG run succeeded, or that somebody says so."""
    _dag_run_is(dag_run, msg, "COMPLETE")


@hookimpl(tryfirst=True)
@_harmless
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """Note that a DAG run failed, or that somebody says so."""
    _dag_run_is(dag_run, msg, "FAIL")


def _task_ended(previous_state: Any, task_instance: Any, state: NoteState) -> None:
    if not _is_orm(task_instance):
        _note_end(task_instance, state)
    elif previous_state is None:
        # Airflow passes no previous state where a user set the new one.
        _spool_note(_task_override(task_instance, state))
    else:
        _spool_note(_lost_task(task_instance, state))


def _note_end(task_instance: Any, state: NoteState) -> None:
    noted = notes.current()
    if noted is None or noted.ref != _task_ref(task_instance):
        # The running hook failed or was not called; what is known now is still worth noting.
        noted = TaskRunNotes(_task_ref(task_instance), _us(task_instance.start_date))
        notes.begin(noted)
    noted.ended_at_us = _us(task_instance.end_date) or _clock.now_us()
    noted.state = state
    _note_contents(noted, hook_lineage.local_files(task_instance.task))
    if (jobs := hook_lineage.sql_jobs()).infos:
        from airflow_provenance.capture.sql_jobs import note_tables

        note_tables(noted, jobs, Deadline(settings.table_timeout_seconds()))


def _note_contents(noted: TaskRunNotes, files: LocalFiles) -> None:
    read = {**files.inputs, **noted.observed.input_files}
    written = {**files.outputs, **noted.observed.output_files}
    only_read = {ref: path for ref, path in read.items() if ref not in written}
    deadline, memory = Deadline(settings.hash_timeout_seconds()), Memory()
    began_at_us = noted.started_at_us
    noted.outputs = inspect_files(written, "output", began_at_us, deadline, memory)
    noted.inputs = inspect_files(only_read, "input", began_at_us, deadline, memory)
    noted.outputs = read_footers(written, noted.outputs, deadline)
    noted.inputs = read_footers(only_read, noted.inputs, deadline)
    for ref in read.keys() & written.keys():
        noted.inputs[ref] = Content(False, reason="the task wrote it too")


def _consumed_asset_events(task_instance: Any) -> list[dict[str, Any]] | None:
    accessor = task_instance.get_template_context().get("triggering_asset_events") or {}
    consumed: list[dict[str, Any]] = []
    for events in accessor.values():
        for event in events:
            if not (event.source_dag_id and event.source_run_id):
                continue  # not a task's doing: somebody posted it, or a watcher saw it
            entry = facets.asset_event(
                event.source_dag_id,
                event.source_run_id,
                event.source_task_id,
                event.source_map_index,
            )
            if entry not in consumed:  # an event is listed under its asset and under each alias
                consumed.append(entry)
    return consumed or None


def _dag_run_is(dag_run: Any, msg: str, state: NoteState) -> None:
    notes.clear()  # in a single-process run the tasks are over
    if state != "RUNNING" and (msg or "").startswith(_SET_BY_HAND):
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
            started_at_us=_us(_dag_run_start(dag_run)),
            ended_at_us=None if state == "RUNNING" else _us(dag_run.end_date),
        )
    )


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
        **_task_ref(task_instance)._asdict(),
    )


def _lost_task(task_instance: Any, state: NoteState) -> TaskRunNote:
    return TaskRunNote(
        namespace=settings.namespace(),
        at_us=_clock.now_us(),
        state=state,
        started_at_us=_us(task_instance.start_date),
        ended_at_us=_us(task_instance.end_date),
        hostname=task_instance.hostname or None,
        **_task_ref(task_instance)._asdict(),
    )


def _spool_note(note: Note) -> None:
    # Not synced: the scheduler's loop must not wait for a disk.
    spool.open_own().append("N", encode_note(note))


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


def _task_ref(task_instance: Any) -> TaskRef:
    map_index = getattr(task_instance, "map_index", None)
    return TaskRef(
        task_instance.dag_id,
        task_instance.run_id,
        task_instance.task_id,
        -1 if map_index is None else map_index,
        task_instance.try_number,
    )


def _is_orm(task_instance: Any) -> bool:
    """Whether this is a database row, as in scheduler and API server, not a running task."""
    return hasattr(task_instance, "_sa_instance_state")


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)
