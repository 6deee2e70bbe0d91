"""What a try follows, and whether it is a retry or a rerun that somebody asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.openlineage.plugins.macros import lineage_run_id

from airflow_provenance.capture.links import links_of
from airflow_provenance.emit.notes import Links


def task_instance(try_number: int = 1, max_tries: int = 0, **task: Any) -> SimpleNamespace:
    run = SimpleNamespace(logical_date=datetime(2013, 1, 1, tzinfo=UTC), run_after=None)
    return SimpleNamespace(
        dag_id="flights",
        task_id="load",
        map_index=-1,
        try_number=try_number,
        max_tries=max_tries,
        task=SimpleNamespace(**{"retries": 0, "upstream_task_ids": set(), **task}),
        get_template_context=lambda: {"dag_run": run},
    )


def test_a_first_try_of_a_task_without_others_follows_nothing() -> None:
    assert links_of(task_instance(), None) == Links()


def test_a_second_try_names_the_first_by_the_run_id_that_it_was_emitted_with() -> None:
    links = links_of(task_instance(2, max_tries=1, retries=1), None)

    assert links.previous_try == (lineage_run_id(task_instance(1)), 1)
    assert not links.is_rerun


@pytest.mark.parametrize(
    ("try_number", "max_tries", "retries", "is_rerun"),
    [
        (2, 1, 1, False),
        (2, 1, 0, True),  # succeeded at once, and was cleared
        (2, 3, 2, True),  # the same, of a task with retries
        (3, 3, 2, False),  # the rerun failed, and is retried
        (4, 5, 2, True),  # failed for good after three tries, and was cleared
    ],
)
def test_a_cleared_task_runs_again_and_is_no_retry(
    try_number: int, max_tries: int, retries: int, is_rerun: bool
) -> None:
    links = links_of(task_instance(try_number, max_tries, retries=retries), None)

    assert links.is_rerun == is_rerun


def test_the_tasks_before_it_and_those_that_triggered_its_run_are_named_by_their_jobs() -> None:
    consumed = [
        {"dagId": "raw", "runId": "r1", "taskId": "write", "mapIndex": 0},
        {"dagId": "raw", "runId": "r1", "taskId": "write", "mapIndex": 1},
        {"dagId": "posted", "runId": "r2"},
    ]
    found = links_of(task_instance(upstream_task_ids={"b", "a"}, trigger_rule="all_done"), consumed)

    assert found == Links(
        upstream_jobs=("flights.a", "flights.b"),
        asset_jobs=("raw.write",),
        trigger_rule="all_done",
    )
