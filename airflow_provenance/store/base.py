"""What a store can do, and the shapes it answers with."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from airflow_provenance.domain.identity import DatasetRef, RunKey, WireKey, key_digest
from airflow_provenance.domain.linking import LinkRule
from airflow_provenance.domain.run import RunDoc, RunFacts, RunState, VersionStatus
from airflow_provenance.formats.spool_line import Kind
from airflow_provenance.store.alerts import AlertStore
from airflow_provenance.store.outbox import Outbox
from airflow_provenance.store.promises import PromiseStore

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from airflow_provenance.formats.brief import RunBrief

# Runs of a job that are asked which ended last: those that started long before are not looked at.
STARTED_LAST = 100
# Before the id of a promise: the name of the job whose runs tell how it stands.
PROMISE_JOBS = "sla."


class LogEntry(msgspec.Struct, frozen=True):
    """An event or a note as it was received, with what ingest gave it."""

    seq: int
    id: bytes
    event_us: int
    received_us: int
    kind: str
    event_type: str | None
    run_id: int | None
    job_id: int | None
    raw: bytes | None = None


class Rejected(msgspec.Struct, frozen=True):
    """Something that could not be ingested, and why."""

    kind: Kind | Literal["?"]
    raw: bytes
    reason: str
    message: str
    source: str

    @property
    def digest(self) -> bytes:
        """16 bytes that tell rejected entries apart: the quarantine keeps the same bytes once."""
        text = b"\0".join((self.kind.encode(), self.reason.encode(), self.raw))
        return hashlib.blake2b(text, digest_size=16).digest()


class QuarantineEntry(msgspec.Struct, frozen=True):
    """A rejected entry as the quarantine keeps it. `id` never changes and is never reused."""

    id: int
    received_us: int
    kind: str
    reason: str
    message: str
    source: str
    size_bytes: int
    raw: bytes | None = None


class SpoolOffset(msgspec.Struct, frozen=True):
    """How far a spool file was read: an ingest moves it from `expected` to `reached`."""

    file: str
    expected: int
    reached: int


class IngestReport(msgspec.Struct):
    """What became of a batch."""

    received: int = 0
    ingested: int = 0
    repeated: int = 0
    quarantined: int = 0
    warnings: list[str] = []
    # Another drainer read the same lines first: nothing of the batch was written.
    overtaken: bool = False
    # Of one batch, for who answers entry by entry: the bytes that were new, and what was refused.
    accepted: list[bytes] = []
    refused: list[Rejected] = []

    @property
    def refused_again(self) -> int:
        """How many were refused that the quarantine holds already."""
        return self.received - self.ingested - self.repeated - self.quarantined

    def add(self, other: IngestReport) -> None:
        """Count another batch in."""
        self.received += other.received
        self.ingested += other.ingested
        self.repeated += other.repeated
        self.quarantined += other.quarantined
        self.warnings = [*self.warnings, *other.warnings]
        self.overtaken = self.overtaken or other.overtaken


class Owners(msgspec.Struct, frozen=True):
    """Whose runs: of these DAGs, and of no DAG but of jobs in these namespaces."""

    dag_ids: frozenset[str]
    namespaces: frozenset[str]

    def has(self, run: RunView) -> bool:
        """Whether a run is one of theirs."""
        dag_id = run.dag_id
        return run.job[0] in self.namespaces if dag_id is None else dag_id in self.dag_ids


class RunView(msgspec.Struct, frozen=True, gc=False):
    """A run as the store answers with it. Times in UTC microseconds."""

    id: int
    key: RunKey
    job: tuple[str, str]
    run_uuid: str | None
    state: RunState
    execution_state: RunState
    started_us: int | None
    ended_us: int | None
    hostname: str | None
    override: tuple[RunState, int, str | None] | None
    is_final: bool
    listed_us: int = 0  # what lists are ordered by: its start, else the first that is known of it

    @property
    def dag_id(self) -> str | None:
        """The DAG it belongs to; None for a run of another producer."""
        return None if isinstance(self.key, WireKey) else self.key.dag_id


def is_of_promise(run: RunView) -> bool:
    """Whether a run tells how a promise stands: it is no work on data."""
    return isinstance(run.key, WireKey) and run.job[1].startswith(PROMISE_JOBS)


class JobUse(msgspec.Struct, frozen=True):
    """How many runs of a job belong to one DAG; None: to none. A job may have no runs at all."""

    job: tuple[str, str]
    dag_id: str | None
    runs: int
    newest_us: int | None


class DatasetUse(msgspec.Struct, frozen=True):
    """How often the runs of one DAG wrote and read a dataset; None: runs of no DAG.

    `namespace` is that of their jobs.
    """

    dataset: DatasetRef
    namespace: str
    dag_id: str | None
    writes: int
    reads: int


class VersionView(msgspec.Struct, frozen=True, gc=False):
    """A dataset version. `run_id` is its writer; None for an observed version of a source."""

    id: int
    dataset: DatasetRef
    partition: str | None
    run_id: int | None
    content_id: str | None
    status: VersionStatus
    replaces: bool
    ended_us: int | None
    first_seen_us: int | None
    verified: bool | None


def newest_of(versions: Sequence[VersionView], since_us: int, before: int) -> list[VersionView]:
    """Return of a dataset's versions what `ProvenanceReader.versions_since` does."""
    late = {one.id for one in versions if one.ended_us is None or one.ended_us >= since_us}
    early = [one.id for one in versions if one.status is VersionStatus.GOOD and one.id not in late]
    kept = late | set(early[max(len(early) - before, 0) :])
    return [one for one in versions if one.id in kept]


class Edge(msgspec.Struct, frozen=True):
    """An edge of the lineage graph, along the data: from `src` to `dst`.

    A node is a run or a dataset version; both take their ids from one space. `via` is the id of
    the read that a link belongs to, 0 for other edges.
    """

    dst: int
    src: int
    rule: LinkRule
    via: int = 0


class ReadView(msgspec.Struct, frozen=True):
    """A dataset that a run read, and the rule that links it to versions."""

    id: int
    run_id: int
    dataset: DatasetRef
    partition: str | None
    named: str | None
    verified: bool
    rule: LinkRule


class RunQuery(msgspec.Struct, frozen=True):
    """Which runs to list, newest first.

    Those that tell how promises stand are of no DAG, and listed by their job alone (`job`).
    """

    dag_id: str | None = None
    job: str | None = None
    state: RunState | None = None
    since_us: int | None = None
    limit: int = 50
    # Only those that come later in the list than the run with this (`listed_us`, `id`).
    after: tuple[int, int] | None = None
    # Only theirs; None: whosever.
    owners: Owners | None = None


Direction = Literal["upstream", "downstream"]


class ProvenanceReader(Protocol):
    """Answers from the store; every question of ours goes through it."""

    def owners(self) -> Owners:
        """Return all whose runs there are."""

    def runs(self, query: RunQuery) -> list[RunView]:
        """Return runs, newest start first."""

    def runs_of(self, jobs: Collection[str], since_us: int, began_us: int) -> list[RunView]:
        """Return the runs of jobs with these names that had not ended before a time.

        Of those that began, or are known, since `began_us`. A DAG run may be run again: it is
        given whenever it first ended.
        """

    def runs_named(self, name: str) -> list[RunView]:
        """Return the runs with this runId (a UUID), or this Airflow run_id, or this node id."""

    def runs_sharing(self, run_uuid: str, job: tuple[str, str]) -> list[RunView]:
        """Return the runs of a job that were seen under this runId, the first known first."""

    def run_entries(self, run_id: int) -> list[LogEntry]:
        """Return the log entries of a run, and of those absorbed by it, in order of `seq`."""

    def runs_by_id(self, ids: Iterable[int]) -> dict[int, RunView]:
        """Return runs by node id; ids that are no runs are left out."""

    def absorbers(self, ids: Iterable[int]) -> dict[int, int]:
        """Return for runs that another has absorbed, which; other ids are left out."""

    def runs_by_key(self, keys: Iterable[RunKey]) -> dict[RunKey, RunView]:
        """Return runs by key; keys of no run are left out. All keys are of one kind."""

    def run_docs(self, ids: Iterable[int]) -> dict[int, RunDoc]:
        """Return all that was said of each of these runs; ids that are no runs are left out."""

    def run_briefs(self, ids: Iterable[int]) -> dict[int, RunBrief]:
        """Return the brief of each of these runs' documents; see `formats.brief`."""

    def versions_by_id(self, ids: Iterable[int]) -> dict[int, VersionView]:
        """Return versions by node id; ids that are no versions are left out."""

    def run_doc(self, run_id: int) -> RunDoc:
        """Return all that was said of a run, its facets included."""

    def dependencies(self, dependencies_hash: str) -> list[str] | None:
        """Return what a manifest's hash says was installed, ``name==version`` each, if known."""

    def siblings(self, run_id: int) -> list[RunView]:
        """Return all tries of the task instance that a run is a try of, itself included."""

    def children(self, run_id: int) -> list[RunView]:
        """Return the runs whose parent a run is."""

    def datasets_named(self, text: str) -> list[DatasetRef]:
        """Return the datasets whose ``namespace/name``, or else name, is this text."""

    def versions(self, dataset: DatasetRef) -> list[VersionView]:
        """Return a dataset's versions, oldest first."""

    def versions_since(
        self, datasets: Collection[DatasetRef], since_us: int, before: int
    ) -> dict[DatasetRef, list[VersionView]]:
        """Return datasets' versions that had not ended before a time, oldest first.

        And so many good ones of each that came before those.
        """

    def version_page(
        self, dataset: DatasetRef, after_id: int, limit: int, owners: Owners | None = None
    ) -> list[VersionView]:
        """Return a dataset's versions after one, in the order of their ids.

        With `owners`, those that their runs wrote, or nobody here.
        """

    def versions_of_run(self, run_id: int) -> list[VersionView]:
        """Return what a run wrote."""

    def reads_of_run(self, run_id: int) -> list[ReadView]:
        """Return what a run read."""

    def runs_reading(self, dataset: DatasetRef, since_us: int = 0) -> list[int]:
        """Return the ids of the runs that read a dataset, also where no version is known.

        Of those that began, or are known, since a time.
        """

    def trace(self, nodes: Sequence[int], direction: Direction, depth: int | None) -> list[Edge]:
        """Return every edge within `depth` steps of the nodes (None: all), nodes visited once."""

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
        """Return log entries in the order of their `seq`, or the other way round.

        Those of a run are also those that it absorbed. With `owners`, those of their runs.
        """

    def quarantine(self, *, with_raw: bool = False) -> list[QuarantineEntry]:
        """Return what could not be ingested, oldest first."""

    def counts(self) -> dict[str, int]:
        """Return how many entries, runs, versions, edges and quarantined entries there are."""

    def scan_runs(self) -> Iterator[tuple[RunView, RunDoc]]:
        """Return every run with its document; runs absorbed by another are no runs."""

    def scan_versions(self) -> Iterator[VersionView]:
        """Return every version."""

    def scan_reads(self) -> Iterator[ReadView]:
        """Return every read."""

    def scan_edges(self) -> Iterator[Edge]:
        """Return every edge."""

    def scan_dependencies(self) -> Iterator[tuple[str, list[str]]]:
        """Return every list of what was installed, with its hash."""

    def job_names(self) -> list[tuple[str, str]]:
        """Return (namespace, name) of every job."""

    def dataset_names(self) -> list[DatasetRef]:
        """Return every dataset."""

    def jobs(
        self, after: tuple[str, str] | None, limit: int, owners: Owners | None = None
    ) -> list[tuple[str, str]]:
        """Return (namespace, name) of the jobs after one, in the order of name and namespace.

        With `owners`, those that have a run of theirs.
        """

    def job_uses(self, jobs: Sequence[tuple[str, str]]) -> list[JobUse]:
        """Return how many runs jobs have, DAG by DAG."""

    def datasets(
        self, after: DatasetRef | None, limit: int, owners: Owners | None = None
    ) -> list[DatasetRef]:
        """Return the datasets after one, in the order of name and namespace.

        With `owners`, those that their runs wrote or read.
        """

    def dataset_uses(
        self, datasets: Sequence[DatasetRef], owners: Owners | None = None
    ) -> list[DatasetUse]:
        """Return which DAGs' runs wrote and read datasets; with `owners`, theirs alone."""


class ProvenanceWriter(Protocol):
    """Takes what was received."""

    def ingest(
        self,
        entries: Sequence[tuple[Kind, bytes]],
        *,
        received_us: int,
        source: str = "",
        rejected: Sequence[Rejected] = (),
        offset: SpoolOffset | None = None,
    ) -> IngestReport:
        """Ingest a batch in one transaction: all that is good, the rest into the quarantine.

        Args:
            entries: (``E`` for an event or ``N`` for a note, its bytes as emitted).
            received_us: when it was received.
            source: where it came from, for the quarantine.
            rejected: what the caller could not even read, for the quarantine.
            offset: the spool file's offset, moved in the same transaction.
        """

    def spool_offset(self, file: str) -> int:
        """Return how far a spool file was ingested, in bytes."""

    def forget_spool(self, file: str) -> None:
        """Forget the offset of a spool file that is gone."""

    def acquire_lease(
        self, name: str, holder: str, duration_us: int, *, now_us: int | None = None
    ) -> bool:
        """Take or renew the right to do something alone; return whether `holder` has it now.

        Time is the database server's where there is one, so hosts whose clocks differ agree. A
        lease that ends later than `duration_us` from now was taken before the clock was set back:
        it counts as ended, or a dead holder would keep it for as long as the clock went back.
        """

    def release_lease(self, name: str, holder: str) -> None:
        """Give a lease up, if `holder` has it."""

    def mark(self, name: str) -> int | None:
        """Return how far something has come, in microseconds, if that was kept."""

    def set_mark(self, name: str, us: int) -> None:
        """Keep how far something has come."""

    def release(self, quarantine_ids: Sequence[int]) -> None:
        """Take entries out of the quarantine, after a replay."""

    def expire(self, before_us: int) -> int:
        """Drop raw entries older than this (whole milliseconds), freeze what follows from them.

        What an enabled feed has yet to deliver stays, and so does what came after it, unless more
        waits for it than its `max_backlog`: then the feed is suspended.
        Returns how many were dropped.
        """


class Store(ProvenanceReader, ProvenanceWriter, Outbox, PromiseStore, AlertStore, Protocol):
    """All of it; `dump_facts` serves tests and comparisons of two stores."""

    def dump_facts(self) -> dict[str, Any]:
        """Return every fact by natural keys, sorted: equal for equal sets of entries."""

    def close(self) -> None:
        """Let go of connections and files."""


class StoredRun(msgspec.Struct):
    """A run while ingest works on it."""

    id: int
    key: RunKey
    digest: bytes
    job_id: int
    doc: RunDoc
    facts: RunFacts | None = None
    absorbed_by: int | None = None
    is_new: bool = False


def last_ended(runs: Iterable[RunView]) -> RunView | None:
    """Return which of some runs ended last, the same one in every store."""
    return max(runs, key=lambda one: (one.ended_us or 0, key_digest(one.key)), default=None)


def is_held(holder: str, expires_us: int, asker: str, now_us: int, duration_us: int) -> bool:
    """Whether a lease is another's; see `ProvenanceWriter.acquire_lease`."""
    return holder != asker and now_us < expires_us <= now_us + duration_us
