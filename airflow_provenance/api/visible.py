"""The store as one viewer may see it. See `store.base.ProvenanceReader`.

A run is seen by who may read its DAG; a dataset's name by who may see one of its writers or
readers; a version by who may see its writer. Edges stay, so that a path goes on through what is
hidden: its nodes are then in no answer but by their id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from airflow_provenance.api.security import Viewer
from airflow_provenance.domain.identity import DatasetRef, RunKey
from airflow_provenance.domain.run import RunDoc
from airflow_provenance.errors import SubjectError
from airflow_provenance.store.base import (
    DatasetUse,
    Direction,
    Edge,
    JobUse,
    LogEntry,
    ProvenanceReader,
    QuarantineEntry,
    ReadView,
    RunQuery,
    RunView,
    VersionView,
)

_T = TypeVar("_T")
_SCANNED = 500  # rows looked at together, while a page is filled with what may be seen


class VisibleReader:
    """Answers from a store with what a viewer may see. Lives as long as a request."""

    def __init__(self, store: ProvenanceReader, viewer: Viewer) -> None:
        self._store = store
        self._viewer = viewer
        self._may_read: dict[str | None, bool] = {}

    def may_read(self, dag_id: str | None) -> bool:
        """Whether runs of a DAG, or with None of no DAG, may be seen; asked once for each."""
        if dag_id not in self._may_read:
            viewer = self._viewer
            self._may_read[dag_id] = (
                viewer.is_admin() if dag_id is None else viewer.may_read(dag_id)
            )
        return self._may_read[dag_id]

    def runs(self, query: RunQuery) -> list[RunView]:
        if query.dag_id is not None and not self.may_read(query.dag_id):
            return []

        def scan(after: RunView | None) -> list[RunView]:
            start = query.after if after is None else (after.listed_us, after.id)
            return self._store.runs(msgspec.structs.replace(query, after=start, limit=_SCANNED))

        return _filled(scan, self._seen_runs, query.limit)

    def runs_named(self, name: str) -> list[RunView]:
        return self._seen_runs(self._store.runs_named(name))

    def runs_by_id(self, ids: Iterable[int]) -> dict[int, RunView]:
        return {run.id: run for run in self._seen_runs(self._store.runs_by_id(ids).values())}

    def runs_by_key(self, keys: Iterable[RunKey]) -> dict[RunKey, RunView]:
        found = self._store.runs_by_key(keys)
        seen = {run.id for run in self._seen_runs(found.values())}
        return {key: run for key, run in found.items() if run.id in seen}

    def run_docs(self, ids: Iterable[int]) -> dict[int, RunDoc]:
        return self._store.run_docs(self.runs_by_id(ids))

    def runs_sharing(self, run_uuid: str, job: tuple[str, str]) -> list[RunView]:
        return self._seen_runs(self._store.runs_sharing(run_uuid, job))

    def run_entries(self, run_id: int) -> list[LogEntry]:
        return self._seen_entries(self._store.run_entries(run_id))

    def versions_by_id(self, ids: Iterable[int]) -> dict[int, VersionView]:
        found = self._store.versions_by_id(ids)
        return {version.id: version for version in self._seen_versions(list(found.values()))}

    def run_doc(self, run_id: int) -> RunDoc:
        if not self.runs_by_id([run_id]):
            raise SubjectError(f"there is no run {run_id}")
        return self._store.run_doc(run_id)

    def dependencies(self, dependencies_hash: str) -> list[str] | None:
        return self._store.dependencies(dependencies_hash)

    def siblings(self, run_id: int) -> list[RunView]:
        return self._seen_runs(self._store.siblings(run_id))

    def children(self, run_id: int) -> list[RunView]:
        return self._seen_runs(self._store.children(run_id))

    def datasets_named(self, text: str) -> list[DatasetRef]:
        return self._seen_datasets(self._store.datasets_named(text))

    def versions(self, dataset: DatasetRef) -> list[VersionView]:
        return self._seen_versions(self._store.versions(dataset))

    def versions_of_run(self, run_id: int) -> list[VersionView]:
        return self._seen_versions(self._store.versions_of_run(run_id))

    def reads_of_run(self, run_id: int) -> list[ReadView]:
        return self._store.reads_of_run(run_id) if self.runs_by_id([run_id]) else []

    def runs_reading(self, dataset: DatasetRef) -> list[int]:
        return sorted(self.runs_by_id(self._store.runs_reading(dataset)))

    def trace(self, nodes: Sequence[int], direction: Direction, depth: int | None) -> list[Edge]:
        return self._store.trace(nodes, direction, depth)

    def entries(
        self,
        *,
        after_seq: int = 0,
        limit: int = 100,
        run_id: int | None = None,
        with_raw: bool = False,
        newest_first: bool = False,
    ) -> list[LogEntry]:
        if newest_first:
            raise NotImplementedError("pages go on from a seq, so oldest first")

        def scan(after: LogEntry | None) -> list[LogEntry]:
            start = after_seq if after is None else after.seq
            return self._store.entries(
                after_seq=start, limit=_SCANNED, run_id=run_id, with_raw=with_raw
            )

        return _filled(scan, self._seen_entries, limit)

    def quarantine(self, *, with_raw: bool = False) -> list[QuarantineEntry]:
        return self._store.quarantine(with_raw=with_raw) if self.may_read(None) else []

    def counts(self) -> dict[str, int]:
        return {
            "entries": sum(1 for _ in self.entries(limit=1 << 62)),
            "runs": sum(1 for _ in self.scan_runs()),
            "versions": sum(1 for _ in self.scan_versions()),
            "edges": sum(1 for _ in self.scan_edges()),
            "quarantined": len(self.quarantine()),
        }

    def scan_runs(self) -> Iterator[tuple[RunView, RunDoc]]:
        return (pair for pair in self._store.scan_runs() if self.may_read(pair[0].dag_id))

    def scan_versions(self) -> Iterator[VersionView]:
        yield from self._seen_versions(list(self._store.scan_versions()))

    def scan_reads(self) -> Iterator[ReadView]:
        reads = list(self._store.scan_reads())
        seen = self.runs_by_id({read.run_id for read in reads})
        return (read for read in reads if read.run_id in seen)

    def scan_edges(self) -> Iterator[Edge]:
        edges = list(self._store.scan_edges())
        nodes = {node for edge in edges for node in (edge.src, edge.dst)}
        seen = self.runs_by_id(nodes).keys() | self.versions_by_id(nodes).keys()
        return (edge for edge in edges if edge.src in seen and edge.dst in seen)

    def scan_dependencies(self) -> Iterator[tuple[str, list[str]]]:
        return self._store.scan_dependencies() if self.may_read(None) else iter(())

    def job_names(self) -> list[tuple[str, str]]:
        return self._seen_jobs(self._store.job_names())

    def dataset_names(self) -> list[DatasetRef]:
        return self._seen_datasets(self._store.dataset_names())

    def jobs(self, after: tuple[str, str] | None, limit: int) -> list[tuple[str, str]]:
        return _filled(
            lambda last: self._store.jobs(last or after, _SCANNED), self._seen_jobs, limit
        )

    def job_uses(self, jobs: Sequence[tuple[str, str]]) -> list[JobUse]:
        return [one for one in self._store.job_uses(jobs) if self.may_read(one.dag_id)]

    def datasets(self, after: DatasetRef | None, limit: int) -> list[DatasetRef]:
        return _filled(
            lambda last: self._store.datasets(last or after, _SCANNED), self._seen_datasets, limit
        )

    def dataset_uses(self, datasets: Sequence[DatasetRef]) -> list[DatasetUse]:
        return [one for one in self._store.dataset_uses(datasets) if self.may_read(one.dag_id)]

    def _seen_runs(self, runs: Iterable[RunView]) -> list[RunView]:
        return [run for run in runs if self.may_read(run.dag_id)]

    def _seen_jobs(self, jobs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        used = {one.job for one in self.job_uses(jobs)}
        return [job for job in jobs if job in used]

    def _seen_datasets(self, datasets: Sequence[DatasetRef]) -> list[DatasetRef]:
        used = {one.dataset for one in self.dataset_uses(datasets)}
        # One that only a dataset event tells of belongs to no DAG.
        return [one for one in datasets if one in used or self.may_read(None)]

    def _seen_versions(self, versions: Sequence[VersionView]) -> list[VersionView]:
        writers = self.runs_by_id({one.run_id for one in versions if one.run_id is not None})
        unwritten = list({one.dataset for one in versions if one.run_id is None})
        read = set(self._seen_datasets(unwritten))
        return [
            one
            for one in versions
            if (one.dataset in read if one.run_id is None else one.run_id in writers)
        ]

    def _seen_entries(self, entries: Sequence[LogEntry]) -> list[LogEntry]:
        runs = self.runs_by_id({one.run_id for one in entries if one.run_id is not None})
        return [
            one for one in entries if one.run_id in runs or (not one.run_id and self.may_read(None))
        ]


def _filled(
    scan: Callable[[Any], Sequence[_T]], seen: Callable[[Sequence[_T]], list[_T]], limit: int
) -> list[_T]:
    """Return the first `limit` rows that are seen.

    It goes on until it has them, so that the place where a page ends is always one that is seen: a
    cursor tells nothing of what is hidden.
    """
    found: list[_T] = []
    last: _T | None = None
    while len(found) < limit:
        rows = scan(last)
        found += seen(rows)
        if len(rows) < _SCANNED:
            break
        last = rows[-1]
    return found[:limit]
