"""Adding what was noted to an event, as facets. Pure: event and notes in, event out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.formats import facets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provenance.emit.notes import Content, ManifestNotes, TaskRunNotes

Event = dict[str, Any]


def enrich(event: Event, notes: TaskRunNotes | None) -> Event:
    """Return the event with our facets; the event given is left as it is.

    Every run event of a task's process names the task; those of the task's own job also carry its
    times, state, host, trigger and manifest. Datasets whose content was noted get it, and as
    OpenLineage's own ``version`` too, unless they have one. DAG events, which a single-process run
    emits from the same process, are not the task's doing.
    """
    if notes is None or not _is_of_task(event):
        return event
    enriched = {**event, "run": _with_facets(event["run"], _run_facets(event, notes))}
    for side, contents in (("inputs", notes.inputs), ("outputs", notes.outputs)):
        if contents and event.get(side):
            enriched[side] = [_with_content(dataset, contents) for dataset in event[side]]
    return enriched


def _is_of_task(event: Event) -> bool:
    run = event.get("run")
    return isinstance(run, dict) and "airflowDagRun" not in (run.get("facets") or {})


def _run_facets(event: Event, notes: TaskRunNotes) -> dict[str, facets.Facet]:
    added = {facets.TASK: facets.task_facet(notes.ref)}
    if event.get("job", {}).get("name") == notes.job_name:
        added[facets.RUN] = facets.run_facet(
            started_at=format_time(notes.started_at_us),
            ended_at=format_time(notes.ended_at_us),
            state=notes.state,
            hostname=notes.hostname,
            consumed_asset_events=notes.consumed_asset_events,
        )
        if notes.manifest is not None:
            # The list is long, and one event of a run is enough for it.
            added[facets.MANIFEST] = _manifest(notes.manifest, event.get("eventType") == "START")
    return added


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


def seal(event: Event) -> Event:
    """Return a redacted event with the hash of its manifest over what redaction has left.

    A hash over the values as they were would let a reader guess a short secret until it fits.
    """
    run = event.get("run") or {}
    manifest = (run.get("facets") or {}).get(facets.MANIFEST)
    if not isinstance(manifest, dict):
        return event
    sealed = {**manifest, "hash": facets.manifest_hash(manifest)}
    return {**event, "run": _with_facets(run, {facets.MANIFEST: sealed})}


def _with_content(dataset: Event, contents: Mapping[DatasetRef, Content]) -> Event:
    ref = DatasetRef(str(dataset.get("namespace")), str(dataset.get("name")))
    content = contents.get(ref)
    if content is None:
        return dataset
    added = {
        facets.CONTENT: facets.content_facet(
            digest=content.digest,
            size_bytes=content.size_bytes,
            modified_at=format_time(content.modified_at_us),
            verified=content.is_verified,
            reason=content.reason,
        )
    }
    if content.digest is not None and not (dataset.get("facets") or {}).get(facets.VERSION):
        added[facets.VERSION] = facets.version_facet(f"sha256:{content.digest}")
    return _with_facets(dataset, added)


def _with_facets(holder: Event, added: Mapping[str, facets.Facet]) -> Event:
    return {**holder, "facets": {**(holder.get("facets") or {}), **added}}
