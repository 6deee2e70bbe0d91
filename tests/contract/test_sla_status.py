"""``sla status``: the newest period's verdict, when it broke last, and why there is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.cli import main
from airflow_provenance.collect.evaluator import Evaluator
from airflow_provenance.collect.promise_sources import PromiseSources
from airflow_provenance.domain.clock import FixedClock, SystemClock, format_time
from airflow_provenance.sla.standing import LastBroken, last_broken, newest
from airflow_provenance.store.sql.store import SqlStore
from tests.support.sla_events import dag_run, dataset, jsonl, task_run

if TYPE_CHECKING:
    from pathlib import Path

HOUR_US = 3_600_000_000
PROMISES = """\
promises:
  - id: good-orders
    target: {dataset: "dataset:file//data/orders.csv"}
    objective: {kind: data_quality}
  - id: quick
    target: {dag: shop}
    objective: {kind: duration, at_most: 5m}
"""


class Shelf:
    """A store, a file of promises about it, and the command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys, self.folder = capsys, folder
        self.store = f"sqlite:///{folder / 'provenance.db'}"
        self.file = folder / "promises.yaml"
        self.file.write_text(PROMISES)
        self.now_us = SystemClock().now_us()

    def at(self, hours_ago: float) -> str:
        return (format_time(self.now_us - round(hours_ago * HOUR_US)) or "").rstrip("Z")

    def checked(self, hours_ago: float, *, passed: bool) -> None:
        """A run of the task that checks the orders."""
        due, end = self.at(hours_ago), self.at(hours_ago - 0.1)
        said = [{"assertion": "not_null", "success": passed, "column": "id"}]
        written = dataset("file//data/orders.csv", rows=3, checks=said)
        name = ("shop", "load", f"r{hours_ago}", due)
        self.ingest(task_run(*name, start=due, end=end, outputs=[written]))

    def ran(self, hours_ago: float, run_type: str, minutes: float) -> None:
        """A run of the DAG."""
        due, end = self.at(hours_ago), self.at(hours_ago - minutes / 60)
        run_id = f"{run_type}__{hours_ago}"
        self.ingest(dag_run("shop", run_id, due, start=due, end=end, run_type=run_type))

    def ingest(self, events: list[Any]) -> None:
        file = self.folder / "events.jsonl"
        file.write_text(jsonl(events))
        assert main(["ingest", str(file), "--store", self.store]) == 0

    def watch(self) -> None:
        """Let the service's role evaluate record how promises stand."""
        store = SqlStore(self.store)
        clock = FixedClock(self.now_us)
        Evaluator(store, PromiseSources(str(self.file), None), None, clock).run_once()
        store.close()

    def status(self, policy: str, *more: str, code: int = 0) -> dict[str, Any]:
        self.capsys.readouterr()
        told = ("sla", "status", "--policy", policy, "--json", "--store", self.store, *more)
        assert main(list(told)) == code
        (one,) = json.loads(self.capsys.readouterr().out)
        return dict(one)


@pytest.fixture
def shelf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shelf:
    return Shelf(tmp_path, capsys)


@pytest.mark.parametrize("is_stored", [True, False])
def test_status_shows_the_newest_period_and_when_it_broke_last(
    shelf: Shelf, is_stored: bool
) -> None:
    shelf.checked(5, passed=False)
    shelf.checked(3, passed=False)
    shelf.checked(1, passed=True)
    if is_stored:
        # The promise is watched since before all of it.
        shelf.now_us -= 6 * HOUR_US
        shelf.watch()
        shelf.now_us += 6 * HOUR_US
        shelf.watch()
    more = () if is_stored else ("--file", str(shelf.file))

    told = shelf.status("good-orders", *more)

    assert (told["state"], told["breached_at"]) == ("ok", None)
    assert told["last_broken_at"] == f"{shelf.at(2.9)}Z"
    shelf.checked(0.5, passed=False)
    if is_stored:
        shelf.watch()
    told = shelf.status("good-orders", *more, code=1)
    assert (told["state"], told["last_broken_at"]) == ("breached", f"{shelf.at(0.4)}Z")


@pytest.mark.parametrize("is_stored", [True, False])
def test_runs_by_hand_are_told_where_only_scheduled_ones_count(
    shelf: Shelf, is_stored: bool
) -> None:
    shelf.ran(2, "manual", 1)
    shelf.ran(1, "manual", 9)
    if is_stored:
        shelf.watch()
    more = () if is_stored else ("--file", str(shelf.file))

    told = shelf.status("quick", *more)

    assert told["state"] in ("no_data", "pending")
    assert told["reason"] == (
        "no run of this kind is known; 2 runs by hand are not counted: "
        "`runs:` names scheduled, asset_triggered, operator_triggered only"
    )
    shelf.file.write_text(PROMISES + "    runs: [scheduled, manual]\n")
    assert shelf.status("quick", "--file", str(shelf.file), code=1)["state"] == "breached"


def test_a_promise_that_nobody_has_evaluated_yet_is_listed(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.checked(1, passed=True)
    shelf.watch()
    shelf.file.write_text(PROMISES + PROMISES.partition("\n")[2].replace("id: ", "id: new-"))
    monkeypatch.setenv("AIRFLOW__PROVENANCE__SLA_FILES", str(shelf.file))

    told = shelf.status("new-quick")

    assert (told["state"], told["since"]) == ("pending", None)
    assert told["reason"].startswith("not evaluated yet: the service's role evaluate will")


def test_a_run_that_another_dag_triggered_counts(shelf: Shelf) -> None:
    shelf.ran(1, "operator_triggered", 1)

    assert shelf.status("quick", "--file", str(shelf.file))["state"] == "ok"


def test_a_file_is_named_in_the_same_way_for_all_of_them(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.checked(1, passed=True)
    shelf.ran(1, "scheduled", 1)
    capsys.readouterr()
    for action in ("lint", "status", "evaluate"):
        said = []
        for words in ([str(shelf.file)], ["--file", str(shelf.file)]):
            assert main(["sla", action, "--store", shelf.store, *words]) == 0
            said.append(capsys.readouterr().out)
            assert "2 promises" in said[-1] or "good-orders" in said[-1]
        assert said[0] == said[1]


class Period:
    """What is known of one."""

    def __init__(self, period: str, state: str, breached_us: int | None = None) -> None:
        self.period, self.state, self.breached_us = period, state, breached_us


def test_a_mapped_task_of_the_newest_run_that_broke_it_is_not_hidden_by_its_siblings() -> None:
    old, broken = Period("a.b[1]/r1", "breached", 5), Period("a.b[0]/r2", "breached", 9)
    kept, begun = Period("a.b[1]/r2", "ok"), Period("a.b/r3", "pending")

    assert newest([old, broken, kept, begun]) is broken
    assert newest([old, kept]) is kept
    assert newest([begun]) is begun
    assert last_broken([old, broken, kept]) == LastBroken(9, "a.b[0]/r2")
    assert last_broken([kept]) is None
