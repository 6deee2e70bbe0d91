"""The store as one viewer may see it. See `store.base.ProvenanceReader`.

A run is seen by who may read its DAG; one of no DAG by administrators, and by who may read a DAG
that its job's namespace is mapped to; a dataset's name by who may see one of its writers or
readers; a version by who may see its writer. Edges stay, so that a path goes on through what is
hidden: its nodes are then in no answer but by their id.

Lists ask the store for what may be seen, so that a page costs its own rows, however many are hidden
between them; before that, one query tells whose runs there are. What comes back is looked at once
more, since a run can come in between. An administrator's pages are not narrowed: most may read
every DAG, and of who may not, only the pages take longer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import msgspec

from airflow_provenance.api.security import Viewer
from airflow_provenance.domain.identity import DatasetRef, RunKey
from airflow_provenance.domain.run import RunDoc
from airflow_provenance.errors import SubjectError
from airflow_provenance.formats.brief import RunBrief
from airflow_provenance.store.base import (
    DatasetUse,
    Direction,
    Edge,
    JobUse,
    LogEntry,
    Owners,
    ProvenanceReader,
    QuarantineEntry,
    ReadView,
    RunQuery,
    RunView,
    VersionView,
    newest_of,
)

_T = TypeVar("_T")
_SCANNED = 500  # rows looked at together, while everything is counted


class VisibleReader:
    """Answers from a store with what a viewer may see. Lives as long as a request.

    Whose runs are looked at, it decides itself: it heeds no `owners` that it is given.

    Args:
        store: what there is.
        viewer: who asks.
        namespace_dags: who may read one of these DAGs sees the runs of jobs in such a namespace, a
            name or a pattern with ``*``, that belong to no DAG.
    """

    def __init__(
        self,
        store: ProvenanceReader,
        viewer: Viewer,
        namespace_dags: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._store = store
        self._viewer = viewer
        self._namespace_dags = namespace_dags or {}
        self._readable: dict[tuple[str | None, str], bool] = {}
        self._mine: Owners | None = None

    def may_read(self, dag_id: str | None, namespace: str = "") -> bool:
        """Whether runs of a DAG may be seen, or with None of no DAG; asked once for each.

        Args:
            dag_id: the DAG.
            namespace: of no DAG, the namespace of their jobs.
        """
        asked = (dag_id, namespace if dag_id is None else "")
        if asked not in self._readable:
            self._readable[asked] = (
                self._is_mapped(namespace) if dag_id is None else self._viewer.may_read(dag_id)
            )
        return self._readable[asked]

    def _is_mapped(self, namespace: str) -> bool:
        return self._viewer.is_admin() or any(
            self.may_read(dag_id)
            for pattern, dag_ids in self._namespace_dags.items()
            if fnmatchcase(namespace, pattern)
            for dag_id in dag_ids
        )

    def owners(self) -> Owners:
        if self._mine is None:
            found = self._store.owners()
            self._mine = Owners(
                frozenset(one for one in found.dag_ids if self.may_read(one)),
                frozenset(one for one in found.namespaces if self.may_read(None, one)),
            )
        return self._mine

    def _narrowed(self) -> Owners | None:
        return None if self._viewer.is_admin() else self.owners()

    def runs(self, query: RunQuery) -> list[RunView]:
        if query.dag_id is not None and not self.may_read(query.dag_id):
            return []
        # Of one DAG, all are seen or none.
        owners = None if query.dag_id is not None else self._narrowed()

        def scan(after: RunView | None) -> list[RunView]:
            start = query.after if after is None else (after.listed_us, after.id)
            return self._store.runs(msgspec.structs.replace(query, after=start, owners=owners))

        return _filled(scan, self._seen_runs, query.limit)

    def runs_of(self, jobs: Collection[str], since_us: int, began_us: int) -> list[RunView]:
        return self._seen_runs(self._store.runs_of(jobs, since_us, began_us))

    def runs_named(self, name: str) -> list[RunView]:
        return self._seen_runs(self._store.runs_named(name))

    def runs_by_id(self, ids: Iterable[int]) -> dict[int, RunView]:
        return {run.id: run for run in self._seen_runs(self._store.runs_by_id(ids).values())}

    def absorbers(self, ids: Iterable[int]) -> dict[int, int]:
        found = self._store.absorbers(ids)
        seen = self.runs_by_id(found.values())
        return {one: by for one, by in found.items() if by in seen}

    def runs_by_key(self, keys: Iterable[RunKey]) -> dict[RunKey, RunView]:
        found = self._store.runs_by_key(keys)
        seen = {run.id for run in self._seen_runs(found.values())}
        return {key: run for key, run in found.items() if run.id in seen}

    def run_docs(self, ids: Iterable[int]) -> dict[int, RunDoc]:
        return self._store.run_docs(self.runs_by_id(ids))

    def run_briefs(self, ids: Iterable[int]) -> dict[int, RunBrief]:
        return self._store.run_briefs(self.runs_by_id(ids))

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

    def versions_since(
        self, datasets: Collection[DatasetRef], since_us: int, before: int
    ) -> dict[DatasetRef, list[VersionView]]:
        found = {ref: newest_of(self.versions(ref), since_us, before) for ref in datasets}
        return {ref: versions for ref, versions in found.items() if versions}

    def version_page(
        self, dataset: DatasetRef, after_id: int, limit: int, owners: Owners | None = None
    ) -> list[VersionView]:
        owners = self._narrowed()

        def scan(after: VersionView | None) -> list[VersionView]:
            start = after_id if after is None else after.id
            return self._store.version_page(dataset, start, limit, owners)

        return _filled(scan, self._seen_versions, limit)

    def versions_of_run(self, run_id: int) -> list[VersionView]:
        return self._seen_versions(self._store.versions_of_run(run_id))

    def reads_of_run(self, run_id: int) -> list[ReadView]:
        return self._store.reads_of_run(run_id) if self.runs_by_id([run_id]) else []

    def runs_reading(self, dataset: DatasetRef, since_us: int = 0) -> list[int]:
        return sorted(self.runs_by_id(self._store.runs_reading(dataset, since_us)))

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
        before_seq: int | None = None,
        owners: Owners | None = None,
    ) -> list[LogEntry]:
        owners = self._narrowed()

        def scan(last: LogEntry | None) -> list[LogEntry]:
            start, end = after_seq, before_seq
            if last is not None:
                start, end = (start, last.seq) if newest_first else (last.seq, end)
            return self._store.entries(
                after_seq=start,
                limit=limit,
                run_id=run_id,
                with_raw=with_raw,
                newest_first=newest_first,
                before_seq=end,
                owners=owners,
            )

        return _filled(scan, self._seen_entries, limit)

    def quarantine(self, *, with_raw: bool = False) -> list[QuarantineEntry]:
        return self._store.quarantine(with_raw=with_raw) if self._viewer.is_admin() else []

    def counts(self) -> dict[str, int]:
        if self._viewer.is_admin() and self.owners() == self._store.owners():
            return self._store.counts()
        return {
            "entries": sum(1 for _ in self._scan_entries()),
            "runs": sum(1 for _ in self.scan_runs()),
            "versions": sum(1 for _ in self.scan_versions()),
            "edges": sum(1 for _ in self.scan_edges()),
            "quarantined": len(self.quarantine()),
        }

    def _scan_entries(self) -> Iterator[LogEntry]:
        after = 0
        while found := self.entries(after_seq=after, limit=_SCANNED):
            yield from found
            after = found[-1].seq

    def scan_runs(self) -> Iterator[tuple[RunView, RunDoc]]:
        return (pair for pair in self._store.scan_runs() if self._is_seen(pair[0]))

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
        return self._store.scan_dependencies() if self._viewer.is_admin() else iter(())

    def job_names(self) -> list[tuple[str, str]]:
        return self._seen_jobs(self._store.job_names())

    def dataset_names(self) -> list[DatasetRef]:
        return self._seen_datasets(self._store.dataset_names())

    def jobs(
        self, after: tuple[str, str] | None, limit: int, owners: Owners | None = None
    ) -> list[tuple[str, str]]:
        owners = self._narrowed()
        return _filled(
            lambda last: self._store.jobs(last or after, limit, owners), self._seen_jobs, limit
        )

    def job_uses(self, jobs: Sequence[tuple[str, str]]) -> list[JobUse]:
        # A job without runs belongs to nobody: it may be any DAG's.
        return [
            one
            for one in self._store.job_uses(jobs)
            if (self.may_read(one.dag_id, one.job[0]) if one.runs else self._viewer.is_admin())
        ]

    def datasets(
        self, after: DatasetRef | None, limit: int, owners: Owners | None = None
    ) -> list[DatasetRef]:
        owners = self._narrowed()
        return _filled(
            lambda last: self._store.datasets(last or after, limit, owners),
            self._seen_datasets,
            limit,
        )

    def dataset_uses(
        self, datasets: Sequence[DatasetRef], owners: Owners | None = None
    ) -> list[DatasetUse]:
        owners = self._narrowed()
        uses = self._store.dataset_uses(datasets, owners)
        return [one for one in uses if self.may_read(one.dag_id, one.namespace)]

    def _is_seen(self, run: RunView) -> bool:
        return self.may_read(run.dag_id, run.job[0])

    def _seen_runs(self, runs: Iterable[RunView]) -> list[RunView]:
        return [run for run in runs if self._is_seen(run)]

    def _seen_jobs(self, jobs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        used = {one.job for one in self.job_uses(jobs)}
        return [job for job in jobs if job in used]

    def _seen_datasets(self, datasets: Sequence[DatasetRef]) -> list[DatasetRef]:
        used = {one.dataset for one in self.dataset_uses(datasets)}
        # One that only a dataset event tells of belongs to no DAG.
        return [one for one in datasets if one in used or self._viewer.is_admin()]

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
        """Return what may be seen; an entry of a run that another absorbed is the other's."""
        numbers = {one.run_id for one in entries if one.run_id is not None}
        runs = self.runs_by_id(numbers)
        whole = {}
        if missing := numbers - runs.keys():
            whole = self._store.absorbers(missing)
            runs |= self.runs_by_id(whole.values())
        whose = (
            msgspec.structs.replace(one, run_id=whole[one.run_id]) if one.run_id in whole else one
            for one in entries
        )
        return [
            one
            for one in whose
            if one.run_id in runs or (not one.run_id and self._viewer.is_admin())
        ]


def _filled(
    scan: Callable[[Any], Sequence[_T]], seen: Callable[[Sequence[_T]], list[_T]], limit: int
) -> list[_T]:
    """Return the first `limit` rows that are seen, of scans that return as many at a time.

    It goes on until it has them, so that the place where a page ends is always one that is seen: a
    cursor tells nothing of what is hidden.
    """
    found: list[_T] = []
    last: _T | None = None
    while len(found) < limit:
        rows = scan(last)
        found += seen(rows)
        if len(rows) < limit:
            break
        last = rows[-1]
    return found[:limit]
