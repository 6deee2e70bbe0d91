"""What a local file holds, whether that is what the task saw, and why it may not be."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from airflow_provenance.capture import files
from airflow_provenance.capture.asset_names import local_file
from airflow_provenance.capture.files import Deadline, inspect_file, inspect_files
from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.emit.notes import Content

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.capture.files import Role

BEFORE_US, AFTER_US = 0, (1 << 48) * 1000


@pytest.fixture
def flights(tmp_path: Path) -> Path:
    path = tmp_path / "flights.csv"
    path.write_bytes(b"carrier,dest\nUA,IAH\n" * 100_000)
    return path


def look(path: Path, role: Role = "input", began_at_us: int | None = AFTER_US) -> Content:
    return inspect_file(path, role, began_at_us, Deadline(60))


def test_the_digest_is_the_sha256_of_the_content(flights: Path) -> None:
    content = look(flights)

    assert content.digest == hashlib.sha256(flights.read_bytes()).hexdigest()
    assert content.size_bytes == flights.stat().st_size
    assert content.modified_at_us == flights.stat().st_mtime_ns // 1000
    assert content.is_verified
    assert content.reason is None


def test_an_empty_file_has_a_digest(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()

    assert look(empty).digest == hashlib.sha256(b"").hexdigest()


def test_an_input_that_changed_after_the_task_began_is_not_verified(flights: Path) -> None:
    content = look(flights, "input", BEFORE_US)

    assert content.digest
    assert (content.is_verified, content.reason) == (False, "changed after the task began")


def test_an_old_file_that_was_moved_over_an_input_is_not_verified(
    flights: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    other.write_bytes(b"other")
    os.utime(other, (1, 1))
    began_at_us = time.time_ns() // 1000
    time.sleep(0.02)  # file systems stamp with the clock of the last tick
    other.rename(flights)

    content = look(flights, "input", began_at_us)

    assert content.modified_at_us == 1_000_000
    assert (content.is_verified, content.reason) == (False, "changed after the task began")


def test_an_output_that_was_written_since_the_task_began_is_verified(flights: Path) -> None:
    assert look(flights, "output", BEFORE_US).is_verified


def test_an_output_that_the_task_did_not_write_is_not_verified(flights: Path) -> None:
    content = look(flights, "output", AFTER_US)

    assert content.digest
    assert (content.is_verified, content.reason) == (False, "not written since the task began")


def test_without_a_start_nothing_is_verified(flights: Path) -> None:
    assert look(flights, "input", None).reason == "when the task began is not known"


def test_a_directory_and_a_missing_file_have_a_reason(tmp_path: Path) -> None:
    assert look(tmp_path).reason == "a directory"
    assert look(tmp_path / "none").reason == "no such file"
    assert look(tmp_path / "none" / "below").reason == "no such file"


def test_a_file_that_cannot_be_read_has_a_reason(flights: Path) -> None:
    flights.chmod(0)

    assert as_nobody(lambda: look(flights).reason or "") == "not readable"


def as_nobody(ask: Callable[[], str]) -> str:
    """Return an answer given by a process without root's rights: root reads everything."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.seteuid(65534)
        os.write(writer, ask().encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as answer:
        return answer.read()


def test_a_reader_without_rights_is_told_so(flights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)

    assert look(flights).reason == "not readable"


def test_a_pipe_that_nobody_writes_to_does_not_hold_the_task(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    assert look(pipe).reason == "not a regular file"


def test_a_file_that_changes_while_it_is_hashed_has_no_digest(
    flights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(fd: int, path: Path, deadline: Deadline) -> tuple[str, None]:
        with path.open("ab") as file:
            file.write(b"x")
        return "ab" * 32, None

    monkeypatch.setattr(files, "_read", read)

    content = look(flights)

    assert content.digest is None
    assert (content.is_verified, content.reason) == (False, "changed while it was hashed")


def test_when_the_time_is_up_the_size_is_told_but_no_digest(flights: Path) -> None:
    content = inspect_file(flights, "input", AFTER_US, Deadline(0))

    assert content.digest is None
    assert content.size_bytes == flights.stat().st_size
    assert not content.is_verified
    assert "hash_timeout_seconds" in (content.reason or "")


def test_all_files_of_a_task_share_one_deadline(flights: Path) -> None:
    now = [0.0]
    deadline = Deadline(10, lambda: now[0])
    assert deadline.remaining_seconds == 10
    now[0] = 11

    seen = inspect_files({DatasetRef("file", str(flights)): flights}, "input", AFTER_US, deadline)

    assert deadline.is_over
    assert [content.digest for content in seen.values()] == [None]


def test_a_mount_that_hangs_does_not_hang_the_task(
    flights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*args: object) -> Content:
        time.sleep(3)
        return Content(is_verified=True, digest="too late")

    monkeypatch.setattr(files, "inspect_file", hang)
    began = time.monotonic()

    seen = inspect_files({DatasetRef("file", "x"): flights}, "input", AFTER_US, Deadline(0.05))

    assert time.monotonic() - began < 10
    assert "hash_timeout_seconds" in (seen[DatasetRef("file", "x")].reason or "")


def test_every_file_gets_an_answer(flights: Path, tmp_path: Path) -> None:
    paths = {
        DatasetRef("file", str(flights)): flights,
        DatasetRef("file", "/none"): tmp_path / "none",
    }

    seen = inspect_files(paths, "input", AFTER_US, Deadline(60))

    assert [content.reason for content in seen.values()] == [None, "no such file"]


def test_a_file_uri_is_named_as_the_official_provider_names_it(tmp_path: Path) -> None:
    assert local_file("file:///data/x.csv") == (
        DatasetRef("file", "/data/x.csv"),
        Path("/data/x.csv"),
    )
    assert local_file("file://localhost/data/x.csv") == (
        DatasetRef("file://localhost", "/data/x.csv"),
        Path("/data/x.csv"),
    )


def test_a_quoted_uri_leads_to_the_file_and_a_file_with_a_percent_sign_too(tmp_path: Path) -> None:
    spaced, percent = tmp_path / "a b.csv", tmp_path / "50%25.csv"
    percent.touch()

    for path, uri in ((spaced, quote(str(spaced))), (percent, str(percent))):
        found = local_file(f"file://{uri}")
        assert found == (DatasetRef("file", uri), path)


@pytest.mark.parametrize(
    "uri", ["s3://bucket/key", "file://host/x", "file:///", "/data/x", "x", "file://[/x"]
)
def test_what_is_no_file_of_this_host_is_left_alone(uri: str) -> None:
    assert local_file(uri) is None
