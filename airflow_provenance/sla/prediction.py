"""When a run that goes on, or has yet to begin, is likely to be done (REQUIREMENTS A8).

What remains is drawn many times from history (`dag_history`, `likely`): of each task that has not
ended how long it waits and takes, given how long it has already waited and taken, and through tries
that fail; a DAG run that assets begin waits for the runs of the DAGs that write them, which are
drawn likewise. The end is the longest way through. Draws are seeded, so the same facts and the same
moment give the same answer. Fewer than five past runs give none.

What is not looked at: which other runs hold the slots of a pool. A wait is as likely as it was.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.sla.dag_history import DRAWS, DagHistory
from airflow_provenance.sla.evaluation import Prediction
from airflow_provenance.sla.policy import Target
from airflow_provenance.sla.run_graph import DagLived, dag_runs_lived

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provenance.sla.facts import Provenance
    from airflow_provenance.sla.run_graph import TaskNode

LEAST_RUNS = 5
# How far back runs are learned from; MOST_RUNS of them at most.
HISTORY_US = 90 * 86_400_000_000
_DAY_US = 86_400_000_000
_SECOND = 1_000_000
_DEEPEST = 10


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What must be done by when: a DAG's run, or a task in it.

    Attributes:
        run_ids: the runs that can keep the promise, each alone; none: one that has yet to begin.
        after_us: runs of this period are those that were due after this.
        one_try: the promise is about the try that runs, not about retries.
    """

    dag: str
    task: str | None = None
    run_ids: tuple[str, ...] = ()
    due_us: int
    after_us: int
    one_try: bool = False


class Known:
    """The DAGs of a tick: their runs, and what was learned of them; each is read once.

    ``histories`` are those of an earlier tick, to be used again: they change with each run only.
    """

    def __init__(
        self,
        provenance: Provenance,
        now_us: int,
        histories: dict[str, DagHistory] | None = None,
    ) -> None:
        self.now_us = now_us
        self._provenance = provenance
        self._lived: dict[str, list[DagLived]] = {}
        self._by_id: dict[str, dict[str, DagLived]] = {}
        self._histories = {} if histories is None else histories

    def lived(self, dag: str) -> list[DagLived]:
        """Return the runs of a DAG, the oldest first."""
        if dag not in self._lived:
            since_us = self.now_us - HISTORY_US
            runs = self._provenance.runs(Target(dag=dag), since_us)
            tasks = self._provenance.task_runs(dag, since_us)
            self._lived[dag] = dag_runs_lived(dag, runs, tasks)
        return self._lived[dag]

    def history(self, dag: str) -> DagHistory:
        """Return what was learned of a DAG."""
        if dag not in self._histories:
            self._histories[dag] = DagHistory(dag, self.lived(dag), self._ended_us)
        return self._histories[dag]

    def _ended_us(self, dag: str, run_id: str, task: str) -> int | None:
        """Return when a task ended in a run of another DAG."""
        if dag not in self._by_id:
            self._by_id[dag] = {one.run_id: one for one in self.lived(dag)}
        lived = self._by_id[dag].get(run_id)
        return None if lived is None or task not in lived.nodes else lived.nodes[task].ended_us


def predict(known: Known, goal: Goal, seed: str) -> Prediction:
    """Return when a goal is likely to be reached.

    Args:
        known: what is known at the moment.
        goal: what must be done.
        seed: names the question: the same one is always answered with the same draws.
    """
    walk = _Walk(known, goal, seed)
    runs = [one for one in known.lived(goal.dag) if one.run_id in goal.run_ids]
    drawn = [walk.dag_ends(one, goal.dag) for one in runs] or [walk.dag_ends(None, goal.dag)]
    history = walk.least_runs
    if history < LEAST_RUNS or any(one is None for one in drawn):
        return Prediction(probability=None, history=history)
    ends = [min(some) for some in zip(*(one for one in drawn if one is not None), strict=True)]
    ordered, late = sorted(ends), [k for k, end in enumerate(ends) if end > goal.due_us]
    p50, p90 = int(ordered[DRAWS // 2]), int(ordered[DRAWS * 9 // 10])
    # Draws can rule nothing out: what was never drawn is given half a draw.
    probability = min(max(len(late), 0.5), DRAWS - 0.5) / DRAWS
    return Prediction(
        probability=round(probability, 4),
        p50_us=p50,
        p90_us=p90,
        slack_us=goal.due_us - p50,
        deciding=walk.deciding(late or range(DRAWS)),
        history=history,
    )


class _Walk:
    """One question: the likely ends of every task on the way, each drawn once."""

    def __init__(self, known: Known, goal: Goal, seed: str) -> None:
        self.known, self.goal, self.seed = known, goal, seed
        self.now = known.now_us
        self.least_runs = 1 << 30
        self.drawn: dict[tuple[str, str], list[float]] = {}
        self.before: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self.rows: dict[str, list[Mapping[str, float]]] = {}
        self.open: set[tuple[str, str]] = set()
        self.last: list[tuple[str, str]] = []

    def _rng(self, *names: str) -> random.Random:
        return random.Random("/".join((self.seed, *names)))  # noqa: S311 - a draw, no secret

    def dag_ends(self, lived: DagLived | None, dag: str) -> list[float] | None:
        """Return the likely ends of the goal in a run of its DAG; None where nothing is known."""
        history = self._tasks(lived, dag, 0)
        task = self.goal.task
        if history is None or not history.tasks or (task and task not in history.tasks):
            return None
        wanted = [task] if task else sorted(history.leaves)
        self.last = [(dag, name) for name in wanted]
        columns = [self.drawn[one] for one in self.last]
        after = 0.0 if task else history.ending_s * _SECOND
        return [max(some) + after for some in zip(*columns, strict=True)]

    def _tasks(self, lived: DagLived | None, dag: str, depth: int) -> DagHistory | None:
        """Draw the ends of all tasks of a DAG run, which may have yet to begin."""
        history = self.known.history(dag)
        self.least_runs = min(self.least_runs, history.runs)
        if history.runs < LEAST_RUNS or depth > _DEEPEST:
            return None
        if lived is not None:
            begin: list[float] | None = [float(lived.started_us)] * DRAWS
        else:
            begin = self._begins(history, depth)
        if begin is None:
            return None
        for name in history.tasks:
            self._task(history, lived, name, begin)
        return history

    def _task(
        self, history: DagHistory, lived: DagLived | None, name: str, begin: list[float]
    ) -> None:
        key = (history.dag, name)
        node = lived.nodes.get(name) if lived is not None else None
        if node is not None and (ended := node.ended_us) is not None:
            self.drawn[key] = [float(ended)] * DRAWS
            return
        self.open.add(key)
        above = [(history.dag, one) for one in history.upstream[name]]
        self.before[key] = above or self.before.get((history.dag, ""), [])
        began = None if node is None else node.started_us
        if lived is not None and node is not None and began is not None:
            self.drawn[key] = self._running(history, node, began)
            return
        task = history.tasks[name]
        ready = [max(some) for some in zip(begin, *(self.drawn[one] for one in above), strict=True)]
        waits = self._waits(history, lived, name, ready)
        self.drawn[key] = [
            at + (wait + run) * _SECOND
            for at, wait, run in zip(ready, waits, task.run_table, strict=True)
        ]

    def _waits(
        self, history: DagHistory, lived: DagLived | None, name: str, ready: list[float]
    ) -> list[float]:
        if any((history.dag, one) in self.open for one in history.upstream[name]):
            return [one[name] for one in self._rows(history, lived)]
        if lived is None:
            # What begins only later than now can have waited for nothing yet.
            rows = self._rows(history, None)
            return [
                max(one[name], (self.now - at) / _SECOND)
                for at, one in zip(ready, rows, strict=True)
            ]
        waited_s = max(self.now - ready[0], 0) / _SECOND
        drawn = history.tasks[name].waits.draw(
            self._rng(history.dag, name, "wait"), DRAWS, waited_s
        )
        return [one.seconds for one in drawn]

    def _rows(self, history: DagHistory, lived: DagLived | None) -> list[Mapping[str, float]]:
        if history.dag not in self.rows:
            waited, waiting = {}, {}
            for name in history.tasks if lived is not None else ():
                ready = None if lived is None else self._ready_us(history, lived, name)
                if lived is None or ready is None:
                    continue
                node = lived.nodes.get(name)
                if node is not None and node.started_us is not None:
                    waited[name] = (node.started_us - ready) / _SECOND
                else:
                    waiting[name] = (self.now - ready) / _SECOND
            rng = self._rng(history.dag, "waits")
            self.rows[history.dag] = history.waits_like(rng, waited, waiting)
        return self.rows[history.dag]

    def _ready_us(self, history: DagHistory, lived: DagLived, name: str) -> int | None:
        """Return since when a task could begin; its node may not be there yet."""
        ends = [
            node.ended_us if (node := lived.nodes.get(one)) is not None else None
            for one in history.upstream[name]
        ]
        known = [us for us in ends if us is not None]
        return max([lived.started_us, *known]) if len(known) == len(ends) else None

    def _running(self, history: DagHistory, node: TaskNode, began: int) -> list[float]:
        """Return the likely ends of a task that has begun."""
        task, rng = history.tasks[node.name], self._rng(history.dag, node.name)
        run = node.instances[0][-1]
        if node.is_mapped:
            passed_s = (self.now - began) / _SECOND
            drawn = task.lengths.draw(rng, DRAWS, passed_s)
            return [began + one.seconds * _SECOND for one in drawn]
        if run.state.is_done or run.started_us is None:  # a try failed; another is to come
            since = run.ended_us if run.state.is_done and run.ended_us else self._failed_us(node)
            pauses = task.pauses.draw(rng, DRAWS, max(self.now - since, 0) / _SECOND)
            return [
                since + (pause.seconds + again) * _SECOND
                for pause, again in zip(pauses, task.run_table, strict=True)
            ]
        passed_s = max(self.now - run.started_us, 0) / _SECOND
        tries = task.lengths.draw(rng, DRAWS, passed_s)
        if self.goal.one_try and node.name == self.goal.task:
            return [run.started_us + one.seconds * _SECOND for one in tries]
        whole = task.through_retries(rng, tries)
        return [run.started_us + seconds * _SECOND for seconds in whole]

    def _failed_us(self, node: TaskNode) -> int:
        tries = node.instances[0]
        return (tries[-2].ended_us if len(tries) > 1 else None) or tries[-1].known_us

    def _begins(self, history: DagHistory, depth: int) -> list[float] | None:
        """Return when a run is likely to begin that is not there yet."""
        if not history.sources:
            return self._scheduled(history)
        columns = []
        for dag, task in sorted(history.sources):
            lived = self._feeding(history, dag)
            if (dag, task) not in self.drawn and self._tasks(lived, dag, depth + 1) is None:
                return None
            if (dag, task) not in self.drawn:
                return None
            columns.append(self.drawn[dag, task])
        self.before[history.dag, ""] = sorted(history.sources)
        ready = [max(some) for some in zip(*columns, strict=True)]
        done = self.open.isdisjoint(history.sources)
        waited_s = max(self.now - max(ready), 0) / _SECOND if done else 0.0
        drawn = history.follows.draw(self._rng(history.dag, "begin"), DRAWS, waited_s)
        return [at + one.seconds * _SECOND for at, one in zip(ready, drawn, strict=True)]

    def _feeding(self, history: DagHistory, dag: str) -> DagLived | None:
        """Return the run of a DAG that has yet to begin ours: the first that no run consumed."""
        consumed = {
            (above, run_id)
            for one in self.known.lived(history.dag)
            for above, run_id, _ in one.sources
        }
        fresh = [
            one
            for one in self.known.lived(dag)
            if (dag, one.run_id) not in consumed
            and (one.due_us or one.started_us) > self.goal.after_us
        ]
        return fresh[0] if fresh else None

    def _scheduled(self, history: DagHistory) -> list[float] | None:
        """Return when a run begins that the clock begins: at the time of day that it did before."""
        dues = [one.due_us for one in history.past if one.due_us is not None]
        if not dues:
            return None
        # The first of this period: a whole number of days after one of the last runs.
        times = {self._next(due) for due in dues[-7:]}
        due = min(times)
        drawn = history.begins.draw(
            self._rng(history.dag, "begin"), DRAWS, max(self.now - due, 0) / _SECOND
        )
        return [due + one.seconds * _SECOND for one in drawn]

    def _next(self, due_us: int) -> int:
        days = (self.goal.after_us - due_us) // _DAY_US + 1
        return due_us + days * _DAY_US

    def deciding(self, draws: Sequence[int]) -> str | None:
        """Return the task not yet ended with which the longest way most often goes on from now."""
        found: Counter[tuple[str, str]] = Counter()
        for k in list(draws)[:60]:
            at = max(self.last, key=lambda one: self.drawn[one][k])
            while True:
                above = [one for one in self.before.get(at, []) if one in self.open]
                if not above:
                    break
                at = max(above, key=lambda one: self.drawn[one][k])
            if at in self.open:
                found[at] += 1
        if not found:
            return None
        most = max(found.values())
        return ".".join(min(one for one, times in found.items() if times == most))
