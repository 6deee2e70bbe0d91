"""The spool file: forks, threads, kills, full disks."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.emit import spool as spool_module
from airflow_provenance.emit.spool import Spool
from airflow_provenance.errors import EventError
from airflow_provenance.formats.spool_line import decode_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def own_spool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spool_module, "_current", None)
    monkeypatch.setenv("AIRFLOW__PROVENANCE__SPOOL_DIR", str(tmp_path / "of-settings"))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def in_fork(work: Callable[[], None]) -> int:
    """Run in a fork, and return its exit code."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def payloads(path: Path) -> list[bytes]:
    *lines, rest = path.read_bytes().split(b"\n")
    assert rest == b""
    return [decode_line(line)[1] for line in lines if line]


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_appended_lines_are_there_at_once(spool: Spool) -> None:
    spool.append("E", b"one")
    spool.append("N", b"two", sync=True)

    assert spool.path.read_bytes().count(b"\n") == 2
    assert payloads(spool.path) == [b"one", b"two"]


def test_the_file_is_named_after_host_process_and_time(spool: Spool) -> None:
    assert re.fullmatch(rf"[\w.-]+-{os.getpid()}-\d{{19}}\.spool", spool.path.name)


def test_a_fork_appends_to_the_file_of_its_parent(spool: Spool) -> None:
    spool.append("E", b"parent")

    assert in_fork(lambda: spool.append("E", b"fork", sync=True)) == 0

    assert payloads(spool.path) == [b"parent", b"fork"]


def test_the_file_is_locked_until_its_last_holder_ends(spool: Spool) -> None:
    alive, stop = os.pipe()
    if not (pid := os.fork()):
        os.close(stop)
        os.read(alive, 1)
        os._exit(0)

    assert is_locked(spool.path)
    spool.close()
    assert is_locked(spool.path)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert not is_locked(spool.path)


def test_a_program_that_a_task_starts_does_not_hold_the_lock(spool: Spool) -> None:
    assert not os.get_inheritable(spool._fd)


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    acknowledged, report = os.pipe()
    if not (pid := os.fork()):
        spool = Spool(tmp_path / "spool")
        for number in range(1_000_000):
            spool.append("E", b"%07d" % number)
            os.write(report, b".")
    count = 0
    while count < 500:
        count += len(os.read(acknowledged, 1000))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(report)
    while more := os.read(acknowledged, 100_000):
        count += len(more)

    (path,) = (tmp_path / "spool").iterdir()
    assert payloads(path)[:count] == [b"%07d" % number for number in range(count)]


def test_lines_of_many_threads_and_forks_do_not_mix(spool: Spool) -> None:
    lines = [b"%d" % size * 40_000 for size in range(8)]

    def append_all() -> None:
        threads = [threading.Thread(target=spool.append, args=("E", line)) for line in lines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    pids = []
    for _ in range(3):
        if not (pid := os.fork()):
            append_all()
            os._exit(0)
        pids.append(pid)
    append_all()
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0

    assert sorted(payloads(spool.path)) == sorted(lines * 4)


def test_a_lock_that_a_thread_held_at_the_fork_does_not_hang_the_fork(spool: Spool) -> None:
    with spool._lock:
        status = in_fork(lambda: (signal.alarm(10), spool.append("E", b"fork"))[1])

    assert status == 0
    assert payloads(spool.path) == [b"fork"]


def test_a_full_disk_is_an_error_and_the_next_line_is_whole(spool: Spool) -> None:
    def fill() -> None:
        # As on a full disk: the write that crosses the limit is cut short.
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
        with pytest.raises(OSError, match="bytes were written") as caught:
            spool.append("E", b"x" * 100)
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(OSError, match="too large"):
            spool.append("E", b"nothing of this")

    assert in_fork(fill) == 0
    # By another process than the one that failed: that is how a task's events are emitted.
    spool.append("E", b"after")

    torn, whole, rest = spool.path.read_bytes().split(b"\n")
    assert len(torn) == 50
    with pytest.raises(EventError):
        decode_line(torn)
    assert decode_line(whole) == ("E", b"after")
    assert rest == b""


def test_a_file_that_somebody_removed_is_replaced(spool: Spool) -> None:
    spool.append("E", b"lost")
    spool.path.unlink()

    spool.append("E", b"kept", sync=True)

    assert payloads(spool.path) == [b"kept"]
    assert is_locked(spool.path)


def test_a_drainer_that_holds_or_removes_a_new_file_makes_us_take_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = fcntl.flock
    calls = []

    def flock(fd: int, operation: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            raise BlockingIOError
        if len(calls) == 2:
            for path in tmp_path.iterdir():
                path.unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    spool = Spool(tmp_path)
    spool.append("E", b"kept")

    assert len(calls) == 3
    assert payloads(spool.path) == [b"kept"]


def test_a_file_system_without_locks_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def flock(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)

    with pytest.raises(OSError, match="No locks"):
        Spool(tmp_path)


def test_a_fork_that_emits_uses_the_spool_of_its_task() -> None:
    opened = spool_module.open_own()

    assert in_fork(lambda: spool_module.current().append("E", b"fork")) == 0

    assert payloads(opened.path) == [b"fork"]


def test_a_task_forked_from_the_scheduler_opens_its_own_spool() -> None:
    of_scheduler = spool_module.open_own()

    def run_task() -> None:
        spool_module.open_own().append("E", b"task")
        assert spool_module.open_own() is spool_module.current()

    assert in_fork(run_task) == 0

    assert payloads(of_scheduler.path) == []
    (of_task,) = set(of_scheduler.path.parent.iterdir()) - {of_scheduler.path}
    assert payloads(of_task) == [b"task"]


def test_two_files_of_one_process_have_two_names(tmp_path: Path) -> None:
    assert Spool(tmp_path).path != Spool(tmp_path).path
