"""What is upstream of what, from the runs that evaluations were computed from.

The graph is walked back from an alert's runs, or where it has none (a run that never was) from the
last run or version of what it is about. A DAG lies above what any of its tasks' data flows into,
and a task above its own DAG: a DAG is late because its task is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey
from airflow_provenance.store.base import RunQuery

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provenance.domain.alert import Alert
    from airflow_provenance.store.base import RunView, Store

_KNOWN = 10_000  # alerts whose answers are kept


class Lineage:
    """See `inhibit.Upstream`; what was found for an alert is kept while it has the same runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, tuple[int, ...]], frozenset[str]] = {}
        self._runs: dict[tuple[str, tuple[int, ...]], frozenset[int]] = {}
        self._whole: dict[tuple[int, ...], frozenset[int]] = {}

    def __call__(self, alert: Alert, targets: Collection[str]) -> frozenset[str]:
        """Return those of the targets that are upstream of what an alert is about."""
        change = alert.change
        if change.target.startswith("channel:"):
            return frozenset()
        key = change.target, change.runs
        if key not in self._known:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[key] = self._above(change.target, change.runs)
        above = self._known[key]
        return frozenset(one for one in targets if self._names(one) & above)

    def joins(self, above: Alert, below: Alert) -> bool:
        """Return whether data of the very runs of one alert went into those of another.

        True where either has no runs: then their targets alone can tell.
        """
        if not (above.change.runs and below.change.runs):
            return True
        key = below.change.target, below.change.runs
        if key not in self._runs:
            if len(self._runs) >= _KNOWN:
                self._runs.clear()
            start = self._with_tasks(below.change.runs)
            nodes = {edge.src for edge in self._store.trace(sorted(start), "upstream", None)}
            self._runs[key] = frozenset(self._store.runs_by_id(nodes - start))
        return not self._runs[key].isdisjoint(self._with_tasks(above.change.runs))

    def _with_tasks(self, runs: tuple[int, ...]) -> frozenset[int]:
        """Return runs with those that they are the parent of; asked once for each alert."""
        if runs not in self._whole:
            if len(self._whole) >= _KNOWN:
                self._whole.clear()
            inner = {each.id for one in runs for each in self._store.children(one)}
            self._whole[runs] = frozenset(runs) | inner
        return self._whole[runs]

    def _names(self, target: str) -> frozenset[str]:
        """Return a target by the names that `_above` gives."""
        kind, _, name = target.partition(":")
        if kind == "dataset":
            refs = self._store.datasets_named(_as_named(name))
            return frozenset(f"dataset:{'/'.join(ref)}" for ref in refs) or frozenset({target})
        return frozenset({target})

    def _above(self, target: str, runs: tuple[int, ...]) -> frozenset[str]:
        own = self._names(target)
        start = set(runs) or self._last(target)
        start |= {each.id for one in list(start) for each in self._store.children(one)}
        if not start:
            return frozenset()
        nodes = start | {edge.src for edge in self._store.trace(sorted(start), "upstream", None)}
        views = self._store.runs_by_id(nodes).values()
        versions = self._store.versions_by_id(nodes).values()
        found = {f"dataset:{'/'.join(one.dataset)}" for one in versions}
        for view in views:
            found |= _targets(view)
        if target.startswith("task:"):
            found.discard(f"dag:{target.removeprefix('task:').partition('.')[0]}")
        return frozenset(found - own)

    def _last(self, target: str) -> set[int]:
        kind, _, name = target.partition(":")
        if kind == "dataset":
            refs = self._store.datasets_named(_as_named(name))
            versions = [self._store.newest_version(ref) for ref in refs]
            return {one.id for one in versions if one is not None}
        job = name.rpartition("/")[2] if kind == "job" else name
        return {view.id for view in self._store.runs(RunQuery(job=job, limit=1))}


def _as_named(name: str) -> str:
    return f"file/{name.removeprefix('file://')}" if name.startswith("file:///") else name


def _targets(view: RunView) -> set[str]:
    key = view.key
    if isinstance(key, TaskRunKey):
        return {f"task:{key.job_name}", f"dag:{key.dag_id}"}
    if isinstance(key, DagRunKey):
        return {f"dag:{key.dag_id}"}
    return {f"job:{key.job}", f"job:{key.namespace}/{key.job}"}
