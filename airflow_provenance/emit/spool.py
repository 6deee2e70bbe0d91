"""The spool: one append-only file per process, one ``write`` per line, safe against ``kill -9``.

A file is named ``<host>-<pid>-<ns>.spool``. Its ``flock`` is held by the process that made it and
by every fork of it, and ends with the last of them: that, not a PID, says the owner is dead. So the
listener opens the file before the official provider forks, and the fork appends to the same one.

`collect.drain` reads what is here; `formats.spool_line` says how a line looks. An empty line means
nothing: a line that was in the middle of being written may have looked torn to another process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING

from airflow_provenance import settings
from airflow_provenance.formats.spool_line import encode_line

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.formats.spool_line import Kind

SUFFIX = ".spool"
# Group rights, because with `run_as_user` a task and the service are different users.
_FILE_MODE, _DIRECTORY_MODE = 0o660, 0o770
_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")
# A drainer that looks at our file between its creation and our lock may hold or remove it.
_OPEN_ATTEMPTS = 10


class Spool:
    """This process's spool file, shared with its forks and threads."""

    def __init__(self, directory: Path) -> None:
        """Create the file and lock it. Raises `OSError`."""
        self.opened_by = os.getpid()
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        self.path, self._fd = _create(directory)
        self._lock = threading.Lock()
        self._is_name_durable = False
        _open_spools.add(self)

    def append(self, kind: Kind, payload: bytes, *, sync: bool = False) -> None:
        """Append one line. Raises `OSError`: then the line was not, or not durably, written.

        Args:
            kind: ``E`` for an event, ``N`` for a note.
            payload: JSON without line breaks.
            sync: whether the line must survive a power loss; without it, it survives a kill.
        """
        line = encode_line(kind, payload)
        with self._lock:
            if self._must_begin_anew():
                line = b"\n" + line
            written = os.write(self._fd, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes were written")
            if sync:
                self._sync()

    def size(self) -> int:
        """Return how many bytes this process, its threads and its forks have appended."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """Close the file in this process; the lock stays with forks that still hold it."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _must_begin_anew(self) -> bool:
        # Asked of the file, not of memory: the fork that ran out of space has died with its memory.
        status = os.fstat(self._fd)
        if status.st_nlink == 0:  # somebody removed it: what is written there would be lost
            os.close(self._fd)
            self.path, self._fd = _create(self.path.parent)
            self._is_name_durable = False
            return False
        return status.st_size > 0 and os.pread(self._fd, 1, status.st_size - 1) != b"\n"

    def _sync(self) -> None:
        os.fdatasync(self._fd)
        if not self._is_name_durable:
            directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
            self._is_name_durable = True

    def replace_lock(self) -> None:
        """Start with a free lock after a fork: the thread that held it lives in the parent only."""
        self._lock = threading.Lock()


_open_spools: weakref.WeakSet[Spool] = weakref.WeakSet()
_current: Spool | None = None


def open_own() -> Spool:
    """Return the spool this process opened, opening it now if need be. Raises `OSError`.

    A spool inherited from a parent (the scheduler's, in a task under LocalExecutor) is let go:
    events of a task must not keep the scheduler's file alive, nor the other way round.
    """
    global _current
    if _current is not None and _current.opened_by != os.getpid():
        _current.close()
        _current = None
    if _current is None:
        _current = Spool(settings.spool_dir())
    return _current


def current() -> Spool:
    """Return the spool of this process or the one inherited by fork, else open one.

    A fork that emits for a task appends to the task's file: that is why this is not `open_own`.
    """
    return open_own() if _current is None else _current


def _create(directory: Path) -> tuple[Path, int]:
    host = _UNSAFE.sub("-", socket.gethostname()) or "host"
    for _ in range(_OPEN_ATTEMPTS):
        path = directory / f"{host}-{os.getpid()}-{time.time_ns()}{SUFFIX}"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(path, flags, _FILE_MODE)
        if _is_locked_and_there(fd):
            return path, fd
        os.close(fd)
    raise OSError(errno.EAGAIN, f"no file could be locked in {directory}")


def _is_locked_and_there(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        os.close(fd)
        raise
    return os.fstat(fd).st_nlink > 0


def _replace_locks() -> None:
    for spool in list(_open_spools):
        spool.replace_lock()


os.register_at_fork(after_in_child=_replace_locks)
