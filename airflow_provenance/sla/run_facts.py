"""What the evaluator looks at, read off the document that a store has of a run."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.clock import parse_time
from airflow_provenance.domain.identity import DagRunKey, TaskRunKey, WireKey
from airflow_provenance.domain.run import RunState
from airflow_provenance.domain.synthesised import queued_us, scheduled_us, told_number
from airflow_provenance.errors import EventError
from airflow_provenance.formats import facets
from airflow_provenance.formats.facets.standard import (
    ASSERTIONS,
    INPUT_STATISTICS,
    OUTPUT_STATISTICS,
    SCHEMA,
)
from airflow_provenance.lineage.checks import rows_of
from airflow_provenance.sla.facts import AssertionFact, IoFact, RunFact
from airflow_provenance.sla.policy import RUN_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provenance.domain.run import ConsumedSource, Facets, Io, RunDoc
    from airflow_provenance.store.base import RunView

# Of our own and Airflow's facets no number is a user's metric.
_NO_METRICS = ("airflow", "parent", "nominalTime", "processing_engine", "tags", "unknownSource")
# In the ``extra`` of an asset event: the newest event time that the data has.
_WATERMARK = "watermark"


def run_fact(view: RunView, doc: RunDoc) -> RunFact:
    """Return what the evaluator looks at of a run."""
    key = view.key
    in_airflow = not isinstance(key, WireKey)
    told = _dag_run(doc.run_facets)
    run_id = "" if isinstance(key, WireKey) else key.run_id
    is_task = isinstance(key, TaskRunKey)
    return RunFact(
        id=view.id,
        job=view.job[1],
        state=view.state,
        run_id=run_id,
        run_type=_run_type(told, run_id) if in_airflow else None,
        map_index=key.map_index if isinstance(key, TaskRunKey) else -1,
        try_number=key.try_number if isinstance(key, TaskRunKey) else 1,
        run_after_us=_time(told.get("run_after")) or (scheduled_us(doc) if not is_task else None),
        logical_us=_time(told.get("logical_date")),
        interval_end_us=_time(told.get("data_interval_end")),
        queued_us=queued_us(doc),
        started_us=_started_us(view, told),
        ended_us=_ended_us(view, doc, told),
        reads=tuple(_io_fact(io, INPUT_STATISTICS) for io in doc.inputs.values()),
        writes=tuple(_io_fact(io, OUTPUT_STATISTICS) for io in doc.outputs.values()),
        numbers=_numbers(doc.run_facets),
        upstream=None if doc.upstream is None else tuple(doc.upstream[2]),
        consumed=() if doc.consumed is None else tuple(map(_source, doc.consumed[2])),
        hostname=view.hostname,
        dag_version=_dag_version(doc.run_facets),
        dag=view.dag_id,
        checks=tuple(
            fact
            for io in (*doc.inputs.values(), *doc.outputs.values())
            for fact in assertions_of(io, view.id, checked_us(view, doc))
        ),
    )


def checked_us(view: RunView, doc: RunDoc) -> int:
    """Return when a run's checks were known."""
    return view.ended_us or doc.first_event_us or 0


def _source(told: ConsumedSource) -> ConsumedSource:
    dag_id, run_id, task_id, map_index = told  # a store may hold it as a list
    return dag_id, run_id, task_id, map_index


def _dag_version(run_facets: Facets) -> str | None:
    code = _facet(run_facets, facets.MANIFEST).get("code")
    told = code if isinstance(code, dict) else {}
    version = told.get("dagVersionNumber") or told.get("dagVersionId")
    return None if version is None else str(version)


def _started_us(view: RunView, told: Mapping[str, Any]) -> int | None:
    """Return when a run began, else when it could.

    ``airflow dags test`` tells of a DAG run when it has ended, with its logical date as the start.
    """
    if view.started_us is None and isinstance(view.key, DagRunKey):
        return _time(told.get("run_after"))
    return view.started_us


def _ended_us(view: RunView, doc: RunDoc, told: Mapping[str, Any]) -> int | None:
    """Return when a run ended; of a DAG run that was cleared and run again, the last time.

    All that was said of such a run is one document, in which the first end is kept.
    """
    if not isinstance(view.key, DagRunKey) or view.ended_us is None or doc.terminal is None:
        return view.ended_us
    if told_number(doc, "ended_at") is not None or view.state is RunState.RUNNING:
        return view.ended_us
    said_us = _time(told.get("end_date"))
    if said_us is None and view.ended_us == doc.first_end_us:
        said_us = doc.terminal[0]
    return max(view.ended_us, said_us or 0)


def _run_type(told: Mapping[str, Any], run_id: str) -> str:
    said = told.get("run_type")
    if isinstance(said, str) and said:
        return said
    prefix = run_id.partition("__")[0]  # as Airflow names runs that nobody named
    return prefix if prefix in RUN_TYPES else "manual"


class _DagRunFacet(msgspec.Struct):
    """Of a facet with all that Airflow says of a task, the part that is looked at."""

    dagRun: dict[str, Any] = {}  # noqa: N815 - the facet's name for it


_DAG_RUN = msgspec.json.Decoder(_DagRunFacet)


def _dag_run(run_facets: Facets) -> dict[str, Any]:
    for name in ("airflowDagRun", "airflow"):
        if (found := run_facets.get(name)) is not None:
            with suppress(msgspec.DecodeError):  # some other producer's
                return _DAG_RUN.decode(found[2]).dagRun
    return {}


def _facet(facets_of: Facets, name: str) -> dict[str, Any]:
    if (found := facets_of.get(name)) is not None:
        value = msgspec.json.decode(found[2])
        if isinstance(value, dict):
            return value
    return {}


def _time(text: object) -> int | None:
    if not isinstance(text, str):
        return None
    try:
        return parse_time(text)
    except EventError:
        return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _io_fact(io: Io, statistics: str) -> IoFact:
    if not io.facets and not io.role_facets:
        return IoFact(dataset="/".join(io.dataset), partition=io.partition)
    counted = _facet(io.role_facets, statistics)
    content = _facet(io.facets, facets.CONTENT)
    columns = _facet(io.facets, SCHEMA).get("fields")
    extra = _facet(io.facets, facets.ASSET).get("extra")
    rows, size = _whole(counted.get("rowCount")), _whole(counted.get("size"))
    return IoFact(
        dataset="/".join(io.dataset),
        partition=io.partition,
        rows=_whole(content.get("rowCount")) if rows is None else rows,
        size_bytes=_whole(content.get("sizeBytes")) if size is None else size,
        columns=_columns(columns) if isinstance(columns, list) else None,
        event_time_us=_time(extra.get(_WATERMARK)) if isinstance(extra, dict) else None,
    )


def _columns(fields: list[Any]) -> dict[str, str]:
    return {
        str(one["name"]): str(one.get("type") or "")
        for one in fields
        if isinstance(one, dict) and "name" in one
    }


def assertions_of(io: Io, run_id: int, at_us: int) -> list[AssertionFact]:
    """Return what a run's checks said of a dataset."""
    found: list[AssertionFact] = []
    rows = rows_of(io)
    for those in (io.facets, io.role_facets):
        found += [
            AssertionFact(
                run_id=run_id,
                at_us=at_us,
                name=str(one.get("name") or one.get("assertion") or "?"),
                success=one["success"],
                column=one.get("column"),
                severity=str(one.get("severity") or "error"),
                partition=io.partition,
                failed_rows=_param(one, "failedRows"),
                rows=rows if (looked_at := _param(one, "rows")) is None else looked_at,
            )
            for one in _facet(those, ASSERTIONS).get("assertions") or []
            if isinstance(one, dict) and isinstance(one.get("success"), bool)
        ]
    return found


def _param(told: dict[str, Any], name: str) -> int | None:
    params = told.get("params")
    return _whole(params.get(name)) if isinstance(params, dict) else None


def _numbers(run_facets: Facets) -> dict[str, float]:
    found = {}
    for name in run_facets:
        if name.startswith(_NO_METRICS):
            continue
        for field, value in _facet(run_facets, name).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[f"{name}.{field}"] = float(value)
    return found
