"""Facts that somebody wrote down: the twin of `recorded`, for tests, examples and simulations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.sla.facts import (
    AssertionFact,
    Condition,
    ExpectedRun,
    RunFact,
    SourceFact,
    WriteFact,
)

if TYPE_CHECKING:
    from airflow_provenance.sla.policy import Target


class PlainProvenance(msgspec.Struct, kw_only=True):
    """A `Provenance` of lists; runs are told apart by their job's name."""

    dag_runs: list[RunFact] = []
    tasks: list[RunFact] = []
    written: list[WriteFact] = []
    checked: dict[str, list[AssertionFact]] = {}
    came_from: dict[int, list[SourceFact]] = {}
    expectations: dict[str, list[ExpectedRun]] = {}
    wrote_for: dict[int, list[RunFact]] = {}
    paused: dict[str, list[tuple[int, int | None]]] = {}
    held: dict[str, list[Condition]] = {}

    def runs(self, target: Target, since_us: int) -> list[RunFact]:
        """See `Provenance.runs`."""
        if target.task is not None:
            found = [run for run in self.tasks if run.job == f"{target.dag}.{target.task}"]
        else:
            found = [run for run in self.dag_runs if run.job == (target.dag or target.job)]
        return [run for run in found if (run.ended_us or run.known_us) >= since_us]

    def task_runs(self, dag: str, since_us: int) -> list[RunFact]:
        """See `Provenance.task_runs`."""
        found = [run for run in self.tasks if run.job.startswith(f"{dag}.")]
        return [run for run in found if (run.ended_us or run.known_us) >= since_us]

    def writes(self, dataset: str, since_us: int | None = None, before: int = 0) -> list[WriteFact]:
        """See `Provenance.writes`."""
        del since_us, before  # all of them is at least those
        found = [one for one in self.written if one.io.dataset == dataset]
        return sorted(found, key=lambda one: one.at_us)

    def assertions(self, dataset: str, since_us: int = 0) -> list[AssertionFact]:
        """See `Provenance.assertions`."""
        return [one for one in self.checked.get(dataset, []) if one.at_us >= since_us]

    def sources(self, write: WriteFact, source: str) -> list[SourceFact]:
        """See `Provenance.sources`."""
        return self.came_from.get(write.run.id, []) if source else []

    def writers(self, run: RunFact) -> list[RunFact]:
        """See `Provenance.writers`."""
        return self.wrote_for.get(run.id, [])

    def expected(self, dag: str, since_us: int, until_us: int) -> list[ExpectedRun] | None:
        """See `Provenance.expected`."""
        known = self.expectations.get(dag)
        if known is None:
            return None
        return [one for one in known if since_us <= one.due_us <= until_us]

    def pauses(self, dag: str) -> list[tuple[int, int | None]]:
        """See `Provenance.pauses`."""
        return self.paused.get(dag, [])

    def conditions(self, dag: str) -> list[Condition]:
        """See `Provenance.conditions`."""
        return self.held.get(dag, [])
