"""The drain's smaller promises; kills and full disks are in `tests/integration`."""

from __future__ import annotations

import fcntl
import json
from typing import TYPE_CHECKING

from airflow_provenance.collect.drain import Drain
from airflow_provenance.formats.spool_line import encode_line
from airflow_provenance.store.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path


def note(number: int) -> bytes:
    body = {
        "kind": "dag_run",
        "namespace": "flights",
        "dagId": "flights_month",
        "runId": f"manual__{number}",
        "at": f"2013-01-01T00:00:{number:02}Z",
    }
    return encode_line("N", json.dumps(body).encode())


def test_a_whole_line_right_behind_a_torn_one_is_ingested(tmp_path: Path) -> None:
    torn = note(1)[:-20]
    (tmp_path / "host-1-1.spool").write_bytes(torn + note(2) + note(3))
    store = MemoryStore()

    report = Drain(store, tmp_path).run_once()

    assert (report.ingested, report.quarantined) == (2, 1)
    [kept] = store.quarantine(with_raw=True)
    assert (kept.raw, kept.source) == (torn, "host-1-1.spool:0")


def test_a_file_that_was_cut_below_what_was_read_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "host-1-1.spool"
    path.write_bytes(note(1))
    store = MemoryStore()
    with path.open("rb+") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)  # a living owner: the file stays
        Drain(store, tmp_path).run_once()
        owner.truncate(3)

        report = Drain(store, tmp_path).run_once()

    assert "shorter than what was read" in report.warnings[0]
    assert path.exists()


def test_a_finished_file_of_a_dead_owner_goes_and_leaves_no_offset(tmp_path: Path) -> None:
    path = tmp_path / "host-1-1.spool"
    path.write_bytes(note(1) + note(2))
    store = MemoryStore()

    assert Drain(store, tmp_path).run_once().ingested == 2

    assert not path.exists()
    assert store.spool_offset(path.name) == 0


def test_a_line_larger_than_a_batch_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "host-1-1.spool").write_bytes(note(1) + note(2))
    store = MemoryStore()

    assert Drain(store, tmp_path, batch_bytes=10).run_once().ingested == 2
    assert store.quarantine() == []
