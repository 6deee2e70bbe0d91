"""The clock of promises on every store: what was missed is caught up, nothing told twice (A3)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.alerts.excuses import excusals_of
from airflow_provenance.collect.evaluator import Evaluator
from airflow_provenance.collect.promise_sources import PromiseSources
from airflow_provenance.domain.alert import Action
from airflow_provenance.domain.clock import FixedClock
from airflow_provenance.errors import StoreUnavailableError
from tests.contract.support import ingest_all
from tests.support.sla_events import dag_run, us

if TYPE_CHECKING:
    from pathlib import Path

SHOP = {
    "id": "shop-by-nine",
    "target": {"dag": "shop"},
    "objective": {"kind": "deadline", "at": "09:00"},
    "severity": "page",
    "owner": "ann",
    "notify": ["oncall"],
}
QUICK = {
    "id": "bank-quick",
    "target": {"dag": "bank"},
    "objective": {"kind": "duration", "at_most": "10m"},
}
MOSTLY = {
    "id": "shop-mostly",
    "target": {"dag": "shop"},
    "objective": {"kind": "success_ratio", "at_least": 0.5, "window": "2h", "min_events": 1},
}


class World:
    """A store, promises in a file, and a clock that a test sets."""

    def __init__(self, store: Any, folder: Path) -> None:
        self.store, self.file = store, folder / "promises.yaml"
        self.clock = FixedClock(us("2026-03-02T06:00:00"))
        self.stamp = 0
        self.promise(SHOP, QUICK)
        self.restart()

    def promise(self, *promises: Any) -> None:
        self.file.write_text(json.dumps({"promises": promises}))
        self.stamp += 1
        os.utime(self.file, (self.stamp, self.stamp))

    def restart(self) -> None:
        sources = PromiseSources(str(self.file), None, self.store.policies())
        self.evaluator = Evaluator(self.store, sources, None, self.clock, excusals_of)

    def tick(self, at: str) -> list[tuple[str, str, str]]:
        self.clock.us = us(at)
        ticked = self.evaluator.run_once()
        self.evaluated = ticked.evaluated
        return [(one.policy_id, one.state, one.period[:16]) for one in ticked.changes]

    def ran(self, dag: str, run_id: str, due: str, **times: Any) -> None:
        events = dag_run(dag, run_id, due, **times)
        ingest_all(self.store, [("E", json.dumps(one).encode()) for one in events], [])


@pytest.fixture
def world(store: Any, tmp_path: Path) -> World:
    return World(store, tmp_path)


NOTHING_YET = [("bank-quick", "no_data", "2026-03-02T06:00")]


def test_deadlines_that_passed_while_nobody_watched_are_caught_up(world: World) -> None:
    assert world.tick("2026-03-02T06:00:00") == NOTHING_YET
    world.restart()
    assert world.tick("2026-03-05T07:30:00") == [
        ("shop-by-nine", "breached", f"2026-03-0{day}T09:00") for day in (2, 3, 4)
    ]
    told = world.store.evaluation_changes(1)
    assert [one.breached_us for one in told] == [us(f"2026-03-0{d}T09:00:00") for d in (2, 3, 4)]
    assert {one.detected_us for one in told} == {us("2026-03-05T07:30:00")}
    assert {(one.severity, one.owner, one.notify) for one in told} == {("page", "ann", ("oncall",))}
    world.restart()
    assert world.tick("2026-03-05T07:31:00") == []


def test_a_breach_is_told_when_its_moment_comes_and_when_it_is_made_good(world: World) -> None:
    world.tick("2026-03-02T06:00:00")
    (row,) = [one for one in world.store.policies() if one.policy_id == "shop-by-nine"]
    assert row.next_us == us("2026-03-02T09:00:00")
    assert world.tick("2026-03-02T09:00:00") == []
    assert world.tick("2026-03-02T09:00:01") == [("shop-by-nine", "breached", "2026-03-02T09:00")]
    due = "2026-03-02T08:00:00"
    world.ran("shop", "r", due, start="2026-03-02T09:10:00", end="2026-03-02T09:30:00")
    assert world.tick("2026-03-02T09:31:00") == [("shop-by-nine", "recovered", "2026-03-02T09:00")]
    last = world.store.evaluation_changes()[-1]
    assert (last.detected_us, last.recovered_us) == (
        us("2026-03-02T09:00:01"),
        us("2026-03-02T09:30:00"),
    )
    assert len(last.runs) == 1
    assert last.cause == "unknown"


def test_a_tick_looks_at_what_may_have_changed_alone(world: World) -> None:
    world.tick("2026-03-02T06:00:00")
    assert world.evaluated == 2
    world.tick("2026-03-02T06:00:01")
    assert world.evaluated == 0
    world.ran("bank", "r", "2026-03-02T05:00:00", start="2026-03-02T05:50:00")
    assert world.tick("2026-03-02T06:00:02") == [("bank-quick", "breached", "bank/r")]
    assert world.evaluated == 1
    world.ran("other", "r", "2026-03-02T05:00:00", start="2026-03-02T05:50:00")
    assert world.tick("2026-03-02T06:00:03") == []
    assert world.evaluated == 0


def test_a_changed_promise_is_a_new_revision_in_force_from_now_on(world: World) -> None:
    world.tick("2026-03-02T06:00:00")
    world.tick("2026-03-02T09:00:01")
    world.promise({**SHOP, "objective": {"kind": "deadline", "at": "08:30"}}, QUICK)
    assert world.tick("2026-03-02T10:00:00") == []
    assert world.tick("2026-03-03T08:30:01") == [("shop-by-nine", "breached", "2026-03-03T08:30")]
    assert len({one.revision for one in world.store.evaluation_changes(1)}) == 2


def test_a_wrong_file_leaves_the_promises_in_force(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.tick("2026-03-02T06:00:00")
    world.promise({**SHOP, "objective": {"kind": "deadline", "at": "9 am"}})
    world.tick("2026-03-02T06:00:10")
    world.restart()
    assert world.tick("2026-03-02T09:00:01") == [("shop-by-nine", "breached", "2026-03-02T09:00")]
    assert len([one for one in caplog.messages if "9 am" in one]) == 2  # once for each process


def test_a_level_that_fell_and_rose_while_nobody_watched_is_told_as_such(world: World) -> None:
    world.promise(MOSTLY)
    world.tick("2026-03-02T06:00:00")
    for number, state in ((1, "FAIL"), (2, "COMPLETE"), (3, "COMPLETE")):
        at = f"2026-03-02T0{6 + number}:00:00"
        world.ran("shop", f"r{number}", at, start=at, end=at, state=state)
    world.restart()
    told = world.tick("2026-03-02T09:10:00")
    assert [state for _, state, _ in told] == ["breached", "recovered"]
    first, last = world.store.evaluation_changes()[-2:]
    assert first.breached_us == us("2026-03-02T07:00:00")
    assert (first.detected_us, last.detected_us) == (us("2026-03-02T09:10:00"),) * 2
    world.restart()
    assert world.tick("2026-03-02T09:11:00") == []


def test_two_evaluators_that_lead_in_turn_tell_once(world: World, tmp_path: Path) -> None:
    other = World(world.store, tmp_path)
    world.tick("2026-03-02T06:00:00")
    other.tick("2026-03-02T08:00:00")
    assert world.tick("2026-03-02T09:00:01") == [("shop-by-nine", "breached", "2026-03-02T09:00")]
    assert other.tick("2026-03-02T09:00:02") == []
    assert world.tick("2026-03-02T09:00:03") == []


def test_an_outage_of_airflow_is_told_once_and_promises_are_judged_all_the_same(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Down:
        def promises(self, since_us: int = 0) -> list[Any]:  # noqa: ARG002 - a protocol
            raise StoreUnavailableError("Airflow's database cannot be read")

        def serialized(self) -> set[str]:
            raise AssertionError

    sources = PromiseSources(str(world.file), Down(), world.store.policies())
    world.evaluator = Evaluator(world.store, sources, None, world.clock)
    for second in range(0, 40, 5):
        world.tick(f"2026-03-02T06:00:{second:02}")
    assert len([one for one in caplog.messages if "cannot be read" in one]) == 1
    assert world.tick("2026-03-02T09:00:01") == [("shop-by-nine", "breached", "2026-03-02T09:00")]


def test_a_failure_that_somebody_excuses_spares_the_budget_unless_it_counts(world: World) -> None:
    counts = {**MOSTLY, "id": "counts", "objective": {**MOSTLY["objective"], "count_excused": True}}
    world.promise(MOSTLY, counts)
    world.tick("2026-03-02T06:00:00")
    at = "2026-03-02T07:00:00"
    world.ran("shop", "r1", at, start=at, end=at, state="FAIL")
    told = [one for one in world.tick("2026-03-02T07:00:01") if one[1] == "breached"]
    assert [slug for slug, _, _ in told] == ["counts", "shop-mostly"]
    world.store.add_action(
        Action(
            kind="excuse",
            matchers=('dag="shop"',),
            author="ann",
            reason="power cut",
            at_us=us(at),
            until_us=us("2026-03-02T08:00:00"),
        )
    )
    told = world.tick("2026-03-02T07:00:02")
    assert [(slug, state) for slug, state, _ in told] == [("shop-mostly", "no_data")]


def test_a_budget_that_burns_is_told_as_a_page_that_ends_by_itself(world: World) -> None:
    daily = {"kind": "success_ratio", "at_least": 0.99, "window": "30d", "min_events": 5}
    world.promise({**SHOP, "id": "shop-ratio", "objective": daily})
    world.tick("2026-03-02T06:00:00")
    for day, state in enumerate(("COMPLETE", "COMPLETE", "COMPLETE", "FAIL", "FAIL", "COMPLETE")):
        at = f"2026-03-{3 + day:02}T07:00:00"
        world.ran("shop", f"r{day}", at, start=at, end=at, state=state)
        world.tick(f"2026-03-{3 + day:02}T07:01:00")
    changes = world.store.evaluation_changes(1)
    told = [(one.period, one.state, one.severity) for one in changes if one.is_burn]
    assert told == [
        ("burn/ticket", "at_risk", "ticket"),
        ("burn/page", "at_risk", "page"),
        ("burn/ticket", "ok", "ticket"),
        ("burn/page", "ok", "page"),
    ]
    assert [one.state for one in changes if not one.is_burn][-1] == "breached"
