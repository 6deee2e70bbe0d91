"""Commit and state of the git repository that holds a file: never of the process's directory.

git is asked in a process that runs beside the task's own work (`programs`) and is ended, with all
that it has started, when the time is up. Whether the file is tracked is mostly read from git's
index, for a second process costs a millisecond or two. Where git is missing, slow or refuses
(another user's repository), the commit is read from ``.git`` itself; whether the files are as in
that commit then stays unknown, with the reason.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from airflow_provenance.capture.programs import Programs, Said

_SECONDS = 1.0
_GIT = "git"
_MAX_REASON = 200
# How an answer looks where git has succeeded, and where a file is not tracked.
_OID = "# branch.oid "
_NOT_TRACKED = "did not match any file"
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
    """A question to git about one file: every fork of this process gets the same answer."""

    def __init__(self, file: str) -> None:
        """Begin to ask. Raises nothing."""
        self._until = time.monotonic() + _SECONDS
        self._programs: Programs | None = None
        self._answer: Answer | None = None
        # Of the file itself, not of a link to it: git-sync links a folder to its checkout.
        self._file = Path(os.path.realpath(file))
        repository = _repository(self._file)
        if repository is None:
            self._answer = Answer({}, "not in a git repository")
            return
        top, self._git_dir = repository
        # What is not tracked does not count as a change: a task may write beside its code.
        commands = [self._command("status", "--porcelain=v2", "--branch", "--untracked-files=no")]
        path = self._file.relative_to(top).as_posix()
        if not in_index(self._git_dir / "index", os.fsencode(path)):
            name = self._file.name
            commands.append(self._command("ls-files", "--error-unmatch", "-z", "--", name))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        try:
            self._programs = Programs(commands, {**environment, "LC_ALL": "C"})
        except OSError as error:
            self._answer = self._without_git(f"git could not be run: {error.strerror}")

    def is_answered(self) -> bool:
        """Whether `answer` need not wait."""
        is_late = time.monotonic() >= self._until
        return self._programs is None or is_late or self._programs.have_ended()

    def answer(self) -> Answer:
        """Return what git says within its time, else what can be read without it."""
        if self._answer is None:
            self._answer = self._agreed_answer()
        return self._answer

    def _agreed_answer(self) -> Answer:
        programs = self._programs
        assert programs is not None  # noqa: S101 - else there is an answer
        agreed = programs.agreed()
        if agreed is None:
            if programs.have_ended(self._until - time.monotonic()):
                found = self._from(programs.said())
            else:
                programs.kill()
                found = self._without_git(f"git took longer than {_SECONDS:g} s")
            agreed = programs.agree(json.dumps(found).encode())
        return Answer(*json.loads(agreed))

    def _from(self, said: list[Said]) -> Answer:
        """Read what was said; only that which git says where it succeeds is an answer."""
        status, *others = said
        lines = status.out.splitlines()
        if not lines or not lines[0].startswith(_OID) or _has_failed(status):
            return self._failed(status)
        is_tracked = True
        for files in others:
            is_tracked = bool(files.out)
            if _has_failed(files) or (not is_tracked and _NOT_TRACKED not in files.err):
                return self._failed(files)
        commit = lines[0].removeprefix(_OID)
        if commit == "(initial)":
            return Answer({}, "the git repository has no commit yet")
        is_dirty = not is_tracked or any(not line.startswith("#") for line in lines)
        return Answer({"commit": commit, "dirty": is_dirty, "dagFileTracked": is_tracked})

    def _failed(self, said: Said) -> Answer:
        reason = " ".join(said.err.split())[:_MAX_REASON] or "it did not answer"
        return self._without_git(f"git failed: {reason}")

    def _without_git(self, reason: str) -> Answer:
        commit = read_commit(self._git_dir)
        return Answer({"commit": commit} if commit else {}, reason)

    def _command(self, *arguments: str) -> list[str]:
        # Without locks: a user may be committing. Without a monitor: it is a program that the
        # repository's settings name.
        folder = str(self._file.parent)
        options = ("--no-optional-locks", "-C", folder, "-c", "core.fsmonitor=false")
        return [_GIT, *options, *arguments]


def _has_failed(said: Said) -> bool:
    return any(line.startswith(("fatal: ", "BUG: ")) for line in said.err.splitlines())


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
