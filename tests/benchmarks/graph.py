"""A large lineage graph, as rows: what years of DAG runs leave in a store, without the events.

DAGs come in groups of ten that share data. Each day every DAG runs once, one after the other: five
tasks, each of which writes one dataset, and reads what the task before wrote and up to three other
newest versions of its group, of that day or the day before. One table in five is incremental: its
write is put on the version of the day before. On every 30th day all is built anew from files, so
that an ancestry is a month of a group.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey, key_digest
from airflow_provenance.domain.linking import LinkRule
from airflow_provenance.domain.run import RunState, VersionStatus
from airflow_provenance.store.sql.packing import RUN_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP_DAGS, TASKS, PERIOD_DAYS = 10, 5, 30
_GROUP_RUNS = GROUP_DAGS * TASKS
_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US
_START_US = 1_767_225_600 * _SECOND_US  # 2026-01-01

COLUMNS = {
    "job": "id, namespace, name",
    "dataset": "id, namespace, name",
    "run": RUN_COLUMNS,
    "dataset_version": "id, dataset_id, part, run_id, content_id, status, replaces, ended_us",
    "run_input": "id, run_id, dataset_id, part, named, verified, as_of_us, consumed, rule, "
    "observed_id",
    "edge": "dst, src, via, rule",
}


Rows = dict[str, list[tuple[Any, ...]]]


class Graph:
    """Makes the same rows each time it is asked, one day of all groups after the other."""

    def __init__(self, runs: int, seed: int = 1) -> None:
        # Few groups over few days would leave no history to trace.
        self.groups = max(1, round(runs / _GROUP_RUNS / 200))
        self.days = max(1, runs // (self.groups * _GROUP_RUNS))
        self._random = random.Random(seed)
        self._next = {"node": 0, "read": 0}
        # (group, DAG, task) -> (node of the newest version, dataset)
        self._newest: dict[tuple[int, int, int], tuple[int, int]] = {}

    @property
    def versions(self) -> range:
        """The ids of all versions: each follows that of the run that wrote it."""
        return range(2, 2 * self.days * self.groups * _GROUP_RUNS + 1, 2)

    def parts(self) -> Iterator[Rows]:
        """Give first the jobs and datasets, then each day."""
        names = [
            (1 + index, f"group{group}_dag{dag}.task{task}")
            for index, (group, dag, task) in enumerate(
                (group, dag, task)
                for group in range(self.groups)
                for dag in range(GROUP_DAGS)
                for task in range(TASKS)
            )
        ]
        yield {
            "job": [(number, "bench", name) for number, name in names],
            "dataset": [(number, "file", f"/data/{name}") for number, name in names],
        }
        for day in range(self.days):
            rows: Rows = {name: [] for name in ("run", "dataset_version", "run_input", "edge")}
            for group in range(self.groups):
                for dag in range(GROUP_DAGS):
                    self._dag_run(rows, day, group, dag)
            yield rows

    def _dag_run(self, rows: Rows, day: int, group: int, dag: int) -> None:
        key = DagRunKey("bench", f"group{group}_dag{dag}", f"scheduled__{day}")
        flow = key_digest(key)
        start_us = _START_US + day * _DAY_US + dag * 1800 * _SECOND_US
        for task in range(TASKS):
            run_id, version_id = self._take("node", 2)
            slot = (group, dag, task)
            job = 1 + (group * GROUP_DAGS + dag) * TASKS + task
            started_us = start_us + task * 300 * _SECOND_US
            ended_us = started_us + 240 * _SECOND_US
            task_key = TaskRunKey(*key, f"task{task}", -1, 1)
            rows["run"].append(
                (
                    run_id, key_digest(task_key), 0, job, None, key.run_id, task_key.task_id, -1,
                    1, int(RunState.COMPLETE), int(RunState.COMPLETE), started_us, ended_us,
                    started_us, "worker", None, None, None, 0, flow, None, None, None, None,
                )
            )  # fmt: skip
            for source_id, dataset_id, rule in self._reads(day, group, dag, task):
                (read_id,) = self._take("read", 1)
                rows["run_input"].append(
                    (read_id, run_id, dataset_id, "", None, 1, started_us, None, int(rule), None)
                )
                rows["edge"].append((run_id, source_id, read_id, int(rule)))
            rows["edge"].append((version_id, run_id, 0, int(LinkRule.WROTE)))
            if task == 0 and day % PERIOD_DAYS and slot in self._newest:
                rows["edge"].append((version_id, self._newest[slot][0], 0, int(LinkRule.APPENDED)))
            rows["dataset_version"].append(
                (
                    version_id,
                    job,
                    "",
                    run_id,
                    None,
                    int(VersionStatus.GOOD),
                    int(task > 0),
                    ended_us,
                )
            )
            self._newest[slot] = (version_id, job)

    def _reads(self, day: int, group: int, dag: int, task: int) -> list[tuple[int, int, LinkRule]]:
        """Return what a task reads: (version, dataset, rule), each dataset once."""
        slots = {}
        if task:
            slots[group, dag, task - 1] = LinkRule.SAME_DAG_RUN
        for _ in range(self._random.randint(1, 3)):
            other = self._random.randrange(GROUP_DAGS)
            # Later DAGs of the group have not run yet: theirs is the version of yesterday.
            if other < dag or (other > dag and day % PERIOD_DAYS):
                slots.setdefault((group, other, self._random.randrange(TASKS)), LinkRule.NEWEST)
        return [(*self._newest[slot], rule) for slot, rule in slots.items() if slot in self._newest]

    def _take(self, counter: str, count: int) -> range:
        first = self._next[counter] + 1
        self._next[counter] += count
        return range(first, first + count)
