"""Giving what was quarantined another try, once its cause is mended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from airflow_provenance.errors import EventError, SubjectError
from airflow_provenance.formats.spool_line import decode_line

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provenance.domain.clock import Clock
    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.store.base import QuarantineEntry, Store


class Replayed(NamedTuple):
    """Which entries are in the store now, and which are still refused."""

    released: list[int]
    refused: list[int]


def replay_quarantine(store: Store, ids: Collection[int], clock: Clock) -> Replayed:
    """Ingest quarantined entries again; those that pass leave the quarantine.

    Args:
        store: whose quarantine.
        ids: which entries; none for all.
        clock: says when they were received this time.

    Raises:
        SubjectError: an id is not in the quarantine.
    """
    entries = {entry.id: entry for entry in store.quarantine(with_raw=True)}
    missing = sorted(set(ids) - entries.keys())
    if missing:
        raise SubjectError(f"not in the quarantine: {missing}; 'quarantine list' shows what is")
    released, refused = [], []
    for number in sorted(ids or entries):
        if _passes(store, entries[number], clock.now_us()):
            # Released one by one: what was ingested leaves, whatever happens to the next.
            store.release([number])
            released.append(number)
        else:
            refused.append(number)
    return Replayed(released, refused)


def _passes(store: Store, entry: QuarantineEntry, now_us: int) -> bool:
    raw = entry.raw or b""
    kind = entry.kind
    if kind == "?":  # a spool line that could not be read
        try:
            kind, raw = decode_line(raw)
        except EventError:
            return False
    report = store.ingest([(cast("Kind", kind), raw)], received_us=now_us, source=entry.source)
    return report.ingested + report.repeated == 1
