"""What the evaluator looks at: plain facts, and the view that gives them.

`recorded` makes them from a store, tests write them down; `AsOf` hides what came later than the
moment for which a promise is evaluated. Times are UTC microseconds. Of facts there are many at a
time and none can be part of a circle, so the collector of garbage leaves them alone (``gc=False``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from airflow_provenance.domain.run import ConsumedSource, RunState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.sla.policy import Target


class IoFact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A dataset that a run read or wrote, as far as was seen."""

    dataset: str
    partition: str | None = None
    rows: int | None = None
    size_bytes: int | None = None
    columns: Mapping[str, str] | None = None
    event_time_us: int | None = None


class AssertionFact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a check said of a dataset, and when."""

    run_id: int
    at_us: int
    name: str
    success: bool
    column: str | None = None
    severity: str = "error"
    partition: str | None = None
    failed_rows: int | None = None
    rows: int | None = None  # that were looked at


class RunFact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A DAG run, a try of a task, or a run of another producer's job."""

    id: int
    job: str
    state: RunState = RunState.RUNNING
    run_id: str = ""
    run_type: str | None = None  # None: of another producer; counts always
    map_index: int = -1
    try_number: int = 1
    run_after_us: int | None = None
    logical_us: int | None = None
    interval_end_us: int | None = None
    queued_us: int | None = None
    started_us: int | None = None
    ended_us: int | None = None
    reads: tuple[IoFact, ...] = ()
    writes: tuple[IoFact, ...] = ()
    slots: int = 1
    numbers: Mapping[str, float] = {}  # fields of its facets, as FACET.FIELD
    upstream: tuple[str, ...] | None = None  # the tasks that it waits for; None: nobody said
    consumed: tuple[ConsumedSource, ...] = ()  # who emitted the asset events that it was begun by
    hostname: str | None = None
    dag_version: str | None = None
    dag: str | None = None  # the DAG of a task's try
    checks: tuple[AssertionFact, ...] = ()  # that it made, of whatever dataset

    @property
    def due_us(self) -> int | None:
        """When it could have begun: what its period goes by."""
        for us in (self.run_after_us, self.interval_end_us, self.logical_us):
            if us is not None:
                return us
        return self.queued_us if self.started_us is None else self.started_us

    @property
    def known_us(self) -> int:
        """Since when it exists."""
        times = [us for us in (self.queued_us, self.started_us, self.ended_us) if us is not None]
        return min(times, default=self.run_after_us or 0)

    @property
    def dag_name(self) -> str:
        """The DAG that it is a run of, or of a task of which it is a try."""
        return self.dag or self.job.partition(".")[0]

    @property
    def task_name(self) -> str:
        """The task that it is a try of."""
        return self.job.removeprefix(f"{self.dag_name}.")

    @property
    def failed(self) -> bool:
        """Whether it ended without success."""
        return self.state in _FAILED

    @property
    def succeeded(self) -> bool:
        """Whether it ended well; a skipped run did what it had to."""
        return self.state in _GOOD


_FAILED = {RunState.FAIL, RunState.ABORT, RunState.UPSTREAM_FAILED}
_GOOD = {RunState.COMPLETE, RunState.SKIPPED}


class WriteFact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A good version of a dataset, and the run that wrote it."""

    run: RunFact
    io: IoFact
    at_us: int
    version_id: int = 0


class SourceFact(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a source that went into a version of a dataset."""

    run_id: int | None
    event_time_us: int


class ExpectedRun(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run that a DAG's schedule asks for."""

    due_us: int
    logical_us: int | None = None
    came_us: int | None = None  # when Airflow made it, as its database says


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What kept a DAG from running for a time; `causes` has the kinds."""

    kind: str
    from_us: int
    until_us: int | None = None
    detail: str = ""


class Provenance(Protocol):
    """What a promise is evaluated from."""

    def runs(self, target: Target, since_us: int) -> Sequence[RunFact]:
        """Return the runs of a DAG, task or job that were known since a time, the oldest first."""

    def task_runs(self, dag: str, since_us: int) -> Sequence[RunFact]:
        """Return the tries of all tasks of a DAG."""

    def writes(
        self, dataset: str, since_us: int | None = None, before: int = 0
    ) -> Sequence[WriteFact]:
        """Return the good versions of a dataset, the oldest first.

        All of them; or at least those since a time, and so many that came before it.
        """

    def assertions(self, dataset: str, since_us: int = 0) -> Sequence[AssertionFact]:
        """Return what checks said of a dataset since a time, at least, the oldest first."""

    def sources(self, write: WriteFact, source: str) -> Sequence[SourceFact]:
        """Return the versions of a source that went into what was written."""

    def writers(self, run: RunFact) -> Sequence[RunFact]:
        """Return the runs of other DAG runs that wrote what a run read."""

    def expected(self, dag: str, since_us: int, until_us: int) -> Sequence[ExpectedRun] | None:
        """Return the runs that a DAG's schedule asks for; None where nobody knows."""

    def pauses(self, dag: str) -> Sequence[tuple[int, int | None]]:
        """Return from when to when a DAG was paused; None: it still is."""

    def conditions(self, dag: str) -> Sequence[Condition]:
        """Return what kept a DAG from running, and when."""


class AsOf:
    """A view without what came after a moment, so that any moment can be evaluated later."""

    def __init__(self, provenance: Provenance, now_us: int) -> None:
        self._provenance = provenance
        self._now_us = now_us

    def runs(self, target: Target, since_us: int) -> list[RunFact]:
        """See `Provenance.runs`."""
        return self._seen(self._provenance.runs(target, since_us))

    def task_runs(self, dag: str, since_us: int) -> list[RunFact]:
        """See `Provenance.task_runs`."""
        return self._seen(self._provenance.task_runs(dag, since_us))

    def writes(self, dataset: str, since_us: int | None = None, before: int = 0) -> list[WriteFact]:
        """See `Provenance.writes`."""
        found = self._provenance.writes(dataset, since_us, before)
        return [one for one in found if one.at_us <= self._now_us]

    def assertions(self, dataset: str, since_us: int = 0) -> list[AssertionFact]:
        """See `Provenance.assertions`."""
        found = self._provenance.assertions(dataset, since_us)
        return [one for one in found if one.at_us <= self._now_us]

    def sources(self, write: WriteFact, source: str) -> Sequence[SourceFact]:
        """See `Provenance.sources`."""
        return self._provenance.sources(write, source)

    def writers(self, run: RunFact) -> list[RunFact]:
        """See `Provenance.writers`."""
        return self._seen(self._provenance.writers(run))

    def expected(self, dag: str, since_us: int, until_us: int) -> Sequence[ExpectedRun] | None:
        """See `Provenance.expected`."""
        found = self._provenance.expected(dag, since_us, min(until_us, self._now_us))
        if found is None:
            return None
        return [
            msgspec.structs.replace(one, came_us=None) if (one.came_us or 0) > self._now_us else one
            for one in found
        ]

    def pauses(self, dag: str) -> list[tuple[int, int | None]]:
        """See `Provenance.pauses`."""
        return [one for one in self._provenance.pauses(dag) if one[0] <= self._now_us]

    def conditions(self, dag: str) -> list[Condition]:
        """See `Provenance.conditions`."""
        return [one for one in self._provenance.conditions(dag) if one.from_us <= self._now_us]

    def _seen(self, runs: Sequence[RunFact]) -> list[RunFact]:
        return [self._clipped(run) for run in runs if run.known_us <= self._now_us]

    def _clipped(self, run: RunFact) -> RunFact:
        if run.started_us is not None and run.started_us > self._now_us:
            run = msgspec.structs.replace(run, started_us=None)
        if run.state.is_done and (run.ended_us or 0) > self._now_us:
            run = msgspec.structs.replace(
                run, state=RunState.RUNNING, ended_us=None, writes=(), checks=(), numbers={}
            )
        return run
