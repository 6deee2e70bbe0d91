"""``compare`` over real runs by ``airflow dags test``: the same twice, and what was changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provenance.emit.redact import MASK
from airflow_provenance.formats import facets
from tests.support.facet_schemas import own_facet_problems, own_facets

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAGS = Path(__file__).resolve().parent / "dags"
TRANSPORT = {"type": "airflow_provenance.emit.transport.ProvenanceTransport"}
TASK = "with_params.writes"
Json = dict[str, Any]


class Home(NamedTuple):
    """An Airflow home in which the DAG has run, and the store that was filled from its spool."""

    home: Path

    def run(self, module: str, *arguments: object) -> str:
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "OPENLINEAGE"))
        }
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            env={
                **clean,
                "AIRFLOW_HOME": str(self.home),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
                "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(TRANSPORT),
                "WITH_PARAMS_TO": str(self.home / "written.txt"),
            },
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run_dag(self, **conf: object) -> None:
        given = ["--conf", json.dumps(conf)] if conf else []
        self.run("airflow", "dags", "test", "with_params", *given)

    def tell(self, *arguments: object) -> Any:
        return json.loads(self.run("airflow_provenance.cli", *arguments, "--json"))

    def compare(self, left: int, right: int) -> Json:
        answer: Json = self.tell("compare", self.task_runs()[left], self.task_runs()[right])
        return answer

    def task_runs(self) -> list[int]:
        """Return the numbers of the task's runs, oldest first."""
        return [run["id"] for run in reversed(self.tell("runs", "--job", TASK))]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The DAG run twice alike, once with another parameter, and once after a line was added."""
    ran = Home(tmp_path_factory.mktemp("compare"))
    dag = ran.home / "dags" / "with_params.py"
    dag.parent.mkdir()
    dag.write_bytes((DAGS / "with_params.py").read_bytes())
    ran.run("airflow", "db", "migrate")
    ran.run_dag()
    ran.run_dag()
    ran.run_dag(threshold=30)
    dag.write_text(dag.read_text() + "# one more line\n")
    ran.run_dag()
    ran.run("airflow_provenance.cli", "db", "migrate")
    ran.run("airflow_provenance.cli", "ingest", "--spool")
    return ran


def paths(differences: list[Json]) -> dict[str, tuple[Any, Any]]:
    return {one["path"]: (one["left"], one["right"]) for one in differences}


def test_the_same_code_and_input_twice_do_not_differ(ran: Home) -> None:
    answer = ran.compare(0, 1)

    assert not answer["differs"], answer
    hashes = answer["manifest_hashes"]
    assert hashes["left"] == hashes["right"] is not None
    assert "Nothing" in ran.run("airflow_provenance.cli", "compare", *ran.task_runs()[:2])


def test_another_parameter_is_all_that_differs(ran: Home) -> None:
    answer = ran.compare(1, 2)

    assert paths(answer["manifest"]) == {
        "parameters.conf.threshold": (None, 30),
        "parameters.params.threshold": (15, 30),
        "parameters.rendered.op_args[0]": ("15", "30"),
    }
    assert (answer["dependencies"], answer["inputs"], answer["state"]) == ([], [], None)
    (written,) = answer["outputs"]  # and what it wrote follows from it
    assert written["left"] != written["right"]


def test_a_line_more_in_the_dag_file_is_all_that_differs(ran: Home) -> None:
    answer = ran.compare(1, 3)

    assert set(paths(answer["manifest"])) == {"code.dagFileSha256"}
    assert not [*answer["dependencies"], *answer["inputs"], *answer["outputs"]]


def test_every_event_of_a_task_has_a_manifest_and_no_secret(ran: Home) -> None:
    exported = ran.run("airflow_provenance.cli", "events", "--export", "--limit", 1000)
    events = [json.loads(line) for line in exported.splitlines()]
    of_task = [event for event in events if event.get("job", {}).get("name") == TASK]
    manifests = [event["run"]["facets"][facets.MANIFEST] for event in of_task]

    assert "never-shown" not in exported
    assert len(manifests) == 8
    assert ["dependencies" in one for one in manifests] == [
        event["eventType"] == "START" for event in of_task
    ]
    for one in manifests:
        assert one["hash"] == facets.manifest_hash(one)
        assert one["parameters"]["params"] in ({"threshold": t, "password": MASK} for t in (15, 30))
        assert one["code"]["dagFile"] == "with_params.py"
        assert one["code"]["operatorDistribution"]["name"] == "apache-airflow-providers-standard"
        assert one["environment"]["airflow"].startswith("3.")
        assert set(one["absent"]) == {
            *("code.git", "code.bundleName", "code.bundleVersion", "code.dagVersionNumber"),
            "environment.image",
        }, one["absent"]
    problems = [
        problem
        for event in of_task
        for name, facet in own_facets(event)
        for problem in own_facet_problems(name, facet)
    ]
    assert problems == []
