"""The store in memory: for tests, examples and back-tests. Product code, the same rules.

It keeps rows in dictionaries and answers a `Ledger`'s questions by scanning them, generously: the
rules take any superset. So it is also the plain reading of what `store.sql` does with indexes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.domain.identity import (
    DagRunKey,
    DatasetRef,
    TaskRunKey,
    WireKey,
    key_digest,
)
from airflow_provenance.domain.linking import LinkRule, Version
from airflow_provenance.domain.run import (
    NEVER_RAN,
    Facets,
    RunDoc,
    RunState,
    VersionStatus,
    merge_facets,
    merged,
    parent_of,
)
from airflow_provenance.errors import SubjectError
from airflow_provenance.formats.brief import brief_of
from airflow_provenance.formats.dependencies import dependencies_of
from airflow_provenance.store.base import (
    STARTED_LAST,
    DatasetUse,
    Edge,
    IngestReport,
    JobUse,
    LogEntry,
    Owners,
    QuarantineEntry,
    ReadView,
    Rejected,
    RunQuery,
    RunView,
    SpoolOffset,
    StoredRun,
    VersionView,
    is_held,
    is_of_promise,
    last_ended,
    newest_of,
)
from airflow_provenance.store.dump import dump_facts
from airflow_provenance.store.ingest import Limits, ingest_batch, parse_batch
from airflow_provenance.store.ledger import Observed, StoredRead, Wanted, Wire
from airflow_provenance.store.memory_alerts import MemoryAlerts
from airflow_provenance.store.memory_outbox import MemoryOutbox
from airflow_provenance.store.memory_promises import MemoryPromises

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from airflow_provenance.domain.identity import RunKey
    from airflow_provenance.formats.brief import RunBrief
    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.store.base import Direction


class _ObservedRow(msgspec.Struct):
    id: int
    observed: Observed
    first_seen_us: int = 0
    verified: bool = True


class MemoryLedger:
    """The rows, and what ingest asks of them. See `store.ledger.Ledger`."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = defaultdict(int)
        self.horizon = 0
        self.offsets: dict[str, int] = {}
        self.log: dict[bytes, LogEntry] = {}
        self.quarantined: dict[bytes, QuarantineEntry] = {}
        self.jobs: dict[tuple[str, str], int] = {}
        self.datasets: dict[DatasetRef, int] = {}
        self.job_facets: dict[int, Facets] = defaultdict(dict)
        self.dataset_facets: dict[int, Facets] = defaultdict(dict)
        self.dependencies: dict[str, bytes] = {}
        self.runs: dict[int, StoredRun] = {}
        self.digests: dict[bytes, int] = {}
        self.wires: set[Wire] = set()
        self.versions: dict[int, Version] = {}
        self.observed: dict[Observed, _ObservedRow] = {}
        self.reads: dict[int, StoredRead] = {}
        self.edges: set[Edge] = set()

    def move_offset(self, offset: SpoolOffset) -> bool:
        if self.offsets.get(offset.file, 0) != offset.expected:
            return False
        self.offsets[offset.file] = offset.reached
        return True

    def horizon_us(self) -> int:
        return self.horizon

    def next_ids(self, counter: str, count: int) -> int:
        first = self.counters[counter] + 1
        self.counters[counter] += count
        return first

    def known_entries(self, ids: Sequence[bytes]) -> set[bytes]:
        return self.log.keys() & set(ids)

    def append_log(self, entries: Sequence[LogEntry]) -> None:
        self.log |= {entry.id: entry for entry in entries}

    def add_quarantine(self, rejected: Sequence[Rejected], received_us: int) -> int:
        known = len(self.quarantined)
        for one in rejected:
            digest = one.digest
            if digest not in self.quarantined:
                self.quarantined[digest] = QuarantineEntry(
                    self.next_ids("quarantine", 1),
                    received_us,
                    one.kind,
                    one.reason,
                    one.message,
                    one.source,
                    len(one.raw),
                    one.raw,
                )
        return len(self.quarantined) - known

    def job_ids(self, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        return {name: self.jobs.setdefault(name, len(self.jobs) + 1) for name in names}

    def dataset_ids(self, refs: Collection[DatasetRef]) -> dict[DatasetRef, int]:
        return {ref: self.datasets.setdefault(ref, len(self.datasets) + 1) for ref in refs}

    def merge_job_facets(self, facets: Mapping[int, Facets]) -> None:
        for one, those in facets.items():
            merge_facets(self.job_facets[one], those)

    def merge_dataset_facets(self, facets: Mapping[int, Facets]) -> None:
        for one, those in facets.items():
            merge_facets(self.dataset_facets[one], those)

    def add_dependencies(self, sets: Mapping[str, bytes]) -> None:
        self.dependencies |= sets

    def runs_by_digest(self, digests: Collection[bytes]) -> list[StoredRun]:
        return self.runs_by_id([self.digests[one] for one in digests if one in self.digests])

    def runs_by_id(self, ids: Collection[int]) -> list[StoredRun]:
        # Copies: ingest folds into what it loads, and a batch that fails must leave no trace.
        return [
            msgspec.structs.replace(self.runs[one], doc=merged([self.runs[one].doc]), is_new=False)
            for one in ids
        ]

    def runs_on_wires(self, wires: Collection[tuple[str, int]]) -> list[Wire]:
        asked = set(wires)
        return [wire for wire in self.wires if wire[:2] in asked]

    def put_runs(self, runs: Sequence[StoredRun], wires: Sequence[Wire]) -> None:
        self.runs |= {run.id: run for run in runs}
        self.digests |= {run.digest: run.id for run in runs}
        self.wires |= set(wires)

    def versions_of(self, run_ids: Collection[int]) -> list[Version]:
        ids = set(run_ids)
        return [msgspec.structs.replace(v) for v in self.versions.values() if v.run_id in ids]

    def put_versions(self, versions: Sequence[Version], removed: Collection[int]) -> None:
        for one in removed:
            del self.versions[one]
        gone = set(removed)
        self.edges = {edge for edge in self.edges if edge.dst not in gone}
        self.versions |= {version.id: version for version in versions}

    def reads_of(self, run_ids: Collection[int]) -> list[StoredRead]:
        ids = set(run_ids)
        return [one for one in self.reads.values() if one.read.run_id in ids]

    def reads_affected(
        self, since_us: Mapping[int, int], flows: Collection[bytes], consumed: Collection[bytes]
    ) -> list[StoredRead]:
        return [
            one
            for one in self.reads.values()
            if one.read.dataset_id in since_us or one.read.flow in flows
        ]

    def candidate_versions(self, wanted: Mapping[int, Wanted]) -> list[Version]:
        return [version for version in self.versions.values() if version.dataset_id in wanted]

    def upstream_tasks(self, flows: Collection[bytes]) -> dict[bytes, dict[str, set[str]]]:
        found: dict[bytes, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for run in self.runs.values():
            facts = run.facts
            if facts is not None and facts.upstream and facts.flow is not None:
                found[facts.flow.dag_run][facts.flow.task_id] |= set(facts.upstream)
        return found

    def observed_ids(self, observed: Collection[Observed]) -> dict[Observed, int]:
        for one in observed:
            if one not in self.observed:
                self.observed[one] = _ObservedRow(self.next_ids("node", 1), one)
        return {one: self.observed[one].id for one in observed}

    def put_reads(self, reads: Sequence[StoredRead], removed: Sequence[StoredRead]) -> None:
        gone = {one.read.id for one in removed}
        for one in gone:
            del self.reads[one]
        self.edges = {edge for edge in self.edges if not edge.via or edge.via not in gone}
        self.reads |= {one.read.id: one for one in reads}

    def refresh_observed(self, ids: Collection[int]) -> None:
        reads: dict[int, list[StoredRead]] = defaultdict(list)
        for one in self.reads.values():
            if one.observed_id is not None:
                reads[one.observed_id].append(one)
        for row in [row for row in self.observed.values() if row.id in ids]:
            seen = [one.read for one in reads[row.id]]
            if not seen:
                del self.observed[row.observed]
                continue
            row.first_seen_us = min(read.as_of_us for read in seen)
            row.verified = any(read.verified for read in seen)

    def edges_of_reads(self, reads: Sequence[StoredRead]) -> list[Edge]:
        ids = {one.read.id for one in reads}
        return [edge for edge in self.edges if edge.via in ids]

    def append_edges(self, version_ids: Collection[int]) -> list[Edge]:
        ids = set(version_ids)
        return [e for e in self.edges if e.dst in ids and e.rule == LinkRule.APPENDED]

    def change_edges(self, removed: Iterable[Edge], added: Iterable[Edge]) -> None:
        self.edges -= set(removed)
        self.edges |= set(added)


class MemoryStore(MemoryOutbox, MemoryPromises, MemoryAlerts):
    """A `Store` in memory.

    >>> store = MemoryStore()
    >>> store.counts()["runs"]
    0
    """

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__()
        self._rows = MemoryLedger()
        self._leases: dict[str, tuple[str, int]] = {}
        self._marks: dict[str, int] = {}
        self._limits = limits or Limits()

    def ingest(
        self,
        entries: Sequence[tuple[Kind, bytes]],
        *,
        received_us: int,
        source: str = "",
        rejected: Sequence[Rejected] = (),
        offset: SpoolOffset | None = None,
    ) -> IngestReport:
        parsed = parse_batch(entries, rejected, source, self._limits)
        return ingest_batch(
            self._rows, parsed, received_us=received_us, source=source, offset=offset
        )

    def spool_offset(self, file: str) -> int:
        return self._rows.offsets.get(file, 0)

    def acquire_lease(
        self, name: str, holder: str, duration_us: int, *, now_us: int | None = None
    ) -> bool:
        now_us = SystemClock().now_us() if now_us is None else now_us
        lease = self._leases.get(name)
        if lease and is_held(*lease, holder, now_us, duration_us):
            return False
        self._leases[name] = (holder, now_us + duration_us)
        return True

    def release_lease(self, name: str, holder: str) -> None:
        if self._leases.get(name, ("",))[0] == holder:
            del self._leases[name]

    def mark(self, name: str) -> int | None:
        return self._marks.get(name)

    def set_mark(self, name: str, us: int) -> None:
        self._marks[name] = us

    def forget_spool(self, file: str) -> None:
        self._rows.offsets.pop(file, None)

    def release(self, quarantine_ids: Sequence[int]) -> None:
        gone = set(quarantine_ids)
        rows = self._rows.quarantined
        self._rows.quarantined = {key: one for key, one in rows.items() if one.id not in gone}

    def expire(self, before_us: int) -> int:
        before_us = self._held_us(before_us)
        before_us -= before_us % 1000
        known = len(self._rows.log)
        self._rows.horizon = max(self._rows.horizon, before_us)
        self._rows.log = {
            key: entry for key, entry in self._rows.log.items() if entry.event_us >= before_us
        }
        return known - len(self._rows.log)

    def close(self) -> None:
        """Nothing to let go of."""

    def dump_facts(self) -> dict[str, Any]:
        return dump_facts(self)

    def owners(self) -> Owners:
        views = [view for view, _ in self.scan_runs()]
        return Owners(
            frozenset(view.dag_id for view in views if view.dag_id is not None),
            frozenset(view.job[0] for view in views if view.dag_id is None),
        )

    def runs(self, query: RunQuery) -> list[RunView]:
        views = [view for view, _ in self.scan_runs() if _matches(view, query)]
        views.sort(key=lambda view: (view.listed_us, view.id), reverse=True)
        return views[: query.limit]

    def runs_of(self, jobs: Collection[str], since_us: int, began_us: int) -> list[RunView]:
        return [
            view
            for view, _ in self.scan_runs()
            if view.job[1] in jobs
            and view.listed_us >= began_us
            and (
                isinstance(view.key, DagRunKey)
                or view.state is RunState.RUNNING
                or view.ended_us is None
                or view.ended_us >= since_us
            )
        ]

    def runs_named(self, name: str) -> list[RunView]:
        uuids = {wire.run_id for wire in self._rows.wires if wire.run_uuid == name.lower()}
        return [
            view
            for view, _ in self.scan_runs()
            if view.id in uuids
            or str(view.id) == name
            or (not isinstance(view.key, WireKey) and view.key.run_id == name)
        ]

    def runs_sharing(self, run_uuid: str, job: tuple[str, str]) -> list[RunView]:
        job_id = self._rows.jobs.get(job)
        shared = {one.run_id for one in self._rows.wires if one[:2] == (run_uuid.lower(), job_id)}
        return [view for _, view in sorted(self.runs_by_id(shared).items())]

    def run_entries(self, run_id: int) -> list[LogEntry]:
        group = {one.id for one in self._rows.runs.values() if run_id in (one.id, one.absorbed_by)}
        found = [entry for entry in self._rows.log.values() if entry.run_id in group]
        found.sort(key=lambda entry: entry.seq)
        return [msgspec.structs.replace(entry, raw=None) for entry in found]

    def runs_by_id(self, ids: Iterable[int]) -> dict[int, RunView]:
        rows = self._rows.runs
        return {one: self._view(rows[one]) for one in ids if one in rows and rows[one].facts}

    def absorbers(self, ids: Iterable[int]) -> dict[int, int]:
        rows = self._rows.runs
        found = ((one, rows[one].absorbed_by) for one in ids if one in rows)
        return {one: by for one, by in found if by is not None}

    def runs_by_key(self, keys: Iterable[RunKey]) -> dict[RunKey, RunView]:
        ids = [self._rows.digests.get(key_digest(key), 0) for key in keys]
        return {view.key: view for view in self.runs_by_id(ids).values()}

    def run_docs(self, ids: Iterable[int]) -> dict[int, RunDoc]:
        return {one: self.run_doc(one) for one in ids if one in self._rows.runs}

    def run_briefs(self, ids: Iterable[int]) -> dict[int, RunBrief]:
        return {one: brief_of(doc) for one, doc in self.run_docs(ids).items()}

    def versions_by_id(self, ids: Iterable[int]) -> dict[int, VersionView]:
        wanted = set(ids)
        return {view.id: view for view in self.scan_versions() if view.id in wanted}

    def run_doc(self, run_id: int) -> RunDoc:
        run = self._rows.runs.get(run_id)
        if run is None:
            raise SubjectError(f"there is no run {run_id}: list runs with 'runs'")
        absorbed = [one.doc for one in self._rows.runs.values() if one.absorbed_by == run_id]
        return merged([run.doc, *absorbed])

    def dependencies(self, dependencies_hash: str) -> list[str] | None:
        text = self._rows.dependencies.get(dependencies_hash)
        return None if text is None else dependencies_of(text)

    def siblings(self, run_id: int) -> list[RunView]:
        if run_id not in self._rows.runs:
            return []
        key = self._rows.runs[run_id].key
        if not isinstance(key, TaskRunKey):
            return [self._view(self._rows.runs[run_id])]
        return [view for view, _ in self.scan_runs() if view.key[:-1] == key[:-1]]

    def children(self, run_id: int) -> list[RunView]:
        run = self._rows.runs.get(run_id)
        if run is None:
            return []
        wires = [WireKey(run.doc.namespace, run.doc.job, uuid) for uuid in run.doc.run_uuids]
        mine = {run.digest, *map(key_digest, wires)}
        return [
            view
            for view, doc in self.scan_runs()
            if (parent := parent_of(view.key, doc)) is not None and key_digest(parent) in mine
        ]

    def datasets_named(self, text: str) -> list[DatasetRef]:
        full = [ref for ref in self._rows.datasets if "/".join(ref) == text]
        return full or [ref for ref in self._rows.datasets if ref.name == text]

    def versions(self, dataset: DatasetRef) -> list[VersionView]:
        views = [view for view in self.scan_versions() if view.dataset == dataset]
        return sorted(views, key=lambda view: (view.ended_us or view.first_seen_us or 0, view.id))

    def versions_since(
        self, datasets: Collection[DatasetRef], since_us: int, before: int
    ) -> dict[DatasetRef, list[VersionView]]:
        found = {ref: newest_of(self.versions(ref), since_us, before) for ref in datasets}
        return {ref: versions for ref, versions in found.items() if versions}

    def version_page(
        self, dataset: DatasetRef, after_id: int, limit: int, owners: Owners | None = None
    ) -> list[VersionView]:
        mine = self._runs_of(owners)
        views = [
            view
            for view in self.scan_versions()
            if view.dataset == dataset
            and view.id > after_id
            and (mine is None or view.run_id is None or view.run_id in mine)
        ]
        return sorted(views, key=lambda view: view.id)[:limit]

    def versions_of_run(self, run_id: int) -> list[VersionView]:
        return [view for view in self.scan_versions() if view.run_id == run_id]

    def reads_of_run(self, run_id: int) -> list[ReadView]:
        return [read for read in self.scan_reads() if read.run_id == run_id]

    def newest_run(self, job: tuple[str, str]) -> RunView | None:
        ran = [
            view
            for view, _ in self.scan_runs()
            if view.job == job
            and view.started_us is not None
            and view.state.is_done
            and view.state not in NEVER_RAN
        ]
        ran.sort(key=lambda one: (one.started_us, key_digest(one.key)), reverse=True)
        return last_ended(ran[:STARTED_LAST])

    def newest_version(self, dataset: DatasetRef) -> VersionView | None:
        number = self._rows.datasets.get(dataset)
        good = [
            one
            for one in self._rows.versions.values()
            if one.dataset_id == number and one.status == VersionStatus.GOOD
        ]
        if good:
            newest = max(good, key=lambda one: one.order).id
        else:
            reads = [
                (one.read.as_of_us, one.observed_id)
                for one in self._rows.reads.values()
                if one.read.dataset_id == number and one.observed_id is not None
            ]
            newest = max(reads)[1] if reads else 0
        return self.versions_by_id([newest]).get(newest)

    def readers(self, version_id: int, limit: int) -> list[RunView]:
        ids = {edge.dst for edge in self._rows.edges if edge.src == version_id}
        found = sorted(
            self.runs_by_id(ids).values(), key=lambda one: (one.listed_us, one.id), reverse=True
        )
        return found[:limit]

    def runs_reading(self, dataset: DatasetRef, since_us: int = 0) -> list[int]:
        number = self._rows.datasets.get(dataset)
        reads = (one.read for one in self._rows.reads.values())
        return sorted(
            {one.run_id for one in reads if one.dataset_id == number and one.as_of_us >= since_us}
        )

    def trace(self, nodes: Sequence[int], direction: Direction, depth: int | None) -> list[Edge]:
        beside: dict[int, list[Edge]] = defaultdict(list)
        for edge in self._rows.edges:
            beside[edge.dst if direction == "upstream" else edge.src].append(edge)
        seen, frontier, found, step = set(nodes), list(nodes), list[Edge](), 0
        while frontier and (depth is None or step < depth):
            step += 1
            edges = [edge for node in frontier for edge in beside[node]]
            found += edges
            ends = {edge.src if direction == "upstream" else edge.dst for edge in edges}
            frontier = list(ends - seen)
            seen |= ends
        return found

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
        mine = self._runs_of(owners)
        whole = self.absorbers(self._rows.runs)
        entries = sorted(self._rows.log.values(), key=lambda entry: entry.seq, reverse=newest_first)
        found = [
            entry if with_raw else msgspec.structs.replace(entry, raw=None)
            for entry in entries
            if entry.seq > after_seq
            and run_id in (None, entry.run_id, whole.get(entry.run_id or 0))
            and (before_seq is None or entry.seq < before_seq)
            and (mine is None or whole.get(entry.run_id or 0, entry.run_id) in mine)
        ]
        return found[:limit]

    def quarantine(self, *, with_raw: bool = False) -> list[QuarantineEntry]:
        rows = sorted(self._rows.quarantined.values(), key=lambda one: one.id)
        return [one if with_raw else msgspec.structs.replace(one, raw=None) for one in rows]

    def counts(self) -> dict[str, int]:
        return {
            "entries": len(self._rows.log),
            "runs": sum(1 for _ in self.scan_runs()),
            "versions": sum(1 for _ in self.scan_versions()),
            "edges": len(self._rows.edges),
            "quarantined": len(self._rows.quarantined),
        }

    def scan_runs(self) -> Iterator[tuple[RunView, RunDoc]]:
        for run in self._rows.runs.values():
            if run.facts is not None:
                yield self._view(run), self.run_doc(run.id)

    def scan_versions(self) -> Iterator[VersionView]:
        names = {number: ref for ref, number in self._rows.datasets.items()}
        for version in self._rows.versions.values():
            yield VersionView(
                version.id,
                names[version.dataset_id],
                version.partition,
                version.run_id,
                version.content_id,
                version.status,
                version.replaces,
                version.ended_us,
                None,
                None,
            )
        for row in self._rows.observed.values():
            yield VersionView(
                row.id,
                names[row.observed.dataset_id],
                row.observed.partition,
                None,
                row.observed.content_id,
                VersionStatus.OBSERVED,
                False,
                None,
                row.first_seen_us,
                row.verified,
            )

    def scan_reads(self) -> Iterator[ReadView]:
        names = {number: ref for ref, number in self._rows.datasets.items()}
        for one in self._rows.reads.values():
            read = one.read
            yield ReadView(
                read.id,
                read.run_id,
                names[read.dataset_id],
                read.partition,
                read.named,
                read.verified,
                one.rule,
            )

    def scan_edges(self) -> Iterator[Edge]:
        yield from self._rows.edges

    def scan_dependencies(self) -> Iterator[tuple[str, list[str]]]:
        for dependencies_hash, text in self._rows.dependencies.items():
            yield dependencies_hash, dependencies_of(text)

    def job_names(self) -> list[tuple[str, str]]:
        return sorted(self._rows.jobs)

    def dataset_names(self) -> list[DatasetRef]:
        return sorted(self._rows.datasets)

    def jobs(
        self, after: tuple[str, str] | None, limit: int, owners: Owners | None = None
    ) -> list[tuple[str, str]]:
        mine = self._runs_of(owners)
        known = self._rows.jobs if mine is None else {view.job for view in mine.values()}
        names = sorted(known, key=lambda job: job[::-1])
        return [one for one in names if after is None or one[::-1] > after[::-1]][:limit]

    def job_uses(self, jobs: Sequence[tuple[str, str]]) -> list[JobUse]:
        asked = set(jobs) & self._rows.jobs.keys()
        found: dict[tuple[tuple[str, str], str | None], list[int]] = defaultdict(list)
        for view, _ in self.scan_runs():
            if view.job in asked:
                found[view.job, view.dag_id].append(view.listed_us)
        without = asked - {job for job, _ in found}
        return [
            *(JobUse(job, dag_id, len(at), max(at)) for (job, dag_id), at in found.items()),
            *(JobUse(job, None, 0, None) for job in without),
        ]

    def datasets(
        self, after: DatasetRef | None, limit: int, owners: Owners | None = None
    ) -> list[DatasetRef]:
        mine = self._runs_of(owners)
        known: Iterable[DatasetRef] = self._rows.datasets
        if mine is not None:
            written = {one.dataset for one in self.scan_versions() if one.run_id in mine}
            known = written | {one.dataset for one in self.scan_reads() if one.run_id in mine}
        names = sorted(known, key=lambda one: one[::-1])
        return [one for one in names if after is None or one[::-1] > after[::-1]][:limit]

    def dataset_uses(
        self, datasets: Sequence[DatasetRef], owners: Owners | None = None
    ) -> list[DatasetUse]:
        asked = set(datasets)
        whose = {
            view.id: (view.job[0], view.dag_id)
            for view, _ in self.scan_runs()
            if owners is None or owners.has(view)
        }
        writes, reads = (
            Counter(
                (one.dataset, *whose[one.run_id])
                for one in used
                if one.dataset in asked and one.run_id in whose
            )
            for used in (self.scan_versions(), self.scan_reads())
        )
        keys = writes.keys() | reads.keys()
        return [DatasetUse(*key, writes[key], reads[key]) for key in keys]

    def _runs_of(self, owners: Owners | None) -> dict[int, RunView] | None:
        if owners is None:
            return None
        return {view.id: view for view, _ in self.scan_runs() if owners.has(view)}

    def _view(self, run: StoredRun) -> RunView:
        facts = run.facts
        if facts is None:
            raise SubjectError(f"run {run.id} is part of run {run.absorbed_by}")
        override = facts.override
        return RunView(
            run.id,
            run.key,
            (run.doc.namespace, run.doc.job),
            facts.run_uuid,
            facts.state,
            facts.execution_state,
            facts.started_us,
            facts.ended_us,
            facts.hostname,
            (override.state, override.at_us, override.who) if override else None,
            facts.is_final,
            facts.as_of_us if facts.started_us is None else facts.started_us,
        )


def _matches(view: RunView, query: RunQuery) -> bool:
    return (
        query.dag_id in (None, view.dag_id)
        and (query.job == view.job[1] if query.job is not None else not is_of_promise(view))
        and query.state in (None, view.state)
        and (query.since_us is None or view.listed_us >= query.since_us)
        and (query.after is None or (view.listed_us, view.id) < query.after)
        and (query.owners is None or query.owners.has(view))
    )
