"""Looking at local files: digest, size and time, or the reason why not.

All files of one task share one deadline, and the looking is done in a thread that is left behind
when the time is up: a network mount that hangs must not hang the task.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Literal

from airflow_provenance.emit.notes import Content

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from airflow_provenance.domain.identity import DatasetRef

Role = Literal["input", "output"]

_CHUNK_BYTES = 1 << 20
_NO_TIME = "not looked at: hashing took longer than [provenance] hash_timeout_seconds"


class Deadline:
    """A point in time that all files of a task share."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds

    @property
    def remaining_seconds(self) -> float:
        """Seconds left, 0 when it has passed."""
        return max(0.0, self._at - self._clock())

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.remaining_seconds == 0.0


def inspect_files(
    paths: Mapping[DatasetRef, Path], role: Role, began_at_us: int | None, deadline: Deadline
) -> dict[DatasetRef, Content]:
    """Look at every file until the deadline; those it did not come to say so."""
    seen: dict[DatasetRef, Content] = {}

    def look() -> None:
        for ref, path in paths.items():
            seen[ref] = inspect_file(path, role, began_at_us, deadline)

    if not deadline.is_over:
        thread = threading.Thread(target=look, name="airflow-provenance-files", daemon=True)
        thread.start()
        thread.join(deadline.remaining_seconds)
    # A copy: the thread may still be writing when the time is up.
    done = dict(seen)
    return {ref: done.get(ref, _unseen(_NO_TIME)) for ref in paths}


def inspect_file(path: Path, role: Role, began_at_us: int | None, deadline: Deadline) -> Content:
    """Return what the file holds now, and whether that is what the task read or wrote.

    An input is verified when nothing changed it since the task began. Both times of the file count:
    moving another file into its place keeps the old modification time.

    Args:
        path: a local path.
        role: whether the task read or wrote it.
        began_at_us: when the task began.
        deadline: when to stop.
    """
    try:
        # Not blocking, for a FIFO nobody writes to would hold the task here.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return _unseen(_reason(error))
    try:
        return _inspect_open(fd, role, began_at_us, deadline)
    except OSError as error:
        return _unseen(_reason(error))
    finally:
        os.close(fd)


def _inspect_open(fd: int, role: Role, began_at_us: int | None, deadline: Deadline) -> Content:
    before = os.fstat(fd)
    if not stat.S_ISREG(before.st_mode):
        kind = "a directory" if stat.S_ISDIR(before.st_mode) else "not a regular file"
        return _unseen(kind)
    size, modified_at_us = before.st_size, before.st_mtime_ns // 1000
    digest = _digest(fd, deadline)
    if digest is None:
        return Content(False, None, size, modified_at_us, _NO_TIME)
    after = os.fstat(fd)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        return Content(False, None, size, modified_at_us, "changed while it was hashed")
    reason = _doubt(role, max(before.st_mtime_ns, before.st_ctime_ns) // 1000, began_at_us)
    return Content(reason is None, digest, size, modified_at_us, reason)


def _digest(fd: int, deadline: Deadline) -> str | None:
    sha256 = hashlib.sha256()
    while not deadline.is_over:
        chunk = os.read(fd, _CHUNK_BYTES)
        if not chunk:
            return sha256.hexdigest()
        sha256.update(chunk)
    return None


def _doubt(role: Role, changed_at_us: int, began_at_us: int | None) -> str | None:
    """Return why this content may not be what the task read or wrote."""
    if began_at_us is None:
        return "when the task began is not known"
    if role == "input" and changed_at_us > began_at_us:
        return "changed after the task began"
    if role == "output" and changed_at_us < began_at_us:
        return "not written since the task began"
    return None


def _unseen(reason: str) -> Content:
    return Content(False, reason=reason)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, PermissionError):
        return "not readable"
    return error.strerror or type(error).__name__
