"""The ledger of expected runs, of what Airflow says now: causes told apart (A4)."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provenance.collect.airflow_expected import DagRunSeen, Seen
from airflow_provenance.collect.expectations import Expectations
from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.sla.changes import changes_of
from airflow_provenance.sla.evaluate import evaluate
from airflow_provenance.sla.evaluation import Evaluation
from airflow_provenance.sla.ledger import recorded_with_ledger
from airflow_provenance.sla.policy import from_plain
from airflow_provenance.store.memory import MemoryStore
from airflow_provenance.store.promises import ExpectedRow

MINUTE = 60_000_000
HOUR = 60 * MINUTE
T0 = 1_790_000_000_000_000 // HOUR * HOUR
MISSING = from_plain(
    {
        "id": "m",
        "target": {"dag": "d"},
        "objective": {"kind": "missing_run", "grace": "5m"},
    }
)


class Airflow:
    """An Airflow that says what a test wants; a DAG runs every hour."""

    def __init__(self) -> None:
        self.holds: list[Seen] = []
        self.gaps: list[tuple[int, int | None]] = []
        self.runs: list[DagRunSeen] = []
        self.next_us: int | None = T0

    def conditions_now(self, dag_ids: Any) -> list[Seen]:  # noqa: ARG002
        return self.holds

    def scheduler_gaps(self, since_us: int, now_us: int) -> list[tuple[int, int | None]]:  # noqa: ARG002
        return self.gaps

    def scheduled_runs(self, dag_ids: Any, since_us: int) -> list[DagRunSeen]:  # noqa: ARG002
        return [one for one in self.runs if one.due_us >= since_us]

    def Timetables(self) -> Airflow:  # noqa: N802 - as in the module
        return self

    def expected(self, dag_ids: Any, until_us: int) -> dict[str, list[ExpectedRow]]:  # noqa: ARG002
        if self.next_us is None:
            return {}
        dues = range(self.next_us, until_us, HOUR)
        return {"d": [ExpectedRow(dag_id="d", due_us=us) for us in dues]}

    def run(self, due_us: int, came_us: int | None = None) -> None:
        self.runs.append(DagRunSeen("d", due_us, None, came_us or due_us + 1_000_000))
        self.next_us = due_us + HOUR


class Watch:
    def __init__(self) -> None:
        self.airflow, self.store = Airflow(), MemoryStore()
        self.ledger = Expectations(self.store, self.airflow)
        self.look(-10)

    def look(self, minutes: float) -> set[str]:
        return self.ledger.observe(["d"], T0 + int(minutes * MINUTE), None)

    def verdicts(self, minutes: float) -> list[tuple[str, str | None]]:
        now_us = T0 + int(minutes * MINUTE)
        provenance = recorded_with_ledger(self.store, {"d"}, T0 - MINUTE)
        found = evaluate(MISSING, provenance, now_us, T0 - MINUTE)
        return [(one.state.value, one.cause) for one in found]


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_a_run_is_expected_before_it_is_due_and_well_when_airflow_made_it(watch: Watch) -> None:
    assert watch.verdicts(1) == [("pending", None)]
    watch.airflow.run(T0)
    assert watch.look(1) == {"d"}
    assert watch.verdicts(6) == [("ok", None)]
    assert watch.look(2) == set()


@pytest.mark.parametrize(
    "cause", ["import_error", "dag_deleted", "dag_removed", "max_active_runs", "pool_full"]
)
def test_what_held_the_dag_back_is_the_cause(watch: Watch, cause: str) -> None:
    watch.airflow.holds = [Seen("d", cause), Seen("other", "import_error")]
    watch.look(-1)
    assert watch.verdicts(6) == [("breached", cause)]
    watch.airflow.holds = []
    watch.airflow.run(T0, T0 + 7 * MINUTE)
    watch.look(8)
    assert watch.verdicts(9) == [("recovered", cause)]
    # The next one, which came in time, has nothing to do with it.
    watch.airflow.run(T0 + HOUR)
    watch.look(61)
    assert watch.verdicts(66)[1] == ("ok", None)


def test_a_scheduler_that_was_down_is_the_cause_and_nothing_else_is_unknown(watch: Watch) -> None:
    assert watch.verdicts(6) == [("breached", "unknown")]
    watch.airflow.gaps = [(T0 - MINUTE, None)]
    assert watch.look(6) == {"d"}
    assert watch.verdicts(6) == [("breached", "scheduler_down")]
    watch.airflow.gaps = [(T0 - MINUTE, T0 + 30 * MINUTE)]
    watch.look(31)
    assert watch.verdicts(66) == [("breached", "scheduler_down"), ("breached", "unknown")]


def test_a_paused_dag_owes_nothing_as_long_as_it_was_paused(watch: Watch) -> None:
    watch.airflow.holds = [Seen("d", "paused", from_us=T0 - 3 * MINUTE)]
    watch.look(1)
    assert watch.verdicts(6) == [("suspended", "paused")]
    watch.airflow.holds = []
    watch.look(20)
    assert watch.verdicts(66) == [("suspended", "paused"), ("breached", "unknown")]
    watch.airflow.run(T0, T0 + 67 * MINUTE)  # what comes then is not late
    watch.look(68)
    assert watch.verdicts(69) == [("ok", None), ("breached", "unknown")]


def test_what_is_expected_stays_known_while_airflow_cannot_be_asked(watch: Watch) -> None:
    assert watch.ledger.unreachable(T0 - MINUTE)
    assert not watch.ledger.unreachable(T0)
    assert watch.verdicts(6) == [("breached", "airflow_unreachable")]
    watch.airflow.run(T0)
    watch.look(30)
    assert watch.verdicts(31) == [("ok", None)]
    assert [one.until_us for one in watch.store.conditions(0)] == [T0 + 30 * MINUTE]


def test_a_run_that_was_left_out_for_want_of_catchup_is_told_as_such(watch: Watch) -> None:
    watch.airflow.run(T0 + HOUR)
    watch.look(61)
    assert watch.verdicts(66) == [("breached", "skipped_without_catchup"), ("ok", None)]


def test_a_changed_schedule_changes_what_is_to_come_and_not_what_was_due(watch: Watch) -> None:
    watch.airflow.next_us = None
    watch.look(10)
    assert watch.verdicts(130) == [("breached", "unknown")]


def test_another_process_goes_on_where_the_first_ended(watch: Watch) -> None:
    watch.airflow.holds = [Seen("d", "import_error", "d.py")]
    watch.look(-1)
    watch.ledger = Expectations(watch.store, watch.airflow)
    watch.look(10)
    watch.airflow.holds = []
    watch.look(11)
    (row,) = watch.store.conditions(0)
    assert (row.from_us, row.until_us) == (T0 - 10 * MINUTE, T0 + 11 * MINUTE)


def level(state: str, at_us: int, known: dict[str, EvaluationChange]) -> list[EvaluationChange]:
    policy = from_plain(
        {
            "id": "r",
            "target": {"dag": "d"},
            "objective": {"kind": "success_ratio", "at_least": 0.9, "window": "1d"},
        }
    )
    broke = {"breached_us": at_us - 5, "detected_us": at_us} if state == "breached" else {}
    one = Evaluation(
        policy_id="r",
        revision="x",
        kind="success_ratio",
        target="dag:d",
        period=str(at_us),
        state=state,  # type: ignore[arg-type]
        **broke,
    )
    found = changes_of(policy, [one], known, at_us, 0)
    for row in found:
        known[row.period] = EvaluationChange(
            **{**{f: getattr(row, f) for f in row.__struct_fields__}, "seq": at_us}
        )
    return found


def test_a_level_that_is_broken_is_one_row_until_it_is_no_more() -> None:
    from airflow_provenance.sla.evaluation import State

    known: dict[str, EvaluationChange] = {}
    states = ["ok", "ok", "breached", "breached", "ok", "ok", "breached"]
    told = [
        (one.state, one.period, one.breached_us, one.detected_us, one.recovered_us)
        for number, state in enumerate(states, 10)
        for one in level(State(state), number, known)
    ]
    assert told == [
        ("ok", "10", None, None, None),
        ("breached", "12", 7, 12, None),
        ("recovered", "12", 7, 12, 14),
        ("breached", "16", 11, 16, None),
    ]
