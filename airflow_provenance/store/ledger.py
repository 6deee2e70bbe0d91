"""What `store.ingest` needs of a store while one transaction is open.

A ledger is a bulk interface: every method takes or returns many rows, so that a batch of thousands
of events costs a fixed number of statements. Methods that load may return more than was asked for
(`domain.linking` takes any superset); they see what the same transaction wrote before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from airflow_provenance.domain.linking import LinkRule, Read, Version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.domain.run import Facets
    from airflow_provenance.store.base import (
        Edge,
        LogEntry,
        Rejected,
        SpoolOffset,
        StoredRun,
    )


class Wire(NamedTuple):
    """A run seen on the wire: two runs can share the first two members."""

    run_uuid: str
    job_id: int
    run_id: int


class StoredRead(msgspec.Struct):
    """A read and the link it has now; `observed_id` where it links to an observed version."""

    read: Read
    rule: LinkRule
    observed_id: int | None


class Observed(NamedTuple):
    """What makes an observed version: content that a run saw in a dataset nobody here wrote."""

    dataset_id: int
    partition: str | None
    content_id: str | None


class Wanted(msgspec.Struct):
    """Which versions of a dataset linking may need.

    Attributes:
        since_us: every version that ended at or after this, and of each partition the newest
            before it, from two different groups.
        named: of the reads that name a version, the newest that it can mean, too.
        flows: the versions written in these DAG runs, too.
    """

    since_us: int
    named: list[Read]
    flows: set[bytes]


class Ledger(Protocol):
    """One open transaction of a store, holding its write lock."""

    def move_offset(self, offset: SpoolOffset) -> bool:
        """Move a spool file's offset; False when it is not at `expected` any more."""

    def horizon_us(self) -> int:
        """Return the time before which raw entries have expired."""

    def next_ids(self, counter: str, count: int) -> int:
        """Take `count` numbers of a counter that never goes back; return the first."""

    def known_entries(self, ids: Sequence[bytes]) -> set[bytes]:
        """Return which of these entries are in the log."""

    def append_log(self, entries: Sequence[LogEntry]) -> None:
        """Append to the log; their `seq` are contiguous."""

    def add_quarantine(self, rejected: Sequence[Rejected], received_us: int) -> int:
        """Keep rejected entries, each content once; return how many are new."""

    def job_ids(self, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return ids, making those that are missing."""

    def dataset_ids(self, refs: Collection[DatasetRef]) -> dict[DatasetRef, int]:
        """Return ids, making those that are missing."""

    def merge_job_facets(self, facets: Mapping[int, Facets]) -> None:
        """Merge the facets of JobEvents; per facet the latest wins."""

    def merge_dataset_facets(self, facets: Mapping[int, Facets]) -> None:
        """Merge the facets of DatasetEvents; per facet the latest wins."""

    def add_dependencies(self, sets: Mapping[str, bytes]) -> None:
        """Keep lists of dependencies, hash -> text; those that are known already are left."""

    def runs_by_digest(self, digests: Collection[bytes]) -> list[StoredRun]:
        """Return stored runs by the digest of their key."""

    def runs_by_id(self, ids: Collection[int]) -> list[StoredRun]:
        """Return stored runs by id."""

    def runs_on_wires(self, wires: Collection[tuple[str, int]]) -> list[Wire]:
        """Return every run seen with these (runId, job id)."""

    def put_runs(self, runs: Sequence[StoredRun], wires: Sequence[Wire]) -> None:
        """Write runs with their documents and facts; add wires."""

    def versions_of(self, run_ids: Collection[int]) -> list[Version]:
        """Return what runs wrote."""

    def put_versions(self, versions: Sequence[Version], removed: Collection[int]) -> None:
        """Write versions by id, remove others with the edges into them."""

    def reads_of(self, run_ids: Collection[int]) -> list[StoredRead]:
        """Return what runs read."""

    def reads_affected(
        self, since_us: Mapping[int, int], flows: Collection[bytes], consumed: Collection[bytes]
    ) -> list[StoredRead]:
        """Return reads whose link may have changed.

        Args:
            since_us: dataset id -> reads as of this time or later.
            flows: reads in these DAG runs.
            consumed: reads in runs that consumed an asset event of these DAG runs.
        """

    def candidate_versions(self, wanted: Mapping[int, Wanted]) -> list[Version]:
        """Return the versions that linking may need, by dataset id."""

    def upstream_tasks(self, flows: Collection[bytes]) -> dict[bytes, dict[str, set[str]]]:
        """Return for each DAG run: task -> the tasks directly upstream of it."""

    def observed_ids(self, observed: Collection[Observed]) -> dict[Observed, int]:
        """Return the node ids of observed versions, making those that are missing."""

    def put_reads(self, reads: Sequence[StoredRead], removed: Sequence[StoredRead]) -> None:
        """Write reads by id, remove others with their edges."""

    def refresh_observed(self, ids: Collection[int]) -> None:
        """Derive first seen and verified of observed versions anew; remove those without reads."""

    def edges_of_reads(self, reads: Sequence[StoredRead]) -> list[Edge]:
        """Return the link edges of reads."""

    def append_edges(self, version_ids: Collection[int]) -> list[Edge]:
        """Return the append edges into versions."""

    def change_edges(self, removed: Iterable[Edge], added: Iterable[Edge]) -> None:
        """Remove and add edges."""
