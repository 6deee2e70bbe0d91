"""The `Ledger` of a SQL store: a fixed number of statements for a batch of any size."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING
from uuid import UUID

from airflow_provenance.domain.identity import (
    DatasetRef,
)
from airflow_provenance.domain.linking import LinkRule, Version
from airflow_provenance.domain.run import VersionStatus, merge_facets
from airflow_provenance.store.base import Edge, StoredRun
from airflow_provenance.store.ledger import Observed, StoredRead, Wanted, Wire
from airflow_provenance.store.sql import codec, packing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from airflow_provenance.domain.run import Facets
    from airflow_provenance.store.base import LogEntry, Rejected, SpoolOffset
    from airflow_provenance.store.sql.bulk import Bulk


class SqlLedger:
    """See `store.ledger.Ledger`. Lives as long as one transaction."""

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk

    def move_offset(self, offset: SpoolOffset) -> bool:
        rows = self._bulk.fetch("SELECT reached FROM spool_offset WHERE file = ?", (offset.file,))
        if (rows[0][0] if rows else 0) != offset.expected:
            return False
        self._bulk.upsert("spool_offset", "file, reached", [(offset.file, offset.reached)])
        return True

    def horizon_us(self) -> int:
        rows = self._bulk.fetch("SELECT value FROM counter WHERE name = 'horizon_us'")
        return int(rows[0][0]) if rows else 0

    def next_ids(self, counter: str, count: int) -> int:
        rows = self._bulk.fetch("SELECT value FROM counter WHERE name = ?", (counter,))
        last = int(rows[0][0]) if rows else 0
        self._bulk.upsert("counter", "name, value", [(counter, last + count)])
        return last + 1

    def known_entries(self, ids: Sequence[bytes]) -> set[bytes]:
        self._bulk.stage("q_digest", [(one,) for one in ids])
        rows = self._bulk.joined(
            "SELECT q.digest FROM q_digest q JOIN event e ON e.event_id = q.digest"
        )
        return {bytes(row[0]) for row in rows}

    def append_log(self, entries: Sequence[LogEntry]) -> None:
        self._bulk.insert(
            "event",
            "seq, event_id, event_us, received_us, kind, event_type, run_id, job_id",
            [
                (
                    entry.seq,
                    entry.id,
                    entry.event_us,
                    entry.received_us,
                    codec.KINDS.index(entry.kind),
                    None if entry.event_type is None else codec.EVENT_TYPES.index(entry.event_type),
                    entry.run_id,
                    entry.job_id,
                )
                for entry in entries
            ],
        )
        self._bulk.insert(
            "event_chunk", "first_seq, max_event_us, body", list(codec.pack_chunks(entries))
        )

    def add_quarantine(self, rejected: Sequence[Rejected], received_us: int) -> int:
        by_digest = {one.digest: one for one in rejected}
        if not by_digest:
            return 0
        self._bulk.stage("q_digest", [(digest,) for digest in by_digest])
        known = self._bulk.joined(
            "SELECT q.digest FROM q_digest q JOIN quarantine k ON k.digest = q.digest"
        )
        for row in known:
            del by_digest[bytes(row[0])]
        first = self.next_ids("quarantine", len(by_digest))
        self._bulk.insert(
            "quarantine",
            "id, digest, received_us, kind, reason, message, source, size_bytes, body",
            [
                (
                    number,
                    digest,
                    received_us,
                    one.kind,
                    one.reason,
                    one.message.replace("\0", "�"),
                    one.source,
                    len(one.raw),
                    codec.pack_bytes(one.raw),
                )
                for number, (digest, one) in enumerate(by_digest.items(), first)
            ],
        )
        return len(by_digest)

    def job_ids(self, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        return self._name_ids("job", names)

    def dataset_ids(self, refs: Collection[DatasetRef]) -> dict[DatasetRef, int]:
        ids = self._name_ids("dataset", refs)
        return {DatasetRef(*ref): number for ref, number in ids.items()}

    def _name_ids(
        self, table: str, names: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], int]:
        if not names:
            return {}
        self._bulk.stage("q_name", names)
        rows = self._bulk.joined(
            f"SELECT t.namespace, t.name, t.id FROM q_name q JOIN {table} t "
            "ON t.name = q.name AND t.namespace = q.namespace"
        )
        found = {(row[0], row[1]): int(row[2]) for row in rows}
        missing = sorted(name for name in names if tuple(name) not in found)
        if missing:
            first = self.next_ids(table, len(missing))
            fresh = {(one[0], one[1]): number for number, one in enumerate(missing, first)}
            self._bulk.insert(
                table, "id, namespace, name", [(number, *one) for one, number in fresh.items()]
            )
            found |= fresh
        return found

    def merge_job_facets(self, facets: Mapping[int, Facets]) -> None:
        self._merge_facets("job", facets)

    def merge_dataset_facets(self, facets: Mapping[int, Facets]) -> None:
        self._merge_facets("dataset", facets)

    def _merge_facets(self, table: str, facets: Mapping[int, Facets]) -> None:
        if not facets:
            return
        self._bulk.stage("q_id", [(one,) for one in facets])
        rows = self._bulk.joined(f"SELECT t.id, t.facets FROM q_id q JOIN {table} t ON t.id = q.id")
        changed = []
        for number, body in rows:
            known = codec.unpack_facets(body)
            merge_facets(known, facets[number])
            changed.append((codec.pack_facets(known), number))
        self._bulk.execute(f"UPDATE {table} SET facets = ? WHERE id = ?", changed)

    def add_dependencies(self, sets: Mapping[str, bytes]) -> None:
        if not sets:
            return
        missing = {bytes.fromhex(one): text for one, text in sets.items()}
        self._bulk.stage("q_digest", [(one,) for one in missing])
        known = self._bulk.joined(
            "SELECT q.digest FROM q_digest q JOIN dependency_set d ON d.hash = q.digest"
        )
        for row in known:
            del missing[bytes(row[0])]
        self._bulk.insert(
            "dependency_set",
            "hash, body",
            [(one, codec.pack_bytes(text)) for one, text in missing.items()],
        )

    def runs_by_digest(self, digests: Collection[bytes]) -> list[StoredRun]:
        self._bulk.stage("q_digest", [(one,) for one in digests])
        return self._stored_runs("q_digest q JOIN run r ON r.key = q.digest")

    def runs_by_id(self, ids: Collection[int]) -> list[StoredRun]:
        self._bulk.stage("q_id", [(one,) for one in ids])
        return self._stored_runs("q_id q JOIN run r ON r.id = q.id")

    def _stored_runs(self, source: str) -> list[StoredRun]:
        rows = self._bulk.joined(
            f"SELECT r.id, r.key, r.job_id, r.absorbed_by, d.body FROM {source} "
            "JOIN run_doc d ON d.run_id = r.id"
        )
        runs = []
        for number, digest, job_id, absorbed_by, body in rows:
            key, doc = codec.unpack_run(body)
            runs.append(StoredRun(number, key, bytes(digest), job_id, doc, absorbed_by=absorbed_by))
        return runs

    def runs_on_wires(self, wires: Collection[tuple[str, int]]) -> list[Wire]:
        self._bulk.stage("q_wire", [(packing.uuid_bytes(uuid), job_id) for uuid, job_id in wires])
        rows = self._bulk.joined(
            "SELECT w.run_uuid, w.job_id, w.run_id FROM q_wire q JOIN run_wire w "
            "ON w.run_uuid = q.run_uuid AND w.job_id = q.job_id"
        )
        return [Wire(str(UUID(bytes=bytes(row[0]))), row[1], row[2]) for row in rows]

    def put_runs(self, runs: Sequence[StoredRun], wires: Sequence[Wire]) -> None:
        new = [run for run in runs if run.is_new]
        known = [run for run in runs if not run.is_new]
        self._bulk.insert("run", packing.RUN_COLUMNS, [packing.run_row(run) for run in new])
        self._bulk.upsert("run", packing.RUN_COLUMNS, [packing.run_row(run) for run in known])
        self._bulk.insert(
            "run_doc", "run_id, body", [(run.id, codec.pack_run(run.key, run.doc)) for run in new]
        )
        self._bulk.upsert(
            "run_doc", "run_id, body", [(run.id, codec.pack_run(run.key, run.doc)) for run in known]
        )
        self._bulk.insert(
            "run_wire",
            "run_uuid, job_id, run_id",
            [(packing.uuid_bytes(wire.run_uuid), wire.job_id, wire.run_id) for wire in wires],
        )
        with_sources = [run for run in known if run.facts is None or run.facts.consumed]
        if with_sources:
            self._bulk.execute(
                "DELETE FROM run_source WHERE run_id = ?", [(run.id,) for run in with_sources]
            )
        self._bulk.insert(
            "run_source",
            "flow, run_id",
            [
                (flow, run.id)
                for run in runs
                if run.facts is not None
                for flow in {source[0] for source in run.facts.consumed}
            ],
        )

    def versions_of(self, run_ids: Collection[int]) -> list[Version]:
        if not run_ids:
            return []
        self._bulk.stage("q_id", [(one,) for one in run_ids])
        return self._versions(
            "FROM q_id q JOIN run r ON r.id = q.id JOIN dataset_version v ON v.run_id = r.id"
        )

    def _versions(self, rest: str) -> list[Version]:
        return [packing.version(row) for row in self._bulk.joined(packing.SELECT_VERSION + rest)]

    def put_versions(self, versions: Sequence[Version], removed: Collection[int]) -> None:
        gone = [(one,) for one in removed]
        if gone:
            self._bulk.execute("DELETE FROM edge WHERE dst = ?", gone)
            self._bulk.execute("DELETE FROM dataset_version WHERE id = ?", gone)
        packed = [packing.version_row(version) for version in versions]
        self._bulk.upsert("dataset_version", packing.VERSION_COLUMNS, packed)
        parts = {(row[1], row[2]) for row in packed}
        self._add_partitions(parts)

    def _add_partitions(self, parts: set[tuple[int, str]]) -> None:
        if not parts:
            return
        self._bulk.stage("q_observed", [(*part, None) for part in parts])
        self._bulk.fetch(
            "INSERT INTO dataset_partition (dataset_id, part) SELECT dataset_id, part "
            "FROM q_observed WHERE true ON CONFLICT DO NOTHING RETURNING dataset_id"
        )

    def reads_of(self, run_ids: Collection[int]) -> list[StoredRead]:
        if not run_ids:
            return []
        self._bulk.stage("q_id", [(one,) for one in run_ids])
        return self._reads(
            "FROM q_id q JOIN run r ON r.id = q.id JOIN run_input i ON i.run_id = r.id"
        )

    def _reads(self, rest: str) -> list[StoredRead]:
        return [packing.stored_read(row) for row in self._bulk.joined(packing.SELECT_READ + rest)]

    def reads_affected(
        self, since_us: Mapping[int, int], flows: Collection[bytes], consumed: Collection[bytes]
    ) -> list[StoredRead]:
        found: list[StoredRead] = []
        if since_us:
            self._bulk.stage("q_since", list(since_us.items()))
            found += self._reads(
                "FROM q_since q JOIN run_input i ON i.dataset_id = q.dataset_id "
                "AND i.as_of_us >= q.since_us JOIN run r ON r.id = i.run_id"
            )
        if flows:
            self._bulk.stage("q_digest", [(flow,) for flow in flows])
            found += self._reads(
                "FROM q_digest q JOIN run r ON r.flow = q.digest "
                "JOIN run_input i ON i.run_id = r.id"
            )
        if consumed:
            self._bulk.stage("q_digest", [(flow,) for flow in consumed])
            found += self._reads(
                "FROM q_digest q JOIN run_source s ON s.flow = q.digest "
                "JOIN run r ON r.id = s.run_id JOIN run_input i ON i.run_id = r.id"
            )
        return list({one.read.id: one for one in found}.values())

    def candidate_versions(self, wanted: Mapping[int, Wanted]) -> list[Version]:
        if not wanted:
            return []
        found = {version.id: version for version in self._around(wanted)}
        found |= {version.id: version for version in self._named(wanted)}
        groups = {(v.dataset_id, v.flow) for v in found.values() if v.flow is not None}
        groups |= {(one, flow) for one, want in wanted.items() for flow in want.flows}
        if groups:
            self._bulk.stage("q_flow", groups)
            rest = (
                "FROM q_flow q JOIN run r ON r.flow = q.flow "
                "JOIN dataset_version v ON v.run_id = r.id AND v.dataset_id = q.dataset_id"
            )
            found |= {version.id: version for version in self._versions(rest)}
        return list(found.values())

    def _around(self, wanted: Mapping[int, Wanted]) -> list[Version]:
        """Return versions since a time, and before it the newest of each partition.

        Of each partition from two groups: a mapped sibling is not what a write was put on, and a
        run does not read its own write.
        """
        self._bulk.stage("q_since", [(one, want.since_us) for one, want in wanted.items()])
        partitions = self._bulk.joined(
            "SELECT p.dataset_id, p.part, q.since_us, (SELECT max(w.ended_us) "
            "FROM dataset_version w WHERE w.dataset_id = p.dataset_id AND w.part = p.part "
            "AND w.status = 1 AND w.ended_us < q.since_us) "
            "FROM q_since q JOIN dataset_partition p ON p.dataset_id = q.dataset_id"
        )
        # One range of an index for each partition and status, all bounds in one table: PostgreSQL
        # takes a bound from a subquery, or from another table than the first, as a mere filter.
        bounds = [
            (dataset_id, part, status, bound)
            for dataset_id, part, since_us, newest_us in partitions
            for status, bound in (
                (int(VersionStatus.GOOD), since_us if newest_us is None else newest_us),
                (int(VersionStatus.SUSPECT), since_us),
            )
        ]
        self._bulk.stage("q_around", bounds)
        found = self._versions(
            "FROM q_around q JOIN dataset_version v ON v.dataset_id = q.dataset_id "
            "AND v.part = q.part AND v.status = q.status AND v.ended_us >= q.bound "
            "JOIN run r ON r.id = v.run_id"
        )
        before = [one for one in found if one.order[0] < wanted[one.dataset_id].since_us]
        if not before:
            return found
        self._bulk.stage(
            "q_second",
            [
                (
                    version.dataset_id,
                    codec.pack_part(version.partition),
                    wanted[version.dataset_id].since_us,
                    version.run_id,
                    version.flow or b"",
                    version.task_id or "",
                )
                for version in before
            ],
        )
        second = self._versions(
            "FROM q_second q JOIN dataset_version v ON v.dataset_id = q.dataset_id "
            "AND v.part = q.part AND v.status = 1 AND v.ended_us = (SELECT w.ended_us "
            "FROM dataset_version w JOIN run o ON o.id = w.run_id "
            "WHERE w.dataset_id = q.dataset_id AND w.part = q.part AND w.status = 1 "
            "AND w.ended_us < q.since_us AND w.run_id <> q.run_id "
            "AND (o.flow IS NULL OR o.flow <> q.flow OR o.task_id <> q.task_id) "
            "ORDER BY w.ended_us DESC LIMIT 1) JOIN run r ON r.id = v.run_id"
        )
        return [*found, *second]

    def _named(self, wanted: Mapping[int, Wanted]) -> list[Version]:
        """Return before the time, per read that names a version, the newest that it can mean."""
        rows = [
            (dataset_id, read.named, codec.pack_part(read.partition), want.since_us, read.run_id)
            for dataset_id, want in wanted.items()
            for read in want.named
        ]
        if not rows:
            return []
        self._bulk.stage("q_named", rows)
        found = []
        for status in (VersionStatus.GOOD, VersionStatus.SUSPECT):
            found += self._versions(
                "FROM q_named q JOIN dataset_version v ON v.dataset_id = q.dataset_id "
                f"AND v.content_id = q.named AND v.status = {int(status)} "
                "AND v.ended_us = (SELECT w.ended_us FROM dataset_version w "
                "WHERE w.dataset_id = q.dataset_id AND w.content_id = q.named "
                f"AND w.status = {int(status)} AND w.ended_us < q.since_us "
                "AND w.run_id <> q.run_id AND (q.part = '' OR w.part IN ('', q.part)) "
                "ORDER BY w.ended_us DESC LIMIT 1) JOIN run r ON r.id = v.run_id"
            )
        return found

    def upstream_tasks(self, flows: Collection[bytes]) -> dict[bytes, dict[str, set[str]]]:
        self._bulk.stage("q_digest", [(flow,) for flow in flows])
        found: dict[bytes, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        rows = self._bulk.joined(
            "SELECT r.flow, r.task_id, r.upstream FROM q_digest q JOIN run r ON r.flow = q.digest "
            "WHERE r.upstream IS NOT NULL"
        )
        for flow, task_id, upstream in rows:
            found[bytes(flow)][task_id] |= set(json.loads(upstream))
        return found

    def observed_ids(self, observed: Collection[Observed]) -> dict[Observed, int]:
        self._bulk.stage(
            "q_observed", [(one[0], codec.pack_part(one[1]), one[2]) for one in observed]
        )
        found: dict[Observed, int] = {}
        for content in (
            "v.content_id = q.content_id",
            "v.content_id IS NULL AND q.content_id IS NULL",
        ):
            rows = self._bulk.fetch(
                "SELECT v.dataset_id, v.part, v.content_id, v.id FROM q_observed q "
                "JOIN dataset_version v ON v.dataset_id = q.dataset_id AND v.part = q.part "
                f"AND v.status = {int(VersionStatus.OBSERVED)} AND {content}"
            )
            found |= {Observed(r[0], codec.unpack_part(r[1]), r[2]): int(r[3]) for r in rows}
        missing = [one for one in observed if one not in found]
        if missing:
            first = self.next_ids("node", len(missing))
            fresh = {one: number for number, one in enumerate(missing, first)}
            self._bulk.insert(
                "dataset_version",
                packing.VERSION_COLUMNS,
                [
                    (number, one[0], codec.pack_part(one[1]), None, one[2], 3, 0, None, None, 1)
                    for one, number in fresh.items()
                ],
            )
            found |= fresh
        return found

    def put_reads(self, reads: Sequence[StoredRead], removed: Sequence[StoredRead]) -> None:
        if removed:
            self._bulk.execute(
                "DELETE FROM edge WHERE dst = ? AND via = ?",
                [(one.read.run_id, one.read.id) for one in removed],
            )
            self._bulk.execute(
                "DELETE FROM run_input WHERE id = ?", [(one.read.id,) for one in removed]
            )
        self._bulk.upsert(
            "run_input", packing.READ_COLUMNS, [packing.read_row(one) for one in reads]
        )

    def refresh_observed(self, ids: Collection[int]) -> None:
        rows = [(one,) for one in ids]
        self._bulk.execute(
            "UPDATE dataset_version SET first_seen_us = (SELECT min(i.as_of_us) FROM run_input i "
            "WHERE i.observed_id = dataset_version.id), verified = CASE WHEN EXISTS (SELECT 1 FROM "
            "run_input i WHERE i.observed_id = dataset_version.id AND i.verified = 1) THEN 1 "
            "ELSE 0 END WHERE id = ?",
            rows,
        )
        self._bulk.execute(
            "DELETE FROM dataset_version WHERE id = ? AND first_seen_us IS NULL", rows
        )

    def edges_of_reads(self, reads: Sequence[StoredRead]) -> list[Edge]:
        if not reads:
            return []
        wanted = {one.read.id for one in reads}
        edges = self._edges({one.read.run_id for one in reads})
        return [edge for edge in edges if edge.via in wanted]

    def append_edges(self, version_ids: Collection[int]) -> list[Edge]:
        if not version_ids:
            return []
        return [edge for edge in self._edges(version_ids) if edge.rule == LinkRule.APPENDED]

    def _edges(self, nodes: Collection[int]) -> list[Edge]:
        self._bulk.stage("q_id", [(one,) for one in nodes])
        rows = self._bulk.joined(
            "SELECT e.dst, e.src, e.rule, e.via FROM q_id q JOIN edge e ON e.dst = q.id"
        )
        return [Edge(row[0], row[1], LinkRule(row[2]), row[3]) for row in rows]

    def change_edges(self, removed: Iterable[Edge], added: Iterable[Edge]) -> None:
        gone = [(edge.dst, edge.src, edge.via) for edge in removed]
        if gone:
            self._bulk.execute("DELETE FROM edge WHERE dst = ? AND src = ? AND via = ?", gone)
        self._bulk.insert(
            "edge",
            "dst, src, via, rule",
            [(edge.dst, edge.src, edge.via, int(edge.rule)) for edge in added],
        )
