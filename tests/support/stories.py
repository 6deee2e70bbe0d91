"""Stories to deliver: what a real Airflow spooled, and by hand what no Airflow of ours does.

`everything` was recorded from `tests/integration/dags/everything.py` under a real scheduler;
folders, hosts and servers have other names in it.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.entries import dag_run, data, entry, event, note, task, uuid

if TYPE_CHECKING:
    from airflow_provenance.formats.spool_line import Kind

    Entries = list[tuple[Kind, bytes]]

Json = dict[str, Any]
EVERYTHING = Path(__file__).with_name("everything.ndjson.gz")
ENGINE = {"processing_engine": {"name": "Airflow", "version": "3"}}


def everything() -> Entries:
    """Return the events and notes of every way a task can end, in the order of their times."""
    with gzip.open(EVERYTHING) as file:
        return [(line[:1].decode(), line[2:].rstrip(b"\n")) for line in file]  # type: ignore[misc]


def by_hand() -> Entries:
    """Return what backends need rules for, beside what is recorded, in the order of its times."""
    return [*two_runs_of_one_id(), *checked(), *ended_by_notes(), *another_producer()]


def one(kind: str, second: float, name: str, *, dag: str = "d", **how: Any) -> tuple[Kind, bytes]:
    """Return an event of a task as Airflow tells it: with its parent and its engine."""
    dag_uuid = how.pop("dag_uuid", 99)
    parent = {"run": {"runId": uuid(dag_uuid)}, "job": {"namespace": "air", "name": dag}}
    facets = {**ENGINE, "parent": parent, **how.pop("facets", {})}
    return task(kind, second, name, dag=dag, facets=facets, **how)


def two_runs_of_one_id() -> Entries:
    """Two reprocessings of one partition: the official provider gives them the same runId."""
    said: Entries = []
    for number, end in ((1, "FAIL"), (2, "COMPLETE")):
        of: Json = {"dag": "twice", "dag_run": f"manual__{number}", "run": 20, "dag_uuid": 21}
        at = number * 10
        said += [
            dag_run("START", at, "twice", f"manual__{number}", 21),
            one("START", at + 1, "load", inputs=[data("raw")], **of),
            one(end, at + 2, "load", inputs=[data("raw")], outputs=[data("loaded")], **of),
            dag_run(end, at + 3, "twice", f"manual__{number}", 21),
        ]
    return said


def assertions(*those: tuple[str, bool], named: bool = True) -> Json:
    rows = [
        {"assertion": "sql" if named else name, "success": ok} | ({"name": name} if named else {})
        for name, ok in those
    ]
    return {"dataQualityAssertions": {"assertions": rows}}


def checked() -> Entries:
    """A table that is written twice, and checked by its writer and by three tasks each time."""
    said: Entries = []
    for number in (0, 1):
        of: Json = {"dag_run": f"r{number}", "dag_uuid": 90 + number}
        at, run = 100 + 50 * number, 30 + 10 * number
        written = data("totals") | {"outputFacets": assertions(("has_rows", True))}
        seen = [
            data("totals") | {"inputFacets": assertions(("late", not number), ("null", True))},
            data("totals", **assertions(("unique", bool(number)))),
            data("totals") | {"inputFacets": assertions(("late", True), named=False)},
        ]
        said.append(one("START", at, "write", run=run, inputs=[data("raw")], **of))
        said.append(one("COMPLETE", at + 2, "write", run=run, outputs=[written], **of))
        for place, what in enumerate(seen, 1):
            name = f"check_{place}"
            said.append(one("START", at + 2 + place, name, run=run + place, **of))
            said.append(one("COMPLETE", at + 9 - place, name, run=run + place, inputs=[what], **of))
        said.append(dag_run("COMPLETE", at + 10, "d", f"r{number}", 90 + number))
    return said


def ended_by_notes() -> Entries:
    """A task that was killed, and one that somebody set to failed; no event tells either."""
    of: Json = {"inputs": [data("raw")], "outputs": [data("half")], "dag_uuid": 91}
    return [
        one("START", 210, "killed", run=50, **of),
        note("task_run", 220, of_task="killed", state="FAIL", endedAt="2026-01-05T06:03:39Z"),
        one("START", 211, "doubted", run=51, **of),
        one("COMPLETE", 212, "doubted", run=51, **of),
        one("START", 213, "by_hand", run=52, **of),
        event("FAIL", 214, "d.by_hand", 52, ENGINE),  # from the API server, which knows no task
        note("state_override", 230, of_task="doubted", state="FAIL", who="ann"),
    ]


def another_producer() -> Entries:
    """A producer that names no engine, speaks of jobs alone, and reads names that are no URI."""
    spaced = {"namespace": "file", "name": "/data/a b.csv"}
    job = {"namespace": "air", "name": "cron.nightly"}
    about_job = json.loads(event("COMPLETE", 305, "cron.nightly")[1])
    about_job = {key: value for key, value in about_job.items() if key not in ("run", "eventType")}
    about_job |= {"job": job, "inputs": [], "schemaURL": "https://x/spec#/$defs/JobEvent"}
    return [
        event("START", 300, "cron.copy", 60, inputs=[spaced]),
        event("RUNNING", 302, "cron.copy", 60, {"tags": {"tags": []}}, outputs=[data("copied")]),
        event("COMPLETE", 304, "cron.copy", 60, inputs=[spaced]),
        entry(about_job),
        event("START", 306, "cron.open", 61, inputs=[data("raw")], outputs=[data("opened")]),
        event("OTHER", 308, "cron.open", 61),
    ]
