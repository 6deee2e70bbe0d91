"""Saying once that provenance is being lost, however many forks and threads find out.

The official provider forks for every event, so a flag in memory would be forgotten with each child.
The time of the last line is kept in memory that children share with the process that opened it.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
import time
import traceback

_log = logging.getLogger(__name__)
_TIME = struct.Struct("d")
# A scheduler lives for weeks: it says it again after this long, a task normally only once.
_QUIET_SECONDS = 600.0


class _LastLine:
    """When the last line was written, shared by a process and its forks."""

    def __init__(self) -> None:
        self.opened_by = os.getpid()
        self._memory = mmap.mmap(-1, _TIME.size)

    def may_speak(self) -> bool:
        last: float = _TIME.unpack_from(self._memory)[0]
        now = time.monotonic()
        if last and now - last < _QUIET_SECONDS:
            return False
        _TIME.pack_into(self._memory, 0, now)
        return True


_last_line: _LastLine | None = None


def begin() -> None:
    """Let this process and its forks speak anew; called when a task starts in a new process."""
    global _last_line
    if _last_line is None or _last_line.opened_by != os.getpid():
        _last_line = _LastLine()


def report(
    problem: str, error: BaseException, *, outcome: str = "Provenance is not recorded"
) -> None:
    """Log one line that says what is lost and what to do; further ones are at debug level."""
    if _last_line is None:
        begin()
    text = " ".join(_harmless(str(error)).split()) or type(error).__name__
    level = logging.WARNING if _last_line is None or _last_line.may_speak() else logging.DEBUG
    _log.log(level, "%s: %s: %s. The task is not affected.", outcome, problem, text)
    if _log.isEnabledFor(logging.DEBUG):
        details = "".join(traceback.format_exception(error))
        _log.debug("Details of the above:\n%s", _harmless(details))


def _harmless(text: str) -> str:
    """Return a text without secrets and values: logs are read by more than may see data."""
    from airflow_provenance.emit.redact import Redactor  # here, since it reports failures, too

    try:
        # The built-in rules: the user's may be what has failed.
        return Redactor().message(text)
    except Exception:  # noqa: BLE001 - saying what went wrong must not go wrong
        return ""
