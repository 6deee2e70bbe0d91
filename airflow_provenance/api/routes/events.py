"""``GET /events``: the log."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter

from airflow_provenance.api.datamodels.answers import EventPageResponse
from airflow_provenance.api.parameters import Limit, Text, Visible, cursor_of, page, place_of
from airflow_provenance.lineage.answers import entry_json
from airflow_provenance.lineage.subject import find_run
from airflow_provenance.store.base import LogEntry

router = APIRouter(tags=["events"])


@router.get("/events", response_model=EventPageResponse)
def list_events(
    store: Visible,
    run: Text | None = None,
    limit: Limit = 50,
    cursor: Text | None = None,
    *,
    raw: bool = False,
) -> dict[str, Any]:
    """List events in the order in which they were received, with `raw` as they were sent."""
    (after,) = place_of(cursor, tuple[int]) or (0,)
    run_id = find_run(store, run).id if run else None
    entries = store.entries(after_seq=after, limit=limit + 1, run_id=run_id, with_raw=raw)
    rows, last = page(entries, limit)
    return {
        "events": [_answer(entry) for entry in rows],
        "next_cursor": last and cursor_of(last.seq),
    }


def _answer(entry: LogEntry) -> dict[str, Any]:
    raw = None if entry.raw is None else json.loads(entry.raw)
    return {**entry_json(entry), "raw": raw}
