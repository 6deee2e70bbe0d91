"""Looking at local files: digest, size, time and structure, or the reason why not.

All files of one task share one deadline, and the looking is done in a thread that is left behind
when the time is up: a network mount that hangs must not hang the task. Digests come first: what
`inspectors` learn from the same bytes has a part of the time, and footers are read at the end.
No file is read twice: one that was hashed, and is as it was then, is remembered (`digests`).
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from airflow_provenance.capture.digests import Digests, Seen
from airflow_provenance.capture.inspectors import PARQUET, Watched, inspector_for, is_parquet
from airflow_provenance.capture.inspectors.parquet import read_footer
from airflow_provenance.emit.notes import Content
from airflow_provenance.emit.observed import NO_FILE, Structure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from airflow_provenance.domain.identity import DatasetRef

Role = Literal["input", "output"]

# A larger one does not stay in the processor's cache: CSV took half as long again with 1 MiB.
_CHUNK_BYTES = 1 << 18
_MAX_INSPECTION_SHARE = 0.25  # of the time that is left; the rest is for digests
_NO_TIME = "not looked at: hashing took longer than [provenance] hash_timeout_seconds"
_NO_TIME_FOR_FOOTER = "not looked into: no time was left of [provenance] hash_timeout_seconds"
_FOOTER = Structure(PARQUET)  # stands for a footer that is still to be read


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
    paths: Mapping[DatasetRef, Path],
    role: Role,
    began_at_us: int | None,
    deadline: Deadline,
    digests: Digests | None = None,
) -> dict[DatasetRef, Content]:
    """Look at every file until the deadline; those it did not come to say so."""
    seen: dict[DatasetRef, Content] = {}
    digests = Digests() if digests is None else digests

    def look() -> None:
        for ref, path in paths.items():
            seen[ref] = inspect_file(path, role, began_at_us, deadline, digests)

    within(deadline, look)
    # A copy: the thread may still be writing when the time is up.
    done = dict(seen)
    return {ref: done.get(ref, _unseen(_NO_TIME)) for ref in paths}


def read_footers(
    paths: Mapping[DatasetRef, Path], contents: dict[DatasetRef, Content], deadline: Deadline
) -> dict[DatasetRef, Content]:
    """Return the contents, with the structure of files that tell theirs at their end."""
    footers: dict[DatasetRef, Structure] = {}
    waiting = [ref for ref, one in contents.items() if one.digest and one.structure == _FOOTER]

    def look() -> None:
        for ref in waiting:
            if not deadline.is_over:
                footers[ref] = _footer(paths[ref], contents[ref])

    if waiting:
        within(deadline, look)
    done = dict(footers)
    late = Structure(PARQUET, note=_NO_TIME_FOR_FOOTER)
    return contents | {
        ref: replace(contents[ref], structure=done.get(ref, late)) for ref in waiting
    }


def within(deadline: Deadline, look: Callable[[], None]) -> None:
    """Look in a thread that is left behind when the time is up."""
    if not deadline.is_over:
        thread = threading.Thread(target=look, name="airflow-provenance-content", daemon=True)
        thread.start()
        thread.join(deadline.remaining_seconds)


def inspect_file(
    path: Path,
    role: Role,
    began_at_us: int | None,
    deadline: Deadline,
    digests: Digests | None = None,
) -> Content:
    """Return what the file holds now, and whether that is what the task read or wrote.

    An input is verified when nothing changed it since the task began. Both times of the file count:
    moving another file into its place keeps the old modification time.

    Args:
        path: a local path.
        role: whether the task read or wrote it.
        began_at_us: when the task began.
        deadline: when to stop.
        digests: what was seen before; what is seen now is added.
    """
    digests = Digests() if digests is None else digests
    try:
        # Not blocking, for a FIFO nobody writes to would hold the task here.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return _unseen(_reason(error))
    try:
        return _inspect_open(fd, path, role, began_at_us, deadline, digests)
    except OSError as error:
        return _unseen(_reason(error))
    finally:
        os.close(fd)


def _inspect_open(
    fd: int, path: Path, role: Role, began_at_us: int | None, deadline: Deadline, digests: Digests
) -> Content:
    before = os.fstat(fd)
    if not stat.S_ISREG(before.st_mode):
        kind = "a directory" if stat.S_ISDIR(before.st_mode) else "not a regular file"
        return _unseen(kind)
    size, modified_at_us = before.st_size, before.st_mtime_ns // 1000
    seen = digests.get(before) or _read(fd, path, deadline)
    if seen is None:
        return Content(False, None, size, modified_at_us, _NO_TIME)
    after = os.fstat(fd)
    # All of its times: who writes may set the one of modification back, and a file that another was
    # moved over lost a name.
    if (after.st_size, after.st_mtime_ns, after.st_ctime_ns) != (
        before.st_size,
        before.st_mtime_ns,
        before.st_ctime_ns,
    ):
        return Content(False, None, size, modified_at_us, "changed while it was hashed")
    digests.put(before, seen)
    digest, structure = seen
    reason = _doubt(role, max(before.st_mtime_ns, before.st_ctime_ns) // 1000, began_at_us)
    return Content(reason is None, digest, size, modified_at_us, reason, structure)


def _read(fd: int, path: Path, deadline: Deadline) -> Seen | None:
    """Return digest and structure, from one pass over the file, or None when the time is up."""
    inspector = inspector_for(path)
    budget_seconds = deadline.remaining_seconds * _MAX_INSPECTION_SHARE
    watched = None if inspector is None else Watched(inspector, budget_seconds)
    sha256 = hashlib.sha256()
    head = b""
    while not deadline.is_over:
        chunk = os.read(fd, _CHUNK_BYTES)
        if not chunk:
            if is_parquet(path, head):
                return sha256.hexdigest(), _FOOTER
            return sha256.hexdigest(), None if watched is None else watched.finish()
        sha256.update(chunk)
        head = head or chunk[:8]
        if watched is not None:
            watched.feed(chunk)
    return None


def _footer(path: Path, content: Content) -> Structure:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if (status.st_size, status.st_mtime_ns // 1000) != (
                content.size_bytes,
                content.modified_at_us,
            ):
                return Structure(PARQUET, note="changed after it was hashed, so not looked into")
            return read_footer(file)
    except OSError as error:
        return Structure(PARQUET, note=_reason(error))


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
        return NO_FILE
    if isinstance(error, PermissionError):
        return "not readable"
    return error.strerror or type(error).__name__
