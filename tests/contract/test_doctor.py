"""``doctor`` and ``coverage`` before all is set up: what they name, and what they say to do."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_provenance import settings
from airflow_provenance.cli import main
from airflow_provenance.cli.doctor_settings import unknown_names
from airflow_provenance.collect.airflow_database import airflow_database_problem
from airflow_provenance.service.lock import HostLock, is_held

if TYPE_CHECKING:
    from pathlib import Path


class Doctor:
    """A home, and what doctor finds in it."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.capsys = home, capsys

    def __call__(self, *options: str, code: int | None = None) -> list[tuple[str, str, str]]:
        self.capsys.readouterr()
        ended = main(["doctor", "--json", *options])
        assert code is None or ended == code
        found = json.loads(self.capsys.readouterr().out)
        return [(one["level"], one["check"], one["message"]) for one in found]

    def about(self, check: str, *options: str) -> list[tuple[str, str]]:
        return [(level, text) for level, name, text in self(*options) if name == check]


@pytest.fixture
def doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Doctor:
    for name in os.environ:
        if name.startswith(("AIRFLOW_", "OPENLINEAGE_")):
            monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "airflow", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    settings._parsed.cache_clear()
    return Doctor(tmp_path, capsys)


def set_option(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    monkeypatch.setenv(f"AIRFLOW__PROVENANCE__{name.upper()}", text)


def test_names_that_nobody_reads_are_told_with_what_was_meant(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (doctor.home / "airflow.cfg").write_text(
        "[provenance]\nspool_dri = /x\nkeep_values = False\nhash_key_cmd = cat key\n"
    )
    monkeypatch.setenv("AIRFLOW__PROVENANCE__STROE", "sqlite:///x.db")
    monkeypatch.setenv("AIRFLOW_PROVENANCE__SLA_FILES", "x")
    monkeypatch.setenv("AIRFLOW__PROVENANCE__FEEDS_SECRET", "x")
    monkeypatch.setenv("AIRFLOW__PROVENANCE__QUITE_ANOTHER_THING", "x")

    found = [one.message for one in unknown_names()]

    meant = "is not read: did you mean"
    begins = "AIRFLOW__PROVENANCE__"
    assert f"{begins}STROE in the environment {meant} {begins}STORE?" in found
    sla = "AIRFLOW_PROVENANCE__SLA_FILES"
    assert f"{sla} in the environment {meant} {begins}SLA_FILES?" in found
    assert f"spool_dri in [provenance] of airflow.cfg {meant} spool_dir?" in found
    assert [text for text in found if "QUITE_ANOTHER" in text] != []
    assert [text for text in found if "FEEDS_SECRET" in text or "hash_key_cmd" in text] == []


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("channels", {"a": {"type": "slak"}}, "'a': its type must be one of file, webhook"),
        ("channels", {"a": {"type": "slak"}}, "did you mean slack?"),
        (
            "channels",
            {"a": {"type": "notifier", "path": "no.Such"}},
            "there is no notifier no.Such",
        ),
        ("channels", '{"a": ', "[provenance] channels is no JSON"),
        ("routes", [{"name": "r", "channels": ["b"]}], "route 'r': there is no channel 'b'"),
        ("routes", [{"name": "r", "channels": ["log"], "matchers": ["x"]}], "route 'r'"),
        ("routes", "[", "[provenance] routes is no JSON"),
    ],
)
def test_a_channel_or_route_that_cannot_work_is_named_and_nothing_is_sent(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, option: str, value: object, reason: str
) -> None:
    notices = doctor.home / "notices.jsonl"
    set_option(monkeypatch, "channels", {"log": {"type": "file", "path": str(notices)}})
    assert doctor.about("channels") == [("ok", "log (file); routes: default")]

    set_option(monkeypatch, option, value)

    assert [one for one in doctor(code=1) if one[0] == "fail" and reason in one[2]]
    assert not notices.exists()


def test_a_test_notice_goes_through_every_channel_and_says_who_did_not_take_it(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices = doctor.home / "notices.jsonl"
    away = {"type": "webhook", "url": "http://127.0.0.1:9/"}
    told = {"log": {"type": "file", "path": str(notices)}, "away": away}
    set_option(monkeypatch, "channels", told)

    log, away_said = doctor.about("test notice", "--send-test")

    assert log == ("ok", "channel 'log' took it, and its end")
    assert away_said[0] == "fail"
    assert "does not answer" in away_said[1]
    sent = [json.loads(line) for line in notices.read_text().splitlines()]
    assert [one["status"] for one in sent] == ["firing", "resolved"]
    assert sent[0]["firing"][0]["cause"] == "nothing is wrong: this is a test"
    assert len({one["incident"] for one in sent}) == 1


def test_lines_that_wait_while_no_service_runs_are_to_be_ingested(doctor: Doctor) -> None:
    spool = doctor.home / "provenance" / "spool"
    spool.mkdir(parents=True)
    (spool / "host-1-2.spool").write_bytes(b"E {}\n")
    ((level, text),) = doctor.about("spool")
    assert level == "warn"
    assert text.endswith(
        "no service runs on this host: 'airflow-provenance ingest --spool' takes them in"
    )

    lock = HostLock(spool)
    assert lock.take()
    try:
        assert is_held(spool)
        assert doctor.about("spool")[0][0] == "ok"
    finally:
        lock.release()
    assert not is_held(spool)


def test_airflows_database_is_told_until_it_is_migrated(
    doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    database = doctor.home / "airflow.db"

    def coverage() -> str:
        assert main(["coverage"]) == 1
        answer = capsys.readouterr()
        assert answer.out == ""
        return str(answer.err)

    migrate = "run 'airflow db migrate'"
    assert coverage() == f"airflow-provenance: Airflow's database is not there yet: {migrate}\n"
    assert not database.exists()
    assert doctor.about("airflow")[0][0] == "warn"

    sqlite3.connect(database).close()
    database.touch()
    assert coverage() == f"airflow-provenance: Airflow's database has no tables yet: {migrate}\n"

    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE dag_run (id INTEGER)")
    connection.close()
    assert doctor.about("airflow") == [("ok", "Airflow's database is there")]


def test_a_host_that_sends_its_spool_needs_no_database_of_airflow(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_option(monkeypatch, "api_url", "http://127.0.0.1:9")

    assert doctor.about("airflow") == []


def test_a_database_that_cannot_be_reached_is_told_without_its_address(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:9/air"
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)

    problem = airflow_database_problem() or ""

    assert "cannot be read" in problem
    assert "hunter2" not in problem
    assert "\n" not in problem
