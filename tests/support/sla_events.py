"""OpenLineage events as Airflow's provider writes them, for promises: a run in one call."""

from __future__ import annotations

import json
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from airflow_provenance.domain.identity import TaskRef
from airflow_provenance.formats import facets
from airflow_provenance.formats.facets import standard

Json = dict[str, Any]
_PRODUCER = "https://github.com/apache/airflow/tree/providers-openlineage/2.20.3"
_SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/"
NAMESPACE = "air"


def us(at: str) -> int:
    """Microseconds of a time in UTC, such as 2026-03-02T09:00:00."""
    from airflow_provenance.domain.clock import parse_time

    return parse_time(f"{at}Z")


def dataset(
    name: str,
    *,
    rows: int | None = None,
    size: int | None = None,
    columns: dict[str, str] | None = None,
    partition: str | None = None,
    watermark: str | None = None,
    checks: list[Json] | None = None,
    role: str = "output",
) -> Json:
    """A dataset of an event; ``NAMESPACE/NAME``."""
    namespace, _, short = name.partition("/")
    own: Json = {}
    if columns is not None:
        own["schema"] = standard.schema_facet(columns.items())
    if partition is not None:
        own[facets.PARTITION] = facets.partition_facet(partition)
    if watermark is not None:
        own[facets.ASSET] = facets.asset_facet(short, short, {"watermark": f"{watermark}Z"}, [])
    role_facets: Json = {}
    if rows is not None or size is not None:
        key = "outputStatistics" if role == "output" else "inputStatistics"
        role_facets[key] = standard.statistics_facet(key, rows, size)  # type: ignore[arg-type]
    if checks is not None:
        url = "https://openlineage.io/spec/facets/1-1-0/DataQualityAssertionsDatasetFacet.json"
        role_facets["dataQualityAssertions"] = {
            "_producer": _PRODUCER,
            "_schemaURL": f"{url}#/$defs/DataQualityAssertionsDatasetFacet",
            "assertions": checks,
        }
    return {"namespace": namespace, "name": short, "facets": own, f"{role}Facets": role_facets}


def read(name: str, **values: Any) -> Json:
    return dataset(name, role="input", **values)


def _event(
    kind: str, at: str, job: str, run: Json, inputs: list[Json], outputs: list[Json]
) -> Json:
    return {
        "eventType": kind,
        "eventTime": f"{at}Z",
        "producer": _PRODUCER,
        "schemaURL": f"{_SPEC}RunEvent",
        "job": {"namespace": NAMESPACE, "name": job, "facets": {}},
        "run": run,
        "inputs": inputs,
        "outputs": outputs,
    }


def dag_run(
    dag: str,
    run_id: str,
    due: str,
    *,
    start: str | None = None,
    end: str | None = None,
    state: str = "COMPLETE",
    run_type: str = "scheduled",
) -> list[Json]:
    """The events of a DAG run."""
    told = {
        "dag_id": dag,
        "run_id": run_id,
        "run_type": run_type,
        "run_after": f"{due}Z",
        "logical_date": f"{due}Z",
        "data_interval_end": f"{due}Z",
    }
    found = []
    for kind, at in (("START", start), (state, end)):
        if at is not None:
            facet = {**told, **({"end_date": f"{at}Z"} if kind != "START" else {})}
            found.append(_event(kind, at, dag, _dag_run_part(dag, run_id, facet), [], []))
    return found


def _dag_run_part(dag: str, run_id: str, facet: Json) -> Json:
    return {
        "runId": str(uuid5(NAMESPACE_URL, f"{dag}/{run_id}")),
        "facets": {
            "airflowDagRun": {
                "_producer": _PRODUCER,
                "_schemaURL": f"{_SPEC}RunFacet",
                "dag": {"dag_id": dag},
                "dagRun": facet,
            }
        },
    }


def task_run(
    dag: str,
    task: str,
    run_id: str,
    due: str,
    *,
    start: str,
    end: str | None = None,
    state: str = "COMPLETE",
    run_type: str = "scheduled",
    try_number: int = 1,
    inputs: list[Json] | None = None,
    outputs: list[Json] | None = None,
    extra_facets: Json | None = None,
) -> list[Json]:
    """The events of a try of a task."""
    ref = TaskRef(dag, run_id, task, -1, try_number)
    base = {"_producer": _PRODUCER, "_schemaURL": f"{_SPEC}RunFacet"}
    told = {
        "dag_id": dag,
        "run_id": run_id,
        "run_type": run_type,
        "run_after": f"{due}Z",
        "logical_date": f"{due}Z",
        "data_interval_end": f"{due}Z",
    }
    run = {
        "runId": str(uuid5(NAMESPACE_URL, "/".join(map(str, ref)))),
        "facets": {
            facets.TASK: facets.task_facet(ref),
            "airflow": {
                **base,
                "dag": {"dag_id": dag},
                "dagRun": told,
                "task": {"task_id": task},
                "taskInstance": {"try_number": try_number},
            },
            **{name: {**base, **facet} for name, facet in (extra_facets or {}).items()},
        },
    }
    found = []
    for kind, at in (("START", start), (state, end)):
        if at is not None:
            io = (inputs or [], outputs or [])
            found.append(_event(kind, at, f"{dag}.{task}", run, *io))
    return found


def queued_note(dag: str, task: str, run_id: str, queued: str, started: str) -> bytes:
    """What the scheduler noted of a try that waited in the queue."""
    from airflow_provenance.formats.notes import TaskRunNote, encode_note

    return encode_note(
        TaskRunNote(
            *(NAMESPACE, dag, run_id, task, -1, 1, us(started)),
            started_at_us=us(started),
            queued_at_us=us(queued),
        )
    )


def jsonl(*groups: list[Json]) -> str:
    """Events as JSON lines."""
    return "".join(f"{json.dumps(event)}\n" for group in groups for event in group)
