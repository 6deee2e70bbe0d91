"""``GET /runs`` and ``/runs/{run}``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from airflow_provenance.api.datamodels.answers import RunDetailResponse, RunPageResponse
from airflow_provenance.api.parameters import (
    Limit,
    RunName,
    Text,
    Visible,
    cursor_of,
    page,
    place_of,
)
from airflow_provenance.domain.clock import parse_time
from airflow_provenance.domain.run import RunState
from airflow_provenance.errors import RequestError
from airflow_provenance.lineage.answers import describe_run, run_json
from airflow_provenance.lineage.subject import find_run
from airflow_provenance.store.base import RunQuery

router = APIRouter(tags=["runs"])


@router.get("/runs", response_model=RunPageResponse)
def list_runs(
    store: Visible,
    dag_id: Text | None = None,
    job: Text | None = None,
    state: Text | None = None,
    since: Text | None = None,
    limit: Limit = 50,
    cursor: Text | None = None,
) -> dict[str, Any]:
    """List runs, newest first: of a DAG, of a job, in a state, since a time (ISO 8601)."""
    if state is not None and state not in RunState.__members__:
        raise RequestError(f"state is one of {', '.join(RunState.__members__)}")
    query = RunQuery(
        dag_id=dag_id,
        job=job,
        state=RunState[state] if state else None,
        since_us=parse_time(since) if since is not None else None,
        limit=limit + 1,
        after=place_of(cursor, tuple[int, int]),
    )
    runs, last = page(store.runs(query), limit)
    return {
        "runs": [run_json(run) for run in runs],
        "next_cursor": last and cursor_of(last.listed_us, last.id),
    }


@router.get("/runs/{run}", response_model=RunDetailResponse)
def get_run(store: Visible, run: RunName, *, facets: bool = False) -> dict[str, Any]:
    """Tell all of one run, named by its runId, its number or its Airflow run_id."""
    return describe_run(store, find_run(store, run), with_facets=facets)
