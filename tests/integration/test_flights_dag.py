"""Real runs by ``airflow dags test``: what our transport spools, and that it harms no task."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provenance.formats import facets
from airflow_provenance.formats.notes import DagRunNote, decode_note
from airflow_provenance.formats.spool_line import decode_line
from tests.support.facet_schemas import (
    OPENLINEAGE_VALIDATOR,
    openlineage_validator,
    own_facet_problems,
    own_facets,
)
from tests.support.flights_facts import facts, hours_without_weather

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
DAGS = Path(__file__).resolve().parent / "dags"
# Those that run once and read or write files, all told.
TASKS = ("ingest", "validate", "positions", "enrich", "aggregate")
MONTH = "2013-01"
TRANSPORT = {"type": "airflow_provenance.emit.transport.ProvenanceTransport"}
LOST = "Provenance is not recorded"
FULL_DISK = """
import errno, os, types
from airflow_provenance.emit import spool

class FullDisk(types.ModuleType):
    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, fd, data):
        raise OSError(errno.ENOSPC, "No space left on device")

spool.os = FullDisk("os")
"""


class Airflow(NamedTuple):
    """An Airflow home with a migrated database."""

    home: Path

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "airflow", *args],
            env={**os.environ, **self._env(), **env},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def _env(self) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(TRANSPORT),
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "flights",
            "FLIGHTS_DATA_DIR": str(self.home / "data"),
        }


class Spooled(NamedTuple):
    """What one run left in its spool."""

    events: list[dict[str, Any]]
    notes: list[bytes]
    data: Path

    def of_task(self, task_id: str, event_type: str) -> dict[str, Any]:
        (event,) = (
            event
            for event in self.events
            if event["job"]["name"].endswith(f".{task_id}") and event["eventType"] == event_type
        )
        return event

    def of_mapped(self, task_id: str) -> list[tuple[int, int, str]]:
        """Return map index, try and noted state of what ended."""
        return sorted(
            (
                event["run"]["facets"][facets.TASK]["mapIndex"],
                event["run"]["facets"][facets.TASK]["tryNumber"],
                event["run"]["facets"][facets.RUN]["state"],
            )
            for event in self.events
            if event["job"]["name"].endswith(f".{task_id}") and event["eventType"] != "START"
        )


def read_spool(directory: Path, data: Path) -> Spooled:
    spooled = Spooled([], [], data)
    for path in directory.glob("*.spool"):
        for line in filter(None, path.read_bytes().split(b"\n")):
            kind, payload = decode_line(line)
            if kind == "E":
                spooled.events.append(json.loads(payload))
            else:
                spooled.notes.append(payload)
    return spooled


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    assert "airflow_provenance" in entry_points(group="airflow.plugins").names, (
        "Airflow finds the plugin by its entry point: install the package (uv pip install -e .)"
    )
    airflow = Airflow(tmp_path_factory.mktemp("airflow"))
    (airflow.home / "data").mkdir()
    migrated = airflow.run("db", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    return airflow


@pytest.fixture(scope="module", params=["fork", "thread"])
def flights(request: pytest.FixtureRequest, airflow: Airflow) -> Spooled:
    """What the flights DAG spools, in each way the official provider has of emitting."""
    spool_dir, data = airflow.home / f"spool-{request.param}", airflow.home / request.param
    done = airflow.run(
        *("dags", "test", "flights_month", "2013-01-01"),
        AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
        AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD=str(request.param == "thread"),
        AIRFLOW__PROVENANCE__SPOOL_DIR=str(spool_dir),
        FLIGHTS_DATA_DIR=str(data),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert LOST not in done.stdout + done.stderr
    return read_spool(spool_dir, data)


def test_every_task_has_a_start_and_a_complete(flights: Spooled) -> None:
    tasks = (*TASKS, "look_closer", "load", "summarise", "check_warehouse")
    of_tasks = [
        (event["job"]["name"], event["eventType"])
        for event in flights.events
        if event["job"]["name"] not in ("flights_month", "flights_month.weather")
        and ".query." not in event["job"]["name"]
    ]

    # The branch skips `cancellations`: few flights of January were cancelled.
    assert sorted(of_tasks) == sorted(
        (f"flights_month.{task_id}", event_type)
        for task_id in tasks
        for event_type in ("START", "COMPLETE")
    )


def test_weather_that_lacks_hours_is_retried_and_then_taken_as_it_is(flights: Spooled) -> None:
    missing = hours_without_weather(MONTH)
    expected = []
    for index, origin in enumerate(missing):
        states = ["UP_FOR_RETRY", "COMPLETE"] if missing[origin] else ["COMPLETE"]
        expected += [(index, number, state) for number, state in enumerate(states, 1)]

    assert flights.of_mapped("weather") == expected
    assert len(expected) > len(missing), "no airport lacks weather: nothing was retried"
    checked = {
        Path(output["name"]).stem.removeprefix("weather_"): check["params"]["failedRows"]
        for event in flights.events
        if event["job"]["name"] == "flights_month.weather"
        for output in event["outputs"]
        for check in output["facets"]["dataQualityAssertions"]["assertions"]
    }
    assert checked == missing


def test_every_event_is_valid_openlineage(flights: Spooled) -> None:
    validate = openlineage_validator()
    if validate is None:
        pytest.skip(f"the OpenLineage schemas are not at {OPENLINEAGE_VALIDATOR}")

    assert [problem for event in flights.events for problem in validate(event)] == []


def test_every_facet_of_ours_is_valid_by_our_schemas(flights: Spooled) -> None:
    ours = [named for event in flights.events for named in own_facets(event)]

    assert {name for name, _ in ours} == {
        facets.TASK,
        facets.RUN,
        facets.MANIFEST,
        facets.GRANULARITY,
        facets.CONTENT,
        facets.ASSET,
        facets.REDACTION,
    }
    assert [problem for name, facet in ours for problem in own_facet_problems(name, facet)] == []


def test_every_file_a_task_reads_and_writes_is_in_its_complete_event(flights: Spooled) -> None:
    month = flights.data / MONTH
    seen = {
        task_id: tuple(
            {Path(dataset["name"]).name for dataset in files(event[side])}
            for side in ("inputs", "outputs")
        )
        for task_id in TASKS
        if (event := flights.of_task(task_id, "COMPLETE"))
    }

    of_weather = {f"weather_{origin}.csv" for origin in ("EWR", "JFK", "LGA")}
    assert seen == {
        "ingest": ({"flights.csv.zip"}, {"flights.csv"}),
        "validate": ({"flights.csv", "planes.csv"}, set()),
        "positions": ({"flights.csv", "airports.csv"}, {"positions.csv"}),
        "enrich": (
            {"flights.csv", "airports.csv", "planes.csv", *of_weather},
            {"flights_enriched.csv"},
        ),
        "aggregate": ({"flights_enriched.csv"}, {"delays.csv"}),
    }
    assert {path.name for path in month.iterdir()} == of_weather.union(
        *(outputs for _, outputs in seen.values())
    )


def files(datasets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [dataset for dataset in datasets if dataset["namespace"] == "file"]


def test_every_version_is_the_hash_of_the_file_and_is_verified(flights: Spooled) -> None:
    datasets = [
        dataset
        for task_id in TASKS
        for side in ("inputs", "outputs")
        for dataset in files(flights.of_task(task_id, "COMPLETE")[side])
    ]

    assert len(datasets) == 16
    for dataset in datasets:
        path = Path(dataset["name"])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        content = dataset["facets"][facets.CONTENT]
        assert dataset["namespace"] == "file"
        assert dataset["facets"]["version"]["datasetVersion"] == f"sha256:{digest}"
        assert (content["digest"], content["sizeBytes"]) == (digest, path.stat().st_size)
        assert content["verified"], content


def test_every_table_has_its_columns_and_as_many_rows_as_it_really_has(flights: Spooled) -> None:
    looked_into = 0
    for task_id in TASKS:
        event = flights.of_task(task_id, "COMPLETE")
        for side, slot, facet in (
            ("inputs", "inputFacets", "inputStatistics"),
            ("outputs", "outputFacets", "outputStatistics"),
        ):
            for dataset in files(event[side]):
                path = Path(dataset["name"])
                statistics = dataset[slot][facet]
                assert statistics["size"] == path.stat().st_size
                if path.suffix != ".csv":
                    assert "rowCount" not in statistics
                    continue
                with path.open(newline="") as file:
                    columns, *rows = list(csv.reader(file))
                assert statistics["rowCount"] == len(rows)
                assert dataset["facets"]["schema"]["fields"] == [{"name": one} for one in columns]
                looked_into += 1
    assert looked_into == 15


def test_what_a_task_writes_replaces_what_was_there(flights: Spooled) -> None:
    for task_id in TASKS:
        event = flights.of_task(task_id, "COMPLETE")
        for dataset in files(event["outputs"]):
            lifecycle = dataset["facets"]["lifecycleStateChange"]
            assert lifecycle["lifecycleStateChange"] == "OVERWRITE"
        assert not any("lifecycleStateChange" in one["facets"] for one in event["inputs"])


def test_a_check_is_told_of_what_the_task_wrote(flights: Spooled) -> None:
    (enriched,) = files(flights.of_task("enrich", "COMPLETE")["outputs"])

    assert enriched["facets"]["dataQualityAssertions"]["assertions"] == [
        {
            "assertion": "dest_has_airport",
            "success": False,
            "column": "dest",
            "severity": "warn",
            "params": {"failedRows": 680},
        }
    ]


def test_a_task_names_its_try_and_airflows_own_times(flights: Spooled) -> None:
    event = flights.of_task("ingest", "COMPLETE")
    task, run = (event["run"]["facets"][name] for name in (facets.TASK, facets.RUN))

    assert (task["dagId"], task["taskId"]) == ("flights_month", "ingest")
    assert task["runId"] == event["run"]["facets"]["airflow"]["dagRun"]["run_id"]
    assert (task["mapIndex"], task["tryNumber"]) == (-1, 1)
    assert run["state"] == "COMPLETE"
    assert run["hostname"]
    # The event's own time is taken later, after the hashing.
    assert run["startedAt"] < run["endedAt"] < event["eventTime"]


def test_the_dag_run_is_noted_and_its_event_is_not_a_tasks(flights: Spooled) -> None:
    (note,) = map(decode_note, flights.notes)
    (event,) = (event for event in flights.events if event["job"]["name"] == "flights_month")

    assert isinstance(note, DagRunNote)
    assert (note.namespace, note.dag_id, note.state) == ("flights", "flights_month", "COMPLETE")
    # `dag.test()` claims that it began at its logical date.
    assert note.started_at_us is None
    assert event["eventType"] == "COMPLETE"
    assert not [name for name, _ in own_facets(event)]


def test_the_problems_in_the_data_are_the_real_ones(flights: Spooled) -> None:
    with (flights.data / MONTH / "flights_enriched.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = facts(MONTH)
    found = {
        (check["assertion"], check.get("column")): check["params"]["failedRows"]
        for task_id in ("validate", "enrich")
        for side, slot in (("inputs", "inputFacets"), ("outputs", "facets"))
        for dataset in flights.of_task(task_id, "COMPLETE")[side]
        for check in dataset.get(slot, {}).get("dataQualityAssertions", {}).get("assertions", ())
        if not check["success"]
    }

    assert len(rows) == expected["flights"] == 27_004
    assert {row["dest"] for row in rows if row["dest_name"] == "NA"} <= {"BQN", "SJU", "STT", "PSE"}
    assert sum(row["temp"] == "NA" for row in rows) == expected["no_weather"] == 52
    assert found == {
        ("dest_has_airport", "dest"): expected["unknown_airport"],
        ("foreign_key", "tailnum"): expected["unknown_plane"],
        ("not_null", "tailnum"): expected["no_tailnum"],
        ("not_null", "arr_delay"): expected["no_arr_delay"],
    }


def test_a_month_that_is_loaded_again_replaces_what_the_warehouse_has(
    airflow: Airflow, flights: Spooled
) -> None:
    # The default, where nobody has made a connection; the second way of emitting runs into it, too.
    with closing(sqlite3.connect(airflow.home / "flights_warehouse.db")) as warehouse:
        for query in (
            "SELECT count(*) FROM flights",
            "SELECT sum(flights) FROM carrier_delays",
            "SELECT sum(flights) FROM airport_delays",
        ):
            assert warehouse.execute(query).fetchone() == (27_004,), query


@pytest.fixture(scope="module")
def outcomes(airflow: Airflow) -> Spooled:
    spool_dir = airflow.home / "spool-outcomes"
    airflow.run("dags", "test", "outcomes", AIRFLOW__PROVENANCE__SPOOL_DIR=str(spool_dir))
    return read_spool(spool_dir, airflow.home)


def states(spooled: Spooled, task_id: str) -> list[tuple[int, int, str, str]]:
    """Return try, map index, event type and noted state of a task's terminal events."""
    return sorted(
        (
            event["run"]["facets"][facets.TASK]["tryNumber"],
            event["run"]["facets"][facets.TASK]["mapIndex"],
            event["eventType"],
            event["run"]["facets"][facets.RUN]["state"],
        )
        for event in spooled.events
        if event["job"]["name"] == f"outcomes.{task_id}" and event["eventType"] != "START"
    )


def test_a_skip_and_a_retry_are_told_apart_from_success_and_failure(outcomes: Spooled) -> None:
    assert states(outcomes, "skips") == [(1, -1, "COMPLETE", "SKIPPED")]
    assert states(outcomes, "fails") == [(1, -1, "FAIL", "FAIL")]
    assert states(outcomes, "works_at_second_try") == [
        (1, -1, "FAIL", "UP_FOR_RETRY"),
        (2, -1, "COMPLETE", "COMPLETE"),
    ]


def test_each_mapped_instance_names_its_index(outcomes: Spooled) -> None:
    assert states(outcomes, "mapped") == [
        (1, 0, "COMPLETE", "COMPLETE"),
        (1, 1, "COMPLETE", "COMPLETE"),
    ]


def test_the_files_of_one_task_do_not_leak_into_the_next(airflow: Airflow) -> None:
    spool_dir = airflow.home / "spool-leaks"
    done = airflow.run("dags", "test", "leaks", AIRFLOW__PROVENANCE__SPOOL_DIR=str(spool_dir))
    assert done.returncode == 0, done.stdout + done.stderr

    spooled = read_spool(spool_dir, airflow.home / "data")

    outputs = {
        task_id: [dataset["name"] for dataset in spooled.of_task(task_id, "COMPLETE")["outputs"]]
        for task_id in ("touches", "declares")
    }
    assert outputs == {
        "touches": [f"{spooled.data}/touched.csv"],
        "declares": [f"{spooled.data}/declared.csv"],
    }
    (declared,) = spooled.of_task("declares", "COMPLETE")["outputs"]
    assert declared["facets"][facets.CONTENT]["digest"] == hashlib.sha256(b"declared").hexdigest()


def test_what_a_task_says_is_told_and_what_it_says_badly_is_a_warning(airflow: Airflow) -> None:
    spool_dir = airflow.home / "spool-observes"
    done = airflow.run("dags", "test", "observes", AIRFLOW__PROVENANCE__SPOOL_DIR=str(spool_dir))
    assert done.returncode == 0, done.stdout + done.stderr

    event = read_spool(spool_dir, airflow.home).of_task("says", "COMPLETE")
    inputs = {(one["namespace"], one["name"]): one for one in event["inputs"]}
    outputs = {(one["namespace"], one["name"]): one for one in event["outputs"]}
    assert set(inputs) == {("s3://raw", "flights.csv"), ("postgres://db:5432", "air.public.dest")}
    assert set(outputs) == {("file", f"{airflow.home}/data/said.csv")}
    read, written = inputs["s3://raw", "flights.csv"], outputs["file", event["outputs"][0]["name"]]
    assert read["facets"]["version"]["datasetVersion"] == "etag-1"
    assert read["inputFacets"]["inputStatistics"]["rowCount"] == 2
    assert written["facets"][facets.PARTITION]["key"] == "2013-01"
    assert written["outputFacets"]["outputStatistics"] == {
        **written["outputFacets"]["outputStatistics"],
        "rowCount": 1,
        "size": len("carrier\nUA\n"),
    }
    validate = openlineage_validator()
    assert validate is None or validate(event) == []
    said = [line for line in (done.stdout + done.stderr).splitlines() if "Provenance:" in line]
    assert len(said) == 1, said
    assert "'nowhere' is no URI" in said[0]
    assert "The task is not affected" in said[0]


def assert_harmless(done: subprocess.CompletedProcess[str], *words: str) -> None:
    said = [line for line in (done.stdout + done.stderr).splitlines() if LOST in line]
    assert done.returncode == 0, done.stdout + done.stderr
    assert "state=success" in done.stdout + done.stderr
    assert len(said) == 1, said
    assert all(word in said[0] for word in ("spool_dir", "The task is not affected", *words)), said
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("in_thread", ["False", "True"])
def test_a_task_succeeds_when_the_spool_cannot_be_written(airflow: Airflow, in_thread: str) -> None:
    # A file in its place: a directory without rights would not stop root.
    in_its_place = airflow.home / f"in-its-place-{in_thread}"
    in_its_place.touch()

    done = airflow.run(
        *("dags", "test", "one_task"),
        AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD=in_thread,
        AIRFLOW__PROVENANCE__SPOOL_DIR=str(in_its_place / "spool"),
    )

    assert_harmless(done, "Not a directory")


@pytest.mark.parametrize("in_thread", ["False", "True"])
def test_a_task_succeeds_when_the_disk_is_full(
    airflow: Airflow, tmp_path: Path, in_thread: str
) -> None:
    (tmp_path / "full_disk.py").write_text(FULL_DISK)

    done = airflow.run(
        *("dags", "test", "one_task"),
        AIRFLOW__CORE__PLUGINS_FOLDER=str(tmp_path),
        AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD=in_thread,
        AIRFLOW__PROVENANCE__SPOOL_DIR=str(tmp_path / "spool"),
    )

    assert_harmless(done, "No space left on device")
