"""What is noted of a task in its own process: when it begins, and when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance import settings
from airflow_provenance.capture import assets, hook_lineage, note_lines, observe
from airflow_provenance.capture.digests import Digests
from airflow_provenance.capture.files import Deadline, inspect_files, read_footers
from airflow_provenance.capture.instances import task_ref, us_of
from airflow_provenance.capture.links import links_of
from airflow_provenance.capture.manifest import manifest_of
from airflow_provenance.capture.sql_checks import note_sql_checks
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.domain.granularity import Policy
from airflow_provenance.emit import failure, notes, spool
from airflow_provenance.emit.notes import Content, TaskRunNotes
from airflow_provenance.errors import SettingsError
from airflow_provenance.formats import facets

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.capture.assets import Files
    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.formats.notes import NoteState

_clock = SystemClock()


def note_begin(task_instance: Any) -> None:
    """Note who runs, and open the spool so that the provider's forks share it."""
    failure.begin()
    noted = TaskRunNotes(
        ref=task_ref(task_instance),
        started_at_us=us_of(task_instance.start_date),
        hostname=getattr(task_instance, "hostname", None) or None,
        policy=_policy(),
    )
    notes.begin(noted)
    noted.spooled_at_begin = spool.open_own().size()
    # What can go wrong comes last: whatever it is, who runs is noted and the spool is open.
    hook_lineage.forget_collected()
    noted.consumed_asset_events = _consumed_asset_events(task_instance)
    noted.links = links_of(task_instance, noted.consumed_asset_events)
    if noted.granularity.of_dag.level != "none":
        assets.note_declared(noted, task_instance)
        noted.manifest = manifest_of(task_instance)


def settle() -> None:
    """Take what was asked for beside the task if it is known, so that nothing of it is left open.

    To be called when the first event has been sent, by a fork mostly: it has waited for that.
    """
    noted = notes.current()
    if noted is not None and noted.manifest is not None:
        noted.manifest.settle(wait=False)


def note_end(task_instance: Any, state: NoteState) -> None:
    """Note how and when the task ended, and what its data is now."""
    noted = notes.current()
    if noted is None or noted.ref != task_ref(task_instance):
        # The running hook failed or was not called; what is known now is still worth noting.
        started_at_us = us_of(task_instance.start_date)
        noted = TaskRunNotes(task_ref(task_instance), started_at_us, policy=_policy())
        notes.begin(noted)
    noted.ended_at_us = us_of(task_instance.end_date) or _clock.now_us()
    noted.state = state
    settle()
    if noted.granularity.of_dag.level != "none":
        note_sql_checks(noted, task_instance.task)
        _note_contents(noted, assets.note_touched(noted, task_instance))
        if (jobs := hook_lineage.sql_jobs()).infos:
            from airflow_provenance.capture.sql_jobs import note_tables

            note_tables(noted, jobs, Deadline(settings.table_timeout_seconds()))
    noted.spooled_at_end = spool.current().size()


def ensure_told() -> None:
    """Write a line that says how the task ended if the official provider told nothing.

    To be called after it. Its fork is given up after some seconds where it hangs, as it does where
    a lock was held while it forked, and then nothing else in this process would know of the end.
    A task of which no event came before the end is one that it was told to leave out.
    """
    noted = notes.current()
    if noted is None or noted.spooled_at_begin is None or noted.spooled_at_end is None:
        return
    if noted.spooled_at_begin < noted.spooled_at_end == spool.current().size():
        note_lines.note_task_end(noted)
        failure.report(
            "[openlineage] execute_in_thread = True avoids most such cases",
            TimeoutError("the official provider sent no event of this task's end"),
            outcome="Only the task's state and times are recorded, not what it wrote",
        )


def _note_contents(noted: TaskRunNotes, files: Files) -> None:
    read = _of_interest({**files.inputs, **noted.observed.input_files}, noted)
    written = _of_interest({**files.outputs, **noted.observed.output_files}, noted)
    only_read = {ref: path for ref, path in read.items() if ref not in written}
    deadline = Deadline(settings.hash_timeout_seconds())
    digests = Digests(settings.spool_dir() / "digests")
    began_at_us = noted.started_at_us
    noted.outputs = inspect_files(written, "output", began_at_us, deadline, digests)
    noted.inputs = inspect_files(only_read, "input", began_at_us, deadline, digests)
    noted.outputs = read_footers(written, noted.outputs, deadline)
    noted.inputs = read_footers(only_read, noted.inputs, deadline)
    observe.complain_of_missing(noted)
    for ref in read.keys() & written.keys():
        noted.inputs[ref] = Content(False, reason="the task wrote it too")


def _of_interest(files: dict[DatasetRef, Path], noted: TaskRunNotes) -> dict[DatasetRef, Path]:
    looks_at = noted.granularity.looks_at
    return {ref: path for ref, path in files.items() if looks_at(ref)}


def _policy() -> Policy:
    try:
        return settings.granularity()
    except SettingsError as error:
        failure.report("mend the setting", error, outcome="All data is looked at")
        return Policy()


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
