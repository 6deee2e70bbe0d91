"""The transport: one line per event, and never an exception."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from openlineage.client.event_v2 import Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import sql_job
from openlineage.client.transport.factory import DefaultTransportFactory

from airflow_provenance.domain.identity import TaskRef
from airflow_provenance.emit import failure, notes, spool
from airflow_provenance.emit.notes import ManifestNotes, TaskRunNotes
from airflow_provenance.emit.spool import Spool
from airflow_provenance.emit.transport import ProvenanceConfig, ProvenanceTransport
from airflow_provenance.formats import facets
from airflow_provenance.formats.spool_line import decode_line
from tests.support.facet_schemas import own_facet_problems

if TYPE_CHECKING:
    from pathlib import Path

RUN_ID = "013bf368-5800-7c96-b9f6-c5f28e75d56e"


@pytest.fixture(autouse=True)
def spool_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(spool, "_current", None)
    monkeypatch.setattr(notes, "_current", None)
    monkeypatch.setattr(failure, "_last_line", None)
    for option in ("REDACT_FIELDS", "REDACT_PATTERNS"):
        monkeypatch.setenv(f"AIRFLOW__PROVENANCE__{option}", "")
    monkeypatch.setenv("AIRFLOW__PROVENANCE__MAX_FACET_BYTES", "2000")
    monkeypatch.setenv("AIRFLOW__PROVENANCE__SPOOL_DIR", str(tmp_path / "spool"))
    return tmp_path / "spool"


@pytest.fixture
def transport() -> ProvenanceTransport:
    return ProvenanceTransport(ProvenanceConfig())


def event(query: str = "select 1", state: RunState = RunState.START) -> RunEvent:
    return RunEvent(
        eventType=state,
        eventTime="2027-01-15T08:00:00Z",
        run=Run(runId=RUN_ID),
        job=Job(namespace="default", name="d.t", facets={"sql": sql_job.SQLJobFacet(query=query)}),
        outputs=[OutputDataset(namespace="file", name="/x")],
        producer="https://example.org",
    )


def spooled(directory: Path) -> list[dict[str, Any]]:
    (path,) = directory.iterdir()
    lines = path.read_bytes().splitlines()
    return [json.loads(decode_line(line)[1]) for line in lines if line]


def test_the_official_client_makes_it_from_its_dotted_path() -> None:
    made = DefaultTransportFactory().create(
        {"type": "airflow_provenance.emit.transport.ProvenanceTransport"}
    )

    assert isinstance(made, ProvenanceTransport)
    assert made.kind == "provenance"


def test_an_event_is_one_line_of_compact_json(
    transport: ProvenanceTransport, spool_dir: Path
) -> None:
    transport.emit(event("select\nx"))

    (read,) = spooled(spool_dir)
    assert read["job"]["facets"]["sql"]["query"] == "select\nx"
    assert read["run"]["runId"] == RUN_ID


def test_what_was_noted_is_added_before_secrets_are_taken_out(
    transport: ProvenanceTransport, spool_dir: Path
) -> None:
    notes.begin(TaskRunNotes(TaskRef("d", "run of postgres://u:p@db", "t", -1, 1)))

    transport.emit(event("password=hunter2"))

    (read,) = spooled(spool_dir)
    assert read["job"]["facets"]["sql"]["query"] == "password=***"
    assert read["run"]["facets"][facets.TASK]["runId"] == "run of postgres://db"


@pytest.mark.parametrize(
    ("state", "is_synced"),
    [
        (RunState.START, False),
        (RunState.RUNNING, False),
        (RunState.COMPLETE, True),
        (RunState.FAIL, True),
        (RunState.ABORT, True),
    ],
)
def test_terminal_events_are_synced_to_disk(
    state: RunState,
    is_synced: bool,
    transport: ProvenanceTransport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)

    transport.emit(event(state=state))

    assert bool(synced) == is_synced


def test_a_facet_that_is_too_large_is_left_out_and_named(
    transport: ProvenanceTransport, spool_dir: Path
) -> None:
    transport.emit(event("x" * 3000))

    (read,) = spooled(spool_dir)
    assert read["job"]["facets"] == {}
    marker = read["run"]["facets"][facets.TRUNCATED]
    (left_out,) = marker["facets"]
    assert left_out["path"] == "$.job.facets.sql"
    assert left_out["sizeBytes"] > 3000
    assert own_facet_problems(facets.TRUNCATED, marker) == []


def test_the_digest_of_a_facet_that_was_left_out_is_of_its_sorted_compact_json(
    transport: ProvenanceTransport, spool_dir: Path
) -> None:
    transport.emit(event("x" * 3000))

    facet = {
        "_producer": sql_job.SQLJobFacet(query="").with_additional_properties()._producer,
        "_schemaURL": sql_job.SQLJobFacet._get_schema(),
        "query": "x" * 3000,
    }
    text = json.dumps(facet, sort_keys=True, separators=(",", ":")).encode()
    (left_out,) = spooled(spool_dir)[0]["run"]["facets"][facets.TRUNCATED]["facets"]
    assert left_out["sha256"] == hashlib.sha256(text).hexdigest()


def test_an_event_of_many_small_facets_loses_none(
    transport: ProvenanceTransport, spool_dir: Path
) -> None:
    many = event("x" * 1500)
    many.job.facets["sql2"] = sql_job.SQLJobFacet(query="y" * 1500)

    transport.emit(many)

    (read,) = spooled(spool_dir)
    assert set(read["job"]["facets"]) == {"sql", "sql2"}
    assert not read["run"].get("facets")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_spool_that_cannot_be_made_is_one_line_that_says_what_to_do(
    transport: ProvenanceTransport, spool_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool_dir.write_text("a file where the directory should be")

    transport.emit(event())
    transport.emit(event(state=RunState.COMPLETE))

    (line,) = warnings(caplog)
    assert "[provenance] spool_dir" in line
    assert str(spool_dir) in line
    assert "The task is not affected" in line
    assert "\n" not in line


def test_a_full_disk_is_one_line_even_when_forks_find_it(
    transport: ProvenanceTransport,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    def full(self: Spool, kind: str, payload: bytes, *, sync: bool = False) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "append", full)
    failure.begin()
    for number in range(3):
        if not (pid := os.fork()):
            caplog.clear()
            transport.emit(event())
            (tmp_path / f"said-{number}").write_text("\n".join(warnings(caplog)))
            os._exit(0)
        os.waitpid(pid, 0)

    said = [(tmp_path / f"said-{number}").read_text() for number in range(3)]
    assert "No space left on device" in said[0]
    assert said[1:] == ["", ""]


def test_a_setting_that_cannot_be_used_is_said_and_nothing_is_written(
    transport: ProvenanceTransport,
    spool_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Without the user's rules a secret might be written.
    monkeypatch.setenv("AIRFLOW__PROVENANCE__REDACT_PATTERNS", "(")

    transport.emit(event())

    (line,) = warnings(caplog)
    assert "redact_patterns" in line
    assert not spool_dir.exists()


def test_whether_values_may_leave_is_asked_and_a_bad_answer_is_no(
    transport: ProvenanceTransport,
    spool_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for answer in ("True", "False", "perhaps"):
        monkeypatch.setenv("AIRFLOW__PROVENANCE__KEEP_VALUES", answer)
        transport.emit(event("select 'x'"))

    kept = [read["job"]["facets"]["sql"]["query"] for read in spooled(spool_dir)]
    assert kept == ["select 'x'", "select '***'", "select '***'"]
    (line,) = warnings(caplog)
    assert "keep_values is 'perhaps'" in line
    assert "Values of data are left out" in line


def test_what_was_removed_is_counted_in_the_event_and_nothing_is_said_of_nothing(
    transport: ProvenanceTransport, spool_dir: Path
) -> None:
    noted = TaskRunNotes(TaskRef("d", "r", "t", -1, 1))
    noted.manifest = ManifestNotes(removed=Counter(field=3))
    transport.emit(event("select a"))
    transport.emit(event("select 'x', 1 -- password=hunter2"))
    notes.begin(noted)
    transport.emit(event("select 'x'"))

    first, second, third = (
        read["run"].get("facets", {}).get(facets.REDACTION) for read in spooled(spool_dir)
    )
    assert first is None
    assert (second["total"], second["byRule"]["literal"]) == (3, 3)
    assert third["byRule"] == {"known": 0, "field": 3, "pattern": 0, "literal": 1, "value": 0}
    assert own_facet_problems(facets.REDACTION, third) == []


def test_an_object_that_is_no_event_does_not_raise(
    transport: ProvenanceTransport, caplog: pytest.LogCaptureFixture
) -> None:
    transport.emit(object())  # type: ignore[arg-type]

    assert len(warnings(caplog)) == 1


def test_what_is_not_json_is_named_instead(transport: ProvenanceTransport, spool_dir: Path) -> None:
    odd = event()
    odd.job.facets["odd_facet"] = {"value": object(), 7: float("nan")}  # type: ignore[assignment]

    transport.emit(odd)

    (read,) = spooled(spool_dir)
    assert read["job"]["facets"]["odd_facet"] == {
        "value": "<<non-serializable: object>>",
        "7": None,
    }
