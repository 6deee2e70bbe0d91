"""``GET /lineage``: where data came from, what it touches."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from airflow_provenance.api.datamodels.answers import LineageResponse
from airflow_provenance.api.parameters import Visible
from airflow_provenance.domain.linking import LinkRule
from airflow_provenance.lineage.answers import hidden, trace_json
from airflow_provenance.lineage.trace import Trace, trace
from airflow_provenance.store.base import Direction

router = APIRouter(tags=["lineage"])
Subject = Annotated[str, Query(pattern=r"^[^\x00]+$", max_length=4000)]


@router.get("/lineage", response_model=LineageResponse)
def get_lineage(
    store: Visible,
    subject: Subject,
    direction: Direction = "upstream",
    depth: Annotated[int, Query(ge=0, le=1000)] = 20,
    max_nodes: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> dict[str, Any]:
    """Walk upstream or downstream from `dataset:NAMESPACE/NAME`, `...@VERSION` or `run:ID`.

    The path goes on through nodes that you may not see; of those, only their ids are told.
    """
    found = trace(store, subject, direction, depth, max_nodes)
    return {**trace_json(found), "hidden": _hidden(found), "truncated": found.is_cut}


def _hidden(found: Trace) -> list[dict[str, Any]]:
    """Return the placeholders of nodes on an edge that are not among those seen."""
    kinds: dict[int, str] = {}
    for edge in found.edges:
        kinds[edge.src] = "run" if edge.rule == LinkRule.WROTE else "version"
        is_version = edge.rule in (LinkRule.WROTE, LinkRule.APPENDED)
        kinds[edge.dst] = "version" if is_version else "run"
    seen = found.runs.keys() | found.versions.keys()
    return [hidden(node, kinds[node]) for node in sorted(kinds.keys() - seen)]
