"""``GET /jobs``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from airflow_provenance.api.datamodels.answers import JobPageResponse
from airflow_provenance.api.parameters import Limit, Text, Visible, cursor_of, page, place_of
from airflow_provenance.domain.clock import format_time

router = APIRouter(tags=["jobs"])


@router.get("/jobs", response_model=JobPageResponse)
def list_jobs(store: Visible, limit: Limit = 50, cursor: Text | None = None) -> dict[str, Any]:
    """List jobs by name; runs that you may not see are not counted."""
    jobs, last = page(store.jobs(place_of(cursor, tuple[str, str]), limit + 1), limit)
    uses = store.job_uses(jobs)
    answers = []
    for job in jobs:
        mine = [use for use in uses if use.job == job]
        newest = [use.newest_us for use in mine if use.newest_us is not None]
        answers.append(
            {
                "namespace": job[0],
                "name": job[1],
                "dag_ids": sorted({use.dag_id for use in mine if use.dag_id is not None}),
                "runs": sum(use.runs for use in mine),
                "newest_run_at": format_time(max(newest, default=None)),
            }
        )
    return {"jobs": answers, "next_cursor": last and cursor_of(*last)}
