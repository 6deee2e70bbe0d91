"""What broke a promise stands in the notice and in ``sla why``, from what was recorded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provenance.alerts.channels.memory import MemoryChannel
from airflow_provenance.alerts.deliver import Deliverer
from airflow_provenance.alerts.inhibit import nothing_upstream
from airflow_provenance.alerts.message import Cleaner
from airflow_provenance.alerts.routes import parse_routes
from airflow_provenance.alerts.send import Told
from airflow_provenance.cli import main
from airflow_provenance.collect.evaluator import Evaluator
from airflow_provenance.collect.promise_sources import PromiseSources
from airflow_provenance.domain.clock import FixedClock
from airflow_provenance.emit.redact import Redactor
from airflow_provenance.store.promises import ConditionRow, ExpectedRow
from tests.contract.support import ingest_all
from tests.contract.test_sla_why import at, day_of
from tests.support.sla_events import dag_run, dataset, jsonl, read, task_run, us

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from airflow_provenance.alerts.message import Message
    from airflow_provenance.store.base import Store

TOKEN = "ghp_0123456789abcdefghijABCDEFGHIJ012345"  # noqa: S105 - nobody's
ROUTE = '[{"name": "all", "channels": ["log"], "group_wait": "0s"}]'


class Day:
    """A store with promises, judged and told of as the service does."""

    def __init__(self, store: Store, folder: Path, promise: str, since: str) -> None:
        self.store, self.channel = store, MemoryChannel()
        file = folder / "promises.yaml"
        file.write_text(f"promises:\n  - {promise}\n")
        self.clock = FixedClock(us(since))
        self.evaluator = Evaluator(store, PromiseSources(str(file), None, []), None, self.clock)
        redactor = Redactor()
        self.deliverer = Deliverer(
            store,
            {"log": self.channel},
            parse_routes(ROUTE, ["log"]),
            Told(Cleaner(redactor.message, redactor.name)),
            self.clock,
            nothing_upstream,
        )
        self.look(since)

    def add(self, lines: str) -> None:
        ingest_all(self.store, [("E", line.encode()) for line in lines.splitlines()], [])

    def look(self, moment: str) -> list[Message]:
        self.clock.us = us(moment)
        self.evaluator.run_once()
        self.deliverer.run_once()
        return self.channel.sent


def cause_in(message: Message) -> str | None:
    return dict(message.facts).get("cause")


def check(name: str, **members: Any) -> dict[str, Any]:
    return {"assertion": name, "success": False, "column": "who", **members}


def test_a_notice_of_bad_data_names_the_data_that_it_was_compared_with(
    store: Store, tmp_path: Path
) -> None:
    promise = "{id: known, target: {dataset: pg/orders}, objective: {kind: data_quality}}"
    day = Day(store, tmp_path, promise, "2026-03-02T08:00:00")
    compared = {"comparedWith": [{"namespace": "pg", "name": "people", "column": "id"}]}
    failed = check("foreign_key", params={"failedRows": 7, "rows": 90, **compared})
    day.add(
        jsonl(
            task_run(
                *("shop", "check", "r1", "2026-03-02T06:00:00"),
                start="2026-03-02T09:00:00",
                end="2026-03-02T09:01:00",
                inputs=[read("pg/orders", checks=[failed]), read("pg/people")],
            )
        )
    )

    (message,) = day.look("2026-03-02T09:02:00")

    assert cause_in(message) == (
        "foreign_key of column who failed, 7 of 90 rows: look at pg/people, "
        "the check looks its values up in it (column id)"
    )
    assert message.data["next_step"] == "airflow-provenance sla why known"


def test_a_notice_of_lost_rows_names_the_check_that_fails_for_as_many(
    store: Store, tmp_path: Path
) -> None:
    objective = "{kind: completeness, at_least: 0.97}"
    promise = f"{{id: whole, target: {{dag: shop, task: load}}, objective: {objective}}}"
    day = Day(store, tmp_path, promise, "2026-03-02T08:00:00")
    failed = check("not_null", params={"failedRows": 7})
    other = check("unique", params={"failedRows": 90})
    due = "2026-03-02T06:00:00"
    day.add(
        jsonl(
            task_run(
                *("shop", "ingest", "r1", due),
                start="2026-03-02T08:50:00",
                end="2026-03-02T08:51:00",
                outputs=[dataset("pg/raw", rows=100, checks=[other, failed])],
            ),
            task_run(
                *("shop", "load", "r1", due),
                start="2026-03-02T09:00:00",
                end="2026-03-02T09:01:00",
                inputs=[read("pg/raw", rows=100)],
                outputs=[dataset("pg/orders", rows=93)],
            ),
        )
    )

    (message,) = day.look("2026-03-02T09:02:00")

    assert cause_in(message) == (
        "shop.load left out 7 of 100 rows: not_null of column who fails for as many of pg/raw"
    )


def test_a_notice_of_a_late_run_names_the_task_upstream(store: Store, tmp_path: Path) -> None:
    objective = '{kind: deadline, at: "08:00"}'
    promise = f"{{id: report, target: {{dag: report}}, objective: {objective}}}"
    day = Day(store, tmp_path, promise, at(1, 0))
    day.add("".join(day_of(one) for one in range(1, 21)))
    assert not day.look(at(21, 0))
    day.add(day_of(21, load=180, upto=485))

    (message,) = day.look(at(21, 485))

    assert cause_in(message) == "shop.load ran 3h1m, usually 1h2m (scheduled__21)"


def test_what_still_runs_for_the_first_time_is_compared_with_nothing(
    store: Store, tmp_path: Path
) -> None:
    objective = '{kind: deadline, at: "08:00"}'
    promise = f"{{id: shop, target: {{dag: shop}}, objective: {objective}}}"
    day = Day(store, tmp_path, promise, "2026-03-02T06:00:00")
    values = {"start": "2026-03-02T06:01:00"}
    day.add(
        jsonl(
            dag_run("shop", "r1", "2026-03-02T06:00:00", **values),
            task_run("shop", "load", "r1", "2026-03-02T06:00:00", **values),
        )
    )
    (message,) = day.look("2026-03-02T08:01:00")
    assert cause_in(message) == (
        "shop.load still runs, for 2h now, and there is no earlier run to compare with (r1)"
    )


def test_what_failed_before_its_deadline_says_its_error_and_not_what_took_long(
    store: Store, tmp_path: Path
) -> None:
    objective = '{kind: deadline, at: "08:00"}'
    promise = f"{{id: shop, target: {{dag: shop}}, on_failure: breach_now, objective: {objective}}}"
    day = Day(store, tmp_path, promise, "2026-03-02T06:00:00")
    values = {"start": "2026-03-02T06:01:00", "end": "2026-03-02T06:30:00", "state": "FAIL"}
    error = {"errorMessage": {"message": "ValueError: no orders", "programmingLanguage": "PYTHON"}}
    day.add(
        jsonl(
            task_run("shop", "load", "r1", "2026-03-02T06:00:00", extra_facets=error, **values),
            dag_run("shop", "r1", "2026-03-02T06:00:00", **values),
        )
    )
    (message,) = day.look("2026-03-02T06:31:00")
    assert cause_in(message) == "shop.load failed with ValueError: no orders"


def test_a_notice_names_the_file_that_cannot_be_imported_and_since_when(
    store: Store, tmp_path: Path
) -> None:
    promise = "{id: comes, target: {dag: shop}, objective: {kind: missing_run, grace: 5m}}"
    day = Day(store, tmp_path, promise, "2026-03-02T08:00:00")
    due_us = us("2026-03-02T09:00:00")
    store.put_expected("shop", due_us - 1, [ExpectedRow(dag_id="shop", due_us=due_us)])
    broken = ConditionRow(
        dag_id="shop", kind="import_error", from_us=us("2026-03-02T08:30:00"), detail="shop.py"
    )
    store.put_conditions([broken])
    (message,) = day.look("2026-03-02T09:05:01")
    assert cause_in(message) == (
        "the DAG's file shop.py cannot be imported since 2026-03-02 08:30:00 UTC"
    )
    assert message.data["firing"][0]["explanation"] == cause_in(message)


def test_a_notice_of_a_failure_says_with_what_error_and_no_secret(
    store: Store, tmp_path: Path
) -> None:
    objective = "{kind: consecutive_misses, count: 2}"
    promise = f"{{id: steady, target: {{dag: shop}}, objective: {objective}}}"
    day = Day(store, tmp_path, promise, "2026-03-02T08:00:00")
    error = {
        "_producer": "https://example.org/shop",
        "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/ErrorMessageRunFacet.json",
        "message": f"ValueError: no such key {TOKEN}\nmore of it",
        "programmingLanguage": "PYTHON",
    }
    for number, hour in enumerate(("09", "10")):
        due = f"2026-03-02T{hour}:00:00"
        day.add(
            jsonl(
                dag_run("shop", f"r{number}", due, start=due, end=f"{due[:-5]}05:00", state="FAIL"),
                task_run(
                    *("shop", "load", f"r{number}", due),
                    start=due,
                    end=f"{due[:-5]}04:00",
                    state="FAIL",
                    extra_facets={"errorMessage": error},
                ),
            )
        )

    (message,) = day.look("2026-03-02T10:06:00")

    assert str(cause_in(message)).startswith("shop.load failed with ValueError: no such key ")
    assert TOKEN not in message.text + json.dumps(message.data)
    assert "more of it" not in message.text


def test_what_airflow_was_seen_to_do_goes_before_what_is_explained(
    store: Store, tmp_path: Path
) -> None:
    objective = '{kind: deadline, at: "08:00"}'
    promise = f"{{id: report, target: {{dag: report}}, objective: {objective}}}"
    day = Day(store, tmp_path, promise, at(1, 0))
    day.add("".join(day_of(one) for one in range(1, 21)))
    day.look(at(21, 0))

    (message,) = day.look(at(21, 485))  # the DAG upstream never ran

    assert str(cause_in(message)).startswith("shop has not run, due 3h")


def test_a_cause_that_cannot_be_told_keeps_no_notice_back(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError(f"no {TOKEN}")

    monkeypatch.setattr("airflow_provenance.alerts.explainer.explain", fails)
    promise = "{id: known, target: {dataset: pg/orders}, objective: {kind: data_quality}}"
    day = Day(store, tmp_path, promise, "2026-03-02T08:00:00")
    day.add(
        jsonl(
            task_run(
                *("shop", "check", "r1", "2026-03-02T06:00:00"),
                start="2026-03-02T09:00:00",
                end="2026-03-02T09:01:00",
                inputs=[read("pg/orders", checks=[check("unique")])],
            )
        )
    )

    (message,) = day.look("2026-03-02T09:02:00")

    assert cause_in(message) is None
    assert [one.levelname for one in caplog.records if "known could not be told" in one.message]
    assert TOKEN not in caplog.text


def test_why_of_bad_data_shows_the_checks_on_the_way_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, events, file = f"sqlite:///{tmp_path}/p.db", tmp_path / "e.jsonl", tmp_path / "p.yaml"
    file.write_text(
        "promises:\n"
        "  - {id: known, target: {dataset: pg/orders}, objective: {kind: data_quality}}\n"
        "  - {id: fresh, target: {dataset: pg/orders}, objective: {kind: freshness, at_most: 1h}}\n"
    )
    events.write_text(
        jsonl(
            task_run(
                *("shop", "load", "r1", "2026-03-02T06:00:00"),
                start="2026-03-02T09:00:00",
                end="2026-03-02T09:01:00",
                inputs=[read("pg/raw")],
                outputs=[dataset("pg/orders", checks=[check("unique", params={"failedRows": 3})])],
            )
        )
    )
    main(["ingest", str(events), "--store", store])
    common = ("--file", str(file), "--store", store, "--at", "2026-03-02T11:00:00Z")

    capsys.readouterr()
    assert main(["sla", "why", "known", *common]) == 0
    told = capsys.readouterr().out
    first = "known 2026-03-02T09:01:00Z: breached since 2026-03-02 09:01:00 UTC: "
    assert told.startswith(f"{first}0 % (failed: unique(who)), promised 100 %")
    assert "unique of column who failed (error): 3 rows" in told
    assert "raw" in told

    assert main(["sla", "why", "known", *common, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "breached"
    assert found["why"]["findings"][0]["candidates"][0]["dataset"]["name"] == "raw"

    assert main(["sla", "why", "fresh", *common]) == 0
    assert "Nothing that was recorded says why." in capsys.readouterr().out
