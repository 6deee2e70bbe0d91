"""Our listener: runs before the official one and notes what no event tells.

===================  ==========================  ================================================
process              hook                        what is noted
===================  ==========================  ================================================
task                 running                     who runs, since when, where, why, its manifest
task                 success, failed, skipped    how and when it ended, content of local files
scheduler            failed                      a task that was lost: a ``task_run`` line
scheduler            DAG run                     a ``dag_run`` line
API server           any of these                somebody set a state: a ``state_override`` line
===================  ==========================  ================================================

Never an Airflow session: one opened in the scheduler's listener kills the scheduler. No hook waits
for anything but the hashing of files, which has a budget, and none can fail its caller.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec

from airflow.listeners import hookimpl

from airflow_provenance import settings
from airflow_provenance.capture import assets, hook_lineage, note_lines
from airflow_provenance.capture.digests import Digests
from airflow_provenance.capture.files import Deadline, inspect_files, read_footers
from airflow_provenance.capture.instances import is_orm, task_ref, us_of
from airflow_provenance.capture.links import links_of
from airflow_provenance.capture.manifest import manifest_of
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.emit import failure, notes, spool
from airflow_provenance.emit.notes import Content, TaskRunNotes
from airflow_provenance.errors import SettingsError
from airflow_provenance.formats import facets

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.capture.assets import Files
    from airflow_provenance.formats.notes import NoteState

_P = ParamSpec("_P")
_clock = SystemClock()


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
    if is_orm(task_instance):
        return
    failure.begin()
    noted = TaskRunNotes(
        ref=task_ref(task_instance),
        started_at_us=us_of(task_instance.start_date),
        hostname=getattr(task_instance, "hostname", None) or None,
    )
    notes.begin(noted)
    spool.open_own()
    # What can go wrong comes last: whatever it is, who runs is noted and the spool is open.
    hook_lineage.forget_collected()
    noted.consumed_asset_events = _consumed_asset_events(task_instance)
    noted.links = links_of(task_instance, noted.consumed_asset_events)
    assets.note_declared(noted, task_instance)
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
    _note_dag_run(dag_run, msg, "RUNNING")


@hookimpl(tryfirst=True)
@_harmless
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """Note that a DAG run succeeded, or that somebody says so."""
    _note_dag_run(dag_run, msg, "COMPLETE")


@hookimpl(tryfirst=True)
@_harmless
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """Note that a DAG run failed, or that somebody says so."""
    _note_dag_run(dag_run, msg, "FAIL")


def _note_dag_run(dag_run: Any, msg: str, state: NoteState) -> None:
    notes.clear()  # in a single-process run the tasks are over
    note_lines.note_dag_run(dag_run, msg, state)


def _task_ended(previous_state: Any, task_instance: Any, state: NoteState) -> None:
    if not is_orm(task_instance):
        _note_end(task_instance, state)
    elif previous_state is None:
        # Airflow passes no previous state where a user set the new one.
        note_lines.note_set_by_hand(task_instance, state)
    else:
        note_lines.note_lost(task_instance, state)


def _note_end(task_instance: Any, state: NoteState) -> None:
    noted = notes.current()
    if noted is None or noted.ref != task_ref(task_instance):
        # The running hook failed or was not called; what is known now is still worth noting.
        noted = TaskRunNotes(task_ref(task_instance), us_of(task_instance.start_date))
        notes.begin(noted)
    noted.ended_at_us = us_of(task_instance.end_date) or _clock.now_us()
    noted.state = state
    _note_contents(noted, assets.note_touched(noted, task_instance))


def _note_contents(noted: TaskRunNotes, files: Files) -> None:
    read = {**files.inputs, **noted.observed.input_files}
    written = {**files.outputs, **noted.observed.output_files}
    only_read = {ref: path for ref, path in read.items() if ref not in written}
    deadline = Deadline(settings.hash_timeout_seconds())
    digests = Digests(settings.spool_dir() / "digests")
    began_at_us = noted.started_at_us
    noted.outputs = inspect_files(written, "output", began_at_us, deadline, digests)
    noted.inputs = inspect_files(only_read, "input", began_at_us, deadline, digests)
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
