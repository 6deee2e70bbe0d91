"""Every kind of promise, kept and broken, from OpenLineage events in every store (A1, A6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.sla.evaluate import evaluate, needs_documents
from airflow_provenance.sla.evaluation import evaluation_json
from airflow_provenance.sla.facts import ExpectedRun
from airflow_provenance.sla.policy import from_plain
from airflow_provenance.sla.recorded import RecordedProvenance
from tests.contract.support import ingest_all
from tests.support.sla_events import dag_run, dataset, jsonl, queued_note, read, task_run, us

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store

ORDERS, TOTALS = "pg/shop.orders", "pg/shop.totals"
DAY = "2026-03-02T"
DUE = f"{DAY}06:00:00"


def judged(
    store: Store,
    lines: str,
    moment: str,
    /,
    *,
    target: dict[str, str],
    notes: tuple[bytes, ...] = (),
    expected: dict[str, list[ExpectedRun]] | None = None,
    pauses: dict[str, list[tuple[int, int | None]]] | None = None,
    more: dict[str, Any] | None = None,
    **objective: Any,
) -> list[dict[str, Any]]:
    entries: list[Any] = [("E", line.encode()) for line in lines.splitlines()]
    entries += [("N", note) for note in notes]
    ingest_all(store, entries, [])
    policy = from_plain({"id": "p", "target": target, "objective": objective, **(more or {})})
    provenance = RecordedProvenance(store, expected, pauses)
    found = [evaluation_json(one) for one in evaluate(policy, provenance, us(moment))]
    if not needs_documents(policy):
        provenance = RecordedProvenance(store, expected, pauses, is_brief=True)
        assert [evaluation_json(one) for one in evaluate(policy, provenance, us(moment))] == found
    return found


def verdict(found: list[dict[str, Any]]) -> tuple[Any, ...]:
    one = found[-1]
    breached = one["breached_at"]
    return one["state"], one["observed"], one["threshold"], breached and breached[:19]


TASK = {"dag": "shop", "task": "load"}


def load(start: str, end: str | None, **values: Any) -> str:
    return jsonl(
        task_run("shop", "load", "r1", DUE, start=DAY + start, end=end and DAY + end, **values)
    )


@pytest.mark.parametrize(
    ("end", "at", "expected"),
    [
        (None, "06:29:59", ("pending", 1799.0, 1800.0, None)),
        (None, "06:30:01", ("breached", 1801.0, 1800.0, f"{DAY}06:30:00")),
        ("06:30:00", "07:00:00", ("ok", 1800.0, 1800.0, None)),
        ("06:40:00", "07:00:00", ("breached", 2400.0, 1800.0, f"{DAY}06:30:00")),
    ],
)
def test_task_duration(store: Store, end: str | None, at: str, expected: Any) -> None:
    lines = load("06:00:00", end)
    found = judged(store, lines, DAY + at, target=TASK, kind="task_duration", at_most="30m")
    assert verdict(found) == expected
    assert found[0]["kind"] == "task_duration"
    assert len(found[0]["runs"]) == 1


def test_task_duration_over_retries_adds_the_tries_up(store: Store) -> None:
    first = {"start": f"{DAY}06:00:00", "end": f"{DAY}06:20:00", "state": "FAIL"}
    second = {"start": f"{DAY}06:25:00", "end": f"{DAY}06:40:00", "try_number": 2}
    lines = jsonl(*(task_run("shop", "load", "r1", DUE, **one) for one in (first, second)))
    limit = {"kind": "duration", "at_most": "30m"}
    each = judged(store, lines, f"{DAY}08:00:00", target=TASK, **limit)
    assert [one["observed"] for one in each] == [1200.0, 900.0]
    whole = judged(store, lines, f"{DAY}08:00:00", target=TASK, over="retries", **limit)
    assert verdict(whole) == ("breached", 2400.0, 1800.0, f"{DAY}06:30:00")
    assert len(whole[0]["runs"]) == 2


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("06:59:59", ("pending", 3599.0, 3600.0, None)),
        ("07:00:01", ("breached", 3601.0, 3600.0, f"{DAY}07:00:00")),
    ],
)
def test_run_duration(store: Store, at: str, expected: Any) -> None:
    lines = jsonl(dag_run("shop", "r1", DUE, start=f"{DAY}06:00:00"))
    target = {"dag": "shop"}
    found = judged(store, lines, DAY + at, target=target, kind="run_duration", at_most="1h")
    assert verdict(found) == expected


NINE = {"kind": "run_deadline", "at": "09:00", "zone": "Europe/Berlin"}  # 08:00 UTC
NINE_US = us(f"{DAY}08:00:00") / 1e6


@pytest.mark.parametrize(
    ("end", "at", "state", "breached", "late"),
    [
        (None, "07:59:59", "pending", None, None),
        (None, "08:00:01", "breached", f"{DAY}08:00:00", None),
        ("07:30:00", "07:59:59", "ok", None, None),
        ("07:30:00", "08:00:01", "ok", None, None),
        ("08:00:00", "08:00:01", "ok", None, None),
        ("08:10:00", "08:05:00", "breached", f"{DAY}08:00:00", None),
        ("08:10:00", "08:30:00", "recovered", f"{DAY}08:00:00", 600.0),
    ],
)
@pytest.mark.parametrize("kind", ["run_deadline", "task_deadline"])
def test_deadlines(
    store: Store, kind: str, end: str | None, at: str, state: str, breached: Any, late: Any
) -> None:
    until = end and DAY + end
    if kind == "run_deadline":
        target = {"dag": "shop"}
        lines = jsonl(dag_run("shop", "r1", DUE, start=f"{DAY}06:00:01", end=until))
    else:
        target, lines = TASK, load("06:00:01", end)
    found = judged(store, lines, DAY + at, target=target, **{**NINE, "kind": kind})
    one = next(one for one in found if one["period"].startswith(f"{DAY}08:00:00"))
    assert (one["kind"], one["state"], one["threshold"]) == (kind, state, NINE_US)
    assert (one["breached_at"] and one["breached_at"][:19], one["late_by_seconds"]) == (
        breached,
        late,
    )
    assert one["observed"] == (
        us(DAY + end) / 1e6 if state in ("ok", "recovered") and end else None
    )


def test_a_deadline_that_nothing_ran_for_is_broken_too(store: Store) -> None:
    # Something ran the day before, and nothing on the day.
    lines = jsonl(dag_run("shop", "r0", "2026-03-01T06:00:00", start="2026-03-01T06:00:00",
                          end="2026-03-01T07:00:00"))  # fmt: skip
    found = judged(store, lines, f"{DAY}08:00:01", target={"dag": "shop"}, **NINE)
    today = [one for one in found if one["period"].startswith(DAY)]
    assert [(one["state"], one["reason"]) for one in today] == [("breached", "no run")]


def test_no_deadline_is_broken_before_anything_was_known(store: Store) -> None:
    lines = jsonl(dag_run("shop", "r1", DUE, start=f"{DAY}06:00:00", end=f"{DAY}07:00:00"))
    found = judged(store, lines, f"{DAY}08:00:01", target={"dag": "shop"}, **NINE)
    assert [one["state"] for one in found] == ["ok", "pending"]


def test_a_breach_is_told_alike_whenever_it_is_looked_for(store: Store) -> None:
    lines = jsonl(dag_run("shop", "r1", DUE, start=f"{DAY}06:00:00"))
    for at in (f"{DAY}08:00:01", f"{DAY}11:00:00", "2026-03-03T07:00:00"):
        one = judged(store, lines, at, target={"dag": "shop"}, **NINE)[0]
        assert (one["period"][:19], one["breached_at"][:19]) == (f"{DAY}08:00:00",) * 2
        assert one["detected_at"][:19] == at


def test_an_old_partition_that_is_written_again_leaves_freshness_broken(store: Store) -> None:
    again = task_run("shop", "load", "r2", f"{DAY}18:00:00", start=f"{DAY}20:00:00",
                     end=f"{DAY}20:10:00",
                     outputs=[dataset(ORDERS, partition="2025-03-01")])  # fmt: skip
    lines = written("06:10:00", partition="2026-03-02") + jsonl(again)
    target = {"dataset": ORDERS}
    found = judged(store, lines, f"{DAY}21:00:00", target=target, kind="freshness", at_most="6h")
    assert verdict(found) == ("breached", 53400.0, 21600.0, f"{DAY}12:10:00")


def test_a_dataset_is_written_by_its_deadline(store: Store) -> None:
    def states(at: str, lines: str) -> list[tuple[Any, ...]]:
        promise = {"target": {"dataset": ORDERS}, "kind": "deadline", "at": "09:00"}
        found = judged(store, lines, at, **promise)
        return [(one["state"], one["late_by_seconds"]) for one in found]

    assert states("2026-03-02T08:59:59", days(1)) == [("ok", None), ("pending", None)]
    assert states("2026-03-02T09:00:01", "")[:2] == [("ok", None), ("breached", None)]
    late = task_run("shop", "load", "r9", DUE, start=f"{DAY}10:00:00", end=f"{DAY}10:30:00",
                    outputs=[dataset(ORDERS)])  # fmt: skip
    assert states("2026-03-02T11:00:00", jsonl(late))[1] == ("recovered", 5400.0)


def test_a_paused_dag_breaks_no_deadline(store: Store) -> None:
    pauses: Any = {"shop": [(us(f"{DAY}01:00:00"), None)]}
    found = judged(store, "", f"{DAY}08:00:01", target={"dag": "shop"}, pauses=pauses, **NINE)
    states = {one["period"][:10]: one["state"] for one in found}
    assert states["2026-03-02"] == "suspended"
    assert states["2026-03-01"] == "breached"


@pytest.mark.parametrize(
    ("began", "state"),
    [("08:30:00", "ok"), ("07:30:00", "recovered")],
)
def test_what_begins_after_a_pause_over_its_deadline_is_not_late(
    store: Store, began: str, state: str
) -> None:
    pauses: Any = {"shop": [(us(f"{DAY}07:45:00"), us(f"{DAY}08:20:00"))]}
    lines = jsonl(dag_run("shop", "r1", DUE, start=DAY + began, end=f"{DAY}09:00:00"))
    found = judged(store, lines, f"{DAY}10:00:00", target={"dag": "shop"}, pauses=pauses, **NINE)
    states = {one["period"][:10]: one["state"] for one in found}
    assert states["2026-03-02"] == state


@pytest.mark.parametrize(
    ("start", "at", "expected"),
    [
        ("06:04:00", "06:10:00", ("ok", 240.0, 300.0, None)),
        ("06:07:00", "06:10:00", ("recovered", 420.0, 300.0, f"{DAY}06:05:00")),
    ],
)
def test_start_delay(store: Store, start: str, at: str, expected: Any) -> None:
    lines = jsonl(dag_run("shop", "r1", DUE, start=DAY + start))
    found = judged(store, lines, DAY + at, target={"dag": "shop"}, kind="start_delay", at_most="5m")
    assert verdict(found) == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("06:04:59", ("pending", 299.0, 300.0, None)),
        ("06:05:01", ("breached", 301.0, 300.0, f"{DAY}06:05:00")),
        ("06:30:00", ("recovered", 600.0, 300.0, f"{DAY}06:05:00")),
    ],
)
def test_queue_latency(store: Store, at: str, expected: Any) -> None:
    note = queued_note("shop", "load", "r1", f"{DAY}06:00:00", f"{DAY}06:10:00")
    found = judged(
        store, load("06:10:00", "06:20:00"), DAY + at,
        target=TASK, notes=(note,), kind="queue_latency", at_most="5m",
    )  # fmt: skip
    assert verdict(found) == expected


@pytest.mark.parametrize(
    ("start", "at", "expected"),
    [
        (None, "06:04:59", ("pending", 299.0, 300.0, None)),
        (None, "06:05:01", ("breached", 301.0, 300.0, f"{DAY}06:05:00")),
        ("06:01:00", "06:10:00", ("ok", 60.0, 300.0, None)),
        ("06:20:00", "06:30:00", ("recovered", 1200.0, 300.0, f"{DAY}06:05:00")),
    ],
)
def test_missing_run(store: Store, start: str | None, at: str, expected: Any) -> None:
    lines = jsonl(dag_run("shop", "r1", DUE, start=DAY + start)) if start else ""
    found = judged(
        store, lines, DAY + at, target={"dag": "shop"}, kind="missing_run", grace="5m",
        expected={"shop": [ExpectedRun(due_us=us(DUE))]},
    )  # fmt: skip
    assert verdict(found) == expected


def test_a_missing_run_of_a_paused_dag_is_suspended_and_of_an_unknown_schedule_no_data(
    store: Store,
) -> None:
    target = {"dag": "shop"}
    found = judged(store, "", f"{DAY}07:00:00", target=target, kind="missing_run")
    assert found[0]["state"] == "no_data"
    pauses: Any = {"shop": [(us(f"{DAY}05:00:00"), None)]}
    expected = {"shop": [ExpectedRun(due_us=us(DUE))]}
    found = judged(
        *(store, "", f"{DAY}07:00:00"),
        target=target, kind="missing_run", expected=expected, pauses=pauses,
    )  # fmt: skip
    assert (found[0]["state"], found[0]["breached_at"]) == ("suspended", None)


def written(end: str, **values: Any) -> str:
    return load("06:00:00", end, outputs=[dataset(ORDERS, **values)])


@pytest.mark.parametrize(
    ("clock", "values", "breaks"),
    [
        ("write", {}, "12:10:00"),
        ("interval_end", {}, "12:00:00"),
        ("event_time", {"watermark": f"{DAY}05:30:00"}, "11:30:00"),
    ],
)
def test_freshness_by_three_clocks(store: Store, clock: str, values: Any, breaks: str) -> None:
    promise = {"target": {"dataset": ORDERS}, "kind": "freshness", "at_most": "6h", "clock": clock}
    lines = written("06:10:00", **values)
    at_us = us(DAY + breaks)

    def at(seconds: int) -> tuple[Any, ...]:
        from airflow_provenance.domain.clock import format_time

        moment = format_time(at_us + seconds * 1_000_000) or ""
        return verdict(judged(store, lines, moment.rstrip("Z"), **promise))

    assert at(-1) == ("ok", 21599.0, 21600.0, None)
    assert at(1) == ("breached", 21601.0, 21600.0, DAY + breaks)


def test_freshness_recovers_with_the_next_write(store: Store) -> None:
    later = task_run("shop", "load", "r2", "2026-03-03T06:00:00", start="2026-03-03T06:00:00",
                     end="2026-03-03T06:10:00", outputs=[dataset(ORDERS)])  # fmt: skip
    found = judged(
        store, written("06:10:00") + jsonl(later), "2026-03-03T07:00:00",
        target={"dataset": ORDERS}, kind="freshness", at_most="20h",
    )  # fmt: skip
    assert [(one["state"], one["late_by_seconds"]) for one in found] == [
        ("recovered", 14400.0),
        ("ok", None),
    ]


@pytest.mark.parametrize("partition", [True, False])
def test_a_backfill_of_last_year_leaves_freshness_broken(store: Store, partition: bool) -> None:
    def part(day: str) -> dict[str, Any]:
        return {"partition": day} if partition else {}

    old = task_run("shop", "load", "b1", "2025-03-01T06:00:00", start=f"{DAY}20:00:00",
                   end=f"{DAY}20:10:00", run_type="backfill",
                   outputs=[dataset(ORDERS, **part("2025-03-01"))])  # fmt: skip
    lines = written("06:10:00", **part("2026-03-02")) + jsonl(old)
    for runs in (["scheduled"], ["scheduled", "backfill"]):
        found = judged(
            store, lines, f"{DAY}21:00:00",
            target={"dataset": ORDERS}, kind="freshness", at_most="6h", more={"runs": runs},
        )  # fmt: skip
        assert verdict(found)[0] == "breached"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(100, ("ok", 100, 100.0, None)), (99, ("breached", 99, 100.0, f"{DAY}06:10:00"))],
)
def test_volume(store: Store, rows: int, expected: Any) -> None:
    found = judged(
        store, written("06:10:00", rows=rows), f"{DAY}07:00:00",
        target={"dataset": ORDERS}, kind="volume", at_least=100,
    )  # fmt: skip
    assert verdict(found) == expected


def days(*rows: int) -> str:
    return jsonl(
        *(
            task_run("shop", "load", f"r{day}", f"2026-03-0{day}T06:00:00",
                     start=f"2026-03-0{day}T06:00:00", end=f"2026-03-0{day}T06:10:00",
                     outputs=[dataset(ORDERS, rows=count)])
            for day, count in enumerate(rows, start=1)
        )
    )  # fmt: skip


def test_volume_against_what_is_usual(store: Store) -> None:
    promise = {"kind": "volume", "at_least": 0.5, "baseline": "all", "min_history": 3}
    lines = days(100, 120, 110, 54, 56)
    found = judged(store, lines, "2026-03-06T00:00:00", target={"dataset": ORDERS}, **promise)
    assert [(one["state"], one["threshold"]) for one in found] == [
        ("insufficient_history", None),
        ("insufficient_history", None),
        ("insufficient_history", None),
        ("breached", 55.0),  # half the median of 100, 110 and 120
        ("ok", 52.5),  # of 54, 100, 110 and 120
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(99, ("ok", 0.99, 0.99, None)), (98, ("breached", 0.98, 0.99, f"{DAY}06:10:00"))],
)
@pytest.mark.parametrize("target", [TASK, {"dataset": ORDERS}])
def test_completeness(store: Store, rows: int, expected: Any, target: Any) -> None:
    io = {"inputs": [read("pg/shop.raw", rows=100)], "outputs": [dataset(ORDERS, rows=rows)]}
    found = judged(
        store, load("06:00:00", "06:10:00", **io), f"{DAY}07:00:00",
        target=target, kind="completeness", at_least=0.99,
    )  # fmt: skip
    assert verdict(found) == expected


def test_completeness_of_partitions_names_those_that_are_missing(store: Store) -> None:
    lines = jsonl(
        *(
            task_run("shop", "load", f"r{day}", f"2026-03-0{day}T06:00:00",
                     start=f"2026-03-0{day}T06:00:00", end=f"2026-03-0{day}T06:10:00",
                     outputs=[dataset(ORDERS, partition=f"2026-03-0{day}")])
            for day in (1, 2, 4)
        )
    )  # fmt: skip
    promise = {"kind": "completeness", "of": "partitions", "days": 4}
    found = judged(store, lines, "2026-03-05T12:00:00", target={"dataset": ORDERS}, **promise)
    assert verdict(found) == ("breached", 0.75, 1.0, "2026-03-04T00:00:00")
    assert found[0]["reason"] == "missing: 2026-03-03"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(600, ("ok", 1.0, 1.0, None)), (300, ("breached", 0.5, 1.0, f"{DAY}06:10:00"))],
)
def test_throughput(store: Store, rows: int, expected: Any) -> None:
    lines = written("06:10:00", rows=rows)
    found = judged(store, lines, f"{DAY}07:00:00", target=TASK, kind="throughput", at_least=1)
    assert verdict(found) == expected


def runs_of(states: str) -> str:
    return jsonl(
        *(
            dag_run("shop", f"r{day}", f"2026-03-{day:02}T06:00:00",
                    start=f"2026-03-{day:02}T06:00:00", end=f"2026-03-{day:02}T07:00:00",
                    state="COMPLETE" if letter == "+" else "FAIL")
            for day, letter in enumerate(states, start=1)
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("+++++-++++", ("ok", 0.9, 0.9, None)),
        ("++-+-+++++", ("breached", 0.8, 0.9, "2026-03-05T07:00:00")),
    ],
)
def test_success_ratio(store: Store, states: str, expected: Any) -> None:
    promise = {"kind": "success_ratio", "at_least": 0.9, "window": "30d", "min_events": 10}
    promise["alert_on"] = "ratio"
    target = {"dag": "shop"}
    found = judged(store, runs_of(states), "2026-03-11T00:00:00", target=target, **promise)
    assert verdict(found) == expected
    assert len(found[0]["runs"]) == 10
    early = judged(store, "", "2026-03-09T00:00:00", target=target, **promise)
    assert early[0]["state"] == "insufficient_history"


def test_an_excused_failure_spares_the_budget_unless_it_counts(store: Store) -> None:
    excusal = {"start": "2026-03-03T00:00:00Z", "end": "2026-03-04T00:00:00Z", "author": "ops",
               "reason": "power cut"}  # fmt: skip
    promise = {"kind": "success_ratio", "at_least": 0.9, "target": {"dag": "shop"}}
    promise["alert_on"] = "ratio"
    at = "2026-03-11T00:00:00"
    spared = judged(store, runs_of("++-+-+++++"), at, more={"excusals": [excusal]}, **promise)
    assert (spared[0]["state"], len(spared[0]["runs"])) == ("breached", 9)
    assert spared[0]["reason"] == "budget left: -0.1 failures"
    counts = judged(store, "", at, more={"excusals": [{**excusal, "counts": True}]}, **promise)
    assert len(counts[0]["runs"]) == 10


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("+--+--", ("ok", 2.0, 3.0, None)),
        ("+---", ("breached", 3.0, 3.0, "2026-03-04T07:00:00")),
        ("+---+", ("ok", 0.0, 3.0, None)),
    ],
)
def test_consecutive_misses(store: Store, states: str, expected: Any) -> None:
    promise = {"kind": "consecutive_misses", "count": 3}
    at = "2026-03-07T00:00:00"
    assert (
        verdict(judged(store, runs_of(states), at, target={"dag": "shop"}, **promise)) == expected
    )


def test_consecutive_misses_of_another_promise(store: Store) -> None:
    promise = {"kind": "consecutive_misses", "count": 2, "of": {"kind": "volume", "at_least": 100}}
    target = {"dataset": ORDERS}
    found = judged(store, days(100, 99, 98), "2026-03-06T00:00:00", target=target, **promise)
    assert verdict(found) == ("breached", 2.0, 2.0, "2026-03-03T06:10:00")


@pytest.mark.parametrize(
    ("success", "severity", "expected"),
    [
        (True, "error", ("ok", 1.0, 1.0, None)),
        (False, "error", ("breached", 0.5, 1.0, f"{DAY}06:10:00")),
        (False, "warn", ("ok", 1.0, 1.0, None)),
    ],
)
@pytest.mark.parametrize("role", ["inputs", "outputs"])
def test_data_quality(store: Store, role: str, success: bool, severity: str, expected: Any) -> None:
    checks = [
        {"assertion": "not_null", "column": "dest", "success": True},
        {"assertion": "has_airport", "column": "dest", "success": success, "severity": severity},
    ]
    make = read if role == "inputs" else dataset
    lines = load("06:00:00", "06:10:00", **{role: [make(ORDERS, checks=checks)]})
    found = judged(store, lines, f"{DAY}07:00:00", target={"dataset": ORDERS}, kind="data_quality")
    assert verdict(found) == expected
    if expected[0] == "breached":
        assert found[0]["reason"] == "failed: has_airport(dest)"


@pytest.mark.parametrize(
    ("target", "period"), [(TASK, "shop.load/r1"), ({"dag": "shop"}, "shop.load/r1")]
)
@pytest.mark.parametrize(
    ("failed", "rows", "expected"),
    [
        (1, 100, ("ok", 0.99, 0.99, None)),
        (2, 100, ("breached", 0.98, 0.99, f"{DAY}06:10:00")),
        (None, 100, ("no_data", None, None, None)),
    ],
)
def test_data_quality_of_a_job_by_the_part_of_rows_that_are_as_they_should_be(
    store: Store,
    target: dict[str, str],
    period: str,
    failed: int | None,
    rows: int,
    expected: Any,
) -> None:
    params = {} if failed is None else {"failedRows": failed}
    checks = [
        {"assertion": "not_null", "column": "dest", "success": True},
        {"assertion": "has_airport", "column": "dest", "success": False, "params": params},
    ]
    # The rows that were looked at are those of the data, where the check does not say them.
    written = dataset("files/2026-03-02/orders.csv", rows=rows, checks=checks)
    lines = load("06:00:00", "06:10:00", outputs=[written])
    promise = {"kind": "data_quality", "of": "rows", "at_least": 0.99}
    found = judged(store, lines, f"{DAY}07:00:00", target=target, **promise)
    assert verdict(found) == pytest.approx(expected)
    assert found[-1]["period"] == period
    assert "failed: has_airport(dest)" in found[-1]["reason"]
    # Nothing is judged before its run has ended.
    early = judged(store, "", f"{DAY}06:05:00", target=target, **promise)
    assert [one["state"] for one in early] == ["no_data"]


def test_a_check_that_nobody_counted_hides_no_breach_that_was_counted(store: Store) -> None:
    checks = [
        {"assertion": "not_null", "column": "a", "success": False, "params": {"failedRows": 50}},
        {"assertion": "row_count", "success": False},
    ]
    lines = load("06:00:00", "06:10:00", outputs=[dataset("pg/orders", rows=100, checks=checks)])
    promise = {"kind": "data_quality", "of": "rows", "at_least": 0.99}
    found = judged(store, lines, f"{DAY}07:00:00", target=TASK, **promise)
    assert verdict(found) == ("breached", 0.5, 0.99, f"{DAY}06:10:00")


@pytest.mark.parametrize(
    ("columns", "expected", "reason"),
    [
        ({"id": "int", "at": "text", "new": "int"}, ("ok", 0.0, 0.0, None), ""),
        ({"id": "text", "new": "int"}, ("breached", 2.0, 0.0, "2026-03-03T06:10:00"),
         "at is gone; id was int and is text"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("named", [True, False])
def test_schema_contract(
    store: Store, columns: dict[str, str], expected: Any, reason: str, named: bool
) -> None:
    before = {"id": "INT", "at": "text"} if not named else {"id": "int"}
    promise = {
        "kind": "schema_contract",
        **({"columns": {"id": "int", "at": "text"}} if named else {}),
    }
    later = task_run("shop", "load", "r2", "2026-03-03T06:00:00", start="2026-03-03T06:00:00",
                     end="2026-03-03T06:10:00",
                     outputs=[dataset(ORDERS, columns=columns)])  # fmt: skip
    lines = written("06:10:00", columns=before) + jsonl(later)
    found = judged(store, lines, "2026-03-04T00:00:00", target={"dataset": ORDERS}, **promise)
    assert verdict(found) == expected
    assert found[-1]["reason"].lower() == reason


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("08:30:00", ("ok", 10800.0, 10800.0, None)),
        ("09:00:00", ("breached", 12600.0, 10800.0, f"{DAY}08:30:00")),
    ],
)
def test_end_to_end_latency(store: Store, end: str, expected: Any) -> None:
    first = load("06:00:00", "06:10:00", outputs=[dataset(ORDERS, watermark=f"{DAY}05:30:00")])
    second = task_run("report", "sum", "r1", DUE, start=f"{DAY}07:00:00", end=DAY + end,
                      inputs=[read(ORDERS)], outputs=[dataset(TOTALS)])  # fmt: skip
    found = judged(
        store, first + jsonl(second), f"{DAY}10:00:00",
        target={"dataset": TOTALS}, kind="end_to_end_latency", source=ORDERS, at_most="3h",
    )  # fmt: skip
    assert verdict(found) == expected
    assert len(found[0]["runs"]) == 2


@pytest.mark.parametrize(
    ("at_most", "expected"),
    [
        (1200, ("ok", 1200.0, 1200, None)),
        (900, ("breached", 1200.0, 900, f"{DAY}06:07:30")),
    ],
)
def test_cost_in_slot_seconds_of_all_tasks_together(
    store: Store, at_most: int, expected: Any
) -> None:
    two = [
        task_run("shop", task, "r1", DUE, start=f"{DAY}06:00:00", end=f"{DAY}06:10:00")
        for task in ("load", "check")
    ]
    run = dag_run("shop", "r1", DUE, start=f"{DAY}06:00:00", end=f"{DAY}06:11:00")
    found = judged(
        store,
        jsonl(*two, run),
        f"{DAY}07:00:00",
        target={"dag": "shop"},
        kind="cost",
        at_most=at_most,
    )
    assert verdict(found) == expected


def test_cost_by_a_number_of_the_users(store: Store) -> None:
    lines = load("06:00:00", "06:10:00", extra_facets={"warehouse": {"bytesBilled": 30}})
    promise = {"kind": "cost", "metric": "warehouse.bytesBilled", "price": 0.5, "unit": "EUR"}
    at = f"{DAY}07:00:00"
    found = judged(store, lines, at, target=TASK, at_most=10, **promise)
    assert verdict(found) == ("breached", 15.0, 10.0, f"{DAY}06:10:00")
    assert verdict(judged(store, "", at, target=TASK, at_most=20, **promise))[:2] == ("ok", 15.0)


AT_NINE = {"kind": "run_deadline", "at": "09:00"}  # 180 minutes after 06:00 UTC


@pytest.mark.parametrize(
    ("policy", "minute", "state", "breached"),
    [
        ("breach_now", 9, "pending", None),
        ("breach_now", 11, "breached", f"{DAY}06:10:00"),
        ("at_deadline", 11, "pending", None),
        ("at_deadline", 179, "pending", None),
        ("at_deadline", 181, "breached", f"{DAY}09:00:00"),
        ("ignore", 11, "no_data", None),
        ("ignore", 600, "no_data", None),
    ],
)
def test_what_a_failure_means_is_the_promises_choice(
    store: Store, policy: str, minute: int, state: str, breached: str | None
) -> None:
    lines = jsonl(dag_run("shop", "r1", DUE, start=DUE, end=f"{DAY}06:10:00", state="FAIL"))
    at = f"{DAY}{6 + minute // 60:02}:{minute % 60:02}:00"
    found = judged(store, lines, at, target={"dag": "shop"}, more={"on_failure": policy}, **AT_NINE)
    one = next(one for one in found if one["period"].startswith(f"{DAY}09:00"))
    assert (one["state"], one["breached_at"] and one["breached_at"][:19]) == (state, breached)


def test_a_run_that_was_cleared_and_succeeded_in_time_kept_its_deadline(store: Store) -> None:
    failed = dag_run("shop", "r1", DUE, start=DUE, end=f"{DAY}06:10:00", state="FAIL")
    again = dag_run("shop", "r1", DUE, start=f"{DAY}07:30:00", end=f"{DAY}08:00:00")
    lines = jsonl(failed, again)
    found = judged(store, lines, f"{DAY}10:00:00", target={"dag": "shop"}, **AT_NINE)
    one = next(one for one in found if one["period"].startswith(f"{DAY}09:00"))
    assert (one["state"], one["observed"]) == ("ok", us(f"{DAY}08:00:00") / 1e6)


def test_a_backfill_or_manual_run_keeps_no_promise_unless_it_counts(store: Store) -> None:
    lines = jsonl(dag_run("shop", "r1", DUE, start=DUE, end=f"{DAY}07:00:00", run_type="manual"))
    at, target = f"{DAY}09:00:01", {"dag": "shop"}
    assert judged(store, lines, at, target=target, **AT_NINE)[-2]["state"] == "breached"
    found = judged(store, "", at, target=target, more={"runs": ["scheduled", "manual"]}, **AT_NINE)
    assert found[-2]["state"] == "ok"


def test_a_breach_that_is_never_made_good_expires(store: Store) -> None:
    lines = jsonl(dag_run("shop", "r1", DUE, start=DUE, end=f"{DAY}07:00:00", state="FAIL"))
    found = judged(
        store, lines, "2026-03-04T12:00:00",
        target={"dag": "shop"}, more={"expires_after": "2d"}, **AT_NINE,
    )  # fmt: skip
    assert [one["state"] for one in found if one["period"].startswith(DAY)] == ["expired"]


def test_runs_reading_a_dataset_are_found_in_every_store(store: Store) -> None:
    lines = load("06:00:00", "06:10:00", inputs=[read(ORDERS)])
    ingest_all(store, [("E", line.encode()) for line in lines.splitlines()], [])
    (ref,) = store.datasets_named(ORDERS)
    (run,) = store.runs_named("r1")
    assert store.runs_reading(ref) == [run.id]
