"""A back-test of what was stored tells what live evaluation told, line for line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.cli import main
from airflow_provenance.sla.backtest import Changes, Moment, backtest
from airflow_provenance.sla.evaluation import evaluation_json
from airflow_provenance.sla.policy import from_plain
from tests.contract.test_sla_why import at, day_of
from tests.support.sla_events import us

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
