"""Facts from a store: the `Provenance` of what was recorded, through `ProvenanceReader` only.

One is made for some promises of a tick: it remembers what it has read, so that promises about the
same job or dataset cost one reading; `prepare` reads the runs of many jobs together. Which runs are
expected, and when a DAG was paused, a store does not know; both are given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey, WireKey
from airflow_provenance.sla.facts import (
    AssertionFact,
    Condition,
    ExpectedRun,
    IoFact,
    RunFact,
    SourceFact,
    WriteFact,
)
from airflow_provenance.sla.recorded_checks import RecordedChecks
from airflow_provenance.sla.recorded_versions import Asked, RecordedVersions
from airflow_provenance.sla.run_facts import brief_fact, run_fact
from airflow_provenance.store.base import RunQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provenance.sla.policy import Target
    from airflow_provenance.store.base import ProvenanceReader, RunView, VersionView

_ALL = 1_000_000
# A run that began this long before what is asked for may not have ended by then.
_DAY_US = 86_400_000_000
_LONG_US = 7 * _DAY_US
_AT_ONCE = 5000  # documents that are held together


class RecordedProvenance:
    """See `sla.facts.Provenance`.

    Args:
        store: what was recorded.
        expected: the runs that DAGs' schedules ask for.
        pauses: when DAGs were paused.
        conditions: what else kept DAGs from running.
        is_brief: whether the briefs of runs will do, for promises that need no document.
    """

    def __init__(
        self,
        store: ProvenanceReader,
        expected: Mapping[str, Sequence[ExpectedRun]] | None = None,
        pauses: Mapping[str, Sequence[tuple[int, int | None]]] | None = None,
        conditions: Mapping[str, Sequence[Condition]] | None = None,
        *,
        is_brief: bool = False,
    ) -> None:
        self._store = store
        self._is_brief = is_brief
        self._expected = expected or {}
        self._pauses = pauses or {}
        self._conditions = conditions or {}
        self._lists: dict[tuple[str, str], tuple[int, list[RunFact]]] = {}
        self._facts: dict[int, RunFact] = {}
        self._writers: dict[int, list[RunFact]] = {}
        self._versions = RecordedVersions(store)
        self._checks = RecordedChecks(store, self._versions)
        self._wrote: dict[int, WriteFact | None] = {}

    def prepare(self, wanted: Iterable[tuple[Target, Asked]]) -> None:
        """Read the runs of DAGs, tasks and jobs, and what was written to datasets, since times.

        Those of about one time together.
        """
        by_day: dict[int, dict[str, tuple[str, str]]] = {}
        datasets: dict[str, Asked] = {}
        for target, asked in wanted:
            since_us = asked.since_us // _DAY_US * _DAY_US
            if target.dataset is not None:
                asked = Asked(since_us, asked.before, asked.checks)
                datasets[target.dataset] = asked.joined(datasets.get(target.dataset, asked))
                continue
            kind, name = _job(target)
            there = by_day.setdefault(since_us, {})
            there[name.rpartition("/")[2] if kind == "job" else name] = kind, name
        self._prepare_jobs(by_day)
        self._read_writers(self._versions.prepare(datasets))
        checked = {name: one.since_us for name, one in datasets.items() if one.checks}
        self._checks.prepare(checked)

    def _prepare_jobs(self, by_day: Mapping[int, Mapping[str, tuple[str, str]]]) -> None:
        done: set[tuple[str, str]] = set()
        for since_us, jobs in sorted(by_day.items()):
            jobs = {job: one for job, one in jobs.items() if one not in done}
            done |= set(jobs.values())
            views: dict[str, list[RunView]] = {}
            for view in self._store.runs_of(jobs, since_us, max(since_us - _LONG_US, 0)):
                views.setdefault(view.job[1], []).append(view)
            self._facts_of([one for some in views.values() for one in some])
            for job, (kind, name) in jobs.items():
                self._keep(kind, name, since_us, views.get(job, []))

    def runs(self, target: Target, since_us: int) -> list[RunFact]:
        """See `Provenance.runs`."""
        found = self._listed(*_job(target), since_us)
        return [run for run in found if _lasted(run) >= since_us]

    def task_runs(self, dag: str, since_us: int) -> list[RunFact]:
        """See `Provenance.task_runs`."""
        return [run for run in self._listed("tasks", dag, since_us) if _lasted(run) >= since_us]

    def _listed(self, kind: str, name: str, since_us: int) -> list[RunFact]:
        from_us = max(since_us - _LONG_US, 0)
        known = self._lists.get((kind, name))
        if known is not None and known[0] <= since_us:
            return known[1]
        if kind == "tasks":
            views = self._store.runs(RunQuery(dag_id=name, since_us=from_us, limit=_ALL))
        else:
            job = name.rpartition("/")[2] if kind == "job" else name
            views = self._store.runs_of([job], since_us, from_us)
        return self._keep(kind, name, since_us, views)

    def _keep(self, kind: str, name: str, since_us: int, views: Iterable[RunView]) -> list[RunFact]:
        mine = [view for view in views if _is_of(view, kind, name)]
        found = sorted(self._facts_of(mine), key=lambda run: (run.known_us, run.id))
        self._lists[kind, name] = (since_us, found)
        return found

    def _facts_of(self, views: Iterable[RunView]) -> list[RunFact]:
        wanted = list(views)
        fresh = [one for one in wanted if one.id not in self._facts]
        for start in range(0, len(fresh), _AT_ONCE):
            some = fresh[start : start + _AT_ONCE]
            ids = [one.id for one in some]
            if self._is_brief:
                briefs = self._store.run_briefs(ids)
                found = {
                    one.id: brief_fact(one, briefs[one.id]) for one in some if one.id in briefs
                }
            else:
                docs = self._store.run_docs(ids)
                found = {one.id: run_fact(one, docs[one.id]) for one in some if one.id in docs}
            self._facts |= found
        # One that another has absorbed meanwhile is not there any more.
        return [self._facts[view.id] for view in wanted if view.id in self._facts]

    def writes(self, dataset: str, since_us: int | None = None, before: int = 0) -> list[WriteFact]:
        """See `Provenance.writes`."""
        ref = self._versions.named(dataset)
        if ref is None:
            return []
        good = self._versions.good(dataset, since_us, before)
        unread = [one for one in good if one.id not in self._wrote]
        self._read_writers(unread)
        for one in unread:
            run = self._facts.get(one.run_id or 0)
            if run is None or one.ended_us is None:
                self._wrote[one.id] = None
                continue
            name = "/".join(ref)
            same = [io for io in run.writes if (io.dataset, io.partition) == (name, one.partition)]
            io = same[0] if same else IoFact(dataset=name, partition=one.partition)
            wrote = WriteFact(run=run, io=io, at_us=one.ended_us, version_id=one.id)
            self._wrote[one.id] = wrote
        return [fact for one in good if (fact := self._wrote[one.id]) is not None]

    def _read_writers(self, versions: Iterable[VersionView]) -> None:
        wrote_it = {one.run_id for one in versions if one.run_id is not None}
        if fresh := wrote_it - self._facts.keys():
            self._facts_of(self._store.runs_by_id(fresh).values())

    def assertions(self, dataset: str, since_us: int = 0) -> list[AssertionFact]:
        """See `Provenance.assertions`."""
        return self._checks.since(dataset, since_us)

    def sources(self, write: WriteFact, source: str) -> list[SourceFact]:
        """See `Provenance.sources`."""
        ref = self._versions.named(source)
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


def _job(target: Target) -> tuple[str, str]:
    """Return what kind of job a target is, and its name."""
    if target.task is not None:
        return "task", f"{target.dag}.{target.task}"
    return target.kind, target.dag or target.job or ""


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
