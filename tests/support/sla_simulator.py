"""Simulated days of DAGs, from a seed: the oracle that predictions are scored against.

A day of the pipeline: ``ingest`` runs by the clock, ``report`` is begun by the asset that ingest's
last task writes, and ``noise`` takes slots of the pool that report's tasks wait for. A task takes
a lognormal time, fails now and then and is tried again, and on some days one task of the two is
many times slower than it ever was meant to be.

Committed before the predictor, and not changed to suit it.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import defaultdict
from typing import NamedTuple

from airflow_provenance.domain.run import RunState
from airflow_provenance.sla.facts import IoFact, RunFact, WriteFact
from airflow_provenance.sla.plain import PlainProvenance

SECOND = 1_000_000
DAY = 86_400 * SECOND
FIRST_DAY = 20_454 * DAY  # 2026-01-01
RETRY_DELAY_S = 300


class SimTask(NamedTuple):
    """A task: how long it usually takes, how much that varies, what it waits for."""

    name: str
    median_s: float
    upstream: tuple[str, ...] = ()
    sigma: float = 0.2
    fails: float = 0.03  # the probability that a try fails
    pool: str | None = None
    writes: str | None = None


class SimDag(NamedTuple):
    """A DAG: begun at a second of the day, or by a task of another DAG that writes an asset."""

    name: str
    tasks: tuple[SimTask, ...]
    at_s: float | None = None
    begun_by: tuple[str, str] | None = None


PIPELINE = (
    SimDag(
        "ingest",
        (
            SimTask("extract", 900, sigma=0.25),
            SimTask("check", 120, ("extract",)),
            SimTask("clean", 1200, ("extract",)),
            SimTask("publish", 300, ("check", "clean"), writes="lake/clean"),
        ),
        at_s=2 * 3600,
    ),
    SimDag(
        "report",
        (
            SimTask("load", 600, pool="warehouse"),
            SimTask("join", 900, ("load",), pool="warehouse"),
            SimTask("features", 1200, ("load",), pool="warehouse", sigma=0.25),
            SimTask("score", 600, ("join", "features")),
            SimTask("export", 180, ("score",), writes="lake/report"),
        ),
        begun_by=("ingest", "publish"),
    ),
    SimDag(
        "noise",
        (
            SimTask("a", 1500, pool="warehouse", sigma=0.6),
            SimTask("b", 900, ("a",), pool="warehouse", sigma=0.6),
        ),
        at_s=2 * 3600 + 1800,
    ),
)
POOLS = {"warehouse": 2}
# How often a day has a slow task, how many times slower it is, and which it can be.
SLOW_DAYS = 0.15
SLOW = (3.0, 8.0)
SLOW_TASKS = tuple((dag.name, task.name) for dag in PIPELINE[:2] for task in dag.tasks)


class Slow(NamedTuple):
    """What was made slow on a day."""

    day: int
    dag: str
    task: str
    factor: float


class Simulated(NamedTuple):
    """What happened, and what was planted."""

    provenance: PlainProvenance
    planted: list[Slow]


class _Day:
    """One day, event by event."""

    def __init__(
        self,
        day: int,
        rng: random.Random,
        ids: itertools.count[int],
        slow: Slow | None,
        dags: tuple[SimDag, ...],
        pools: dict[str, int],
    ) -> None:
        self.day, self.rng, self.ids, self.slow = day, rng, ids, slow
        self.dags = {dag.name: dag for dag in dags}
        self.free = dict(pools)
        self.waiting: dict[str, list[tuple[int, int, str, SimTask, int]]] = defaultdict(list)
        self.queue: list[tuple[int, int, str, tuple[object, ...]]] = []
        self.order = itertools.count()
        self.begun: dict[str, int] = {}
        self.due: dict[str, int | None] = {}
        self.ended: dict[tuple[str, str], int] = {}
        self.tasks: list[RunFact] = []
        self.dag_runs: list[RunFact] = []
        self.written: list[WriteFact] = []

    def run(self) -> None:
        midnight = FIRST_DAY + self.day * DAY
        for dag in self.dags.values():
            if dag.at_s is not None:
                due = midnight + int(dag.at_s * SECOND)
                self._at(due + self._latency(2), "begin", dag.name, due)
        while self.queue:
            now, _, what, values = heapq.heappop(self.queue)
            getattr(self, f"_{what}")(now, *values)

    def _at(self, when: int, what: str, *values: object) -> None:
        heapq.heappush(self.queue, (when, next(self.order), what, values))

    def _latency(self, median_s: float) -> int:
        return int(median_s * math.exp(self.rng.gauss(0, 0.4)) * SECOND)

    def _begin(self, now: int, dag: str, due: int | None) -> None:
        self.begun[dag], self.due[dag] = now, due
        for task in self.dags[dag].tasks:
            if not task.upstream:
                self._at(now + self._latency(3), "ready", dag, task, 1)

    def _ready(self, now: int, dag: str, task: SimTask, number: int) -> None:
        if task.pool is not None and self.free[task.pool] == 0:
            self.waiting[task.pool].append((now, next(self.order), dag, task, number))
            return
        if task.pool is not None:
            self.free[task.pool] -= 1
        self._start(now, now, dag, task, number)

    def _start(self, now: int, queued: int, dag: str, task: SimTask, number: int) -> None:
        start = now + self._latency(4)
        seconds = task.median_s * math.exp(self.rng.gauss(0, task.sigma))
        if self.slow is not None and self.slow[1:3] == (dag, task.name):
            seconds *= self.slow.factor
        failed = number < 3 and self.rng.random() < task.fails
        if failed:
            seconds *= self.rng.random()
        end = start + max(int(seconds * SECOND), SECOND)
        self._at(end, "end", dag, task, number, queued, start, failed)

    def _end(
        self, now: int, dag: str, task: SimTask, number: int, queued: int, start: int, failed: bool
    ) -> None:
        if task.pool is not None:
            self.free[task.pool] += 1
            if self.waiting[task.pool]:
                since, _, other, waiting, its = self.waiting[task.pool].pop(0)
                self.free[task.pool] -= 1
                self._start(now, since, other, waiting, its)
        run = RunFact(
            id=next(self.ids),
            job=f"{dag}.{task.name}",
            run_id=self._run_id(dag),
            run_type=self._run_type(dag),
            state=RunState.UP_FOR_RETRY if failed else RunState.COMPLETE,
            try_number=number,
            run_after_us=self.due[dag],
            queued_us=queued,
            started_us=start,
            ended_us=now,
            upstream=task.upstream,
            consumed=self._consumed(dag),
            hostname=f"worker-{self.rng.randrange(3)}",
            writes=() if task.writes is None or failed else (IoFact(dataset=task.writes),),
        )
        self.tasks.append(run)
        if failed:
            again = now + RETRY_DELAY_S * SECOND + self._latency(3)
            self._at(again, "ready", dag, task, number + 1)
            return
        self.ended[dag, task.name] = now
        for io in run.writes:
            self.written.append(WriteFact(run=run, io=io, at_us=now))
        self._go_on(now, dag, task)

    def _go_on(self, now: int, dag: str, task: SimTask) -> None:
        for other in self.dags.values():
            if other.begun_by == (dag, task.name):
                self._at(now + self._latency(5), "begin", other.name, now)
        for after in self.dags[dag].tasks:
            done = all((dag, one) in self.ended for one in after.upstream)
            if task.name in after.upstream and done:
                self._at(now + self._latency(3), "ready", dag, after, 1)
        if all((dag, one.name) in self.ended for one in self.dags[dag].tasks):
            self.dag_runs.append(
                RunFact(
                    id=next(self.ids),
                    job=dag,
                    run_id=self._run_id(dag),
                    run_type=self._run_type(dag),
                    state=RunState.COMPLETE,
                    run_after_us=self.due[dag],
                    queued_us=self.begun[dag],
                    started_us=self.begun[dag],
                    ended_us=now + self._latency(1),
                    consumed=self._consumed(dag),
                )
            )

    def _run_id(self, dag: str) -> str:
        return f"{self._run_type(dag)}__{self.day:03}"

    def _run_type(self, dag: str) -> str:
        return "scheduled" if self.dags[dag].begun_by is None else "asset_triggered"

    def _consumed(self, dag: str) -> tuple[tuple[str, str, str, int], ...]:
        by = self.dags[dag].begun_by
        return () if by is None else ((by[0], self._run_id(by[0]), by[1], -1),)


def simulate(
    seed: int,
    days: int = 200,
    *,
    dags: tuple[SimDag, ...] = PIPELINE,
    pools: dict[str, int] | None = None,
    slow_days: float = SLOW_DAYS,
    slow: dict[int, Slow] | None = None,
) -> Simulated:
    """Return what happened on so many days; ``slow`` plants by hand what is slow on a day."""
    rng, ids, planted = random.Random(seed), itertools.count(1), []
    whole = PlainProvenance(dag_runs=[], tasks=[], written=[])
    for day in range(days):
        one = (slow or {}).get(day)
        if slow is None and rng.random() < slow_days:
            one = Slow(day, *rng.choice(SLOW_TASKS), rng.uniform(*SLOW))
        if one is not None:
            planted.append(one)
        lived = _Day(day, rng, ids, one, dags, POOLS if pools is None else pools)
        lived.run()
        whole.dag_runs += lived.dag_runs
        whole.tasks += lived.tasks
        whole.written += lived.written
    return Simulated(whole, planted)


# What is promised of the pipeline: the report by a local time, across both DAGs; and how long each
# of the two takes. The usual day ends after 96 of 135, 54 of 80 and 41 of 65 minutes.
PROMISES: tuple[dict[str, object], ...] = (
    {
        "id": "report-by-0415",
        "target": {"dag": "report"},
        "objective": {"kind": "deadline", "at": "04:15"},
    },
    {
        "id": "report-takes-80m",
        "target": {"dag": "report"},
        "objective": {"kind": "duration", "at_most": "80m"},
    },
    {
        "id": "ingest-takes-65m",
        "target": {"dag": "ingest"},
        "objective": {"kind": "duration", "at_most": "65m"},
    },
)
# Seeds to build a predictor with, and to score it with once it is built.
BUILDING_SEEDS = (1, 2, 3)
SCORING_SEEDS = (101, 102, 103, 104, 105)
