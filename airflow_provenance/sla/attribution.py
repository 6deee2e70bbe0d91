"""Why something was late: hops back from the breach, each with what it took beyond the usual.

The walk starts where the promise was broken and goes back through the run that ended last of those
that were waited for: a task before it in the DAG run, the run that wrote what was read, the run
whose asset event began the DAG run (REQUIREMENTS A9). Each hop is a stretch of time without a gap
to the next, so what the hops took beyond the usual, less the time that is usually to spare, is the
lateness, to the microsecond:

    lateness = sum of (hop - its median) - (budget - sum of medians)

Where something never came, the walk starts at the moment of asking: with a task that runs, waits or
has failed, or with the run that is missing.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

import msgspec

from airflow_provenance.sla.run_graph import DagLived, TaskNode
from airflow_provenance.sla.usual import Usual

if TYPE_CHECKING:
    from airflow_provenance.sla.facts import Provenance, RunFact
    from airflow_provenance.sla.prediction import Known

# queue: waited for a slot; gap: between the end of one and the queueing of the next; retry: tries
# that failed and the pauses after them; begin: a DAG run after it was due; failed, missing: what
# never came.
HopKind = Literal["run", "queue", "gap", "retry", "begin", "failed", "missing"]
_MOST_HOPS = 200


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time on the way to the breach, and how long it usually is.

    Attributes:
        job: the DAG, or the task as ``DAG.TASK``.
        run_id: of the DAG run; empty for one that is missing.
        runs: the numbers of the runs in the store.
        usual_us: the median of the past; 0 where it never was there before.
        past: of how many runs that is the median.
        is_open: it goes on.
        dag_version, was_version: where the DAG's version is not that of the run before.
    """

    kind: HopKind
    job: str
    dag: str
    run_id: str
    from_us: int
    until_us: int
    usual_us: int
    past: int = 0
    is_open: bool = False
    runs: tuple[int, ...] = ()
    hostname: str | None = None
    reads: tuple[str, ...] = ()
    dag_version: str | None = None
    was_version: str | None = None

    @property
    def took_us(self) -> int:
        """How long it was."""
        return self.until_us - self.from_us

    @property
    def excess_us(self) -> int:
        """How much longer than usual."""
        return self.took_us - self.usual_us


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """What made it late.

    Attributes:
        hops: the oldest first.
        from_us: when the budget began; `due_us` when it ended.
        until_us: when it was done, or the moment of asking.
    """

    hops: tuple[Hop, ...]
    from_us: int
    due_us: int
    until_us: int

    @property
    def late_us(self) -> int:
        """By how much it was late."""
        return self.until_us - self.due_us

    @property
    def spare_us(self) -> int:
        """How much of the budget is usually left: it made up for that much."""
        return self.due_us - self.from_us - sum(hop.usual_us for hop in self.hops)

    @property
    def ranked(self) -> list[Hop]:
        """The hops, those that took most beyond the usual first."""
        return sorted(self.hops, key=lambda hop: (-hop.excess_us, hop.from_us))

    def share(self, hop: Hop) -> float:
        """Return a hop's part of all that took longer than usual."""
        whole = sum(max(one.excess_us, 0) for one in self.hops)
        return max(hop.excess_us, 0) / whole if whole else 0.0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was late: a DAG or a task of it, in a run if there is one.

    Attributes:
        from_us: before this nothing is looked at, as for a promise of a duration; None: all counts.
        after_us: runs of this period are those that were due after this.
        done_us: when it was done; None: it is not.
    """

    dag: str
    task: str | None = None
    run_id: str | None = None
    due_us: int
    after_us: int
    from_us: int | None = None
    done_us: int | None = None


def attribute(provenance: Provenance, known: Known, asked: Asked) -> Attribution:
    """Say what made something late, as known at a moment."""
    until_us = known.now_us if asked.done_us is None else asked.done_us
    walk = _Walk(provenance, known, asked, until_us)
    walk.back()
    hops = tuple(reversed(walk.hops))
    from_us = hops[0].from_us if hops else until_us
    return Attribution(hops=hops, from_us=from_us, due_us=asked.due_us, until_us=until_us)


class _Walk:
    """One walk back. `at` is where it has come to: every hop ends there and moves it back."""

    def __init__(self, provenance: Provenance, known: Known, asked: Asked, at_us: int) -> None:
        self.provenance, self.known, self.asked, self.at = provenance, known, asked, at_us
        self.usual = Usual(provenance, known)
        self.hops: list[Hop] = []
        self.seen: set[tuple[str, str, str]] = set()

    def back(self) -> None:
        asked = self.asked
        lived = self.usual.lived(asked.dag, asked.run_id or "")
        if lived is None:
            self._never_began(asked.dag)
        elif asked.task is not None and asked.task in lived.nodes:
            self._task(lived, asked.task)
        elif asked.done_us is not None and asked.task is None:
            self._from_end(lived)
        else:
            self._from_frontier(lived, asked.task)

    def _hop(
        self,
        kind: HopKind,
        from_us: int,
        lived: DagLived,
        task: str | None = None,
        runs: tuple[RunFact, ...] = (),
    ) -> None:
        from_us = min(max(from_us, self.asked.from_us or from_us), self.at)
        if from_us == self.at and kind not in {"failed", "missing"}:
            return
        was, now = self.usual.versions(lived) if kind == "run" else (None, None)
        usual_us = self.usual.of(kind, lived.dag, task, lived)
        self.hops.append(
            Hop(
                kind=kind,
                job=lived.dag if task is None else f"{lived.dag}.{task}",
                dag=lived.dag,
                run_id=lived.run_id,
                from_us=from_us,
                until_us=self.at,
                usual_us=usual_us,
                past=self.usual.past(kind, lived.dag, task, lived),
                is_open=bool(runs) and not runs[-1].state.is_done,
                runs=tuple(run.id for run in runs),
                hostname=runs[-1].hostname if runs else None,
                reads=tuple(io.dataset for run in runs[-1:] for io in run.reads),
                dag_version=now if now != was else None,
                was_version=was if now != was else None,
            )
        )
        self.at = from_us

    def is_over(self) -> bool:
        """Whether the walk has come to where the budget began."""
        began = self.asked.from_us is not None and self.at <= self.asked.from_us
        return began or len(self.hops) > _MOST_HOPS

    def _from_end(self, lived: DagLived) -> None:
        """Go back from the end of a DAG run to the task that ended last."""
        done = [one for one in lived.nodes.values() if one.ended_us is not None]
        if not done:
            self._dag_began(lived)
            return
        last = max(done, key=lambda one: (one.ended_us or 0, one.name))
        self._hop("gap", last.ended_us or 0, lived)
        self._task(lived, last.name)

    def _from_frontier(self, lived: DagLived, task: str | None) -> None:
        """Go back from now: from what failed, else from what has run or waited too long."""
        wanted = {task, *self.usual.before(lived.dag, task)} if task else set(lived.nodes)
        mine = [node for name, node in lived.nodes.items() if name in wanted]
        failed = [node for node in mine if node.failed]
        going = [node for node in mine if not node.is_done]
        if failed:
            first = min(failed, key=lambda one: (one.ended_us or 0, one.name))
            self._failed(lived, first)
        elif going:
            worst = max(going, key=lambda one: (self._open_for(lived, one), one.name))
            self._task(lived, worst.name)
        else:
            self._from_end(lived)

    def _open_for(self, lived: DagLived, node: TaskNode) -> int:
        """Return how much longer than usual a task has been at it."""
        began = node.started_us
        if began is None:
            return self.at - min(run.known_us for run in node.last)
        return self.at - began - self.usual.of("run", lived.dag, node.name, lived)

    def _failed(self, lived: DagLived, node: TaskNode) -> None:
        tries = max(node.instances, key=lambda some: some[-1].ended_us or 0)
        self._hop("failed", node.ended_us or self.at, lived, node.name, tuple(tries[-1:]))
        self._task(lived, node.name)

    def _task(self, lived: DagLived, name: str) -> None:
        """Go back through a task: its last try, those that failed before, its wait."""
        if (lived.dag, lived.run_id, name) in self.seen or self.is_over():
            return
        self.seen.add((lived.dag, lived.run_id, name))
        node = lived.nodes[name]
        tries = max(
            node.instances, key=lambda some: (some[-1].ended_us or self.at, some[-1].map_index)
        )
        if node.failed and not (self.hops and self.hops[-1].kind == "failed"):
            self._hop("failed", node.ended_us or self.at, lived, name, (tries[-1],))
        begun = [run for run in tries if run.started_us is not None]
        if begun:
            self._hop("run", begun[-1].started_us or 0, lived, name, (begun[-1],))
            if len(begun) > 1:
                self._hop("retry", begun[0].started_us or 0, lived, name, tuple(begun[:-1]))
        first = tries[0]
        if self.is_over() or (self.asked.task == name and self.asked.from_us is not None):
            return
        above = self.usual.predecessor(lived, node, self.at)
        ready_us = lived.started_us if above is None else above[2]
        ready_us = max(ready_us, lived.started_us)
        queued_us = first.queued_us if first.queued_us is not None else ready_us
        self._hop("queue", max(queued_us, min(ready_us, self.at)), lived, name, (first,))
        self._hop("gap", ready_us, lived, name, (first,))
        if above is not None and above[2] >= lived.started_us:
            self._task(above[0], above[1])
        else:
            self._dag_began(lived)

    def _dag_began(self, lived: DagLived) -> None:
        """Go back from the begin of a DAG run: to what its asset events came from, or its due."""
        if self.is_over():
            return
        runs = () if lived.run is None else (lived.run,)
        self._hop("gap", lived.started_us, lived, None, runs)
        source = self.usual.source(lived)
        if source is not None:
            self._hop("begin", source[2], lived, None, runs)
            self._task(source[0], source[1])
        elif lived.due_us is not None:
            self._hop("begin", lived.due_us, lived, None, runs)

    def _never_began(self, dag: str, depth: int = 0) -> None:
        """Go back from now where there is no run: to the run that it waits for, or to its due."""
        nothing = DagLived(dag, "", None, {})
        for above, task in sorted(self.known.history(dag).sources) if depth < 10 else ():
            lived = self.usual.feeding(dag, above, self.asked.after_us)
            if lived is None:
                self._never_began(above, depth + 1)
                return
            node = lived.nodes.get(task)
            if node is None or not node.is_done or node.failed:
                self._from_frontier(lived, task)
                return
            self._hop("begin", node.ended_us or 0, nothing)
            self._task(lived, task)
            return
        due_us = self.usual.next_due(dag, self.asked.after_us)
        self._hop("missing", self.asked.due_us if due_us is None else due_us, nothing)


def by_job(found: Attribution) -> dict[str, int]:
    """Return what each task or DAG took beyond the usual, all its hops together."""
    whole: dict[str, int] = defaultdict(int)
    for hop in found.hops:
        whole[hop.job] += hop.excess_us
    return dict(sorted(whole.items(), key=lambda one: -one[1]))
