"""What was seen of a file, so that no file is read twice while it stays as it is.

Within a task in memory; across tasks, for files that take long to read, in a directory of a fixed
number of small slots: a file has one slot, and who comes later takes it. A file counts as unchanged
when device, inode, size and both times are as they were. As in git's index, one that changed less
than two seconds before it was read is not kept: it could change again within the same tick.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.emit.observed import Structure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Seen = tuple[str, Structure | None]  # the SHA-256, and what the bytes mean

_MIN_BYTES = 1 << 20  # a smaller file is read as fast as its slot
_SLOTS = 4096
_SETTLED_NS = 2_000_000_000


class _Slot(msgspec.Struct):
    state: tuple[int, ...]
    digest: str
    structure: Structure | None = None


_DECODER = msgspec.json.Decoder(_Slot)


class Digests:
    """Remembers what was seen of files."""

    def __init__(
        self, directory: Path | None = None, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        """Begin to remember.

        Args:
            directory: of the slots, made when there is something to keep; without one, only what
                this object was told is known.
            clock_ns: the time, to tell whether a file has settled.
        """
        self._directory, self._clock_ns = directory, clock_ns
        self._seen: dict[tuple[int, ...], Seen] = {}

    def get(self, status: os.stat_result) -> Seen | None:
        """Return what was seen of this file, if it is as it was then."""
        state = _state(status)
        if state not in self._seen and (slot := self._slot(status)) is not None:
            # A slot that is missing, torn or of another file says nothing.
            with suppress(OSError, msgspec.DecodeError):
                kept = _DECODER.decode(slot.read_bytes())
                if kept.state == state:
                    self._seen[state] = kept.digest, kept.structure
        return self._seen.get(state)

    def put(self, status: os.stat_result, seen: Seen) -> None:
        """Remember what was seen of this file."""
        state = _state(status)
        self._seen[state] = seen
        slot, (digest, structure) = self._slot(status), seen
        changed_ns = max(status.st_mtime_ns, status.st_ctime_ns)
        if slot is None or self._clock_ns() - changed_ns < _SETTLED_NS:
            return
        if structure is not None and structure.note is not None:
            return  # with more time the next task may see more
        with suppress(OSError):  # next time the file is read again, that is all
            slot.parent.mkdir(mode=0o700, exist_ok=True)
            new = slot.with_name(f"{slot.name}-{os.getpid()}")
            new.write_bytes(msgspec.json.encode(_Slot(state, digest, structure)))
            new.replace(slot)

    def _slot(self, status: os.stat_result) -> Path | None:
        if self._directory is None or status.st_size < _MIN_BYTES:
            return None
        identity = f"{status.st_dev}-{status.st_ino}".encode()
        number = int.from_bytes(hashlib.sha256(identity).digest()[:4], "big") % _SLOTS
        return self._directory / f"{number:04}"


def _state(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
