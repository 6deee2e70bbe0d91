"""Adding what was noted to an event, as facets. Pure: event and notes in, event out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.clock import format_time
from airflow_provenance.emit import datasets, granularity, sql_lineage
from airflow_provenance.emit.sql_results import without_results
from airflow_provenance.formats import facets
from airflow_provenance.formats.facets import standard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provenance.emit.notes import Links, ManifestNotes, TaskRunNotes

Event = dict[str, Any]


def enrich(event: Event, notes: TaskRunNotes | None) -> Event:
    """Return the event with our facets; the event given is left as it is.

    Every run event of a task's process names the task; those of the task's own job also carry its
    times, state, host, trigger, links and manifest, and every dataset that was declared, collected,
    observed or looked at: consumers take the datasets of an event for all there are. Datasets get
    what was noted of them (see `datasets`), beside what the producer said. DAG events, which a
    single-process run emits from the same process, are not the task's doing.
    """
    if notes is None or not _is_of_task(event):
        return sql_lineage.with_column_lineage(event)
    enriched = {**event, "run": _with_facets(event["run"], _run_facets(event, notes))}
    inputs, outputs = event.get("inputs") or [], event.get("outputs") or []
    if not _is_own(event, notes):
        notes = replace(notes, written={})  # that is of all the task's statements together
    else:
        outputs = datasets.with_known(outputs, notes, "outputs", ())
        inputs = datasets.with_known(inputs, notes, "inputs", datasets.refs(outputs))
    written = datasets.refs(outputs)
    if inputs:
        enriched["inputs"] = datasets.described(inputs, notes, "inputs", written)
    if outputs:
        enriched["outputs"] = datasets.described(outputs, notes, "outputs", written)
    settled = [ref for ref, one in notes.written.items() if one.column_lineage is not None]
    enriched = sql_lineage.with_column_lineage(enriched, settled)
    return granularity.applied(enriched, notes.granularity, is_own=_is_own(event, notes))


def _is_of_task(event: Event) -> bool:
    run = event.get("run")
    return isinstance(run, dict) and "airflowDagRun" not in (run.get("facets") or {})


def _run_facets(event: Event, notes: TaskRunNotes) -> dict[str, facets.Facet]:
    added = {facets.TASK: facets.task_facet(notes.ref, is_io_on_task=_is_io_on_task(event, notes))}
    if _is_own(event, notes):
        if notes.observed.sql_checks:
            there = event["run"].get("facets") or {}
            added |= without_results(there, notes.observed.sql_checks)
        added[facets.RUN] = facets.run_facet(
            started_at=format_time(notes.started_at_us),
            ended_at=format_time(notes.ended_at_us),
            state=notes.state,
            hostname=notes.hostname,
            consumed_asset_events=notes.consumed_asset_events,
            previous_try=notes.links.previous_try,
            is_rerun=notes.links.is_rerun,
        )
        if standard.JOB_DEPENDENCIES not in (event["run"].get("facets") or {}):
            added |= _dependencies(event, notes.links)
        if notes.manifest is not None:
            # The list is long, and one event of a run is enough for it.
            added[facets.MANIFEST] = _manifest(notes.manifest, event.get("eventType") == "START")
    return added


def _dependencies(event: Event, links: Links) -> dict[str, facets.Facet]:
    if not (links.upstream_jobs or links.asset_jobs):
        return {}
    facet = standard.dependencies_facet(
        str(event["job"].get("namespace")),
        links.upstream_jobs,
        links.asset_jobs,
        links.trigger_rule,
    )
    return {standard.JOB_DEPENDENCIES: facet}


def _is_own(event: Event, notes: TaskRunNotes) -> bool:
    return bool(event.get("job", {}).get("name") == notes.job_name)


def _is_io_on_task(event: Event, notes: TaskRunNotes) -> bool:
    """Whether the task's own events tell all that this one, of another job, reads and writes."""
    inputs = datasets.refs(event.get("inputs") or [])
    outputs = datasets.refs(event.get("outputs") or [])
    if _is_own(event, notes) or not (inputs or outputs):
        return False
    read = {*notes.inputs, *notes.asset_inputs, *notes.not_datasets}
    written = {*notes.outputs, *notes.asset_outputs, *notes.not_datasets}
    return read.issuperset(inputs) and written.issuperset(outputs)


def _manifest(noted: ManifestNotes, with_dependencies: bool) -> facets.Facet:
    return facets.manifest_facet(
        {
            "code": noted.code,
            "environment": noted.environment,
            "parameters": noted.parameters,
            "placement": noted.placement,
        },
        noted.absent,
        noted.dependencies if with_dependencies else None,
    )


def seal(event: Event, removed: Mapping[str, int], notes: TaskRunNotes | None) -> Event:
    """Return a redacted event with what was removed, and its manifest's hash over what was left.

    A hash over the values as they were would let a reader guess a short secret until it fits.

    Args:
        event: as redaction has left it.
        removed: how many secrets and values redaction has removed, by its rules.
        notes: whose manifest was redacted when it was taken, of which it tells how much that was.
    """
    run = event.get("run")
    if not isinstance(run, dict):  # nowhere to say so
        return event
    counts = Counter(removed)
    added: dict[str, facets.Facet] = {}
    manifest = (run.get("facets") or {}).get(facets.MANIFEST)
    if isinstance(manifest, dict):
        added[facets.MANIFEST] = {**manifest, "hash": facets.manifest_hash(manifest)}
        if notes is not None and notes.manifest is not None:
            counts.update(notes.manifest.removed)
    if counts.total():
        added[facets.REDACTION] = facets.redaction_facet(counts)
    return {**event, "run": _with_facets(run, added)} if added else event


def _with_facets(holder: Event, added: Mapping[str, facets.Facet]) -> Event:
    return {**holder, "facets": {**(holder.get("facets") or {}), **added}}
