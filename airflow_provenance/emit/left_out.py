"""Leaving out facets that are too large, and saying so in the event. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.formats import facets

if TYPE_CHECKING:
    from collections.abc import Iterator

Event = dict[str, Any]


def leave_out_large_facets(event: Event, max_facet_bytes: int) -> Event:
    """Return the run event without facets above the limit, each named in `facets.TRUNCATED`.

    >>> event = {"run": {"runId": "1", "facets": {"big": {"text": "x" * 100}}}}
    >>> list(leave_out_large_facets(event, 50)["run"]["facets"])
    ['airflowProvenance_truncated']
    """
    if "run" not in event:  # nowhere to say so; the limit on whole events still holds at ingest
        return event
    kept: Event = {**event}
    left_out: list[dict[str, Any]] = []
    for key in ("run", "job"):
        if key in kept:
            kept[key] = _trim(kept[key], f"$.{key}", max_facet_bytes, left_out)
    for key in ("inputs", "outputs"):
        if kept.get(key):
            kept[key] = [
                _trim(dataset, f"$.{key}[{index}]", max_facet_bytes, left_out)
                for index, dataset in enumerate(kept[key])
            ]
    if left_out:
        marker = facets.truncated_facet(left_out)
        run = kept["run"]
        kept["run"] = {**run, "facets": {**(run.get("facets") or {}), facets.TRUNCATED: marker}}
    return kept


def _trim(holder: Event, path: str, limit: int, left_out: list[dict[str, Any]]) -> Event:
    trimmed: Event = {**holder}
    for slot, name, facet in _facets_of(holder):
        text = msgspec.json.encode(facet, order="sorted")
        if len(text) > limit:
            trimmed[slot] = {key: value for key, value in trimmed[slot].items() if key != name}
            left_out.append(
                {
                    "path": f"{path}.{slot}.{name}",
                    "sizeBytes": len(text),
                    "sha256": hashlib.sha256(text).hexdigest(),
                }
            )
    return trimmed


def _facets_of(holder: Event) -> Iterator[tuple[str, str, Any]]:
    for slot in ("facets", "inputFacets", "outputFacets"):
        for name, facet in (holder.get(slot) or {}).items():
            yield slot, name, facet
