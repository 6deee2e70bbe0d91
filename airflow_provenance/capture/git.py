"""Commit and state of the git repository that holds a file: never of the process's directory.

git is asked in a process that runs beside the task's own work and is ended, with all that it has
started, when the time is up. Whether the file is tracked is mostly read from git's index, for a
second process makes the task wait a millisecond or two. Where git is missing, slow or refuses
(another user's repository), the commit is read from ``.git`` itself; whether the files are as in
that commit then stays unknown, with the reason.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_SECONDS = 1.0
_GIT = "git"
_MAX_REASON = 200
# Of 100,000 files or so; to read a larger one takes as long as to ask.
_MOST_INDEX_BYTES = 8 << 20
# Versions whose entries are a head of 62 bytes, the mode in it, and a name.
_INDEX_VERSIONS = (b"DIRC\0\0\0\2", b"DIRC\0\0\0\3")
_ENTRY_HEAD_BYTES, _MODE_AT = 62, 24
_FILE_MODES = (0o100644, 0o100755, 0o120000)


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
        self._repository = _repository(self._file)
        if self._repository is None:
            return
        top, git_dir = self._repository
        try:
            # What is not tracked does not count as a change: a task may write beside its code.
            self._ask("status", "--porcelain=v2", "--branch", "--untracked-files=no")
            path = os.fsencode(self._file.relative_to(top).as_posix())
            if not in_index(git_dir / "index", path):
                self._ask("ls-files", "-z", "--", self._file.name)
        except OSError as error:
            self._reason = f"git could not be run: {error.strerror}"

    def answer(self) -> Answer:
        """Return what git says within its time, else what can be read without it."""
        if self._repository is None:
            return Answer({}, "not in a git repository")
        said = [self._said(process) for process in self._asked]
        if self._reason is None and None not in said:
            status, tracked = str(said[0]).splitlines(), all(said[1:])
            commit = status[0].removeprefix("# branch.oid ") if status else ""
            if commit in ("", "(initial)"):
                return Answer({}, "the git repository has no commit yet")
            is_dirty = not tracked or any(not line.startswith("#") for line in status)
            return Answer({"commit": commit, "dirty": is_dirty, "dagFileTracked": tracked})
        commit = read_commit(self._repository[1]) or ""
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
                process_group=0,
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


def in_index(index: Path, path: bytes) -> bool:
    """Whether a repository's index surely has a file; False where git has to be asked.

    An entry is known by what stands before its name, not by walking to it: that takes no longer in
    a large repository. An index that is split, sparse or of another version may have it elsewhere.
    """
    try:
        with index.open("rb") as file:
            whole = file.read(_MOST_INDEX_BYTES + 1)
    except OSError:
        return False
    if len(whole) > _MOST_INDEX_BYTES or whole[:8] not in _INDEX_VERSIONS:
        return False
    name_at = whole.find(path + b"\0")
    while name_at >= 0:
        head = whole[max(0, name_at - _ENTRY_HEAD_BYTES) : name_at]
        mode = int.from_bytes(head[_MODE_AT : _MODE_AT + 4], "big")
        if mode in _FILE_MODES:
            return True
        name_at = whole.find(path + b"\0", name_at + 1)
    return False


def _repository(file: Path) -> tuple[Path, Path] | None:
    """Return the folder that a repository has checked out, and its ``.git``."""
    for folder in file.parents:
        found = folder / ".git"
        if found.is_dir():
            return folder, found
        with suppress(OSError, UnicodeDecodeError):  # a worktree or a submodule: a file
            text = found.read_text().strip()
            if text.startswith("gitdir: "):
                return folder, folder / text.removeprefix("gitdir: ")
    return None


def _leave(process: subprocess.Popen[str]) -> None:
    """End a process and its own without waiting: on a dead mount it cannot even be killed."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.05)
