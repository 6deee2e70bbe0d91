"""How promises stand, published as runs of their own: in every store, and seen in Marquez (A12)."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.collect import standing
from airflow_provenance.collect.evaluator import Evaluator
from airflow_provenance.collect.feeds.base import Route
from airflow_provenance.collect.feeds.http import HttpFeed
from airflow_provenance.collect.forward import Forwarder
from airflow_provenance.collect.promise_sources import PromiseSources
from airflow_provenance.collect.publish import Publisher
from airflow_provenance.domain.clock import FixedClock
from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.formats.shaping import datahub, marquez
from airflow_provenance.store.base import RunQuery
from airflow_provenance.store.memory import MemoryStore
from tests.contract.support import ingest_all
from tests.support.datahub_stub import OPENLINEAGE_PATH, DataHubStub
from tests.support.facet_schemas import openlineage_validator, own_facet_problems, own_facets
from tests.support.marquez_stub import MarquezStub
from tests.support.marquez_view import MarquezView
from tests.support.sla_events import NAMESPACE, dataset, read, task_run, us

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provenance.store.base import RunView

ORDERS = "pg/orders"
FRESH = {
    "id": "orders-fresh",
    "target": {"dataset": ORDERS},
    "objective": {"kind": "freshness", "at_most": "2h"},
    "severity": "page",
    "owner": "ann",
    "description": "Sales read it every hour.",
}
LARGE = {
    "id": "orders-large",
    "target": {"dataset": ORDERS},
    "objective": {"kind": "volume", "at_least": 100},
}
QUICK = {
    "id": "load-quick",
    "target": {"dag": "shop", "task": "load"},
    "objective": {"kind": "duration", "at_most": "10m"},
}
ROW_FRESH, ROW_LARGE = "None-sla:freshness:orders-fresh", "None-sla:volume:orders-large"
CHECK = {"assertion": "not_null", "column": "id", "success": True}


class World:
    """A store, promises in a file, what publishes them, and a clock that a test sets."""

    def __init__(self, store: Any, folder: Path) -> None:
        self.store, self.clock = store, FixedClock(us("2026-03-02T06:00:00"))
        file = folder / "promises.yaml"
        file.write_text(json.dumps({"promises": [FRESH, LARGE, QUICK]}))
        self.sources = PromiseSources(str(file), None, store.policies())
        self.evaluator = Evaluator(store, self.sources, None, self.clock)
        self.publisher = Publisher(store, NAMESPACE, self.clock)
        self.told: list[tuple[str, bytes]] = []

    def tick(self, at: str) -> int:
        """Evaluate and publish; return how many changes were published."""
        self.clock.us = us(f"2026-03-02T{at}")
        self.evaluator.run_once()
        return self.publisher.run_once()

    def ingest(self, events: list[Any]) -> None:
        entries = [("E", json.dumps(one).encode()) for one in events]
        self.told += entries
        ingest_all(self.store, entries, [])

    def loaded(self, hour: int, rows: int, *, minutes: int = 5, task: str = "load") -> None:
        due = f"2026-03-02T{hour:02}:00:00"
        end = f"2026-03-02T{hour:02}:{minutes:02}:00"
        written = [dataset(ORDERS, rows=rows)]
        self.ingest(task_run("shop", task, f"r{hour}", due, start=due, end=end, outputs=written))

    def checked(self, hour: int, *, passed: bool = True) -> None:
        due = f"2026-03-02T{hour:02}:22:00"
        end = f"2026-03-02T{hour:02}:23:00"
        inputs = [read(ORDERS, checks=[{**CHECK, "success": passed}])]
        self.ingest(task_run("shop", "check", f"r{hour}", due, start=due, end=end, inputs=inputs))

    def day(self) -> None:
        """Orders come at 7, too few at 8, none until 11; they are checked at 7."""
        self.tick("06:00:00")
        self.loaded(7, 1000)
        self.tick("07:06:00")
        self.checked(7)
        self.loaded(8, 10, minutes=20)
        self.tick("08:21:00")
        self.tick("10:21:00")
        self.loaded(11, 1000)
        self.tick("11:06:00")

    def runs_of(self, policy: str) -> list[RunView]:
        return self.store.runs(RunQuery(job=f"sla.{policy}", limit=100))[::-1]

    def events(self) -> list[dict[str, Any]]:
        entries = self.store.entries(limit=10_000, with_raw=True)
        found = [json.loads(one.raw) for one in entries if one.kind == "run_event"]
        return [one for one in found if one["job"]["name"].startswith("sla.")]


@pytest.fixture
def world(store: Any, tmp_path: Path) -> Iterator[World]:
    standing._known.clear()
    yield World(store, tmp_path)
    standing._known.clear()


def states(world: World, policy: str) -> list[str]:
    docs = [world.store.run_doc(run.id) for run in world.runs_of(policy)]
    return [json.loads(doc.run_facets["airflowProvenance_sla"][2])["state"] for doc in docs]


def test_each_change_is_a_run_that_completes_also_where_a_promise_breaks(world: World) -> None:
    world.day()
    fresh = ["no_data", "ok", "ok", "breached", "recovered", "ok"]
    assert states(world, "orders-fresh") == fresh
    assert states(world, "orders-large") == ["no_data", "ok", "breached", "ok"]
    assert states(world, "load-quick") == ["no_data", "ok", "breached", "ok"]
    runs = [run for one in (FRESH, LARGE, QUICK) for run in world.runs_of(str(one["id"]))]
    assert {run.state.name for run in runs} == {"COMPLETE"}
    assert len(runs) == len(world.store.evaluation_changes())
    task = world.store.runs(RunQuery(job="shop.load", limit=10))
    assert {run.state.name for run in task} == {"COMPLETE"}


def test_every_event_is_valid(world: World) -> None:
    world.day()
    validate = openlineage_validator()
    assert len(world.events()) == 2 * len(world.store.evaluation_changes())
    for event in world.events():
        for name, facet in own_facets(event):
            assert own_facet_problems(name, facet) == []
        assert validate is None or validate(event) == []


def test_what_changes_in_one_tick_is_told_one_after_the_other(world: World) -> None:
    """Or who shows the newest facet alone could not tell which one that is."""
    world.loaded(7, 1000)
    world.tick("07:06:00")
    times = [one["eventTime"] for one in world.events()]
    assert len({one.at_us for one in world.store.evaluation_changes()}) == 1
    assert len(times) == 6
    assert times == sorted(set(times))


def test_a_breach_says_what_was_expected_and_whose_run_is_to_blame(world: World) -> None:
    world.day()
    told = [one for one in world.events() if one["eventType"] == "COMPLETE"]
    (late,) = [
        one["run"]["facets"]
        for one in told
        if one["job"]["name"] == "sla.load-quick" and one["run"]["facets"]["test"]["tests"][0]
        ["status"] == "fail"
    ]  # fmt: skip
    (test,) = late["test"]["tests"]
    assert (test["expected"], test["actual"], test["severity"]) == ("10m", "20m", "warn")
    (upstream,) = late["jobDependencies"]["upstream"]
    assert upstream["job"] == {"namespace": NAMESPACE, "name": "shop.load"}
    blamed = [one for one in world.store.runs(RunQuery(job="shop.load"))
              if one.run_uuid == upstream["run"]["runId"]]  # fmt: skip
    assert [run.key.run_id for run in blamed] == ["r8"]
    (fresh,) = [
        one
        for one in told
        if one["run"]["facets"]["airflowProvenance_sla"]["state"] == "breached"
        and one["job"]["name"] == "sla.orders-fresh"
    ]
    facets = fresh["run"]["facets"]
    tags = {one["key"]: one["value"] for one in facets["tags"]["tags"]}
    assert tags == {
        "sla": "orders-fresh",
        "sla_kind": "freshness",
        "sla_state": "breached",
        "severity": "page",
        "owner": "ann",
    }
    assert facets["nominalTime"]["nominalStartTime"] == "2026-03-02T10:20:00.000000Z"
    assert facets["test"]["tests"][0]["description"] == "Sales read it every hour."
    (watched,) = fresh["inputs"]
    assert (watched["namespace"], watched["name"]) == ("pg", "orders")
    rows = watched["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert {one["assertion"]: one["success"] for one in rows} == {
        "sla:freshness:orders-fresh": False,
        "sla:volume:orders-large": False,
    }


def test_publishing_twice_and_after_a_crash_changes_nothing(world: World) -> None:
    world.day()
    facts, seq = world.store.dump_facts(), world.store.last_seq()
    assert world.publisher.run_once() == 0
    # Killed after the events were written and before the mark was.
    world.store.set_mark(standing.PUBLISHED, 0)
    again = Publisher(world.store, NAMESPACE, world.clock)
    assert again.run_once() == len(world.store.evaluation_changes())
    assert (world.store.dump_facts(), world.store.last_seq()) == (facts, seq)


def test_what_changed_while_nobody_published_is_published_later(world: World) -> None:
    publish = world.publisher.run_once
    world.publisher.run_once = lambda *_: 0  # type: ignore[method-assign]
    world.day()
    assert world.events() == []
    assert publish() == len(world.store.evaluation_changes())
    assert states(world, "orders-large") == ["no_data", "ok", "breached", "ok"]


def test_runs_of_promises_are_no_lineage_and_no_facts_of_promises(world: World) -> None:
    world.day()
    store, ref = world.store, DatasetRef("pg", "orders")
    own = {run.id for one in (FRESH, LARGE, QUICK) for run in world.runs_of(str(one["id"]))}
    assert own
    assert not own & set(store.runs_reading(ref))
    nodes = {end for edge in store.scan_edges() for end in (edge.src, edge.dst)}
    assert not own & nodes
    uses = store.dataset_uses([ref])
    assert {one.dag_id for one in uses} == {"shop"}
    assert (sum(one.reads for one in uses), sum(one.writes for one in uses)) == (1, 3)
    assert not own & {run.id for run in store.runs(RunQuery(limit=100))}
    # And nothing is evaluated anew because something was published.
    assert world.tick("11:06:01") == 0


def test_what_was_published_is_no_reason_to_look_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage there are thousands: each tick would look at all promises about datasets."""
    world.loaded(7, 1000)
    assert world.tick("07:06:00") > 0
    monkeypatch.setattr("airflow_provenance.collect.touched._RUNS_AT_MOST", 0)
    world.clock.us += 1
    assert world.evaluator.run_once().evaluated == 0


def test_facts_are_the_same_in_every_order(world: World) -> None:
    world.day()
    entries = [("E", one.raw) for one in world.store.entries(limit=10_000, with_raw=True)]
    dumps = []
    for seed in range(3):
        other = MemoryStore()
        ingest_all(other, random.Random(seed).sample(entries, len(entries)), [])
        dumps.append(other.dump_facts())
    assert dumps[0] == dumps[1] == dumps[2]
    assert dumps[0]["runs"] == world.store.dump_facts()["runs"]


# ---- Marquez -------------------------------------------------------------------------------------


class Seen:
    """A Marquez that is fed from a world's store."""

    def __init__(self, world: World, stub: MarquezStub) -> None:
        feed = HttpFeed(f"{stub.url}/api/v1/lineage")
        self.world, self.stub = world, stub
        self.forwarder = Forwarder(world.store, [Route("it", feed, marquez.RULES)])
        self.air, self.pg = MarquezView(stub.url, NAMESPACE), MarquezView(stub.url, "pg")

    def forward(self) -> dict[str, bool]:
        self.forwarder.run_once(patience_s=None)
        return self.pg.quality("orders")


@pytest.fixture
def seen(world: World) -> Iterator[Seen]:
    with MarquezStub() as stub:
        found = Seen(world, stub)
        yield found
        found.forwarder.close()


def test_marquez_shows_all_promises_of_a_dataset_also_of_its_next_version(seen: Seen) -> None:
    world = seen.world
    world.tick("06:00:00")
    world.loaded(7, 1000)
    assert seen.forward() == {}
    world.tick("07:06:00")
    assert seen.forward() == {ROW_FRESH: True, ROW_LARGE: True}
    edges = seen.air.edges("shop.load")
    world.checked(7)
    assert seen.forward() == {"id-not_null": True, ROW_FRESH: True, ROW_LARGE: True}
    world.loaded(8, 10, minutes=20)
    # The next version, before anybody has evaluated it.
    assert seen.forward() == {ROW_FRESH: True, ROW_LARGE: True}
    world.tick("08:21:00")
    assert seen.forward() == {ROW_FRESH: True, ROW_LARGE: False}
    world.checked(8, passed=False)
    assert seen.forward() == {"id-not_null": False, ROW_FRESH: True, ROW_LARGE: False}
    world.tick("10:21:00")
    assert seen.forward() == {"id-not_null": False, ROW_FRESH: False, ROW_LARGE: False}
    world.loaded(11, 1000)
    world.tick("11:06:00")
    assert seen.forward() == {ROW_FRESH: True, ROW_LARGE: True}
    # No task is disturbed: what ran has completed, and reads and writes what it did.
    assert {run.state for run in seen.air.runs("shop.load").values()} == {"COMPLETED"}
    assert {run.state for run in seen.air.runs("sla.orders-large").values()} == {"COMPLETED"}
    assert seen.air.edges("shop.load") == edges == ([], ["orders"])
    assert seen.air.edges("sla.orders-fresh") == (["orders"], [])
    assert len(seen.pg.writers("orders")) == 3
    assert None not in seen.pg.writers("orders")


def test_what_is_sent_again_or_late_changes_nothing_that_is_shown(seen: Seen) -> None:
    world = seen.world
    world.day()
    shown = seen.forward()
    assert shown == {ROW_FRESH: True, ROW_LARGE: True}
    for seq in (0, 5, 12):
        world.store.rewind_feed("it", seq)
        assert seen.forward() == shown
    # A check of the newest version that comes late: its event is older than the promises' own.
    inputs = [read(ORDERS, checks=[CHECK])]
    late = {"start": "2026-03-02T11:05:10", "end": "2026-03-02T11:05:20"}
    world.ingest(task_run("shop", "check", "r11", "2026-03-02T11:05:00", **late, inputs=inputs))
    assert seen.forward() == {**shown, "id-not_null": True}


def test_datahub_takes_them(world: World) -> None:
    world.day()
    with DataHubStub() as stub:
        feed = HttpFeed(stub.url + OPENLINEAGE_PATH)
        forwarder = Forwarder(world.store, [Route("it", feed, datahub.RULES)])
        forwarder.run_once(patience_s=None)
        forwarder.close()
    assert world.store.dead_letters("it") == []
    assert world.store.feeds()[0].cursor == world.store.last_seq()


def test_what_was_missed_earlier_does_not_hide_how_a_promise_stands_today(world: World) -> None:
    world.loaded(7, 1000)
    world.tick("07:06:00")
    (row,) = [one for one in world.store.policies() if one.policy_id == "orders-fresh"]
    for state, due in (("ok", "2026-03-05T09:00:00"), ("expired", "2026-03-03T09:00:00")):
        change = EvaluationChange(
            policy_id=row.policy_id,
            revision=row.revision,
            period=due,
            state=state,
            due_us=us(due),
            target=f"dataset:{ORDERS}",
        )
        world.store.add_changes([change], {}, world.clock.us)
        world.publisher.run_once()
    last = world.events()[-1]
    rows = last["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert last["run"]["facets"]["test"]["tests"][0]["status"] == "fail"
    assert [(one["success"], one["params"]["state"]) for one in rows] == [(True, "ok")]
