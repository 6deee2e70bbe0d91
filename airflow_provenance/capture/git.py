"""Commit and state of the git repository that holds a file: never of the process's directory.

git is asked in processes that run beside the task's own work and are left behind when the time is
up. Where git is missing, slow or refuses (another user's repository), the commit is read from
``.git`` itself; whether the files are as in that commit then stays unknown, with the reason.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_SECONDS = 1.0
_GIT = "git"
_MAX_REASON = 200


class Answer(NamedTuple):
    """What is known of the repository, and for what is not, why."""

    known: dict[str, Any]
    reason: str | None = None


class Question:
    """A question to git about one file; ask it early, `answer` it late."""

    def __init__(self, file: str) -> None:
        """Begin to ask. Raises nothing."""
        self._until = time.monotonic() + _SECONDS
        self._asked: list[subprocess.Popen[str]] = []
        self._reason: str | None = None
        # Of the file itself, not of a link to it: git-sync links a folder to its checkout.
        self._file = Path(os.path.realpath(file))
        self._git_dir = _git_dir(self._file)
        if self._git_dir is None:
            return
        try:
            # What is not tracked does not count as a change: a task may write beside its code.
            self._ask("status", "--porcelain=v2", "--branch", "--untracked-files=no")
            self._ask("ls-files", "-z", "--", self._file.name)
        except OSError as error:
            self._reason = f"git could not be run: {error.strerror}"

    def answer(self) -> Answer:
        """Return what git says within its time, else what can be read without it."""
        if self._git_dir is None:
            return Answer({}, "not in a git repository")
        said = [self._said(process) for process in self._asked]
        if self._reason is None and said[0] is not None and said[1] is not None:
            status, tracked = said[0].splitlines(), bool(said[1])
            commit = status[0].removeprefix("# branch.oid ") if status else ""
            if commit in ("", "(initial)"):
                return Answer({}, "the git repository has no commit yet")
            is_dirty = not tracked or any(not line.startswith("#") for line in status)
            return Answer({"commit": commit, "dirty": is_dirty, "dagFileTracked": tracked})
        commit = read_commit(self._git_dir) or ""
        return Answer({"commit": commit} if commit else {}, self._reason)

    def _ask(self, *arguments: str) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        self._asked.append(
            subprocess.Popen(  # noqa: S603 - our own arguments
                # Without locks: a user may be committing. Without a monitor: it is a program that
                # the repository's settings name.
                [_GIT, "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments],
                cwd=self._file.parent,
                env={**environment, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        )

    def _said(self, process: subprocess.Popen[str]) -> str | None:
        try:
            out, err = process.communicate(timeout=max(0.0, self._until - time.monotonic()))
        except subprocess.TimeoutExpired:
            _leave(process)
            self._reason = f"git took longer than {_SECONDS:g} s"
            return None
        if process.returncode:
            said = " ".join(err.split())[:_MAX_REASON]
            self._reason = f"git failed: {said or process.returncode}"
            return None
        return out


def read_commit(git_dir: Path) -> str | None:
    """Return the commit that is checked out, read from the files of a ``.git`` folder."""
    try:
        head = (git_dir / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name, common = head.removeprefix("ref: "), git_dir
        with suppress(OSError):  # a worktree has its own HEAD, and shares the rest
            common = git_dir / (git_dir / "commondir").read_text().strip()
        for folder in (git_dir, common):
            with suppress(OSError):
                return (folder / name).read_text().strip()
        for line in (common / "packed-refs").read_text().splitlines():
            commit, _, ref = line.partition(" ")
            if ref == name:
                return commit
    except (OSError, UnicodeDecodeError):
        pass
    return None


def _git_dir(file: Path) -> Path | None:
    for folder in file.parents:
        found = folder / ".git"
        if found.is_dir():
            return found
        with suppress(OSError, UnicodeDecodeError):  # a worktree or a submodule: a file
            text = found.read_text().strip()
            if text.startswith("gitdir: "):
                return folder / text.removeprefix("gitdir: ")
    return None


def _leave(process: subprocess.Popen[str]) -> None:
    """End a process without waiting: one that hangs on a dead mount cannot even be killed."""
    process.kill()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.05)
