"""A file that stays as it is is read once; one that may have changed is read again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.capture import files
from airflow_provenance.capture.digests import Digests
from airflow_provenance.capture.files import Deadline, inspect_file
from airflow_provenance.emit.observed import Column, Structure

if TYPE_CHECKING:
    from pathlib import Path

SEEN = ("ab" * 32, Structure("csv", (Column("a"),), 1, 3))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * (1 << 20))
    return path


def later(path: Path) -> Digests:
    """A task of its own, an hour after the file was written."""
    return Digests(path.parent / "digests", lambda: path.stat().st_ctime_ns + 3_600_000_000_000)


def test_what_one_task_saw_of_a_large_file_the_next_one_knows(large: Path) -> None:
    later(large).put(large.stat(), SEEN)

    assert later(large).get(large.stat()) == SEEN


def test_a_large_file_is_read_once(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = inspect_file(large, "input", None, Deadline(60), later(large))
    monkeypatch.setattr(files, "_read", lambda *_: pytest.fail("it was read again"))

    assert inspect_file(large, "input", None, Deadline(60), later(large)) == first
    assert first.digest is not None


@pytest.mark.parametrize("change", ["content", "time back", "another file in its place"])
def test_a_file_that_changed_is_read_again(large: Path, change: str) -> None:
    later(large).put(large.stat(), SEEN)

    if change == "content":
        large.write_bytes(b"y" * (1 << 20))
    elif change == "time back":  # as who copies with times does; the time of change tells
        before = large.stat()
        large.write_bytes(b"y" * (1 << 20))
        os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        other = large.with_name("other")
        other.write_bytes(b"y" * (1 << 20))
        other.replace(large)

    assert later(large).get(large.stat()) is None


def test_a_file_that_changed_just_now_is_not_kept(large: Path) -> None:
    just_now = Digests(large.parent / "digests", lambda: large.stat().st_ctime_ns + 1_000_000)
    just_now.put(large.stat(), SEEN)

    assert just_now.get(large.stat()) == SEEN
    assert later(large).get(large.stat()) is None


def test_what_could_not_be_looked_into_is_tried_again(large: Path) -> None:
    later(large).put(large.stat(), ("ab" * 32, Structure("csv", note="not counted")))

    assert later(large).get(large.stat()) is None


def test_a_small_file_takes_no_slot(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"x")

    later(small).put(small.stat(), SEEN)

    assert not (tmp_path / "digests").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"state":[1],"digest":"x"}'])
def test_a_slot_that_is_torn_or_of_another_file_says_nothing(large: Path, content: bytes) -> None:
    later(large).put(large.stat(), SEEN)
    (slot,) = (large.parent / "digests").iterdir()
    slot.write_bytes(content)

    assert later(large).get(large.stat()) is None


def test_where_nothing_can_be_kept_the_file_is_read_again(large: Path) -> None:
    (large.parent / "digests").touch()

    later(large).put(large.stat(), SEEN)

    assert later(large).get(large.stat()) is None
