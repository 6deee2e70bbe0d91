"""A channel into a file, one message a line (JSON lines)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from airflow_provenance.errors import ChannelUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.alerts.message import Message


class FileChannel:
    """See `base.Channel`. A line that a full disk cut short is ended, and sent anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, message: Message) -> None:
        """Append a line."""
        line = json.dumps(message.data, ensure_ascii=False).encode(errors="replace") + b"\n"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._path, flags, 0o600)  # it names data, people and hosts
            try:
                size = os.fstat(fd).st_size
                is_torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
                line = b"\n" + line if is_torn else line
                is_whole = os.write(fd, line) == len(line)
                os.fdatasync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise ChannelUnavailableError(
                f"{self._path} cannot be written ({error.strerror}): check the disk and the rights"
            ) from error
        if not is_whole:
            raise ChannelUnavailableError(f"{self._path}: a line was cut short: free some space")

    def close(self) -> None:
        """Nothing stays open."""
