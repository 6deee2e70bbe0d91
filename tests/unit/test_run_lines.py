"""What `run` tells of code, environment and parameters, and of what nobody recorded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from airflow_provenance.capture.manifest import manifest_of
from airflow_provenance.cli.manifest import manifest_lines
from airflow_provenance.emit import notes
from airflow_provenance.lineage.answers import describe_run
from airflow_provenance.store.memory import MemoryStore
from tests.unit.test_manifest import dag_file, repository, spooled, task_instance

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["dag_file"]  # a fixture


@pytest.fixture(autouse=True)
def no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_current", None)


def told(ti: Any, *events: bytes, is_long: bool = False) -> dict[str, str]:
    store = MemoryStore()
    store.ingest([("E", one) for one in (spooled(manifest_of(ti)), *events)], received_us=1)
    (run,) = (one for one in store.runs_named("r1") if one.job[1] == "flights.ingest")
    return dict(manifest_lines(describe_run(store, run), is_long=is_long))


def dag_run_event(number: int) -> bytes:
    """Return what the official provider says of a DAG run."""
    of_all = {"_producer": "https://example.com", "_schemaURL": "https://example.com/a.json"}
    told_of_it = {"dag_id": "flights", "run_id": "r1", "dag_version_number": number}
    facet = {**of_all, "dag": {"dag_id": "flights"}, "dagRun": told_of_it}
    engine = {**of_all, "name": "Airflow", "version": "3.3.0"}
    return json.dumps(
        {
            "eventType": "COMPLETE",
            "eventTime": "2027-01-15T08:00:09Z",
            "run": {
                "runId": str(uuid5(NAMESPACE_URL, "dag run")),
                "facets": {"airflowDagRun": facet, "processing_engine": engine},
            },
            "job": {"namespace": "default", "name": "flights"},
            "inputs": [],
            "outputs": [],
            "producer": "https://github.com/apache/airflow/tree/providers-openlineage/2.20.3",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        }
    ).encode()


def test_a_run_tells_its_commit_and_whether_anything_changed_since(dag_file: Path) -> None:
    commit = repository(dag_file.parents[1])

    clean = told(task_instance(dag_file))["code"]
    dag_file.write_text("# another DAG\n")
    dirty = told(task_instance(dag_file))["code"]

    assert clean.startswith(f"commit {commit[:12]}, without changes since; flights/month.py ")
    assert dirty.startswith(f"commit {commit[:12]}, with changes since; flights/month.py ")
    assert commit in told(task_instance(dag_file), is_long=True)["code"]


def test_a_run_tells_what_it_ran_with_in_a_few_short_lines(
    dag_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__IMAGE", "registry.example.com/flights:7")
    lines = told(task_instance(dag_file, params={"month": "2013-01", "none": None}))

    assert lines["parameters"] == "month=2013-01"
    assert lines["host"].startswith("worker-1, Linux ")
    assert lines["image"] == "registry.example.com/flights:7"
    assert "Airflow 3." in lines["installed"]
    assert " libraries (" in lines["installed"]
    assert max(map(len, lines.values())) <= 100


def test_the_number_of_the_dag_version_is_that_of_the_dag_run(dag_file: Path) -> None:
    ti = task_instance(dag_file)

    assert told(ti)["DAG version"] == "number not recorded, v1, bundle main at abc"
    assert told(ti, dag_run_event(4))["DAG version"] == "4, v1, bundle main at abc"


def test_what_was_not_recorded_is_told_as_such_with_the_reason(
    dag_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__PROVENANCE__IMAGE", raising=False)
    lines = told(task_instance(dag_file))

    assert lines["image"] == "not recorded ([provenance] image is not set)"
    assert lines["code"].startswith("commit not recorded (")


def test_a_run_without_a_manifest_says_so() -> None:
    store = MemoryStore()
    store.ingest([("E", dag_run_event(4))], received_us=1)
    (dag_run,) = store.runs_named("1")

    lines = dict(manifest_lines(describe_run(store, dag_run), is_long=False))

    assert lines["manifest"].startswith("not recorded")
