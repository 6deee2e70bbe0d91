"""A large store of runs that things are promised of, and the promises.

A thousand DAGs run daily, each with ten tasks one after the other; the last two write a dataset
each, the very last checks its own. One run in a hundred fails. To each DAG there are ten promises,
of the eight kinds that read different things.

Rows go straight into the tables, as ingest would write them: a million runs through ingest would
take a quarter of an hour and tell nothing about evaluation. Documents are real: that of a task as
Airflow's provider told it, with this run's ids and times.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.identity import DagRunKey, DatasetRef, TaskRunKey, key_digest
from airflow_provenance.domain.linking import LinkRule
from airflow_provenance.domain.run import Io, RunDoc, RunState, VersionStatus, io_slot
from airflow_provenance.formats.brief import brief_of
from airflow_provenance.store.base import RunQuery
from airflow_provenance.store.memory import MemoryStore
from airflow_provenance.store.promises import ExpectedRow
from airflow_provenance.store.sql import codec
from airflow_provenance.store.sql.engine import writing
from airflow_provenance.store.sql.packing import RUN_COLUMNS
from tests.benchmarks.record import RECORDED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provenance.store.sql.store import SqlStore

TASKS, PROMISES = 10, 10
NAMESPACE = "bench"
_MINUTE_US = 60_000_000
_DAY_US = 1440 * _MINUTE_US
LAST_DAY_US = 1_798_675_200_000_000  # 2026-12-31
_COLUMNS = {
    "job": "id, namespace, name",
    "dataset": "id, namespace, name",
    "run": RUN_COLUMNS,
    "run_doc": "run_id, body",
    "dataset_version": "id, dataset_id, part, run_id, content_id, status, replaces, ended_us",
    "edge": "dst, src, via, rule",
}
Rows = dict[str, list[tuple[Any, ...]]]


class Promised:
    """Makes the same rows each time it is asked.

    Args:
        dags: how many DAGs.
        runs: how many task runs; they are spread evenly over DAGs, tasks and days.
    """

    def __init__(self, dags: int, runs: int) -> None:
        self.dags, self.days = dags, max(runs // (dags * TASKS), 1)
        self.first_us = LAST_DAY_US - (self.days - 1) * _DAY_US
        self.task_runs = self.dags * TASKS * self.days
        self._task, self._dag_run = _documents()
        self._next = 0

    def fill(self, store: SqlStore) -> None:
        """Insert all of it into an empty store."""
        for part in self.parts():
            with writing(store._engine) as bulk:
                for name, rows in part.items():
                    bulk.insert(name, _COLUMNS[name], rows)
        with writing(store._engine) as bulk:
            counters = [(name, self._next) for name in ("node", "run", "job", "dataset", "read")]
            bulk.upsert("counter", "name, value", counters)
        for dag in range(self.dags):
            rows = [
                ExpectedRow(dag_id=f"dag{dag}", due_us=due_us, logical_us=due_us, came_us=due_us)
                for due_us in (self._due_us(day, dag) for day in range(self.days)[-16:])
            ]
            store.put_expected(f"dag{dag}", 0, rows)
        with store._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql("VACUUM (ANALYZE)")

    def parts(self) -> Iterator[Rows]:
        """Give first the jobs and datasets, then each day."""
        width = TASKS + 1
        yield {
            "job": [
                (1 + dag * width + task, NAMESPACE, f"dag{dag}" + (f".task{task - 1}" * (task > 0)))
                for dag in range(self.dags)
                for task in range(width)
            ],
            "dataset": [
                (1 + dag * 2 + number, "file", f"/data/dag{dag}/{number}")
                for dag in range(self.dags)
                for number in range(2)
            ],
        }
        for day in range(self.days):
            rows: Rows = {name: [] for name in ("run", "run_doc", "dataset_version", "edge")}
            for dag in range(self.dags):
                self._lived(rows, day, dag)
            yield rows

    def _due_us(self, day: int, dag: int) -> int:
        return self.first_us + day * _DAY_US + (dag % 600) * _MINUTE_US

    def _lived(self, rows: Rows, day: int, dag: int) -> None:
        due_us = self._due_us(day, dag)
        key = DagRunKey(NAMESPACE, f"dag{dag}", f"scheduled__{format_time(due_us)}")
        flow, job = key_digest(key), 1 + dag * (TASKS + 1)
        ended_us = due_us + (TASKS + 1) * 5 * _MINUTE_US
        times = (due_us, ended_us)
        self._add(rows, job, key, flow, RunState.COMPLETE, times, self._dag_run, due_us, [])
        for task in range(TASKS):
            task_key = TaskRunKey(*key, f"task{task}", -1, 1)
            number = (dag * self.days + day) * TASKS + task
            state = RunState.FAIL if number % 100 == 17 else RunState.COMPLETE
            began_us = due_us + task * 5 * _MINUTE_US
            times = (began_us, began_us + (200 + number % 90) * 1_000_000)
            written = []
            if task >= TASKS - 2:
                written = [self._written(dag, task - TASKS + 2, times[1], number)]
            run_id = self._add(
                *(rows, job + 1 + task, task_key, flow, state, times),
                *(self._task, due_us, written),
            )
            for io in written:
                version = self._take()
                status = VersionStatus.GOOD if state is RunState.COMPLETE else VersionStatus.SUSPECT
                dataset_id = 1 + dag * 2 + task - TASKS + 2
                rows["dataset_version"].append(
                    (version, dataset_id, "", run_id, None, int(status), 1, times[1])
                )
                rows["edge"].append((version, run_id, 0, int(LinkRule.WROTE)))
                assert io.partition is None

    def _written(self, dag: int, number: int, at_us: int, salt: int) -> Io:
        said: dict[str, Any] = {"outputStatistics": {"rowCount": 1000 + salt % 50}}
        if number == 1:
            said["dataQualityAssertions"] = {
                "assertions": [
                    {"assertion": "not_null", "column": "id", "success": True},
                    {"assertion": "unique", "column": "id", "success": salt % 200 != 7},
                ]
            }
        facets = {name: (at_us, b"", json.dumps(one).encode()) for name, one in said.items()}
        return Io(DatasetRef("file", f"/data/dag{dag}/{number}"), None, {}, facets)

    def _add(
        self,
        rows: Rows,
        job: int,
        key: DagRunKey | TaskRunKey,
        flow: bytes,
        state: RunState,
        times: tuple[int, int],
        document: tuple[str, RunDoc],
        due_us: int,
        written: list[Io],
    ) -> int:
        run_id = self._take()
        doc = self._document(document, key, state, times, due_us, written)
        task = key if isinstance(key, TaskRunKey) else None
        digest = flow if task is None else key_digest(task)
        own = (key.task_id, -1, 1) if isinstance(key, TaskRunKey) else (None, None, None)
        rows["run"].append(
            (
                run_id, digest, 1 if task is None else 0, job, None, key.run_id, *own,
                int(state), int(state), *times, times[0], "worker", None, None, None, 0,
                None if task is None else flow, None, None, None, codec.pack_brief(brief_of(doc)),
            )
        )  # fmt: skip
        rows["run_doc"].append((run_id, codec.pack_run(key, doc)))
        return run_id

    def _document(
        self,
        template: tuple[str, RunDoc],
        key: DagRunKey | TaskRunKey,
        state: RunState,
        times: tuple[int, int],
        due_us: int,
        written: list[Io],
    ) -> RunDoc:
        name, doc = template
        said = doc.run_facets[name][2].decode()
        for place, value in (("\0run\0", key.run_id), ("\0due\0", format_time(due_us) or "")):
            said = said.replace(place, value)
        return msgspec.structs.replace(
            doc,
            namespace=NAMESPACE,
            job=key.job_name if isinstance(key, TaskRunKey) else key.dag_id,
            first_start_us=times[0],
            first_event_us=times[0],
            first_end_us=times[1],
            terminal=(times[1], state.rank, b"", int(state), False),
            run_facets={**doc.run_facets, name: (times[1], b"", said.encode())},
            outputs={io_slot(io.dataset, io.partition): io for io in written},
        )

    def _take(self) -> int:
        self._next += 1
        return self._next

    def promises(self) -> list[dict[str, Any]]:
        """Return ten promises of each DAG."""
        return [one for dag in range(self.dags) for one in promises_of(dag)]


def promises_of(dag: int) -> list[dict[str, Any]]:
    """Return the promises of a DAG and what it writes."""
    whole, task = {"dag": f"dag{dag}"}, {"dag": f"dag{dag}", "task": "task3"}
    first, last = ({"dataset": f"file//data/dag{dag}/{number}"} for number in range(2))
    at = f"{10 + dag % 12:02}:{dag % 4 * 15:02}"
    made: list[tuple[dict[str, str], dict[str, Any]]] = [
        (task, {"kind": "duration", "at_most": "280s"}),
        (whole, {"kind": "duration", "at_most": "1h"}),
        (whole, {"kind": "deadline", "at": at}),
        (last, {"kind": "deadline", "at": at}),
        (last, {"kind": "freshness", "at_most": "26h"}),
        (whole, {"kind": "missing_run", "grace": "10m"}),
        (first, {"kind": "volume", "at_least": 0.9, "baseline": "all"}),
        (task, {"kind": "success_ratio", "at_least": 0.95, "window": "30d", "min_events": 5}),
        (task, {"kind": "consecutive_misses", "count": 2}),
        (last, {"kind": "data_quality"}),
    ]
    return [
        {"id": f"dag{dag}-{number}-{objective['kind']}", "target": target, "objective": objective}
        for number, (target, objective) in enumerate(made)
    ]


def _documents() -> tuple[tuple[str, RunDoc], tuple[str, RunDoc]]:
    """Return the documents of a task's and of a DAG's run, with places for ids and times."""
    store = MemoryStore()
    lines = [one for one in gzip.decompress(RECORDED.read_bytes()).splitlines() if one]
    store.ingest([("E", one) for one in lines], received_us=1)
    views = store.runs(RunQuery(limit=100))
    found = []
    for name, facet in (("flights.validate", "airflow"), ("flights", "airflowDagRun")):
        view = next(one for one in views if one.job[1] == name)
        doc = store.run_doc(view.id)
        told = json.loads(doc.run_facets[facet][2])
        run = told["dagRun"]
        run |= {"run_id": "\0run\0", "run_type": "scheduled", "run_after": "\0due\0"}
        run |= {"logical_date": "\0due\0", "data_interval_end": "\0due\0", "end_date": None}
        text = json.dumps(told).replace("\\u0000", "\0")
        facets = {**doc.run_facets, facet: (0, b"", text.encode())}
        found.append((facet, msgspec.structs.replace(doc, run_facets=facets)))
    return found[0], found[1]
