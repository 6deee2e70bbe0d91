"""What the past runs of one DAG say of the next: how long its tasks take, wait, and fail."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from functools import cached_property
from itertools import accumulate, pairwise
from statistics import median
from typing import TYPE_CHECKING

from airflow_provenance.domain.run import RunState
from airflow_provenance.sla.likely import Length, Lengths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provenance.sla.run_graph import DagLived, TaskNode

    # (DAG, run_id, task) -> when that task ended
    EndedUs = Callable[[str, str, str], int | None]

DRAWS = 200
# Older runs say less of the next one than they cost to look at.
MOST_RUNS = 60
_MOST_TRIES = 10
_WAIT_FLOOR_S = 10.0
_BEGIN_FLOOR_S = 60.0
# Waits this far apart, as logarithms, are alike: by a factor of two.
_WAITS_WIDTH = 0.7
_SECOND = 1e6


class TaskHistory:
    """A task: its tries, its waits, and the pauses before another try."""

    def __init__(self, dag: str, name: str, nodes: Sequence[tuple[DagLived, TaskNode]]) -> None:
        self._seed = f"{dag}.{name}"
        self.tries: list[Length] = []
        self.waited: dict[str, float] = {}  # seconds, by past run
        pauses = []
        for lived, node in nodes:
            ready, began = lived.ready_us(name), node.started_us
            if ready is not None and began is not None:
                self.waited[lived.run_id] = (began - ready) / _SECOND
            self.tries += _tries_of(node)
            for one in node.instances:
                for run, after in pairwise(one):
                    if run.ended_us is not None and after.started_us is not None:
                        pauses.append(Length((after.started_us - run.ended_us) / _SECOND))
        waits = [Length(seconds) for seconds in self.waited.values()] or [Length(1.0)]
        self.waits = Lengths(waits, floor_s=_WAIT_FLOOR_S)
        self.pauses = Lengths(pauses or [Length(300.0)], floor_s=_WAIT_FLOOR_S)
        self.lengths = Lengths([])

    @property
    def ratios(self) -> list[float]:
        """Its lengths as logarithms of multiples of their median."""
        good = [math.log(max(one.seconds, 1.0)) for one in self.tries if not one.failed]
        return [at - median(good) for at in good] if good else []

    @cached_property
    def run_table(self) -> list[float]:
        """Likely times from its start to its success, through retries."""
        rng = random.Random(f"{self._seed}/run")  # noqa: S311 - no secret
        return self.through_retries(rng, self.lengths.draw(rng, DRAWS))

    def through_retries(self, rng: random.Random, firsts: Sequence[Length]) -> list[float]:
        """Return how long it takes until a try succeeds, given the first try of each draw."""
        found = [one.seconds for one in firsts]
        again = [k for k, one in enumerate(firsts) if one.failed]
        tries = 1
        while again and tries < _MOST_TRIES:
            tries += 1
            pauses = self.pauses.draw(rng, len(again))
            drawn = self.lengths.draw(rng, len(again))
            for k, pause, one in zip(again, pauses, drawn, strict=True):
                found[k] += pause.seconds + one.seconds
            again = [k for k, one in zip(again, drawn, strict=True) if one.failed]
        return found


def _tries_of(node: TaskNode) -> list[Length]:
    """Return how long its tries took; instances of a mapped task count as one, first to last."""
    began, ended = node.started_us, node.ended_us
    if began is None or ended is None:
        return []
    if node.is_mapped:
        return [Length((ended - began) / _SECOND)] if not node.failed else []
    return [
        Length((run.ended_us - run.started_us) / _SECOND, run.state is not RunState.COMPLETE)
        for tries in node.instances
        for run in tries
        if run.started_us is not None and run.ended_us is not None
    ]


class DagHistory:
    """A DAG: its tasks and their order, as in its newest run, and when its runs begin."""

    def __init__(self, dag: str, past: Iterable[DagLived], ended_us: EndedUs) -> None:
        self.dag = dag
        self.past = [one for one in past if one.succeeded][-MOST_RUNS:]
        newest = self.past[-1].nodes if self.past else {}
        self.upstream = {
            name: tuple(above for above in node.upstream if above in newest)
            for name, node in newest.items()
        }
        self.tasks = {
            name: TaskHistory(
                *(dag, name),
                [(one, one.nodes[name]) for one in self.past if name in one.nodes],
            )
            for name in in_order(self.upstream)
        }
        ratios = [ratio for task in self.tasks.values() for ratio in task.ratios]
        for task in self.tasks.values():
            task.lengths = Lengths(task.tries or [Length(1.0)], _spread(ratios))
        self.leaves = set(newest) - {one for above in self.upstream.values() for one in above}
        self.begins = Lengths(
            [
                Length((one.started_us - one.due_us) / _SECOND)
                for one in self.past
                if one.due_us is not None
            ]
            or [Length(1.0)],
            floor_s=_BEGIN_FLOOR_S,
        )
        self.follows = Lengths(self._follows(ended_us) or [Length(1.0)], floor_s=_BEGIN_FLOOR_S)
        self.sources = {(above, task) for one in self.past[-1:] for above, _, task in one.sources}

    def waits_like(
        self, rng: random.Random, waited: Mapping[str, float], waiting: Mapping[str, float]
    ) -> list[Mapping[str, float]]:
        """Return for each draw how long each task waited in one past run.

        Who waited for a slot that is free now will not be waited for again: waits in one run go
        together, so a draw takes all of them from one run, and runs in which what has begun waited
        about as long as it did now are drawn more often.

        Args:
            rng: for the draws.
            waited: how long tasks that have begun waited.
            waiting: how long tasks that could begin have waited until now.
        """
        weights = []
        for one in self.past:
            far = sum(
                _apart(seconds, self.tasks[name].waited[one.run_id]) ** 2
                for name, seconds in waited.items()
                if one.run_id in self.tasks[name].waited
            )
            less = sum(
                max(_apart(seconds, self.tasks[name].waited[one.run_id]), 0) ** 2
                for name, seconds in waiting.items()
                if one.run_id in self.tasks[name].waited
            )
            weights.append(math.exp(-min((far + less) / 2, 50.0)) + 1e-3)
        upto = list(accumulate(weights))
        steps = [(step + rng.random()) / DRAWS * upto[-1] for step in range(DRAWS)]
        drawn = [self.past[min(bisect_left(upto, at), len(upto) - 1)].run_id for at in steps]
        rng.shuffle(drawn)
        return [
            {name: task.waited.get(run_id, 0.0) for name, task in self.tasks.items()}
            for run_id in drawn
        ]

    def _follows(self, ended_us: EndedUs) -> list[Length]:
        """Return how long after the last of its sources a run began."""
        found = []
        for one in self.past:
            ends = [us for source in one.sources if (us := ended_us(*source)) is not None]
            if ends and one.started_us >= max(ends):
                found.append(Length((one.started_us - max(ends)) / _SECOND))
        return found

    @property
    def runs(self) -> int:
        """How many runs it was learned from."""
        return len(self.past)

    @cached_property
    def ending_s(self) -> float:
        """How long after its last task a run usually ends."""
        found = []
        for one in self.past:
            ends = [node.ended_us or 0 for node in one.nodes.values()]
            if ends:
                found.append(((one.ended_us or 0) - max(ends)) / _SECOND)
        return max(median(found), 0.0) if found else 0.0


def _apart(seconds: float, past_s: float) -> float:
    """Return how far a wait is above one of the past, in kernel widths."""
    floor = _WAIT_FLOOR_S
    return math.log((max(seconds, 0) + floor) / (max(past_s, 0) + floor)) / _WAITS_WIDTH


def _spread(ratios: list[float]) -> list[float]:
    """Return at most 200 of them that are spread as all are."""
    ordered = sorted(ratios)
    count = min(len(ordered), 200)
    return [ordered[(2 * step + 1) * len(ordered) // (2 * count)] for step in range(count)]


def in_order(upstream: dict[str, tuple[str, ...]]) -> list[str]:
    """Return tasks, each after those that it waits for."""
    found: dict[str, None] = {}
    rest = dict(upstream)
    while rest:
        ready = [name for name, above in rest.items() if all(one in found for one in above)]
        for name in ready or list(rest):  # a circle cannot be; if it is, any order will do
            found[name] = None
            del rest[name]
    return list(found)
