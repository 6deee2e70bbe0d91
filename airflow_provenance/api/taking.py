"""Requests that arrive together go to the store in one transaction.

A transaction costs what it costs, mostly waits for a disk or a server, for one event as for a
thousand; and a store writes one at a time. So one request writes, and when it is done the next one
writes for all that came meanwhile. Nobody waits for company, and each answer is given after its own
commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import msgspec

from airflow_provenance.errors import ProvenanceError, StoreUnavailableError
from airflow_provenance.formats.spool_line import Kind
from airflow_provenance.store.base import IngestReport, ProvenanceWriter, Rejected

# As the drain's batches: larger ones hold the store's lock for longer and are no quicker.
MOST_RECORDS = 2_000


class Taken(msgspec.Struct):
    """What became of a request's records."""

    accepted: set[bytes] = msgspec.field(default_factory=set)
    refused: dict[bytes, Rejected] = msgspec.field(default_factory=dict)


class _Request:
    def __init__(
        self, source: str, entries: Sequence[tuple[Kind, bytes]], rejected: Sequence[Rejected]
    ) -> None:
        self.source, self.entries, self.rejected = source, entries, rejected
        self.taken: Taken | None = None
        self.error: Exception | None = None
        self.may_go_on = threading.Event()  # it is done, or its turn to write

    @property
    def size(self) -> int:
        return len(self.entries) + len(self.rejected)

    @property
    def is_done(self) -> bool:
        return self.taken is not None or self.error is not None


class Taking:
    """Puts the records of requests into a store.

    Args:
        store: gives the store, open.
        now_us: says when something was received.
    """

    def __init__(self, store: Callable[[], ProvenanceWriter], now_us: Callable[[], int]) -> None:
        self._store, self._now_us = store, now_us
        self._waiting: list[_Request] = []
        self._is_writing = False
        self._lock = threading.Lock()

    def take(
        self, source: str, entries: Sequence[tuple[Kind, bytes]], rejected: Sequence[Rejected]
    ) -> Taken:
        """Ingest a request's records; return when they are in the store. Raises `StoreError`."""
        mine = _Request(source, entries, rejected)
        with self._lock:
            self._waiting.append(mine)
            must_wait, self._is_writing = self._is_writing, True
        if must_wait:
            mine.may_go_on.wait()
        if not mine.is_done:
            self._write()
        if mine.taken is None:
            raise mine.error or AssertionError("a request that is done has an outcome")
        return mine.taken

    def _write(self) -> None:
        batch = self._next_batch()
        try:
            self._ingest(batch)
        finally:
            with self._lock:
                if self._waiting:
                    self._waiting[0].may_go_on.set()
                else:
                    self._is_writing = False
            for one in batch:
                if not one.is_done:  # the process is about to end
                    one.error = StoreUnavailableError("the transaction was broken off")
                one.may_go_on.set()

    def _next_batch(self) -> list[_Request]:
        """Return requests of one sender, the oldest and those that fit beside it."""
        with self._lock:
            first = self._waiting[0]
            batch, left, size = [], [], 0
            for one in self._waiting:
                if one.source == first.source and (one is first or size + one.size <= MOST_RECORDS):
                    batch.append(one)
                    size += one.size
                else:
                    left.append(one)
            self._waiting = left
        return batch

    def _ingest(self, batch: list[_Request]) -> None:
        try:
            report = self._store().ingest(
                [entry for one in batch for entry in one.entries],
                received_us=self._now_us(),
                source=batch[0].source,
                rejected=[entry for one in batch for entry in one.rejected],
            )
        except ProvenanceError as error:
            for one in batch:
                one.error = error
        except Exception as error:  # noqa: BLE001 - raised where its request is answered
            if len(batch) == 1:
                batch[0].error = error
                return
            for one in batch:  # only the one that is to blame is to suffer
                self._ingest([one])
        else:
            _share(report, batch)


def _share(report: IngestReport, batch: list[_Request]) -> None:
    """Tell each request what became of its own; what two brought is new to the first of them."""
    new = set(report.accepted)
    refused = {one.raw: one for one in report.refused}
    for one in batch:
        raws = [raw for _, raw in one.entries]
        accepted = new.intersection(raws)
        new -= accepted
        raws += [each.raw for each in one.rejected]
        one.taken = Taken(accepted, {raw: refused[raw] for raw in raws if raw in refused})
