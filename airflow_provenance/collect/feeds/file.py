"""A feed into a file, one event a line (NDJSON)."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from airflow_provenance.errors import FeedUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FileFeed:
    """See `base.Feed`. A line that a crash or a full disk cut short is ended, and sent anew.

    The file is opened anew after each flush, so that it can be moved away at any time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def send(self, body: bytes) -> None:
        """Append a line."""
        # A line break can stand in JSON between members only.
        line = body.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"
        with self._told():
            if self._fd is None:
                self._fd = self._open()
            if os.write(self._fd, line) < len(line):
                self.close()  # opening it again ends the line
                raise FeedUnavailableError(f"{self._path}: a line was cut short: free some space")

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Not for others to read: events name data, people and hosts.
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            os.write(fd, b"\n")
        return fd

    def flush(self) -> None:
        """Sync it to the disk."""
        if self._fd is not None:
            with self._told():
                os.fdatasync(self._fd)
            self.close()

    def close(self) -> None:
        """Close it."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            raise FeedUnavailableError(
                f"{self._path} cannot be written ({error.strerror}): check the disk and the rights"
            ) from error
