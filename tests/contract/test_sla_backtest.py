"""A back-test of what was stored tells what live evaluation told, line for line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.cli import main
from airflow_provenance.sla.backtest import Changes, Moment, backtest
from airflow_provenance.sla.evaluation import evaluation_json
from airflow_provenance.sla.facts import ExpectedRun
from airflow_provenance.sla.objectives import OBJECTIVES
from airflow_provenance.sla.policy import from_plain
from tests.contract.test_sla_why import at, day_of
from tests.support.sla_events import dag_run, dataset, jsonl, queued_note, read, task_run, us

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from airflow_provenance.store.base import Store

MINUTE = 60_000_000
POLICIES = [
    from_plain(
        {
            "id": "report-by-eight",
            "target": {"dag": "report"},
            "at_risk": 0.6,
            "objective": {"kind": "deadline", "at": "08:00"},
        }
    ),
    from_plain(
        {
            "id": "load-in-90m",
            "target": {"dag": "shop", "task": "load"},
            "at_risk": 0.6,
            "objective": {"kind": "duration", "at_most": "90m"},
        }
    ),
    from_plain(
        {
            "id": "fresh",
            "target": {"dataset": "pg/totals"},
            "objective": {"kind": "freshness", "at_most": "25h"},
        }
    ),
]


def told(found: list[Moment]) -> list[dict[str, Any]]:
    """Lines with how many runs, as each store has its own numbers for them."""
    return [
        {"at": one.at_us, **evaluation_json(one.evaluation), "runs": len(one.evaluation.runs)}
        for one in found
    ]


def arrivals() -> list[tuple[int, bytes]]:
    """Twelve days, each event received three minutes late; the 11th is slow."""
    lines = "".join(day_of(day, load=150 if day == 11 else 60) for day in range(1, 13))
    events = [json.loads(line) for line in lines.splitlines()]
    return sorted(
        (us(one["eventTime"].rstrip("Z")) + 3 * MINUTE, msgspec.json.encode(one)) for one in events
    )


def test_a_backtest_is_live_evaluation_line_for_line(store: Store) -> None:
    moments = range(us(at(10, 0)), us(at(12, 600)), 30 * MINUTE)
    live, waiting, changes = list[dict[str, Any]](), arrivals(), Changes(POLICIES)
    for now in moments:
        while waiting and waiting[0][0] <= now:
            received, raw = waiting.pop(0)
            store.ingest([("E", raw)], received_us=received)
        live += told(changes.at(store, now))
    again = list(backtest(store, POLICIES, iter(moments)))
    states = [(one.evaluation.policy_id, one.evaluation.state.value) for one in again]
    assert ("report-by-eight", "at_risk") in states
    assert ("load-in-90m", "breached") in states
    assert told(again) == live


def test_what_was_received_later_is_not_known_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, events = tmp_path / "promises.yaml", tmp_path / "events.jsonl"
    file.write_text(
        "promises:\n- id: load-in-90m\n  target: {dag: shop, task: load}\n"
        "  objective: {kind: duration, at_most: 90m}\n"
    )
    events.write_text(day_of(1, load=150))
    url = f"sqlite:///{tmp_path / 'provenance.db'}"
    assert main(["ingest", str(events), "--store", url]) == 0
    capsys.readouterr()
    told = ("sla", "backtest", "--file", str(file), "--since", f"{at(1, 0)}Z", "--json")
    told = (*told, "--until", f"{at(9, 0)}Z", "--store", url)
    assert main([*told, "--every", "6h"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["at"][:10], one["state"]) for one in found] == [("2026-03-01", "no_data")]
    assert main([*told, "--every", "0s"]) != 0
    assert "--every is 0" in capsys.readouterr().err


SHOP, LOAD, TOTALS = {"dag": "shop"}, {"dag": "shop", "task": "load"}, {"dataset": "pg/totals"}
EVERY_KIND = [
    (LOAD, {"kind": "duration", "at_most": "30m"}),
    (SHOP, {"kind": "deadline", "at": "08:00"}),
    (TOTALS, {"kind": "deadline", "at": "08:00"}),
    (SHOP, {"kind": "start_delay", "at_most": "5m"}),
    (LOAD, {"kind": "queue_latency", "at_most": "30s"}),
    (SHOP, {"kind": "missing_run", "grace": "10m"}),
    (TOTALS, {"kind": "freshness", "at_most": "25h"}),
    (TOTALS, {"kind": "volume", "at_least": 0.5, "baseline": "all", "min_history": 3}),
    (TOTALS, {"kind": "completeness", "at_least": 0.9}),
    (LOAD, {"kind": "throughput", "at_least": 0.05}),
    (SHOP, {"kind": "success_ratio", "at_least": 0.8, "window": "30d", "min_events": 3}),
    (LOAD, {"kind": "consecutive_misses", "count": 2}),
    (TOTALS, {"kind": "consecutive_misses", "count": 2, "of": {"kind": "volume", "at_least": 60}}),
    (TOTALS, {"kind": "data_quality"}),
    (TOTALS, {"kind": "schema_contract"}),
    (TOTALS, {"kind": "end_to_end_latency", "source": "pg/raw", "at_most": "20m"}),
    (LOAD, {"kind": "cost", "at_most": 1000}),
]


def shop_day(day: int) -> str:
    """A day of the shop: the 6th to 9th fail or are poor, the 10th does not come."""
    run_id, due, bad = f"scheduled__{day}", at(day, 300), day in (6, 7, 8, 9)
    if day == 10:
        return ""
    end = at(day, 341 if bad else 320)
    state = "FAIL" if day in (6, 7) else "COMPLETE"
    checks = [{"assertion": "unique", "column": "id", "success": not bad}]
    columns = {"id": "int"} if bad else {"id": "int", "total": "float"}
    written = {"rows": 40 if bad else 100, "columns": columns, "checks": checks}
    return jsonl(
        dag_run("shop", run_id, due, start=at(day, 306 if bad else 301), end=end, state=state),
        task_run("shop", "fetch", run_id, due, start=at(day, 302), end=at(day, 303),
                 outputs=[dataset("pg/raw", rows=100)]),
        task_run("shop", "load", run_id, due, start=at(day, 307), end=end, state=state,
                 inputs=[read("pg/raw", rows=100)], outputs=[dataset("pg/totals", **written)]),
    )  # fmt: skip


def test_a_backtest_of_every_kind_is_live_evaluation_line_for_line(store: Store) -> None:
    policies = [
        from_plain({"id": f"{number}-{one['kind']}", "target": target, "objective": one})
        for number, (target, one) in enumerate(EVERY_KIND)
    ]
    assert {one.objective.kind for one in policies} == set(OBJECTIVES)
    dues = [us(at(day, 300)) for day in range(1, 13)]
    expected = {"shop": [ExpectedRun(due_us=due_us, logical_us=due_us) for due_us in dues]}
    entries: list[tuple[int, str, bytes]] = []
    for day in range(1, 13):
        for line in shop_day(day).splitlines():
            told_us = us(json.loads(line)["eventTime"].rstrip("Z"))
            entries.append((told_us + 3 * MINUTE, "E", line.encode()))
        queued, began = at(day, 306), at(day, 307)
        note = queued_note("shop", "load", f"scheduled__{day}", queued, began)
        entries.append((us(began), "N", note))
    entries.sort()
    moments = [us(at(day, minute)) for day in range(1, 13) for minute in (299, 312, 330, 400, 600)]
    live, changes = list[dict[str, Any]](), Changes(policies, expected)
    for now in moments:
        while entries and entries[0][0] <= now:
            received, kind, raw = entries.pop(0)
            store.ingest([(kind, raw)], received_us=received)  # type: ignore[list-item]
        live += told(changes.at(store, now))
    assert told(list(backtest(store, policies, iter(moments), expected))) == live
    broken = {one["policy"] for one in live if one["breached_at"] is not None}
    assert broken == {one.id for one in policies}
