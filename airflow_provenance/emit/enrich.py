"""Adding what was noted to an event, as facets. Pure: event and notes in, event out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.clock import format_time
from airflow_provenance.emit import datasets
from airflow_provenance.formats import facets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provenance.emit.notes import TaskRunNotes

Event = dict[str, Any]


def enrich(event: Event, notes: TaskRunNotes | None) -> Event:
    """Return the event with our facets; the event given is left as it is.

    Every run event of a task's process names the task; those of the task's own job also carry its
    times, state, host and trigger, and every dataset that `observe` was told of. Datasets get what
    was noted of them (see `datasets`), beside what the producer said. DAG events, which a
    single-process run emits from the same process, are not the task's doing.
    """
    if notes is None or not _is_of_task(event):
        return event
    enriched = {**event, "run": _with_facets(event["run"], _run_facets(event, notes))}
    inputs, outputs = event.get("inputs") or [], event.get("outputs") or []
    if _is_own(event, notes):
        outputs = datasets.with_observed(outputs, notes, "outputs", ())
        inputs = datasets.with_observed(inputs, notes, "inputs", datasets.refs(outputs))
    written = datasets.refs(outputs)
    if inputs:
        enriched["inputs"] = datasets.described(inputs, notes, "inputs", written)
    if outputs:
        enriched["outputs"] = datasets.described(outputs, notes, "outputs", written)
    return enriched


def _is_of_task(event: Event) -> bool:
    run = event.get("run")
    return isinstance(run, dict) and "airflowDagRun" not in (run.get("facets") or {})


def _run_facets(event: Event, notes: TaskRunNotes) -> dict[str, facets.Facet]:
    added = {facets.TASK: facets.task_facet(notes.ref)}
    if _is_own(event, notes):
        added[facets.RUN] = facets.run_facet(
            started_at=format_time(notes.started_at_us),
            ended_at=format_time(notes.ended_at_us),
            state=notes.state,
            hostname=notes.hostname,
            consumed_asset_events=notes.consumed_asset_events,
        )
    return added


def _is_own(event: Event, notes: TaskRunNotes) -> bool:
    return bool(event.get("job", {}).get("name") == notes.job_name)


def _with_facets(holder: Event, added: Mapping[str, facets.Facet]) -> Event:
    return {**holder, "facets": {**(holder.get("facets") or {}), **added}}
