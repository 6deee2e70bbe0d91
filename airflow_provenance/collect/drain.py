"""The drain: what tasks spooled goes into the store, each line once.

Rules that a ``kill -9`` at any moment cannot break:

1. Only whole lines are read while the file's owner may still write.
2. Events and the file's offset are written in one transaction, and an offset that another drainer
   moved meanwhile undoes nothing: the batch is simply read again from there.
3. A file goes only when all of it is in the store and its owner is dead, which its ``flock`` tells
   (a process id can be used again). What a dead owner left without an end is quarantined.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from typing import TYPE_CHECKING, Protocol

from airflow_provenance.collect.spool_block import records_of
from airflow_provenance.domain.clock import Clock, SystemClock
from airflow_provenance.store.base import IngestReport, Rejected, SpoolOffset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from airflow_provenance.formats.spool_line import Kind

_log = logging.getLogger(__name__)
SUFFIX = ".spool"
# A batch is a transaction: larger ones are quicker up to some thousand events, and hold the store's
# write lock for longer.
BATCH_BYTES = 8 * 1024 * 1024


class DrainTarget(Protocol):
    """Where spooled lines go: a store here, or one that is reached over HTTP (`http_target`)."""

    def ingest(
        self,
        entries: Sequence[tuple[Kind, bytes]],
        *,
        received_us: int,
        source: str = "",
        rejected: Sequence[Rejected] = (),
        offset: SpoolOffset | None = None,
    ) -> IngestReport:
        """Take a batch, and move the file's offset; see `store.base.ProvenanceWriter`."""

    def spool_offset(self, file: str) -> int:
        """Return how far a spool file was taken, in bytes."""

    def forget_spool(self, file: str) -> None:
        """Forget the offset of a spool file that is gone."""


class Drain:
    """Reads spool files into a store.

    Args:
        store: where the events go.
        spool_dir: the folder of the spool files; one that is not there is empty.
        clock: says when an event was received.
        batch_bytes: how much of a file is ingested in one transaction.
    """

    def __init__(
        self,
        store: DrainTarget,
        spool_dir: Path,
        clock: Clock | None = None,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self._store = store
        self._spool_dir = spool_dir
        self._clock = clock or SystemClock()
        self._batch_bytes = batch_bytes

    def files(self) -> list[Path]:
        """Return the spool files, oldest name first."""
        if not self._spool_dir.is_dir():
            return []
        return sorted(self._spool_dir.glob(f"*{SUFFIX}"))

    def run_once(
        self,
        progress: Callable[[IngestReport], None] | None = None,
        *,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> IngestReport:
        """Ingest all that is spooled now; return what became of it.

        Between two batches `should_stop` may end it; the rest is read the next time.

        A file that cannot be read is told in one line and left as it is.

        Raises:
            StoreError: the store cannot be used; the spool keeps what was not ingested.
        """
        total = IngestReport()
        for path in self.files():
            try:
                for report in self.drain_file(path):
                    total.add(report)
                    if progress is not None:
                        progress(total)
                    if should_stop():
                        return total
            except FileNotFoundError:
                continue  # another drainer finished it
            except OSError as error:
                advice = (
                    "somebody cut it, move it away"
                    if error.errno == errno.EIO
                    else "give this user the right to read and remove it"
                )
                total.warnings.append(f"{path}: {error.strerror}: {advice}")
                _log.warning("Cannot drain %s (%s): %s", path, error.strerror, advice)
        return total

    def drain_file(self, path: Path) -> Iterator[IngestReport]:
        """Ingest one file, a batch at a time. Raises `OSError` and `StoreError`."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield from self._drain_whole_lines(fd, path)
            if not _is_owner_dead(fd):
                return
            # Nobody can write any more: read what came since, and what has no end.
            yield from self._drain_whole_lines(fd, path)
            yield from self._drain_tail(fd, path)
            if self._store.spool_offset(path.name) == os.fstat(fd).st_size:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                self._store.forget_spool(path.name)
        finally:
            os.close(fd)
            if not path.exists():
                # Another drainer removed it while this one was reading: leave no offset behind.
                self._store.forget_spool(path.name)

    def _drain_whole_lines(self, fd: int, path: Path) -> Iterator[IngestReport]:
        # A file that is gone was finished by another drainer, who also forgot its offset.
        while os.fstat(fd).st_nlink:
            start = self._store.spool_offset(path.name)
            if start > os.fstat(fd).st_size:
                raise OSError(errno.EIO, "it is shorter than what was read of it")
            block = _read_lines(fd, start, self._batch_bytes)
            if not block:
                return
            yield self._ingest(path, start, block)

    def _drain_tail(self, fd: int, path: Path) -> Iterator[IngestReport]:
        start = self._store.spool_offset(path.name)
        tail = os.pread(fd, max(os.fstat(fd).st_size - start, 0), start)
        if tail:
            yield self._ingest(path, start, tail)

    def _ingest(self, path: Path, start: int, block: bytes) -> IngestReport:
        records = records_of(block, path.name, start)
        entries = [one for one in records if not isinstance(one, Rejected)]
        rejected = [one for one in records if isinstance(one, Rejected)]
        return self._store.ingest(
            entries,
            received_us=self._clock.now_us(),
            source=path.name,
            rejected=rejected,
            offset=SpoolOffset(path.name, start, start + len(block)),
        )


def _read_lines(fd: int, start: int, size: int) -> bytes:
    """Return whole lines from a position on: at least one if there is one, about `size` bytes."""
    block = os.pread(fd, size, start)
    end = block.rfind(b"\n") + 1
    while end == 0 and len(block) == size:
        size *= 2  # a line larger than a batch
        block = os.pread(fd, size, start)
        end = block.rfind(b"\n") + 1
    return block[:end]


def _is_owner_dead(fd: int) -> bool:
    """Whether every process that could write to the file is gone; its lock is then ours."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
