"""A late promise from OpenLineage events: what is said before it breaks, and why it broke."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.cli import main
from airflow_provenance.formats import facets
from tests.support.sla_events import dag_run, dataset, jsonl, read, task_run

if TYPE_CHECKING:
    from pathlib import Path

    Json = dict[str, Any]

PROMISES = """\
promises:
  - id: report-by-eight
    target: {dag: report}
    owner: sales
    at_risk: 0.6
    objective: {kind: deadline, at: "08:00"}
  - id: totals-by-eight
    target: {dataset: pg/totals}
    owner: finance
    at_risk: 0.6
    objective: {kind: deadline, at: "08:00"}
  - id: shop-in-two-hours
    target: {dag: shop}
    at_risk: 0.6
    objective: {kind: duration, at_most: 2h}
"""


def at(day: int, minute: int) -> str:
    """A time of a day in March."""
    return f"2026-03-{day:02}T{minute // 60:02}:{minute % 60:02}:00"


def day_of(day: int, *, load: int = 60, upto: int = 24 * 60) -> str:
    """Shop loads from 05:00 and has its report begun, which takes 40 minutes; as seen by then."""
    run_id, due = f"scheduled__{day}", at(day, 300)
    loaded = 301 + load + day % 5
    written = {"outputs": [dataset("pg/orders")]}

    def until(minute: int) -> str | None:
        return at(day, minute) if minute <= upto else None

    groups = [
        dag_run("shop", run_id, due, start=due, end=until(loaded + 1)),
        task_run("shop", "load", run_id, due, start=at(day, 301), end=until(loaded), **written),  # type: ignore[arg-type]
    ]
    triggered = f"asset_triggered__{day}"
    if loaded + 3 <= upto:
        begun, summed = at(day, loaded + 2), loaded + 43
        groups += [
            dag_run(
                *("report", triggered, begun),
                start=begun,
                end=until(summed + 1),
                run_type="asset_triggered",
            ),
            with_source(
                task_run(
                    *("report", "sum", triggered, begun),
                    start=at(day, loaded + 3),
                    end=until(summed),
                    run_type="asset_triggered",
                    inputs=[read("pg/orders")],
                    outputs=[dataset("pg/totals")],
                ),
                ("shop", run_id, "load"),
            ),
        ]
    return jsonl(*groups)


def with_source(events: list[Json], source: tuple[str, str, str]) -> list[Json]:
    dag_id, run_id, task_id = source
    told = facets.run_facet(consumed_asset_events=[facets.asset_event(dag_id, run_id, task_id, -1)])
    for event in events:
        event["run"]["facets"][facets.RUN] = told
    return events


class Shop:
    """Twenty usual days, and a file of promises."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys, self.folder = capsys, folder
        self.store = f"sqlite:///{folder / 'provenance.db'}"
        self.file = folder / "promises.yaml"
        self.file.write_text(PROMISES)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        self.capsys.readouterr()
        assert main([*arguments, "--store", self.store]) == code
        return self.capsys.readouterr().out

    def lives(self, lines: str) -> None:
        events = self.folder / "events.jsonl"
        events.write_text(lines)
        self("ingest", str(events))

    def judged(self, policy: str, moment: str, code: int = 0) -> Json:
        told = ("--policy", policy, "--at", f"{moment}Z", "--file", str(self.file), "--json")
        found: list[Json] = json.loads(self("sla", "evaluate", *told, code=code))
        return found[-1]

    def why(self, policy: str, moment: str, *more: str) -> str:
        told = ("--at", f"{moment}Z", "--file", str(self.file))
        return self("sla", "why", policy, *told, *more)


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shop:
    found = Shop(tmp_path, capsys)
    found.lives("".join(day_of(day) for day in range(1, 21)))
    return found


def test_a_slow_task_upstream_puts_the_promises_downstream_at_risk(shop: Shop) -> None:
    # Usually loaded by 06:01 and reported by 06:45; at 07:20 the load still runs.
    shop.lives(day_of(21, load=180, upto=440))
    for policy in ("report-by-eight", "totals-by-eight"):
        found = shop.judged(policy, at(21, 440))
        said = found["prediction"]
        assert found["state"] == "at_risk"
        assert said["probability"] > 0.9
        assert said["deciding_task"] == "shop.load"
        assert at(21, 480) < said["p50_at"] <= said["p90_at"]
        assert said["slack_seconds"] < 0
    assert shop.judged("shop-in-two-hours", at(21, 410))["state"] == "at_risk"


def test_a_usual_day_is_pending_and_says_when_it_will_be_done(shop: Shop) -> None:
    shop.lives(day_of(21, upto=330))
    found = shop.judged("report-by-eight", at(21, 330))
    assert found["state"] == "pending"
    assert found["prediction"]["probability"] < 0.1
    assert at(21, 395) < found["prediction"]["p50_at"] < at(21, 415)


def test_the_same_moment_is_told_alike_when_it_is_looked_at_later(shop: Shop) -> None:
    shop.lives(day_of(21, load=180, upto=440))
    before = shop.judged("report-by-eight", at(21, 440))
    assert shop.judged("report-by-eight", at(21, 440)) == before


def test_four_past_runs_are_no_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = Shop(tmp_path, capsys)
    shop.lives("".join(day_of(day) for day in range(17, 21)) + day_of(21, load=180, upto=440))
    found = shop.judged("shop-in-two-hours", at(21, 410))
    assert found["state"] == "pending"
    assert found["prediction"]["state"] == "insufficient_history"
    assert found["prediction"]["probability"] is None
    assert "4 of 5 runs" in found["reason"]


def test_why_names_the_task_upstream_and_who_is_hit(shop: Shop) -> None:
    shop.lives(day_of(21, load=180))
    told = json.loads(shop.why("report-by-eight", at(21, 1000), "--json"))
    first = told["causes"][0]
    assert (first["job"], first["kind"]) == ("shop.load", "run")
    assert first["excess_seconds"] == pytest.approx(120 * 60, abs=120)
    assert first["share"] > 0.95
    added = sum(one["excess_seconds"] for one in told["causes"]) - told["spare_seconds"]
    assert added == pytest.approx(told["late_by_seconds"], abs=1)
    assert told["late_by_seconds"] == (301 + 181 + 44 - 480) * 60
    assert told["downstream"] == {
        "datasets": ["pg/orders", "pg/totals"],
        "dags": ["report", "shop"],
        "owners": ["finance", "sales"],
        "promises": ["report-by-eight", "shop-in-two-hours", "totals-by-eight"],
    }
    words = shop.why("totals-by-eight", at(21, 1000))
    assert "shop.load ran 3h1m, usually 1h2m" in words
    assert "downstream datasets: pg/orders, pg/totals" in words


def test_why_says_which_run_is_missing(shop: Shop) -> None:
    told = json.loads(shop.why("report-by-eight", at(21, 540), "--json"))
    assert [(one["job"], one["kind"]) for one in told["causes"]] == [("shop", "missing")]
    assert told["causes"][0]["from"].startswith(at(21, 300))
    assert "shop has not run, due 4h ago" in shop.why("report-by-eight", at(21, 540))
