"""How far promises were kept: the totals are those that anybody can compute from raw events."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.alerts import report as reports
from airflow_provenance.cli import main
from airflow_provenance.collect.evaluator import Evaluator
from airflow_provenance.collect.promise_sources import PromiseSources
from airflow_provenance.domain.alert import Action
from airflow_provenance.domain.clock import FixedClock
from airflow_provenance.sla.attainment import By, Line, Span, stretches, totals
from airflow_provenance.sla.attainment_page import page, percent
from tests.contract.support import ingest_all
from tests.support.sla_events import dag_run, jsonl, task_run, us

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.store.base import Store

# How many minutes each day's load took; None: it failed.
MINUTES = [50, 61, 59, 130, None, 60, 45, 90, 30, 61, 60, 10]
FIRST = datetime(2026, 3, 27)  # noqa: DTZ001 - the days before and after the clocks change
PROMISES = """promises:
  - id: quick
    target: {dag: shop, task: load}
    objective: {kind: duration, at_most: 1h}
    owner: <sales> & co
    zone: Europe/Berlin
  - id: by-three
    target: {dag: shop}
    objective: {kind: deadline, at: "03:00"}
    owner: data
  - id: steady
    target: {dag: shop}
    objective: {kind: consecutive_misses, count: 2, of: {kind: duration, at_most: 59m}}
    owner: data
"""


def raw_events() -> list[str]:
    """Runs of 02:00 UTC each day, as lines of OpenLineage."""
    lines = []
    for number, minutes in enumerate(MINUTES):
        due = FIRST + timedelta(days=number, hours=2)
        end = due + timedelta(minutes=minutes or 20)
        state = "FAIL" if minutes is None else "COMPLETE"
        times = {"start": due.isoformat(), "end": end.isoformat(), "state": state}
        lines += jsonl(
            dag_run("shop", f"r{number}", due.isoformat(), **times),
            task_run("shop", "load", f"r{number}", due.isoformat(), **times),
        ).splitlines()
    return lines


def report(store: Store, span: Span, by: By) -> list[Line]:
    rows = store.policies()
    return reports.report(store, rows, reports.changes_of(store, rows), span, by)


def judged(store: Store, folder: Path, lines: list[str]) -> int:
    """Evaluate hour by hour, as the service does; return the end."""
    file = folder / "promises.yaml"
    file.write_text(PROMISES)
    clock = FixedClock(us(FIRST.isoformat()))
    evaluator = Evaluator(store, PromiseSources(str(file), None, []), None, clock)
    waiting = sorted(lines, key=lambda line: str(json.loads(line)["eventTime"]))
    for hour in range(24 * len(MINUTES) + 1):
        clock.us = us((FIRST + timedelta(hours=hour)).isoformat())
        now = (FIRST + timedelta(hours=hour)).isoformat()
        seen = [line for line in waiting if json.loads(line)["eventTime"] <= now]
        waiting = waiting[len(seen) :]
        if seen:
            ingest_all(store, [("E", line.encode()) for line in seen], [])
        evaluator.run_once()
    return clock.us


def recomputed(lines: list[str]) -> Counter[tuple[str, str]]:
    """Count by hand, from the raw events alone: (month in Berlin, kept or broken)."""
    times: dict[str, dict[str, datetime]] = {}
    for line in lines:
        event = json.loads(line)
        if event["job"]["name"] == "shop.load":
            at = datetime.fromisoformat(event["eventTime"])
            times.setdefault(event["run"]["runId"], {})[event["eventType"]] = at
    found: Counter[tuple[str, str]] = Counter()
    for one in times.values():
        took = one[{*one}.difference({"START"}).pop()] - one["START"]
        kept = "kept" if took <= timedelta(hours=1) else "broken"
        month = f"{one['START'] + timedelta(hours=1):%Y-%m}"  # Berlin is ahead by one or two
        found[month, kept] += 1  # one that failed took as long as it took
    return found


def test_totals_are_those_of_the_raw_events(store: Store, tmp_path: Path) -> None:
    lines = raw_events()
    until_us = judged(store, tmp_path, lines)
    span = Span(us(FIRST.isoformat()), until_us)

    months = [one for one in report(store, span, "month") if one.policy == "quick"]
    (whole,) = [one for one in report(store, span, "all") if one.policy == "quick"]

    wanted = recomputed(lines)
    told = {(one.label, "kept"): one.kept for one in months}
    told |= {(one.label, "broken"): one.broken for one in months}
    assert told == wanted
    assert (whole.kept, whole.broken) == (8, 4)
    assert whole.attainment == pytest.approx(8 / 12)
    by_owner = {one.owner: (one.promises, one.kept, one.broken) for one in totals([whole])}
    assert by_owner == {"<sales> & co": (1, 8, 4)}


def test_a_deadline_made_good_late_is_broken_and_says_by_how_much(
    store: Store, tmp_path: Path
) -> None:
    until_us = judged(store, tmp_path, raw_events())
    span = Span(us(FIRST.isoformat()), until_us)
    (line,) = [one for one in report(store, span, "all") if one.policy == "by-three"]
    late = [minutes - 60 for minutes in MINUTES if minutes is not None and minutes > 60]
    assert line.late == len(late)
    assert line.late_us == sum(late) * 60 * 1_000_000
    assert line.broken == len(late) + 1  # and the day on which it failed
    assert line.kept + line.broken == len(MINUTES)


def test_a_promise_without_periods_counts_by_time(store: Store, tmp_path: Path) -> None:
    until_us = judged(store, tmp_path, raw_events())
    span = Span(us(FIRST.isoformat()), until_us)
    (line,) = [one for one in report(store, span, "all") if one.policy == "steady"]
    broken = [
        (one.breached_us or 0, one.recovered_us or until_us)
        for one in store.latest_changes()
        if one.policy_id == "steady" and one.breached_us is not None
    ]
    assert line.broken == len(broken) > 0
    assert line.time_us == until_us - span.from_us
    assert line.broken_us == sum(end - begin for begin, end in broken)
    assert line.attainment == 1 - line.broken_us / line.time_us


def test_what_somebody_excused_does_not_count_as_broken(store: Store, tmp_path: Path) -> None:
    until_us = judged(store, tmp_path, raw_events())
    span = Span(us(FIRST.isoformat()), until_us)
    (before,) = [one for one in report(store, span, "all") if one.policy == "quick"]
    worst = max(before.cells, key=lambda one: one.observed or 0)
    action = Action(
        kind="excuse",
        matchers=('policy="quick"', f'period="{worst.period}"'),
        author="ann",
        reason="the disk was full",
        at_us=worst.at_us + 60_000_000,
    )
    store.add_action(action)

    (line,) = [one for one in report(store, span, "all") if one.policy == "quick"]

    assert (line.excused, line.broken, line.kept) == (1, before.broken - 1, before.kept)
    (cell,) = [one for one in line.cells if one.excused]
    assert (cell.period, cell.excused) == (worst.period, "ann: the disk was full")


def test_days_are_local_and_a_day_without_an_hour_has_23() -> None:
    span = Span(us("2026-03-28T12:00:00"), us("2026-03-31T12:00:00"))
    days = stretches(span, "day", "Europe/Berlin")
    hours = {label: (one.until_us - one.from_us) / 3.6e9 for label, one in days}
    assert hours == {"2026-03-28": 11, "2026-03-29": 23, "2026-03-30": 24, "2026-03-31": 14}
    weeks = [label for label, _ in stretches(span, "week", "Europe/Berlin")]
    assert weeks == ["2026-W13", "2026-W14"]


def test_no_breach_is_rounded_away() -> None:
    assert percent(1.0) == "100.00 %"
    assert percent(0.999999) == "> 99.99 %"
    assert percent(None) == "nothing judged"


class Tags(HTMLParser):
    """Counts what a page has, and what is open at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.classes: Counter[str] = Counter()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "rect":
            self.classes[str(dict(attrs)["class"])] += 1
        assert tag not in {"script", "link", "img", "sales"}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_draws_a_box_for_each_period_and_escapes_names(
    store: Store, tmp_path: Path
) -> None:
    until_us = judged(store, tmp_path, raw_events())
    lines = report(store, Span(us(FIRST.isoformat()), until_us), "all")
    seen = Tags()
    seen.feed(page(lines, Span(us(FIRST.isoformat()), until_us), until_us))
    of_steady = sum(one.state == "recovered" for line in lines[2:] for one in line.cells)
    # Kept, late and broken of the deadline, then of the duration; and each kind once in the key.
    assert seen.classes["ok"] == 7 + 8 + 1
    assert seen.classes["late"] == 4 + of_steady + 1
    assert seen.classes["excused"] == 1
    assert any("<sales> & co" in text for text in seen.texts)


@pytest.fixture
def shop(tmp_path: Path) -> str:
    from airflow_provenance.wiring import open_store

    url = f"sqlite:///{tmp_path}/p.db"
    store = open_store(url, create=True)
    judged(store, tmp_path, raw_events())
    store.close()
    return url


def test_the_command_tells_it_as_a_table_csv_json_and_a_page(
    shop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--since", "2026-03-27T00:00:00Z", "--until", "2026-04-08T00:00:00Z", "--store", shop)

    def said(*more: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["sla", "report", *common, *more]) == code
        return capsys.readouterr().out

    table = said()
    assert "66.67 %" in table
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(said("--format", "csv"))))
    found = json.loads(said("--json"))
    assert [row["policy"] for row in rows] == [one["policy"] for one in found["lines"]]
    for row, one in zip(rows, found["lines"], strict=True):
        assert (int(row["kept"]), int(row["broken"])) == (one["kept"], one["broken"])
        assert (
            len(one["periods"]) == one["kept"] + one["broken"] + one["unknown"] or not row["kept"]
        )
    file = tmp_path / "report.html"
    assert said("--format", "html", "--output", str(file)) == ""
    assert file.read_text().startswith("<!doctype html>")
    only = json.loads(said("--json", "--owner", "data", "--by", "month"))
    assert {one["policy"] for one in only["lines"]} == {"by-three", "steady"}
    assert {one["stretch"] for one in only["lines"]} == {"2026-03", "2026-04"}
    assert said("--policy", "none", code=1) == ""
    assert said("--until", "2026-03-01T00:00:00Z", code=2) == ""
    assert said("--output", str(tmp_path / "no" / "folder"), code=2) == ""
