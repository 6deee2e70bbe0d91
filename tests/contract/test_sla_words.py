"""What ``sla`` says of promises: numbers, who is hit, what is due next, what is not known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.cli import main
from airflow_provenance.domain.clock import parse_time
from airflow_provenance.sla.changes import next_due
from airflow_provenance.sla.evaluation import Evaluation, State
from tests.support.sla_events import dataset, jsonl, read, task_run

if TYPE_CHECKING:
    from pathlib import Path

DUE = "2026-03-02T06:00:00"
RUN = "manual__2026-03-02T06:00:00.123456+00:00"
NOW = ("--at", "2026-03-02T09:00:00Z")
PROMISES = """\
promises:
  - id: whole
    target: {dag: shop, task: load}
    objective: {kind: completeness, at_least: 0.97}
    owner: shop
  - id: report
    target: {dag: report, task: sum}
    objective: {kind: duration, at_most: 1h}
    owner: sales
"""


class Shop:
    """A store in which the shop lost rows that a report was then made from."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys, self.folder = capsys, folder
        self.store = f"sqlite:///{folder / 'provenance.db'}"
        self.file = folder / "promises.yaml"
        self.file.write_text(PROMISES)
        events = folder / "events.jsonl"
        events.write_text(
            jsonl(
                task_run(
                    *("shop", "load", RUN, DUE),
                    start=DUE,
                    end="2026-03-02T06:10:00",
                    inputs=[read("pg/raw", rows=29425)],
                    outputs=[dataset("pg/orders", rows=28293)],
                ),
                task_run(
                    *("report", "sum", "r1", DUE),
                    start="2026-03-02T06:20:00",
                    end="2026-03-02T08:20:00.5",
                    inputs=[read("pg/orders")],
                    outputs=[dataset("pg/totals")],
                ),
            )
        )
        self("ingest", str(events))

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        self.capsys.readouterr()
        assert main([*arguments, "--store", self.store]) == code
        return self.capsys.readouterr()


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shop:
    return Shop(tmp_path, capsys)


def test_why_begins_with_what_was_promised_and_observed_and_ends_with_who_is_hit(
    shop: Shop,
) -> None:
    file = ("--file", str(shop.file))
    out, _ = shop("sla", "why", "whole", *NOW, *file)
    lines = out.splitlines()
    assert lines[0] == (
        "whole shop.load/manual__2026-03-02T06:00:00: breached since 2026-03-02 06:10:00 UTC: "
        "96.1529 % (28,293 of 29,425 rows came out), promised 97 %"
    )
    assert lines[-3:] == [
        "  downstream datasets: pg/orders, pg/totals",
        "  downstream promises: report, whole",
        "  downstream owners: sales, shop",
    ]
    out, _ = shop("sla", "why", "whole", *NOW, "--json", *file)
    assert json.loads(out)["downstream"]["dags"] == ["report", "shop"]
    out, _ = shop("sla", "why", "report", *NOW, *file)
    assert "2h0.5s (1h0.5s too long), promised 1h" in out.splitlines()[0]


def test_only_what_is_open_is_due_next() -> None:
    now_us = parse_time("2026-03-02T09:00:00Z")

    def one(state: State, minutes: int, kind: str = "task_duration") -> Evaluation:
        return Evaluation(
            policy_id="p",
            revision="r",
            kind=kind,
            target="dag:shop",
            period="x",
            state=state,
            due_us=now_us + minutes * 60_000_000,
        )

    assert next_due([one(State.OK, 5)], now_us) is None
    assert next_due([one(State.OK, 5), one(State.PENDING, 9)], now_us) == now_us + 540_000_000
    assert next_due([one(State.AT_RISK, 7)], now_us) == now_us + 420_000_000
    fresh = [one(State.OK, 5, "freshness"), one(State.OK, 9, "freshness")]
    assert next_due(fresh, now_us) == now_us + 540_000_000


def test_a_file_may_stand_where_the_period_does_and_an_unknown_id_is_sought_there(
    shop: Shop,
) -> None:
    file, period = str(shop.file), "shop.load/manual__2026-03-02T06:00:00"
    first = shop("sla", "why", "whole", file, *NOW)[0]
    assert shop("sla", "why", "whole", period, file, *NOW)[0] == first
    _, err = shop("sla", "why", "whol", "--file", file, *NOW, code=1)
    assert f"no promise is named 'whol' in {file}: did you mean 'whole'?" in err


def test_status_says_what_is_not_known_and_that_a_spool_waits(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = shop.folder / "spool"
    spool.mkdir()
    (spool / "a.spool").write_text("{}")
    monkeypatch.setenv("AIRFLOW__PROVENANCE__SPOOL_DIR", str(spool))
    shop.file.write_text(PROMISES.replace("dag: shop", "dag: shpo"))
    out, err = shop("sla", "status", str(shop.file))
    assert "no task 'load' of DAG 'shpo' is known" in out
    assert "'airflow-provenance ingest --spool' takes them in" in err
    assert out.split()[:5] == ["PROMISE", "STATE", "SINCE", "OBSERVED", "PROMISED"]
