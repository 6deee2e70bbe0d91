"""What the contract tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.store.base import Store

RECEIVED_US = 1_800_000_000_000_000


def ingest_all(store: Store, entries: Sequence[tuple[Kind, bytes]], batches: list[int]) -> None:
    """Ingest entries in batches of the given sizes; the last batch takes what is left."""
    start = 0
    for size in [*batches, len(entries)]:
        batch = entries[start : start + size]
        start += size
        if batch:
            report = store.ingest(batch, received_us=RECEIVED_US)
            assert report.quarantined == 0, store.quarantine()
            assert report.ingested + report.repeated == len(batch)
