"""Facts from a store: the `Provenance` of what was recorded, through `ProvenanceReader` only.

One is made for each tick: it remembers what it has read, so that promises about the same job cost
one reading. Which runs are expected, and when a DAG was paused, a store does not know; both are
given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey, WireKey
from airflow_provenance.domain.run import VersionStatus
from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.facts import (
    AssertionFact,
    Condition,
    ExpectedRun,
    IoFact,
    RunFact,
    SourceFact,
    WriteFact,
)
from airflow_provenance.sla.run_facts import assertions_of, checked_us, run_fact
from airflow_provenance.store.base import RunQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.sla.policy import Target
    from airflow_provenance.store.base import ProvenanceReader, RunView

_ALL = 1_000_000
# A run that began this long before what is asked for may not have ended by then.
_LONG_US = 7 * 86_400_000_000


class RecordedProvenance:
    """See `sla.facts.Provenance`."""

    def __init__(
        self,
        store: ProvenanceReader,
        expected: Mapping[str, Sequence[ExpectedRun]] | None = None,
        pauses: Mapping[str, Sequence[tuple[int, int | None]]] | None = None,
        conditions: Mapping[str, Sequence[Condition]] | None = None,
    ) -> None:
        self._store = store
        self._expected = expected or {}
        self._pauses = pauses or {}
        self._conditions = conditions or {}
        self._lists: dict[tuple[str, str], tuple[int, list[RunFact]]] = {}
        self._facts: dict[int, RunFact] = {}
        self._writers: dict[int, list[RunFact]] = {}

    def runs(self, target: Target, since_us: int) -> list[RunFact]:
        """See `Provenance.runs`."""
        if target.task is not None:
            name, kind = f"{target.dag}.{target.task}", "task"
        else:
            name, kind = target.dag or target.job or "", target.kind
        found = self._listed(kind, name, since_us)
        return [run for run in found if _lasted(run) >= since_us]

    def task_runs(self, dag: str, since_us: int) -> list[RunFact]:
        """See `Provenance.task_runs`."""
        return [run for run in self._listed("tasks", dag, since_us) if _lasted(run) >= since_us]

    def _listed(self, kind: str, name: str, since_us: int) -> list[RunFact]:
        from_us = max(since_us - _LONG_US, 0)
        known = self._lists.get((kind, name))
        if known is not None and known[0] <= from_us:
            return known[1]
        if kind == "tasks":
            query = RunQuery(dag_id=name, since_us=from_us, limit=_ALL)
        elif kind == "job":
            query = RunQuery(job=name.rpartition("/")[2], since_us=from_us, limit=_ALL)
        else:
            query = RunQuery(job=name, since_us=from_us, limit=_ALL)
        views = [view for view in self._store.runs(query) if _is_of(view, kind, name)]
        found = sorted(self._facts_of(views), key=lambda run: (run.known_us, run.id))
        self._lists[kind, name] = (from_us, found)
        return found

    def _facts_of(self, views: Iterable[RunView]) -> list[RunFact]:
        wanted = list(views)
        docs = self._store.run_docs([one.id for one in wanted if one.id not in self._facts])
        for view in wanted:
            if view.id in docs:
                self._facts[view.id] = run_fact(view, docs[view.id])
        return [self._facts[view.id] for view in wanted]

    def _dataset(self, text: str) -> DatasetRef | None:
        if text.startswith("file:///"):  # a URI: OpenLineage names it file and /path
            text = f"file/{text.removeprefix('file://')}"
        found = self._store.datasets_named(text)
        if len(found) > 1:
            names = ", ".join("/".join(ref) for ref in found[:3])
            raise PolicyError(f"{len(found)} datasets are named {text!r}: write one of {names}")
        return found[0] if found else None

    def writes(self, dataset: str) -> list[WriteFact]:
        """See `Provenance.writes`."""
        ref = self._dataset(dataset)
        if ref is None:
            return []
        good = [one for one in self._store.versions(ref) if one.status == VersionStatus.GOOD]
        views = self._store.runs_by_id({one.run_id for one in good if one.run_id is not None})
        runs = {run.id: run for run in self._facts_of(views.values())}
        found = []
        for one in good:
            run = runs.get(one.run_id or 0)
            if run is None or one.ended_us is None:
                continue
            name = "/".join(ref)
            same = [io for io in run.writes if (io.dataset, io.partition) == (name, one.partition)]
            io = same[0] if same else IoFact(dataset=name, partition=one.partition)
            found.append(WriteFact(run=run, io=io, at_us=one.ended_us, version_id=one.id))
        return found

    def assertions(self, dataset: str) -> list[AssertionFact]:
        """See `Provenance.assertions`."""
        ref = self._dataset(dataset)
        if ref is None:
            return []
        ids = {*self._store.runs_reading(ref)}
        ids |= {one.run_id for one in self._store.versions(ref) if one.run_id is not None}
        views, docs = self._store.runs_by_id(ids), self._store.run_docs(ids)
        found = []
        for view in views.values():
            doc = docs[view.id]
            at_us = checked_us(view, doc)
            for io in (*doc.inputs.values(), *doc.outputs.values()):
                if io.dataset == ref:
                    found += assertions_of(io, view.id, at_us)
        return sorted(found, key=lambda one: (one.at_us, one.run_id, one.name))

    def sources(self, write: WriteFact, source: str) -> list[SourceFact]:
        """See `Provenance.sources`."""
        ref = self._dataset(source)
        if ref is None:
            return []
        edges = self._store.trace([write.version_id], "upstream", None)
        versions = self._store.versions_by_id({edge.src for edge in edges})
        of_source = [one for one in versions.values() if one.dataset == ref]
        views = self._store.runs_by_id({one.run_id for one in of_source if one.run_id is not None})
        runs = {run.id: run for run in self._facts_of(views.values())}
        found = []
        for one in of_source:
            run = runs.get(one.run_id or 0)
            told = (
                [io.event_time_us for io in run.writes if io.dataset == "/".join(ref)]
                if run
                else []
            )
            times = [us for us in (*told, one.ended_us, one.first_seen_us) if us is not None]
            if times:
                found.append(SourceFact(run_id=one.run_id, event_time_us=times[0]))
        return found

    def writers(self, run: RunFact) -> list[RunFact]:
        """See `Provenance.writers`."""
        if run.id not in self._writers:
            edges = self._store.trace([run.id], "upstream", 2)
            views = self._store.runs_by_id({edge.src for edge in edges} - {run.id})
            others = [view for view in views.values() if isinstance(view.key, TaskRunKey)]
            found = self._facts_of(others)
            here = (run.dag, run.run_id)
            self._writers[run.id] = [one for one in found if (one.dag, one.run_id) != here]
        return self._writers[run.id]

    def expected(self, dag: str, since_us: int, until_us: int) -> list[ExpectedRun] | None:
        """See `Provenance.expected`."""
        known = self._expected.get(dag)
        if known is None:
            return None
        return [one for one in known if since_us <= one.due_us <= until_us]

    def pauses(self, dag: str) -> Sequence[tuple[int, int | None]]:
        """See `Provenance.pauses`."""
        return self._pauses.get(dag, ())

    def conditions(self, dag: str) -> Sequence[Condition]:
        """See `Provenance.conditions`."""
        return self._conditions.get(dag, ())


def _lasted(run: RunFact) -> int:
    return run.ended_us if run.state.is_done and run.ended_us is not None else _NEVER


_NEVER = 1 << 62


def _is_of(view: RunView, kind: str, name: str) -> bool:
    key = view.key
    if kind == "dag":
        return isinstance(key, DagRunKey) and key.dag_id == name
    if kind == "task":
        return isinstance(key, TaskRunKey) and key.job_name == name
    if kind == "tasks":
        return isinstance(key, TaskRunKey) and key.dag_id == name
    return isinstance(key, WireKey) and name in (key.job, f"{key.namespace}/{key.job}")
