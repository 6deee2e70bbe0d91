"""``sla lint``, ``status`` and ``evaluate`` on JSONL in SQLite; what YAML is refused (A1, A2)."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.cli import main
from airflow_provenance.collect.evaluator import Evaluator
from airflow_provenance.collect.promise_sources import PromiseSources
from airflow_provenance.domain.clock import FixedClock, parse_time
from airflow_provenance.sla.files import PolicyFiles, read_files
from airflow_provenance.sla.policy import from_plain, to_plain
from airflow_provenance.store.sql.store import SqlStore
from tests.support.sla_events import dag_run, dataset, jsonl, task_run

if TYPE_CHECKING:
    from pathlib import Path

DAY = "2026-03-02T"
GOOD = """\
promises:
  - id: shop-by-nine
    target: {dag: shop}
    objective:
      kind: run_deadline
      at: 09:00            # quoted or not
      zone: Europe/Berlin
    severity: page
    notify: [oncall]
  - id: quick
    target: {dag: shop, task: load}
    objective: {kind: duration, at_most: 5m}
  - id: full
    target: {dataset: pg/shop.orders}
    objective: {kind: volume, at_least: 100}
"""


class Shop:
    """A store with a day of a shop, a file of promises, and the command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.store = f"sqlite:///{folder / 'provenance.db'}"
        self.file = folder / "promises.yaml"
        self.file.write_text(GOOD)
        events = folder / "events.jsonl"
        due = f"{DAY}06:00:00"
        events.write_text(
            jsonl(
                dag_run("shop", "r1", due, start=due, end=f"{DAY}08:10:00"),
                task_run(
                    *("shop", "load", "r1", due),
                    start=due,
                    end=f"{DAY}06:10:00",
                    outputs=[dataset("pg/shop.orders", rows=99)],
                ),
            )
        )
        self("ingest", str(events))

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        self.capsys.readouterr()
        assert main([*arguments, "--store", self.store]) == code
        return self.capsys.readouterr()

    def evaluate(self, at: str, policy: str, code: int) -> list[Any]:
        file = str(self.file)
        told = ("--at", f"{at}Z", "--policy", policy, "--file", file, "--json", "--since")
        out, _ = self("sla", "evaluate", *told, "2026-03-02T00:00:00Z", code=code)
        return list(json.loads(out))


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shop:
    return Shop(tmp_path, capsys)


def test_evaluate_prints_the_verdict_of_a_moment(shop: Shop) -> None:
    (quick,) = shop.evaluate(f"{DAY}07:00:00", "quick", 1)
    assert len(quick.pop("runs")) == 1
    assert len(quick.pop("revision")) == 12
    assert quick == {
        "policy": "quick",
        "kind": "task_duration",
        "target": "task:shop.load",
        "period": "shop.load/r1",
        "state": "breached",
        "observed": 600.0,
        "threshold": 300.0,
        "unit": "s",
        "due_at": f"{DAY}06:05:00.000000Z",
        "breached_at": f"{DAY}06:05:00.000000Z",
        "detected_at": f"{DAY}07:00:00.000000Z",
        "recovered_at": None,
        "late_by_seconds": None,
        "reason": "5m too long",
        "cause": None,
    }
    (full,) = shop.evaluate(f"{DAY}07:00:00", "full", 1)
    assert (full["state"], full["observed"], full["threshold"]) == ("breached", 99, 100.0)


@pytest.mark.parametrize(
    ("at", "state", "code"),
    [("07:59:59", "pending", 0), ("08:00:01", "breached", 1), ("08:10:00", "recovered", 0)],
)
def test_a_deadline_is_broken_a_second_after_and_not_a_second_before(
    shop: Shop, at: str, state: str, code: int
) -> None:
    first = shop.evaluate(DAY + at, "shop-by-nine", code)[0]
    assert first["state"] == state
    assert first["breached_at"] == (None if state == "pending" else f"{DAY}08:00:00.000000Z")


def test_status_has_a_line_for_every_promise(shop: Shop) -> None:
    out, _ = shop("sla", "status", "--file", str(shop.file), code=1)
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["shop-by-nine", "quick", "full"]


def test_lint_is_content_with_what_exists_and_names_what_does_not(shop: Shop) -> None:
    assert shop("sla", "lint", str(shop.file))[0] == "3 promises, nothing wrong.\n"
    text = GOOD.replace("dag: shop, task: load", "dag: shop, task: laod")
    shop.file.write_text(text.replace("pg/shop.orders", "pg/shop.order"))
    _, err = shop("sla", "lint", str(shop.file), code=1)
    assert err.splitlines() == [
        f"{shop.file}:10: no task 'laod' of DAG 'shop' is known: did you mean 'load'?",
        f"{shop.file}:13: no dataset 'pg/shop.order' is known: did you mean 'pg/shop.orders'?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("09:00", '"9 am"', 6, "at is '9 am'"),
        ("Europe/Berlin", "Berlin", 2, "'Berlin' is no time zone"),
        ("at_most: 5m", "at_most: 5", 12, "with its unit"),
        ("at_most: 5m", "at_mots: 5m", 12, "at_mots"),
        ("severity: page", "severity: loud", 8, "loud"),
        ("kind: volume", "kind: volumes", 15, "'volumes'"),
        ("id: full", "id: quick", 13, "taken"),
        ("id: full", "id: a b", 13, "letters"),
        ("{dag: shop, task: load}", "{task: load}", 11, "target"),
        ("dataset: pg/shop.orders", "dag: shop", 13, "volume is promised of dag"),
        ("notify: [oncall]", "notify: [oncall", 10, "no YAML"),
        ("promises:", "promise:", 1, "promises"),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_reason(
    tmp_path: Path, old: str, new: str, line: int, reason: str
) -> None:
    file = tmp_path / "promises.yaml"
    file.write_text(GOOD.replace(old, new))
    _, problems = read_files([file])
    assert problems, new
    assert (problems[0].line, problems[0].file) == (line, str(file)), problems
    assert reason in problems[0].reason


def test_evaluate_says_in_one_line_what_is_wrong_with_a_file(shop: Shop) -> None:
    shop.file.write_text(GOOD.replace("at_most: 5m", "at_most: 5"))
    _, err = shop("sla", "evaluate", "--file", str(shop.file), code=1)
    assert err.count("\n") == 1
    assert f"{shop.file}:12: " in err


def test_the_last_good_set_stays_active_while_a_file_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    files = PolicyFiles(str(tmp_path / "*.yaml"))

    def write(text: str, at: int) -> bool:
        file.write_text(text)
        os.utime(file, (at, at))
        return files.reload()

    assert write(GOOD, 1)
    assert not files.reload()
    assert not write(GOOD.replace("5m", "5"), 2)
    assert [one.policy.id for one in files.active] == ["shop-by-nine", "quick", "full"]
    assert [problem.line for problem in files.problems] == [12]
    assert write(GOOD.replace("5m", "6m"), 3)
    assert files.problems == []


def test_files_are_read_as_json_would_be(tmp_path: Path) -> None:
    # YAML 1.1 takes 10:30 for 630 and NO for false.
    file = tmp_path / "a.yaml"
    file.write_text(GOOD.replace("09:00", "10:30").replace("quick", "NO"))
    found, problems = read_files([file])
    assert problems == []
    assert found[0].policy.objective.at == "10:30"  # type: ignore[union-attr]
    assert found[1].policy.id == "NO"


def test_promises_come_back_from_json_and_have_a_revision_of_what_is_promised(
    tmp_path: Path,
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(GOOD)
    for one in read_files([file])[0]:
        plain = json.loads(json.dumps(to_plain(one.policy)))
        again = from_plain(plain)
        assert again == one.policy
        told = from_plain({**plain, "severity": "page", "notify": ["other"], "for": "5m"})
        assert told.revision == one.policy.revision
        other = from_plain({**plain, "runs": ["manual"]})
        assert other.revision != one.policy.revision


def test_status_tells_what_the_service_recorded(shop: Shop) -> None:
    store = SqlStore(shop.store)
    sources = PromiseSources(str(shop.file), None)
    clock = FixedClock(parse_time(f"{DAY}07:00:00Z"))
    evaluator = Evaluator(store, sources, None, clock)
    evaluator.run_once()
    clock.us = parse_time(f"{DAY}08:00:01Z")
    evaluator.run_once()
    store.close()
    out, err = shop("sla", "status", "--policy", "shop-by-nine", code=1)
    told = re.split(r" {2,}", out.splitlines()[1])
    assert told == [
        "shop-by-nine",
        "breached",
        f"{DAY}08:00:00Z",
        "by 2026-03-02 08:00:00 UTC",
        f"{DAY}08:00:00Z",
        f"{DAY}08:00:00Z",
        "2026-03-03T08:00:00Z",
        "still_running",
        f"{shop.file}:2",
    ]
    assert "nobody has evaluated since 2026-03-02T08:00:01" in err
    (one,) = json.loads(shop("sla", "status", "--policy", "shop-by-nine", "--json", code=1)[0])
    assert (one["state"], one["next_due_at"]) == ("breached", "2026-03-03T08:00:00.000000Z")
    assert one["detected_at"] == f"{DAY}08:00:01.000000Z"
    _, err = shop("sla", "status", "--policy", "nothing", code=1)
    assert "no promise is named 'nothing'" in err
