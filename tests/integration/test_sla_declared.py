"""Promises of a real DAG file: in the serialized DAG, and read from it without running it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provenance.sla.policy import RUN_TYPES
from tests.integration.test_flights_dag import Airflow

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
READ = """
import json
from airflow_provenance.collect.airflow_promises import promises
from airflow_provenance.sla.policy import to_plain
found = promises()
print(json.dumps({one.dag_id: [to_plain(p) for p in one.policies] for one in found}))
print(json.dumps([one.problems for one in found if one.problems]))
"""


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    airflow = Airflow(tmp_path_factory.mktemp("airflow"))
    folder = Path(__file__).with_name("promising")
    env = {"AIRFLOW__CORE__DAGS_FOLDER": str(folder)}
    for command in (("db", "migrate"), ("dags", "reserialize")):
        done = airflow.run(*command, **env)
        assert done.returncode == 0, done.stderr
    read = subprocess.run(
        [sys.executable, "-c", READ],
        env={**os.environ, **airflow._env(), **env},
        cwd=airflow.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert read.returncode == 0, read.stderr
    found, problems = map(json.loads, read.stdout.splitlines()[-2:])
    assert problems == []
    return dict(found)


def test_promises_are_found_without_running_the_dag(declared: dict[str, Any]) -> None:
    assert declared["promises_nothing"] == []
    assert {one["id"]: one["target"] for one in declared["promises"]} == {
        "promises.deadline": {"dag": "promises"},
        "plain-is-quick": {"dag": "promises", "task": "plain"},
        "promises.decorated.throughput": {"dag": "promises", "task": "decorated"},
        "promises.many.duration": {"dag": "promises", "task": "many"},
        "file-data-orders.csv.freshness": {"dataset": "file//data/orders.csv"},
    }


def test_they_keep_what_was_said_and_have_the_dags_zone(declared: dict[str, Any]) -> None:
    (deadline,) = (one for one in declared["promises"] if one["id"] == "promises.deadline")
    assert deadline == {
        "id": "promises.deadline",
        "target": {"dag": "promises"},
        "objective": {"kind": "deadline", "at": "09:00"},
        "severity": "page",
        "notify": ["oncall"],
        "zone": "Europe/Berlin",
    }


def test_airflows_own_deadlines_become_promises(declared: dict[str, Any]) -> None:
    promised = {one["id"]: one for one in declared["with_deadline"]}
    assert {slug: one["objective"] for slug, one in promised.items()} == {
        "with_deadline.deadline-alert": {
            "kind": "duration",
            "at_most": "PT3600S",
            "since": "logical_date",
        },
        "with_deadline.deadline-alert-2": {
            "kind": "duration",
            "at_most": "PT7200S",
            "since": "queued",
        },
    }
    assert all(set(one["runs"]) == set(RUN_TYPES) for one in promised.values())
    assert {(one["severity"], one["zone"]) for one in promised.values()} == {
        ("page", "Europe/Berlin")
    }


def test_what_sla_said_in_airflow_2_becomes_promises_of_tasks(declared: dict[str, Any]) -> None:
    promised = {one["id"]: one for one in declared["with_sla"]}
    assert {
        slug: (one["target"]["task"], one["objective"]["at_most"], one["objective"]["since"])
        for slug, one in promised.items()
    } == {
        "with_sla.by_default.sla": ("by_default", "PT7200S", "due"),
        "with_sla.own.sla": ("own", "PT1800S", "due"),
        "with_sla.decorated.sla": ("decorated", "PT7200S", "due"),
    }
    assert {(*one["runs"], one["owner"]) for one in promised.values()} == {("scheduled", "ann")}
