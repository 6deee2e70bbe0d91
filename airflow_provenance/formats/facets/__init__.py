"""Our own facets: their names, schema URLs and builders; one JSON Schema file each beside this.

====================================  =========  ==================================================
``airflowProvenance_task``            run        the task process that emitted the event
``airflowProvenance_run``             run        start, end, state, host and trigger of the task run
``airflowProvenance_manifest``        run        code, environment and parameters, and their hash
``airflowProvenance_truncated``       run        facets left out because they were too large
``airflowProvenance_redaction``       run        how many secrets and values were removed
``airflowProvenance_granularity``     run        how closely the policy lets data be looked at
``airflowProvenance_sla``             run        how a promise stands; on runs of promises alone
``airflowProvenance_content``         dataset    digest, size and time of the content that was seen
``airflowProvenance_partition``       dataset    which partition of the dataset was read or written
``airflowProvenance_asset``           dataset    its Airflow asset, with the ``extra`` of its events
====================================  =========  ==================================================

A schema URL is immutable: a change of a schema is a new version in its URN. The URN names a file of
the wheel, so that validating needs no network (`load_schema`).

>>> from airflow_provenance.domain.identity import TaskRef
>>> task_facet(TaskRef("flights", "manual__1", "ingest", -1, 1))["taskId"]
'ingest'
>>> load_schema(TASK)["$id"]
'urn:airflow-provenance:facets:1-0-0:AirflowProvenanceTaskRunFacet'
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from airflow_provenance import __version__
from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.run import OF_PROMISES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.domain.identity import TaskRef

TASK: Final = "airflowProvenance_task"
RUN: Final = "airflowProvenance_run"
MANIFEST: Final = "airflowProvenance_manifest"
TRUNCATED: Final = "airflowProvenance_truncated"
REDACTION: Final = "airflowProvenance_redaction"
GRANULARITY: Final = "airflowProvenance_granularity"
SLA: Final = OF_PROMISES
CONTENT: Final = "airflowProvenance_content"
PARTITION: Final = "airflowProvenance_partition"
ASSET: Final = "airflowProvenance_asset"
# OpenLineage's own, which we add where the producer gave none.
VERSION: Final = "version"

Facet = dict[str, Any]

_SCHEMA_NAMES: Final = {
    TASK: "AirflowProvenanceTaskRunFacet",
    RUN: "AirflowProvenanceRunFacet",
    MANIFEST: "AirflowProvenanceManifestRunFacet",
    TRUNCATED: "AirflowProvenanceTruncatedRunFacet",
    REDACTION: "AirflowProvenanceRedactionRunFacet",
    GRANULARITY: "AirflowProvenanceGranularityRunFacet",
    SLA: "AirflowProvenanceSlaRunFacet",
    CONTENT: "AirflowProvenanceContentDatasetFacet",
    PARTITION: "AirflowProvenancePartitionDatasetFacet",
    ASSET: "AirflowProvenanceAssetDatasetFacet",
}
# Added since 1-0-0. CONTENT: format, columnCount and note in 1-1-0; tables and rowCount in 1-2-0.
# TASK: ioOnTask. RUN: retryOf and supersedes. MANIFEST: dagVersionNumber, image and connections.
_NEWER_VERSIONS: Final = {CONTENT: "1-2-0", TASK: "1-1-0", RUN: "1-1-0", MANIFEST: "1-1-0"}
FACET_NAMES: Final = tuple(_SCHEMA_NAMES)
_VERSION_SCHEMA_URL: Final = (
    "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json"
    "#/$defs/DatasetVersionDatasetFacet"
)


PRODUCER: Final = f"urn:airflow-provenance:{__version__}"


def schema_id(name: str) -> str:
    """Return the ``$id`` of the schema of one of our facets."""
    version = _NEWER_VERSIONS.get(name, "1-0-0")
    return f"urn:airflow-provenance:facets:{version}:{_SCHEMA_NAMES[name]}"


def schema_url(name: str) -> str:
    """Return the ``_schemaURL`` that events carry for one of our facets."""
    return f"{schema_id(name)}#/$defs/{_SCHEMA_NAMES[name]}"


def load_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of one of our facets, as it is shipped."""
    text = files(__name__).joinpath(f"{_SCHEMA_NAMES[name]}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def task_facet(ref: TaskRef, *, is_io_on_task: bool = False) -> Facet:
    """Return `TASK`: the try of a task whose process emitted the event.

    Args:
        ref: the try.
        is_io_on_task: whether the task's own events have all datasets of this one, which is of
            another job.
    """
    return _facet(
        TASK,
        dagId=ref.dag_id,
        runId=ref.run_id,
        taskId=ref.task_id,
        mapIndex=ref.map_index,
        tryNumber=ref.try_number,
        ioOnTask=is_io_on_task or None,
    )


def run_facet(
    *,
    started_at: str | None = None,
    ended_at: str | None = None,
    state: str | None = None,
    hostname: str | None = None,
    consumed_asset_events: Sequence[dict[str, Any]] | None = None,
    previous_try: tuple[str, int] | None = None,
    is_rerun: bool = False,
) -> Facet:
    """Return `RUN`: Airflow's own times, state and host of the task run, and what triggered it.

    ``previous_try`` is the runId and number of the try before; after a rerun that somebody asked
    for it is superseded, else this is its retry.
    """
    earlier = previous_try and {"runId": previous_try[0], "tryNumber": previous_try[1]}
    return _facet(
        RUN,
        startedAt=started_at,
        endedAt=ended_at,
        state=state,
        hostname=hostname,
        consumedAssetEvents=None if consumed_asset_events is None else [*consumed_asset_events],
        retryOf=None if is_rerun else earlier,
        supersedes=earlier if is_rerun else None,
    )


def asset_event(
    dag_id: str, run_id: str, task_id: str | None, map_index: int | None
) -> dict[str, Any]:
    """Return one entry of ``consumedAssetEvents``: who wrote the asset."""
    entry = {"dagId": dag_id, "runId": run_id, "taskId": task_id, "mapIndex": map_index}
    return {key: value for key, value in entry.items() if value is not None}


_VOLATILE: Final = ("placement",)
_GROUPS: Final = ("code", "environment", "parameters", "placement")


def manifest_facet(
    groups: Mapping[str, Mapping[str, Any]],
    absent: Mapping[str, str],
    dependencies: Sequence[str] | None = None,
) -> Facet:
    """Return `MANIFEST`: what made the run what it is, in groups, with its hash.

    Args:
        groups: ``code``, ``environment``, ``parameters`` and ``placement``.
        absent: for what is not known, or not whole, the reason.
        dependencies: ``name==version`` each; for one event of a run only, since it is long.
    """
    members = {name: dict(groups.get(name, {})) for name in _GROUPS}
    facet = _facet(
        MANIFEST,
        **members,
        volatile=[*_VOLATILE],
        absent=dict(absent) or None,
        dependencies=None if dependencies is None else [*dependencies],
    )
    return {**facet, "hash": manifest_hash(facet)}


def manifest_hash(facet: Facet) -> str:
    """Return the SHA-256 of the groups that are not volatile, as compact JSON with sorted keys.

    The same for a facet as it was emitted and as it was stored.
    """
    hashed = {name: facet.get(name) for name in _GROUPS if name not in _VOLATILE}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def truncated_facet(left_out: Sequence[dict[str, Any]]) -> Facet:
    """Return `TRUNCATED`: the facets that were left out, each ``{path, sizeBytes, sha256}``."""
    return _facet(TRUNCATED, facets=[*left_out])


_REDACTION_RULES: Final = ("known", "field", "pattern", "literal", "value")


def redaction_facet(removed: Mapping[str, int]) -> Facet:
    """Return `REDACTION`: how many secrets and values each rule has removed from the event."""
    by_rule = {rule: removed.get(rule, 0) for rule in _REDACTION_RULES}
    return _facet(REDACTION, total=sum(by_rule.values()), byRule=by_rule)


def granularity_facet(
    level: str, rule: str, datasets: Sequence[Mapping[str, str]], left_out: int
) -> Facet:
    """Return `GRANULARITY`: how closely the policy let the task's data be looked at.

    Args:
        level: of the DAG.
        rule: the line of the policy that says so.
        datasets: each with ``namespace``, ``name``, ``level`` and ``rule``, where another level
            than the DAG's holds.
        left_out: how many datasets of the event the policy does not want named.
    """
    others = [dict(one) for one in datasets]
    return _facet(GRANULARITY, level=level, rule=rule, datasets=others, leftOut=left_out)


def sla_facet(change: EvaluationChange, kind: str, runs: Sequence[Mapping[str, str]]) -> Facet:
    """Return `SLA`: a change of how a promise stands.

    Args:
        change: as it was recorded.
        kind: of the promise.
        runs: it was computed from, each with ``namespace`` and ``name`` of its job and ``runId``.
    """
    late_us = None
    if change.recovered_us is not None and change.breached_us is not None:
        late_us = change.recovered_us - change.breached_us
    return _facet(
        SLA,
        policy=change.policy_id,
        revision=change.revision,
        kind=kind,
        target=change.target,
        period=change.period,
        state=change.state,
        transition=change.seq,
        severity=change.severity,
        owner=change.owner,
        observed=change.observed,
        threshold=change.threshold,
        unit=change.unit or None,
        dueAt=format_time(change.due_us),
        breachedAt=format_time(change.breached_us),
        detectedAt=format_time(change.detected_us),
        recoveredAt=format_time(change.recovered_us),
        lateBySeconds=None if late_us is None else late_us / 1e6,
        cause=change.cause,
        runs=[dict(one) for one in runs],
    )


def content_facet(
    *,
    algorithm: str = "sha256",
    digest: str | None = None,
    size_bytes: int | None = None,
    modified_at: str | None = None,
    verified: bool,
    reason: str | None = None,
    format_: str | None = None,
    column_count: int | None = None,
    row_count: int | None = None,
    note: str | None = None,
) -> Facet:
    """Return `CONTENT`: the digest of the content, or the reason why there is none.

    ``verified`` is a claim: this content is what the run read or wrote. ``note`` says why columns
    or rows are not known.
    """
    return _facet(
        CONTENT,
        algorithm=None if digest is None else algorithm,
        digest=digest,
        sizeBytes=size_bytes,
        modifiedAt=modified_at,
        verified=verified,
        reason=reason,
        format=format_,
        columnCount=column_count,
        rowCount=row_count,
        note=note,
    )


def partition_facet(key: str) -> Facet:
    """Return `PARTITION`: which partition of the dataset was read or written."""
    return _facet(PARTITION, key=key)


def asset_facet(name: str, uri: str, extra: Mapping[str, Any], aliases: Sequence[str]) -> Facet:
    """Return `ASSET`: the Airflow asset behind the dataset."""
    return _facet(ASSET, name=name, uri=uri, extra=dict(extra) or None, aliases=[*aliases] or None)


def version_facet(dataset_version: str) -> Facet:
    """Return OpenLineage's own ``version`` facet."""
    return {
        "_producer": PRODUCER,
        "_schemaURL": _VERSION_SCHEMA_URL,
        "datasetVersion": dataset_version,
    }


def _facet(name: str, /, **members: object) -> Facet:
    known = {key: value for key, value in members.items() if value is not None}
    return {"_producer": PRODUCER, "_schemaURL": schema_url(name), **known}
