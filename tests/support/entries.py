"""Entries for a store, an event or a note in a call; and what a store says of them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.clock import parse_time
from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.domain.run import RunState
from airflow_provenance.formats.facets import MANIFEST
from airflow_provenance.store.base import RunQuery
from tests.contract.support import RECEIVED_US

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.store.base import Edge, IngestReport, RunView, Store

Json = dict[str, Any]
LogEntry = tuple["Kind", bytes]

DAY = "2026-01-05T06:"
STATE = RunState


# ---- Events and notes ---------------------------------------------------------------------------


def at(second: float) -> str:
    minute, rest = divmod(second, 60)
    return f"{DAY}{minute:02.0f}:{rest:06.3f}Z"


def us(second: float) -> int:
    return parse_time(at(second))


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def body(second: float, **members: Any) -> Json:
    return {"eventTime": at(second), "producer": "https://p", "schemaURL": "https://s", **members}


def entry(event: Json, **how: Any) -> LogEntry:
    return "E", json.dumps(event, **how).encode()


def event(
    event_type: str | None,
    second: float,
    job: str,
    run: int = 1,
    facets: Json | None = None,
    inputs: Iterable[Json] = (),
    outputs: Iterable[Json] = (),
    namespace: str = "air",
) -> LogEntry:
    """Return a run event of any producer."""
    return entry(
        body(
            second,
            eventType=event_type,
            job={"namespace": namespace, "name": job},
            run={"runId": uuid(run), "facets": facets or {}},
            inputs=list(inputs),
            outputs=list(outputs),
        )
    )


def task(
    event_type: str,
    second: float,
    name: str,
    *,
    dag: str = "d",
    dag_run: str = "r1",
    member: int = -1,
    attempt: int = 1,
    upstream: Iterable[str] = (),
    facets: Json | None = None,
    run: int = 1,
    **rest: Any,
) -> LogEntry:
    """Return an event of one try of an Airflow task."""
    airflow = {
        "dag": {"dag_id": dag},
        "dagRun": {"run_id": dag_run},
        "task": {"task_id": name, "upstream_task_ids": str(list(upstream))},
        "taskInstance": {"try_number": attempt, "map_index": member},
    }
    return event(
        event_type, second, f"{dag}.{name}", run, {"airflow": airflow, **(facets or {})}, **rest
    )


def dag_run(
    event_type: str, second: float, dag: str = "d", run_id: str = "r1", run: int = 99
) -> LogEntry:
    facet = {"dag": {"dag_id": dag}, "dagRun": {"run_id": run_id}}
    return event(event_type, second, dag, run, {"airflowDagRun": facet})


def note(
    kind: str, second: float, *, of_task: str | None = "t", attempt: int = 1, **said: Any
) -> LogEntry:
    members = {"kind": kind, "namespace": "air", "dagId": "d", "runId": "r1", "at": at(second)}
    if of_task:
        members |= {"taskId": of_task, "mapIndex": -1, "tryNumber": attempt}
    return "N", json.dumps(members | said).encode()


def data(name: str = "totals", *, version: str | None = None, **facets: Any) -> Json:
    if version is not None:
        facets["version"] = {"datasetVersion": version}
    return {"namespace": "pg", "name": name, "facets": facets}


OF_TASK = {"dagId": "d", "runId": "r1", "taskId": "t", "mapIndex": -1, "tryNumber": 1}
REPLACED = {"lifecycleStateChange": {"lifecycleStateChange": "OVERWRITE"}}
TOTALS = DatasetRef("pg", "totals")


def put(store: Store, *entries: LogEntry) -> IngestReport:
    report = store.ingest(list(entries), received_us=RECEIVED_US, source="a test")
    assert report.received == len(entries)
    return report


def put_all(store: Store, *entries: LogEntry) -> IngestReport:
    report = put(store, *entries)
    assert report.quarantined == 0, store.quarantine()
    return report


def run_of(store: Store, name: str) -> RunView:
    [run] = store.runs(RunQuery(job=name))
    return run


def one_named(store: Store, name: str) -> RunView:
    [run] = store.runs_named(name)
    return run


def keys(runs: Iterable[RunView]) -> list[tuple[Any, ...]]:
    return sorted(tuple(run.key) for run in runs)


def raws(store: Store, **which: Any) -> list[bytes | None]:
    return [one.raw for one in store.entries(with_raw=True, **which)]


GOOD = event("COMPLETE", 20, "good")


def manifest(listed: list[str] | None, told: str | None = None) -> Json:
    """Return the facet with a list and its hash, or the hash that is given."""
    text = "".join(f"{one}\n" for one in listed or ())
    told = hashlib.sha256(text.encode()).hexdigest() if told is None else told
    facet: Json = {"environment": {"python": "3.11.7", "dependenciesHash": told}, "hash": "abc"}
    return {MANIFEST: facet if listed is None else {**facet, "dependencies": listed}}


def names_of(store: Store, edges: Iterable[Edge]) -> set[tuple[str, str]]:
    """Return edges as (source, target) by the names of jobs and datasets."""
    nodes = {node for edge in edges for node in (edge.src, edge.dst)}
    names = {number: run.job[1] for number, run in store.runs_by_id(nodes).items()}
    names |= {number: one.dataset.name for number, one in store.versions_by_id(nodes).items()}
    return {(names[edge.src], names[edge.dst]) for edge in edges}
