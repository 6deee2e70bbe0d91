"""How long the hops of an attribution usually are, and what came before what.

Everything is read off the runs of `prediction.Known`, each kind of hop of a task once.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provenance.sla.facts import Provenance
    from airflow_provenance.sla.prediction import Known
    from airflow_provenance.sla.run_graph import DagLived, TaskNode

    # A DAG run, a task in it, and when that ended
    Before = tuple[DagLived, str, int]

_DAY_US = 86_400_000_000
# Of so many runs before it the median is taken.
_MOST_RUNS = 60


class Usual:
    """What was usual before a run, and the edges back from it."""

    def __init__(self, provenance: Provenance, known: Known) -> None:
        self.provenance, self.known = provenance, known
        self._medians: dict[tuple[str, str, str | None, int], tuple[int, int]] = {}

    def lived(self, dag: str, run_id: str) -> DagLived | None:
        """Return a DAG run."""
        return next((one for one in self.known.lived(dag) if one.run_id == run_id), None)

    def of(self, kind: str, dag: str, task: str | None, lived: DagLived) -> int:
        """Return how long a hop usually was, in runs before this one that ended well."""
        return self._of(kind, dag, task, lived)[0]

    def past(self, kind: str, dag: str, task: str | None, lived: DagLived) -> int:
        """Return of how many runs that is the median; of none, nothing is usual."""
        return self._of(kind, dag, task, lived)[1]

    def _of(self, kind: str, dag: str, task: str | None, lived: DagLived) -> tuple[int, int]:
        if kind in {"failed", "missing"}:
            return 0, 0
        before_us = lived.started_us or self.known.now_us
        key = (kind, dag, task, before_us)
        if key not in self._medians:
            past = [
                one
                for one in self.known.lived(dag)
                if one.succeeded and one.run_id != lived.run_id and one.started_us < before_us
            ]
            took = [
                us for one in past[-_MOST_RUNS:] if (us := self._took(kind, one, task)) is not None
            ]
            self._medians[key] = (round(median(took)) if took else 0), len(took)
        return self._medians[key]

    def _took(self, kind: str, lived: DagLived, task: str | None) -> int | None:
        if task is None:
            return self._dag_took(kind, lived)
        node = lived.nodes.get(task)
        began = None if node is None else node.started_us
        if node is None or began is None:
            return None
        tries = max(node.instances, key=lambda some: some[-1].ended_us or 0)
        first, last = tries[0], tries[-1]
        if kind == "run" and last.started_us is not None and last.ended_us is not None:
            return last.ended_us - last.started_us
        if kind == "retry" and last.started_us is not None and first.started_us is not None:
            return last.started_us - first.started_us
        above = self.predecessor(lived, node, first.started_us or began)
        ready = max(lived.started_us, 0 if above is None else above[2])
        queued = max(ready, ready if first.queued_us is None else first.queued_us)
        if kind == "queue":
            return max((first.started_us or began) - queued, 0)
        return queued - ready if kind == "gap" else None

    def _dag_took(self, kind: str, lived: DagLived) -> int | None:
        if kind == "begin":
            source = self.source(lived)
            since = lived.due_us if source is None else source[2]
            return None if since is None else max(lived.started_us - since, 0)
        ends = [us for one in lived.nodes.values() if (us := one.ended_us) is not None]
        return max((lived.ended_us or 0) - max(ends), 0) if ends and kind == "gap" else None

    def predecessor(self, lived: DagLived, node: TaskNode, by_us: int) -> Before | None:
        """Return what a task waited for longest: a task before it, or who wrote what it read."""
        found: list[Before] = [
            (lived, name, min(ended_us, by_us))
            for name in node.upstream
            if name in lived.nodes and (ended_us := lived.nodes[name].ended_us) is not None
        ]
        for run in node.last:
            for writer in self.provenance.writers(run):
                above = self.lived(writer.dag_name, writer.run_id)
                ended_us = writer.ended_us
                if above is None or ended_us is None or above.run_id == lived.run_id:
                    continue
                # What was there when the DAG run began kept nobody waiting.
                if lived.started_us < ended_us <= by_us and writer.task_name in above.nodes:
                    found.append((above, writer.task_name, ended_us))
        return max(found, key=lambda one: (one[2], one[1]), default=None)

    def source(self, lived: DagLived) -> Before | None:
        """Return the last of the tasks whose asset events began a DAG run."""
        found = []
        for dag, run_id, task in lived.sources:
            above = self.lived(dag, run_id)
            ended_us = above.nodes[task].ended_us if above and task in above.nodes else None
            if above is not None and ended_us is not None:
                found.append((above, task, min(ended_us, lived.started_us)))
        return max(found, key=lambda one: (one[2], one[1]), default=None)

    def before(self, dag: str, task: str) -> set[str]:
        """Return all tasks that a task waits for."""
        upstream = self.known.history(dag).upstream
        found: set[str] = set()
        rest = [task]
        while rest:
            fresh = set(upstream.get(rest.pop(), ())) - found
            found |= fresh
            rest += fresh
        return found

    def feeding(self, dag: str, above: str, after_us: int) -> DagLived | None:
        """Return the run of a DAG that has yet to begin another's: one that none consumed."""
        consumed = {source[:2] for one in self.known.lived(dag) for source in one.sources}
        fresh = [
            one
            for one in self.known.lived(above)
            if (above, one.run_id) not in consumed and (one.due_us or one.started_us) > after_us
        ]
        return fresh[0] if fresh else None

    def next_due(self, dag: str, after_us: int) -> int | None:
        """Return when a run should have begun: at the time of day that the last ones did."""
        dues = [one.due_us for one in self.known.lived(dag) if one.due_us is not None]
        if not dues:
            return None
        return min(due + ((after_us - due) // _DAY_US + 1) * _DAY_US for due in dues[-7:])

    def versions(self, lived: DagLived) -> tuple[str | None, str | None]:
        """Return the DAG's version in the run before, and in this one."""
        runs = [one for one in self.known.lived(lived.dag) if one.started_us <= lived.started_us]
        told = [_version(one) for one in runs if one.run_id != lived.run_id]
        return next((one for one in reversed(told) if one is not None), None), _version(lived)


def _version(lived: DagLived) -> str | None:
    told = [run.dag_version for node in lived.nodes.values() for run in node.last]
    return next((one for one in told if one is not None), None)
