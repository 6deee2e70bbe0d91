"""Programs that run beside the task; the task's forks, too, learn what they say, and when.

What a program says goes to memory that forks share, where each can read it, unlike in a pipe. All
hold the one end of a pipe whose other end only the programs have: it is over when they are. Their
exit status is their parent's alone to know, so who asks has to know an answer by how it looks.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_BYTES = 1 << 16
_SECONDS_TO_DIE = 0.05


class Said(NamedTuple):
    """What a program has written."""

    out: str
    err: str


class Programs:
    """Some programs, each in a process group of its own; gone with the last reference to this."""

    def __init__(self, commands: Sequence[list[str]], environment: Mapping[str, str]) -> None:
        """Start them. Raises `OSError`."""
        self._started_by = os.getpid()
        self._fds: list[int] = []
        self._pids: list[int] = []
        self._said: list[tuple[int, int]] = []
        self._agreed = self._memory()
        self._end, running = os.pipe()
        self._fds.append(self._end)
        try:
            for command in commands:
                self._start(command, environment, running)
        finally:
            os.close(running)

    def have_ended(self, seconds: float = 0.0) -> bool:
        """Whether all have ended, with all that they have started; wait for that so long."""
        poll = select.poll()
        poll.register(self._end, 0)  # the end is always told
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def said(self) -> list[Said]:
        """Return what each has written, the beginning of it."""
        return [Said(_text(out), _text(err)) for out, err in self._said]

    def kill(self) -> None:
        """End them, and what they have started, without waiting."""
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def agree(self, answer: bytes) -> bytes:
        """Return the answer that the first process gave here, which may be this one."""
        if (first := self.agreed()) is not None:
            return first
        os.pwrite(self._agreed, answer, 0)
        return answer

    def agreed(self) -> bytes | None:
        """Return the answer that a process gave, if one has."""
        return os.pread(self._agreed, os.fstat(self._agreed).st_size, 0) or None

    def __del__(self) -> None:
        if self._pids and os.getpid() == self._started_by:
            if not self.have_ended():
                self.kill()
            self._reap()
        for fd in self._fds:
            os.close(fd)

    def _memory(self) -> int:
        self._fds.append(os.memfd_create("provenance"))
        return self._fds[-1]

    def _start(self, command: list[str], environment: Mapping[str, str], running: int) -> None:
        out, err = self._memory(), self._memory()
        self._pids.append(
            os.posix_spawnp(
                command[0],
                command,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, out, 1),
                    (os.POSIX_SPAWN_DUP2, err, 2),
                    # A copy stays open in the program, unlike what it is a copy of.
                    (os.POSIX_SPAWN_DUP2, running, running + 1),
                ],
                setpgroup=0,
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # which Python ignores
            )
        )
        self._said.append((out, err))

    def _reap(self) -> None:
        """Leave no zombie, except of what cannot even be killed, as on a dead mount."""
        until = time.monotonic() + _SECONDS_TO_DIE
        for pid in self._pids:
            with suppress(ChildProcessError):
                while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < until:
                    time.sleep(0.0002)


def _text(fd: int) -> str:
    return os.pread(fd, _MOST_BYTES, 0).decode(errors="replace")
