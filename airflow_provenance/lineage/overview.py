"""What ran since a time, where time went, and which data came of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey
from airflow_provenance.domain.run import RunState
from airflow_provenance.lineage.fold import parent_tasks
from airflow_provenance.store.base import RunQuery, RunView, VersionView

if TYPE_CHECKING:
    from airflow_provenance.store.base import ProvenanceReader

_MOST_RUNS = 10_000


class JobLine(msgspec.Struct):
    """The runs of one job.

    Attributes:
        tries: how many there were, retries among them.
        seconds: what those took that have ended.
    """

    job: tuple[str, str]
    tries: int
    retries: int
    states: Counter[RunState]
    seconds: list[float]

    @property
    def total(self) -> float:
        """How long all of them took."""
        return sum(self.seconds)

    @property
    def median(self) -> float | None:
        """How long one takes, in the middle."""
        return median(self.seconds) if self.seconds else None


class Overview(msgspec.Struct):
    """The answer.

    Attributes:
        dag_runs: by DAG.
        jobs: of tasks and of other producers' runs, in the order of their first start; what ran
            within a task, as its SQL statements, is part of it.
        written: the versions that these runs wrote.
        ends: those of them that nothing else was made from.
    """

    dag_runs: dict[str, Counter[RunState]]
    jobs: list[JobLine]
    runs: list[RunView]
    written: list[VersionView]
    ends: list[int]


def overview(store: ProvenanceReader, since_us: int) -> Overview:
    """Say what ran since a time; of more than 10,000 runs, the newest."""
    runs = store.runs(RunQuery(since_us=since_us, limit=_MOST_RUNS))[::-1]
    dag_runs: dict[str, Counter[RunState]] = defaultdict(Counter)
    jobs: dict[tuple[str, str], JobLine] = {}
    within = parent_tasks(store, runs)
    for run in runs:
        if run.id in within:
            continue
        if isinstance(run.key, DagRunKey):
            dag_runs[run.key.dag_id][run.state] += 1
            continue
        line = jobs.setdefault(run.job, JobLine(run.job, 0, 0, Counter(), []))
        line.tries += 1
        line.retries += isinstance(run.key, TaskRunKey) and run.key.try_number > 1
        line.states[run.state] += 1
        if run.started_us is not None and run.ended_us is not None:
            line.seconds.append((run.ended_us - run.started_us) / 1e6)
    written = [version for run in runs for version in store.versions_of_run(run.id)]
    return Overview(dict(dag_runs), [*jobs.values()], runs, written, _ends(store, written))


def _ends(store: ProvenanceReader, written: list[VersionView]) -> list[int]:
    """Leave out what another version was made from; one that was only checked is an end."""
    numbers = [one.id for one in written]
    writers = {one.run_id for one in written}
    led_on = {
        edge.src
        for edge in (store.trace(numbers, "downstream", 1) if numbers else [])
        if edge.dst in writers or edge.dst in {*numbers}
    }
    return [one for one in numbers if one not in led_on]
