"""What the evaluator looks at of a run, read off the document or the brief that a store has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey, WireKey
from airflow_provenance.domain.run import RunState
from airflow_provenance.formats import facets
from airflow_provenance.formats.brief import amounts_of, brief_of, facet_of, whole
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
    from airflow_provenance.domain.run import Facets, Io, RunDoc
    from airflow_provenance.formats.brief import RunBrief, Written
    from airflow_provenance.store.base import RunView

# Of our own and Airflow's facets no number is a user's metric.
_NO_METRICS = ("airflow", "parent", "nominalTime", "processing_engine", "tags", "unknownSource")


def brief_fact(view: RunView, brief: RunBrief) -> RunFact:
    """Return what most promises look at of a run: neither checks, columns nor what it read."""
    key = view.key
    run_id = "" if isinstance(key, WireKey) else key.run_id
    is_task = isinstance(key, TaskRunKey)
    return RunFact(
        id=view.id,
        job=view.job[1],
        state=view.state,
        run_id=run_id,
        run_type=None if isinstance(key, WireKey) else brief.run_type or _run_type(run_id),
        map_index=key.map_index if isinstance(key, TaskRunKey) else -1,
        try_number=key.try_number if isinstance(key, TaskRunKey) else 1,
        run_after_us=brief.run_after_us or (None if is_task else brief.scheduled_us),
        logical_us=brief.logical_us,
        interval_end_us=brief.interval_end_us,
        queued_us=brief.queued_us,
        started_us=_started_us(view, brief),
        ended_us=_ended_us(view, brief),
        writes=tuple(_amounts(one) for one in brief.writes),
        consumed=brief.consumed,
        hostname=view.hostname,
        dag=view.dag_id,
    )


def run_fact(view: RunView, doc: RunDoc) -> RunFact:
    """Return all that the evaluator looks at of a run."""
    both = (*doc.inputs.values(), *doc.outputs.values())
    at_us = checked_us(view, doc)
    return msgspec.structs.replace(
        brief_fact(view, brief_of(doc)),
        reads=tuple(_io_fact(io, INPUT_STATISTICS) for io in doc.inputs.values()),
        writes=tuple(_io_fact(io, OUTPUT_STATISTICS) for io in doc.outputs.values()),
        numbers=_numbers(doc.run_facets),
        upstream=None if doc.upstream is None else tuple(doc.upstream[2]),
        dag_version=_dag_version(doc.run_facets),
        checks=tuple(fact for io in both for fact in assertions_of(io, view.id, at_us)),
    )


def checked_us(view: RunView, doc: RunDoc) -> int:
    """Return when a run's checks were known."""
    return view.ended_us or doc.first_event_us or 0


def _dag_version(run_facets: Facets) -> str | None:
    code = facet_of(run_facets, facets.MANIFEST).get("code")
    told = code if isinstance(code, dict) else {}
    version = told.get("dagVersionNumber") or told.get("dagVersionId")
    return None if version is None else str(version)


def _started_us(view: RunView, brief: RunBrief) -> int | None:
    """Return when a run began, else when it could.

    ``airflow dags test`` tells of a DAG run when it has ended, with its logical date as the start.
    """
    if view.started_us is None and isinstance(view.key, DagRunKey):
        return brief.run_after_us
    return view.started_us


def _ended_us(view: RunView, brief: RunBrief) -> int | None:
    """Return when a run ended; of a DAG run that was cleared and run again, the last time.

    All that was said of such a run is one document, in which the first end is kept.
    """
    ended_us = view.ended_us
    if not isinstance(view.key, DagRunKey) or ended_us is None or brief.terminal_us is None:
        return ended_us
    if brief.is_recorded or view.state is RunState.RUNNING:
        return ended_us
    said_us = brief.said_end_us
    if said_us is None and ended_us == brief.first_end_us:
        said_us = brief.terminal_us
    return max(ended_us, said_us or 0)


def _run_type(run_id: str) -> str:
    prefix = run_id.partition("__")[0]  # as Airflow names runs that nobody named
    return prefix if prefix in RUN_TYPES else "manual"


def _amounts(one: Written) -> IoFact:
    return IoFact(
        dataset=one.dataset,
        partition=one.partition,
        rows=one.rows,
        size_bytes=one.size_bytes,
        event_time_us=one.event_time_us,
    )


def _io_fact(io: Io, statistics: str) -> IoFact:
    fact = _amounts(amounts_of(io, statistics))
    fields = facet_of(io.facets, SCHEMA).get("fields")
    if not isinstance(fields, list):
        return fact
    return msgspec.structs.replace(fact, columns=_columns(fields))


def _columns(fields: list[Any]) -> dict[str, str]:
    return {
        str(one["name"]): str(one.get("type") or "")
        for one in fields
        if isinstance(one, dict) and "name" in one
    }


def assertions_of(io: Io, run_id: int, at_us: int) -> list[AssertionFact]:
    """Return what a run's checks said of a dataset."""
    found: list[AssertionFact] = []
    if ASSERTIONS not in io.facets and ASSERTIONS not in io.role_facets:
        return found
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
            for one in facet_of(those, ASSERTIONS).get("assertions") or []
            if isinstance(one, dict) and isinstance(one.get("success"), bool)
        ]
    return found


def _param(told: dict[str, Any], name: str) -> int | None:
    params = told.get("params")
    return whole(params.get(name)) if isinstance(params, dict) else None


def _numbers(run_facets: Facets) -> dict[str, float]:
    found = {}
    for name in run_facets:
        if name.startswith(_NO_METRICS):
            continue
        for field, value in facet_of(run_facets, name).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[f"{name}.{field}"] = float(value)
    return found
