"""Runs as every store lists and finds them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.errors import SubjectError
from airflow_provenance.store.base import RunQuery
from tests.support.entries import (
    OF_TASK,
    STATE,
    dag_run,
    entry,
    event,
    one_named,
    put_all,
    task,
    us,
    uuid,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.store.base import RunView, Store


# ---- Runs ---------------------------------------------------------------------------------------


@pytest.fixture
def dags(store: Store) -> Store:
    """Runs of DAGs ``a`` and ``a.b``, and of others, started one a second."""
    put_all(
        store,
        task("START", 1, "b.c", dag="a", run=1),
        task("START", 2, "c", dag="a.b", run=2),
        task("FAIL", 3, "c", dag="a.b", run=2),
        dag_run("START", 4, "a", run=3),
        dag_run("START", 5, "a.b", run=4),
        event("START", 6, "a.spark", run=5),
        task("START", 7, "x", dag="ab", run=6),
        event("COMPLETE", 8, "endless", run=7),  # no start
    )
    return store


def uuids(runs: Iterable[RunView]) -> list[int]:
    return [int((run.run_uuid or "")[-12:], 16) for run in runs]


def test_runs_come_newest_start_first(dags: Store) -> None:
    started = uuids(dags.runs(RunQuery()))

    assert [number for number in started if number != 7] == [6, 5, 4, 3, 2, 1]
    assert len(started) == 7
    assert uuids(dags.runs(RunQuery(limit=2))) == started[:2]


def test_runs_of_a_dag_are_its_runs_and_its_tasks_and_no_others(dags: Store) -> None:
    # Dots are allowed in the names of DAGs and tasks, so a job's name does not tell the DAG.
    assert uuids(dags.runs(RunQuery(dag_id="a"))) == [3, 1]
    assert uuids(dags.runs(RunQuery(dag_id="a.b"))) == [4, 2]
    assert uuids(dags.runs(RunQuery(dag_id="ab"))) == [6]
    assert dags.runs(RunQuery(dag_id="a.b.c")) == []
    assert dags.runs(RunQuery(dag_id="A")) == []


def test_runs_are_filtered_by_job_state_and_start(dags: Store) -> None:
    assert uuids(dags.runs(RunQuery(job="a.b.c"))) == [2, 1]
    assert uuids(dags.runs(RunQuery(state=STATE.FAIL))) == [2]
    assert uuids(dags.runs(RunQuery(state=STATE.COMPLETE))) == [7]
    assert [one for one in uuids(dags.runs(RunQuery(since_us=us(4)))) if one != 7] == [6, 5, 4, 3]
    assert uuids(dags.runs(RunQuery(since_us=us(4), dag_id="a", state=STATE.RUNNING))) == [3]
    assert dags.runs(RunQuery(state=STATE.SKIPPED)) == []


def test_a_run_is_found_by_run_id_in_any_case_by_airflows_run_id_and_by_node_id(
    store: Store,
) -> None:
    run_uuid = "0194aBcd-0000-7000-8000-00000000abCD"
    start = json.loads(task("START", 1, "t", dag_run="manual__2026-01-05T06:00:00+00:00")[1])
    start["run"]["runId"] = run_uuid
    put_all(store, entry(start), dag_run("START", 0, run_id="manual__2026-01-05T06:00:00+00:00"))

    one = one_named(store, run_uuid)

    assert one.run_uuid == run_uuid.lower()
    assert store.runs_named(run_uuid.upper()) == [one]
    assert store.runs_named(str(one.id)) == [one]
    both = store.runs_named("manual__2026-01-05T06:00:00+00:00")
    assert {run.job[1] for run in both} == {"d", "d.t"}
    assert store.runs_by_id([one.id, 10**9]) == {one.id: one}
    for nothing in ("", "manual__", uuid(77), "999999999", "-1", "1" * 40, "d.t"):
        assert store.runs_named(nothing) == []


def test_two_runs_that_share_one_run_id_are_both_found(store: Store) -> None:
    put_all(
        store,
        task("COMPLETE", 1, "t", dag_run="r1", run=1),
        task("FAIL", 2, "t", dag_run="r2", run=1),
    )

    found = store.runs_named(uuid(1))

    assert {(run.key.run_id, run.state) for run in found} == {
        ("r1", STATE.COMPLETE),
        ("r2", STATE.FAIL),
    }


def test_an_event_without_airflow_facets_counts_as_the_one_run_of_its_run_id(store: Store) -> None:
    put_all(store, event("FAIL", 9, "d.t", run=1), task("COMPLETE", 1, "t", run=1))

    [run] = store.runs(RunQuery())

    assert (run.state, run.execution_state) == (STATE.FAIL, STATE.COMPLETE)
    assert store.runs_named(uuid(1)) == [run]
    assert store.counts()["runs"] == 1


def test_a_run_that_is_not_there_is_an_error_that_says_so(store: Store) -> None:
    with pytest.raises(SubjectError, match="no run 77"):
        store.run_doc(77)


def test_siblings_are_all_tries_of_a_task_instance(store: Store) -> None:
    put_all(
        store,
        task("FAIL", 1, "t", attempt=1, run=1),
        task("COMPLETE", 3, "t", attempt=2, run=2),
        task("COMPLETE", 5, "t", attempt=3, run=3),  # cleared, and run again
        task("COMPLETE", 5, "t", attempt=1, run=4, member=0),
        task("COMPLETE", 5, "t", attempt=1, run=5, dag_run="r2"),
        task("COMPLETE", 5, "u", attempt=1, run=6),
        event("COMPLETE", 6, "lone", run=7),
        dag_run("COMPLETE", 7, run=8),
    )

    for number in (1, 2, 3):
        tries = store.siblings(one_named(store, uuid(number)).id)
        assert sorted(run.key.try_number for run in tries) == [1, 2, 3]
        assert {run.key[:5] for run in tries} == {("air", "d", "r1", "t", -1)}
    for number in (4, 5, 6, 7, 8):
        run = one_named(store, uuid(number))
        assert store.siblings(run.id) == [run]
    told = {run["run_uuid"]: run for run in store.dump_facts()["runs"]}
    first, second, third = (told[uuid(number)] for number in (1, 2, 3))
    assert (first["superseded_by"], second["retry_of"]) == (None, first["key"])
    assert (second["superseded_by"], third["retry_of"]) == (third["key"], None)


def test_children_are_tasks_of_a_dag_run_and_what_a_task_started(store: Store) -> None:
    parent = {"run": {"runId": uuid(2).upper()}, "job": {"namespace": "air", "name": "d.t"}}
    spark = {"run": {"runId": uuid(4)}, "job": {"namespace": "spark", "name": "app"}}
    put_all(
        store,
        dag_run("START", 1, run=1),
        task("START", 2, "t", run=2),
        event("START", 3, "d.t.query.1", run=3, facets={"airflowProvenance_task": OF_TASK}),
        event("START", 4, "app", run=4, facets={"parent": parent}, namespace="spark"),
        event("START", 5, "app.stage", run=5, facets={"parent": spark}, namespace="spark"),
        # Another DAG run under the same runIds: its tasks are its own.
        dag_run("START", 6, run_id="r2", run=1),
        task("START", 7, "t", dag_run="r2", run=6),
    )

    def children_of(name: str, run_id: str | None = None) -> list[int]:
        [run] = [
            run for run in store.runs_named(name) if run_id in (None, getattr(run.key, "run_id", 0))
        ]
        return sorted(uuids(store.children(run.id)))

    assert children_of(uuid(1), "r1") == [2]
    assert children_of(uuid(1), "r2") == [6]
    assert children_of(uuid(2)) == [3, 4]
    assert children_of(uuid(4)) == [5]
    assert children_of(uuid(5)) == []
