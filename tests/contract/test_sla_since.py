"""Durations that count from before the run's start, and what becomes of Airflow's own deadlines."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.migrate import from_deadline, from_sla
from airflow_provenance.sla.objectives import Duration
from tests.contract.test_sla_kinds import DAY, DUE, TASK, judged, load
from tests.support.sla_events import dag_run, jsonl

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store

HOUR = {"kind": "duration", "at_most": "1h", "since": "due"}


def run(start: str | None, end: str | None = None, **values: Any) -> str:
    times = {"start": start and DAY + start, "end": end and DAY + end}
    return jsonl(dag_run("shop", "r1", DUE, **times, **values))


def state(found: list[dict[str, Any]]) -> tuple[str, str, str | None, str | None]:
    (one,) = found
    breached = one["breached_at"]
    return one["state"], one["due_at"][11:19], breached and breached[11:19], one["cause"]


@pytest.mark.parametrize(
    ("lines", "moment", "expected"),
    [
        (run("06:50:00"), "07:00:00", ("pending", "07:00:00", None, None)),
        (run("06:50:00"), "07:00:01", ("breached", "07:00:00", "07:00:00", "still_running")),
        (run("06:50:00", "06:59:00"), "07:30:00", ("ok", "07:00:00", None, None)),
        (run("06:50:00", "07:10:00"), "07:30:00", ("recovered", "07:00:00", "07:00:00", None)),
        (
            run("06:10:00", "06:20:00", state="FAIL"),
            "06:30:00",
            ("pending", "07:00:00", None, None),
        ),
        (
            run("06:10:00", "06:20:00", state="FAIL"),
            "07:30:00",
            ("breached", "07:00:00", "07:00:00", "failed"),
        ),
    ],
)
def test_a_dag_run_is_done_so_long_after_it_was_due(
    store: Store, lines: str, moment: str, expected: tuple[Any, ...]
) -> None:
    assert state(judged(store, lines, DAY + moment, target={"dag": "shop"}, **HOUR)) == expected


def test_a_task_that_its_dag_run_has_not_come_to_is_late_all_the_same(store: Store) -> None:
    lines = run("06:01:00")
    asked: dict[str, Any] = {"target": TASK, **HOUR}
    assert state(judged(store, lines, f"{DAY}06:30:00", **asked))[0] == "pending"
    found = judged(store, lines, f"{DAY}07:30:00", **asked)
    assert state(found) == ("breached", "07:00:00", "07:00:00", "still_running")
    assert found[0]["period"] == "shop.load/r1"
    found = judged(store, load("07:05:00", "07:10:00"), f"{DAY}07:30:00", **asked)
    assert state(found) == ("recovered", "07:00:00", "07:00:00", None)
    assert found[0]["period"] == "shop.load/r1"


def test_a_branch_not_taken_is_not_late(store: Store) -> None:
    lines = run("06:01:00", "06:05:00")
    (one,) = judged(store, lines, f"{DAY}07:30:00", target=TASK, **HOUR)
    assert one["state"] == "no_data"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("breach_now", ("breached", "06:20:00")), ("ignore", ("no_data", None))],
)
def test_what_a_failure_means_is_said_as_for_deadlines(
    store: Store, policy: str, expected: tuple[Any, ...]
) -> None:
    lines, more = run("06:10:00", "06:20:00", state="FAIL"), {"on_failure": policy}
    found = judged(store, lines, f"{DAY}06:30:00", target={"dag": "shop"}, more=more, **HOUR)
    assert (state(found)[0], state(found)[2]) == expected


def test_retries_together_are_no_matter_of_when_it_was_due() -> None:
    with pytest.raises(PolicyError, match="over is of a duration from the start"):
        Duration(at_most=timedelta(1), over="retries", since="due")


class FixedDatetimeDeadline:
    """As Airflow's."""


class DagRunQueuedAtDeadline:
    """As Airflow's."""


@pytest.mark.parametrize(
    ("reference", "interval", "words"),
    [
        (FixedDatetimeDeadline(), timedelta(1), "promise Deadline"),
        (object(), timedelta(1), "promise a Duration or Deadline"),
        (DagRunQueuedAtDeadline(), "variable", "is a Variable"),
        (DagRunQueuedAtDeadline(), timedelta(-1), "due before its run"),
    ],
)
def test_what_has_no_counterpart_says_what_to_promise(
    reference: Any, interval: Any, words: str
) -> None:
    alert = SimpleNamespace(reference=reference, interval=interval)
    dag = SimpleNamespace(dag_id="shop", deadline=[alert])
    with pytest.raises(PolicyError, match=words):
        from_deadline(dag)


def test_a_dag_that_says_nothing_is_refused() -> None:
    with pytest.raises(PolicyError, match="has no deadline"):
        from_deadline(SimpleNamespace(dag_id="shop", deadline=None))
    task = SimpleNamespace(task_id="t")
    with pytest.raises(PolicyError, match="no task has an sla"):
        from_sla(SimpleNamespace(dag_id="shop", tasks=[task], default_args={}))
