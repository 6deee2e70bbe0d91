"""DAG runs as they went: which task waited for which, when it could begin, when it ended.

`prediction` learns from those that have ended and goes on with those that have not; `attribution`
walks back through one.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.run import RunState
from airflow_provenance.sla.facts import RunFact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class TaskNode(msgspec.Struct):
    """A task in a DAG run: the tries of each of its mapped instances, the first try first."""

    name: str
    upstream: tuple[str, ...]
    instances: list[list[RunFact]]

    @property
    def is_mapped(self) -> bool:
        """Whether it has more than one instance."""
        return len(self.instances) > 1

    @property
    def last(self) -> list[RunFact]:
        """The last try of each instance."""
        return [tries[-1] for tries in self.instances]

    @property
    def started_us(self) -> int | None:
        """When its first try began."""
        began = [run.started_us for tries in self.instances for run in tries]
        return min((us for us in began if us is not None), default=None)

    @property
    def is_done(self) -> bool:
        """Whether nothing more is expected of any instance."""
        return all(_is_over(run) for run in self.last)

    @property
    def failed(self) -> bool:
        """Whether it is done, and one of its instances failed."""
        return self.is_done and any(run.failed for run in self.last)

    @property
    def ended_us(self) -> int | None:
        """When its last instance ended; None while it is not done."""
        if not self.is_done:
            return None
        return max(run.ended_us or run.started_us or run.known_us for run in self.last)


def _is_over(run: RunFact) -> bool:
    return run.state.is_done and run.state is not RunState.UP_FOR_RETRY


class DagLived(msgspec.Struct):
    """A DAG run as far as it went. `run` is None where only tries of its tasks are known."""

    dag: str
    run_id: str
    run: RunFact | None
    nodes: dict[str, TaskNode]

    @property
    def started_us(self) -> int:
        """When it began."""
        if self.run is not None and self.run.started_us is not None:
            return self.run.started_us
        began = [us for one in self.nodes.values() if (us := one.started_us) is not None]
        return min(began, default=0 if self.run is None else self.run.known_us)

    @property
    def due_us(self) -> int | None:
        """When its schedule asked for it."""
        told = [run.run_after_us for one in self.nodes.values() for run in one.last]
        if self.run is not None:
            told.insert(0, self.run.run_after_us)
        return next((us for us in told if us is not None), None)

    @property
    def ended_us(self) -> int | None:
        """When it ended; None while it has not."""
        return self.run.ended_us if self.run is not None and self.run.state.is_done else None

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.run is not None and self.run.succeeded and self.run.ended_us is not None

    @property
    def sources(self) -> list[tuple[str, str, str]]:
        """(DAG, run_id, task) of those whose asset events it was begun by."""
        runs = [run for one in self.nodes.values() for run in one.last]
        runs += [] if self.run is None else [self.run]
        return sorted({one[:3] for run in runs for one in run.consumed})

    def ready_us(self, name: str) -> int | None:
        """Return since when a task could have begun; None while it could not."""
        ends = []
        for above in self.nodes[name].upstream if name in self.nodes else ():
            node = self.nodes.get(above)
            ended_us = None if node is None else node.ended_us
            if node is not None and ended_us is None:
                return None
            ends.append(ended_us or 0)
        return max([self.started_us, *ends])


def dag_runs_lived(
    dag: str, dag_runs: Iterable[RunFact], task_runs: Sequence[RunFact]
) -> list[DagLived]:
    """Return the runs of a DAG with the tries of their tasks, the oldest first."""
    tries: dict[str, dict[str, dict[int, list[RunFact]]]] = defaultdict(dict)
    for run in sorted(task_runs, key=lambda one: one.try_number):
        if run.state is RunState.REMOVED:
            continue
        by_map = tries[run.run_id].setdefault(run.job.removeprefix(f"{dag}."), {})
        by_map.setdefault(run.map_index, []).append(run)
    known = {run.run_id: run for run in dag_runs}
    found = []
    for run_id in dict.fromkeys([*known, *tries]):
        nodes = {
            name: TaskNode(name, _upstream(by_map), list(by_map.values()))
            for name, by_map in tries.get(run_id, {}).items()
        }
        found.append(DagLived(dag, run_id, known.get(run_id), nodes))
    return sorted(found, key=lambda one: (one.started_us, one.run_id))


def _upstream(by_map: dict[int, list[RunFact]]) -> tuple[str, ...]:
    told = [run.upstream for tries in by_map.values() for run in tries if run.upstream is not None]
    return told[-1] if told else ()
