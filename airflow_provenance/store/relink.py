"""Links brought up to date: after a batch, every read and append that its changes can reach.

A write that arrives late re-links its readers; links of reads before the horizon are frozen. The
rules are those of `domain.linking`; here is only what to ask them about again.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from airflow_provenance.domain.linking import (
    LinkRule,
    Version,
    VersionIndex,
    predecessors,
    resolve_read,
    task_distances,
)
from airflow_provenance.domain.run import VersionStatus
from airflow_provenance.store.base import Edge
from airflow_provenance.store.ledger import Observed, StoredRead, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provenance.store.ledger import Ledger


class Relink:
    """Resolves again all that a set of changed versions can reach.

    Args:
        ledger: the open transaction, with the runs and versions of the batch written.
        changed: versions that changed, as they were and as they are.
        flows: DAG runs in which tasks' upstream became known or changed.
    """

    def __init__(self, ledger: Ledger, changed: list[Version], flows: set[bytes]) -> None:
        self.ledger = ledger
        self.horizon_us = ledger.horizon_us()
        self.since_us: dict[int, int] = {}
        # An open version links to nothing and nothing links to it; one may be open again.
        self.open_again = [v.id for v in changed if v.status == VersionStatus.OPEN]
        done = [v for v in changed if v.status != VersionStatus.OPEN]
        for version in done:
            since_us = max(version.order[0], self.horizon_us)
            known = self.since_us.get(version.dataset_id, since_us)
            self.since_us[version.dataset_id] = min(known, since_us)
        self.changed_flows = {v.flow for v in done if v.flow is not None}
        self.flows = flows | self.changed_flows
        self.upstream: dict[bytes, dict[str, set[str]]] = {}
        self.distances: dict[tuple[bytes, str], dict[str, int]] = {}

    def resolve(
        self, new: list[StoredRead], changed: list[StoredRead], removed: list[StoredRead]
    ) -> None:
        """Resolve the reads given and every other that the changes can reach."""
        own = {one.read.id for one in (*new, *changed, *removed)}
        affected = [
            one
            for one in self.ledger.reads_affected(self.since_us, self.flows, self.changed_flows)
            if one.read.id not in own and one.read.as_of_us >= self.horizon_us
        ]
        reads = [*new, *changed, *affected]
        versions = self._candidates(reads)
        self._resolve(reads, versions, {one.read.id for one in new}, removed, affected)
        self._put_on_predecessors(versions)

    def _candidates(self, reads: list[StoredRead]) -> dict[int, VersionIndex]:
        wanted = {
            dataset_id: Wanted(since_us, [], set())
            for dataset_id, since_us in self.since_us.items()
        }
        for one in reads:
            read = one.read
            want = wanted.get(read.dataset_id)
            if want is None:
                want = wanted[read.dataset_id] = Wanted(read.as_of_us, [], set())
            want.since_us = min(want.since_us, read.as_of_us)
            if read.named is not None:
                want.named.append(read)
            if read.flow is not None:
                want.flows.add(read.flow)
            want.flows.update(flow for flow, _, _ in read.consumed)
        versions: dict[int, list[Version]] = defaultdict(list)
        for version in self.ledger.candidate_versions(wanted):
            versions[version.dataset_id].append(version)
        return {dataset_id: VersionIndex(those) for dataset_id, those in versions.items()}

    def _resolve(
        self,
        reads: list[StoredRead],
        versions: Mapping[int, VersionIndex],
        new_ids: set[int],
        removed: list[StoredRead],
        affected: list[StoredRead],
    ) -> None:
        self._load_upstream(reads, versions)
        resolved = [
            resolve_read(one.read, versions.get(one.read.dataset_id), self._distances_of)
            for one in reads
        ]
        observed = {
            Observed(one.read.dataset_id, one.read.partition, one.read.named)
            for one, links in zip(reads, resolved, strict=True)
            if links.rule == LinkRule.OBSERVED
        }
        observed_ids = self.ledger.observed_ids(observed) if observed else {}
        stored = [one for one in reads if one.read.id not in new_ids]
        before: dict[int, set[Edge]] = defaultdict(set)
        for edge in self.ledger.edges_of_reads(stored):
            before[edge.via].add(edge)
        refresh = {one.observed_id for one in (*reads, *removed) if one.observed_id is not None}
        untouched = {id(one) for one in affected}
        put, gone, added = [], set[Edge](), set[Edge]()
        for one, links in zip(reads, resolved, strict=True):
            read = one.read
            ids, observed_id = links.version_ids, None
            if links.rule == LinkRule.OBSERVED:
                observed_id = observed_ids[Observed(read.dataset_id, read.partition, read.named)]
                ids = frozenset((observed_id,))
                refresh.add(observed_id)
            after = {Edge(read.run_id, version, links.rule, read.id) for version in ids}
            gone |= before[read.id] - after
            added |= after - before[read.id]
            if id(one) not in untouched or (one.rule, one.observed_id) != (links.rule, observed_id):
                put.append(StoredRead(read, links.rule, observed_id))
        self.ledger.put_reads(put, removed)
        self.ledger.change_edges(gone, added)
        if refresh:
            self.ledger.refresh_observed(refresh)

    def _load_upstream(self, reads: list[StoredRead], versions: Mapping[int, VersionIndex]) -> None:
        flows = {
            one.read.flow
            for one in reads
            if one.read.flow is not None
            and (index := versions.get(one.read.dataset_id)) is not None
            and one.read.flow in index.by_flow
        }
        if flows:
            self.upstream = self.ledger.upstream_tasks(flows)

    def _distances_of(self, flow: bytes, task_id: str) -> dict[str, int]:
        known = self.distances.get((flow, task_id))
        if known is None:
            known = task_distances(task_id, self.upstream.get(flow, {}))
            self.distances[flow, task_id] = known
        return known

    def _put_on_predecessors(self, versions: Mapping[int, VersionIndex]) -> None:
        """Bring append edges up to date from the first changed version on."""
        successors = [
            (version, index)
            for dataset_id, since_us in self.since_us.items()
            if (index := versions.get(dataset_id)) is not None
            for version in index.since(since_us)
        ]
        stored = [*(version.id for version, _ in successors), *self.open_again]
        before: dict[int, set[Edge]] = defaultdict(set)
        for edge in self.ledger.append_edges(stored):
            before[edge.dst].add(edge)
        gone, added = set[Edge](), set[Edge]()
        for version_id in self.open_again:
            gone |= before[version_id]
        for version, index in successors:
            after = {
                Edge(version.id, other, LinkRule.APPENDED) for other in predecessors(version, index)
            }
            gone |= before[version.id] - after
            added |= after - before[version.id]
        self.ledger.change_edges(gone, added)
