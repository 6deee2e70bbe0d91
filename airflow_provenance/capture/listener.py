"""Our listener: runs before the official one and notes what no event tells.

===================  ==========================  ================================================
process              hook                        what is noted
===================  ==========================  ================================================
scheduler, others    starting, stopping          nothing: the service starts and ends with them
task                 running                     who runs, since when, where, why, its manifest;
                                                 afterwards, what was asked for beside it
task                 success, failed, skipped    how and when it ended, content of files, tables;
                                                 afterwards, a line if no event told the end
task                 stopping                    nothing: a remote worker sends what was spooled
scheduler            failed                      a task that was lost: a ``task_run`` line
scheduler            DAG run                     a ``dag_run`` line
API server           any of these                somebody set a state: a ``state_override`` line
===================  ==========================  ================================================

Never an Airflow session: one opened in the scheduler's listener kills the scheduler. No hook waits
for anything but looking at files and at tables, which have budgets; none can fail its caller.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec

from airflow.listeners import hookimpl

from airflow_provenance.capture import (
    installed,
    note_lines,
    sending,
    service_child,
    task_notes,
)
from airflow_provenance.capture.instances import is_orm
from airflow_provenance.emit import failure, notes
from airflow_provenance.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.formats.notes import NoteState

_P = ParamSpec("_P")


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
def on_starting(component: Any) -> None:
    """Start the service on this host, if a job of Airflow's begins and none runs."""
    service_child.start(component)
    installed.dependency_list()  # here, for every task that this process will fork


@hookimpl(tryfirst=True)
@_harmless
def before_stopping(component: Any) -> None:
    """Let the service that this job started end with it."""
    service_child.stop(component)


@hookimpl(tryfirst=True)
@_harmless
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:  # noqa: ARG001 - named by Airflow
    """Note who runs, and open the spool so that the provider's forks share it."""
    if not is_orm(task_instance):
        task_notes.note_begin(task_instance)


class _AfterOthers:
    """What is to be done when the official listener has sent its event."""

    @hookimpl(trylast=True)
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:  # noqa: ARG002 - named by Airflow
        """Leave no process and no file of ours open beside the task."""
        if not is_orm(task_instance):
            _settle()

    @hookimpl(trylast=True)
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:  # noqa: ARG002 - named by Airflow
        """See that the end was told."""
        _ensure_told(task_instance)

    @hookimpl(trylast=True)
    def on_task_instance_skipped(self, previous_state: Any, task_instance: Any) -> None:  # noqa: ARG002 - named by Airflow
        """See that the end was told."""
        _ensure_told(task_instance)

    @hookimpl(trylast=True)
    def on_task_instance_failed(
        self,
        previous_state: Any,  # noqa: ARG002 - named by Airflow
        task_instance: Any,
        error: Any,  # noqa: ARG002 - named by Airflow
    ) -> None:
        """See that the end was told."""
        _ensure_told(task_instance)

    @hookimpl(trylast=True)
    def before_stopping(self, component: Any) -> None:
        """Send what a remote worker's task spooled: its last event is there now."""
        _send_spooled(component)


@_harmless
def _settle() -> None:
    task_notes.settle()


@_harmless
def _ensure_told(task_instance: Any) -> None:
    if not is_orm(task_instance):
        task_notes.ensure_told()


@_harmless
def _send_spooled(component: Any) -> None:
    sending.send_spooled(component)


after_others = _AfterOthers()


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
        task_notes.note_end(task_instance, state)
    elif previous_state is None:
        # Airflow passes no previous state where a user set the new one.
        note_lines.note_set_by_hand(task_instance, state)
    else:
        note_lines.note_lost(task_instance, state)
