"""The reading side of a SQL store: see `store.base.ProvenanceReader`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow_provenance.domain.identity import (
    DagRunKey,
    DatasetRef,
    RunKey,
    TaskRunKey,
    WireKey,
    key_digest,
)
from airflow_provenance.domain.linking import LinkRule
from airflow_provenance.domain.run import NEVER_RAN, RunDoc, RunState, VersionStatus, merged
from airflow_provenance.errors import SubjectError
from airflow_provenance.formats.brief import brief_of
from airflow_provenance.formats.dependencies import dependencies_of
from airflow_provenance.store.base import (
    PROMISE_JOBS,
    STARTED_LAST,
    DatasetUse,
    Edge,
    JobUse,
    LogEntry,
    Owners,
    QuarantineEntry,
    ReadView,
    RunQuery,
    RunView,
    VersionView,
    last_ended,
)
from airflow_provenance.store.dump import dump_facts
from airflow_provenance.store.sql import codec
from airflow_provenance.store.sql.engine import reading
from airflow_provenance.store.sql.owned import DAG, has_owned, owned, read_owners

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from sqlalchemy.engine import Engine

    from airflow_provenance.formats.brief import RunBrief
    from airflow_provenance.store.base import Direction
    from airflow_provenance.store.sql.bulk import Bulk

_RUN = (
    "SELECT r.id, r.kind, j.namespace, j.name, r.run_uuid, r.dag_run, r.task_id, r.map_index, "
    "r.try_number, r.state, r.execution_state, r.started_us, r.ended_us, r.hostname, "
    "r.override_state, r.override_us, r.override_who, r.is_final, "
    "coalesce(r.started_us, r.as_of_us) "
    "FROM run r JOIN job j ON j.id = r.job_id "
)
_VERSION_COLUMNS = (
    "v.id, d.namespace, d.name, v.part, v.run_id, v.content_id, v.status, v.replaces, "
    "v.ended_us, v.first_seen_us, v.verified"
)
_VERSION = (
    f"SELECT {_VERSION_COLUMNS} FROM dataset_version v JOIN dataset d ON d.id = v.dataset_id "
)
_READ = (
    "SELECT i.id, i.run_id, d.namespace, d.name, i.part, i.named, i.verified, i.rule "
    "FROM run_input i JOIN dataset d ON d.id = i.dataset_id "
)
_EDGE = "SELECT e.dst, e.src, e.rule, e.via FROM edge e "
_ENTRY = (
    "SELECT e.seq, e.event_id, e.event_us, e.received_us, e.kind, e.event_type, e.run_id, e.job_id "
    "FROM event e "
)
_PARAMETERS = 500  # of one statement


class SqlReader:
    """Answers from SQLite or PostgreSQL; each method is one consistent view."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def owners(self) -> Owners:
        with reading(self._engine) as bulk:
            return read_owners(bulk)

    def runs(self, query: RunQuery) -> list[RunView]:
        where: list[str] = ["r.absorbed_by IS NULL"]
        values: list[Any] = []
        if query.dag_id is not None:
            # The job of a DAG run is its DAG, that of a task the DAG, a dot and the task. Its jobs
            # first: there are far fewer of them than of runs.
            where.append(
                "r.job_id IN (SELECT n.id FROM job n WHERE n.name = ? "
                "OR substr(n.name, 1, ?) = CAST(? AS text) || '.') "
                "AND ((r.kind = 1 AND j.name = ?) OR "
                "(r.kind = 0 AND j.name = CAST(? AS text) || '.' || r.task_id))"
            )
            dag_id = query.dag_id
            values += [dag_id, len(dag_id) + 1, dag_id, dag_id, dag_id]
        if query.job is not None:
            where.append("j.name = ?")
            values.append(query.job)
        else:
            where.append("NOT (r.kind = 2 AND substr(j.name, 1, 4) = ?)")
            values.append(PROMISE_JOBS)
        if query.state is not None:
            where.append("r.state = ?")
            values.append(int(query.state))
        if query.since_us is not None:
            where.append("coalesce(r.started_us, r.as_of_us) >= ?")
            values.append(query.since_us)
        if query.after is not None:
            where.append("(coalesce(r.started_us, r.as_of_us), r.id) < (?, ?)")
            values += query.after
        order = "ORDER BY coalesce(r.started_us, r.as_of_us) DESC, r.id DESC LIMIT ?"
        with reading(self._engine) as bulk:
            if query.owners is not None:
                sql, more = owned(bulk, query.owners)
                where.append(sql)
                values += more
            rest = f"WHERE {' AND '.join(where)} {order}"
            return [_run_view(row) for row in bulk.fetch(_RUN + rest, [*values, query.limit])]

    def runs_of(self, jobs: Collection[str], since_us: int, began_us: int) -> list[RunView]:
        if not jobs:
            return []
        with reading(self._engine) as bulk:
            names = bulk.texts()
            ids = bulk.fetch(
                f"SELECT id FROM job WHERE name IN ({names})", (json.dumps(sorted(jobs)),)
            )
            if not ids:
                return []
            # Two statements, as one index has the runs of a job by their start.
            where = (
                f"WHERE r.job_id {bulk.among(row[0] for row in ids)} AND %s "
                "AND r.absorbed_by IS NULL "
                "AND (r.kind = 1 OR r.state = 0 OR r.ended_us IS NULL OR r.ended_us >= ?)"
            )
            rows = bulk.fetch(_RUN + where % "r.started_us >= ?", (began_us, since_us))
            never = "r.started_us IS NULL AND r.as_of_us >= ?"
            rows += bulk.fetch(_RUN + where % never, (began_us, since_us))
            return [_run_view(row) for row in rows]

    def _runs(self, rest: str, values: Sequence[Any] = ()) -> list[RunView]:
        with reading(self._engine) as bulk:
            return [_run_view(row) for row in bulk.fetch(_RUN + rest, values)]

    def runs_named(self, name: str) -> list[RunView]:
        found: dict[int, RunView] = {}
        uuid = _uuid_bytes(name)
        if uuid is not None:
            rest = (
                "WHERE r.absorbed_by IS NULL "
                "AND r.id IN (SELECT run_id FROM run_wire WHERE run_uuid = ?)"
            )
            found |= {view.id: view for view in self._runs(rest, [uuid])}
        if name.isdecimal() and len(name) < 19:
            rest = "WHERE r.absorbed_by IS NULL AND r.id = ?"
            found |= {view.id: view for view in self._runs(rest, [int(name)])}
        found |= {view.id: view for view in self._runs("WHERE r.dag_run = ?", [name])}
        return list(found.values())

    def runs_sharing(self, run_uuid: str, job: tuple[str, str]) -> list[RunView]:
        uuid = _uuid_bytes(run_uuid)
        if uuid is None:
            return []
        rest = (
            "JOIN run_wire w ON w.run_id = r.id AND w.job_id = r.job_id WHERE w.run_uuid = ? "
            "AND j.namespace = ? AND j.name = ? AND r.absorbed_by IS NULL ORDER BY r.id"
        )
        return self._runs(rest, [uuid, *job])

    def run_entries(self, run_id: int) -> list[LogEntry]:
        where = (
            "WHERE e.run_id IN (SELECT ? UNION ALL SELECT id FROM run WHERE absorbed_by = ?) "
            "ORDER BY e.seq"
        )
        with reading(self._engine) as bulk:
            rows = bulk.fetch(_ENTRY + where, (run_id, run_id))
            return [_entry(row, None) for row in rows]

    def runs_by_id(self, ids: Iterable[int]) -> dict[int, RunView]:
        with reading(self._engine) as bulk:
            wanted = list(ids)
            if not wanted:
                return {}
            where = f"WHERE r.id {bulk.among(wanted)} AND r.absorbed_by IS NULL"
            rows = bulk.fetch(_RUN + where)
            return {row[0]: _run_view(row) for row in rows}

    def absorbers(self, ids: Iterable[int]) -> dict[int, int]:
        wanted = list(ids)
        if not wanted:
            return {}
        with reading(self._engine) as bulk:
            rows = bulk.fetch(
                "SELECT id, absorbed_by FROM run "
                f"WHERE id {bulk.among(wanted)} AND absorbed_by IS NOT NULL"
            )
            return {row[0]: row[1] for row in rows}

    def runs_by_key(self, keys: Iterable[RunKey]) -> dict[RunKey, RunView]:
        found = {}
        with reading(self._engine) as bulk:
            digests = [key_digest(key) for key in keys]
            for start in range(0, len(digests), _PARAMETERS):
                some = digests[start : start + _PARAMETERS]
                places = ", ".join("?" * len(some))
                where = f"WHERE r.key IN ({places}) AND r.absorbed_by IS NULL"
                found.update({row[0]: _run_view(row) for row in bulk.fetch(_RUN + where, some)})
        return {view.key: view for view in found.values()}

    def run_docs(self, ids: Iterable[int]) -> dict[int, RunDoc]:
        wanted = list(ids)
        if not wanted:
            return {}
        docs: dict[int, list[RunDoc]] = {}
        select = (
            "SELECT COALESCE(r.absorbed_by, r.id), d.body FROM run r "
            "JOIN run_doc d ON d.run_id = r.id "
        )
        with reading(self._engine) as bulk:
            among = bulk.among(wanted)
            rows = bulk.fetch(f"{select}WHERE r.id {among}")
            rows += bulk.fetch(f"{select}WHERE r.absorbed_by {among}")
        for number, body in rows:
            docs.setdefault(number, []).append(codec.unpack_run(body)[1])
        return {
            number: merged(those) if len(those) > 1 else those[0] for number, those in docs.items()
        }

    def run_briefs(self, ids: Iterable[int]) -> dict[int, RunBrief]:
        wanted = list(ids)
        if not wanted:
            return {}
        with reading(self._engine) as bulk:
            among = bulk.among(wanted)
            rows = bulk.fetch(f"SELECT id, brief FROM run WHERE id {among}")
            whole = {row[0] for row in rows if row[1] is None}
            # What another said under its runId belongs to it, and its own brief does not know.
            absorbed = bulk.fetch(f"SELECT absorbed_by FROM run WHERE absorbed_by {among}")
            whole |= {row[0] for row in absorbed}
        found = {row[0]: codec.unpack_brief(row[1]) for row in rows if row[0] not in whole}
        return found | {one: brief_of(doc) for one, doc in self.run_docs(whole).items()}

    def versions_by_id(self, ids: Iterable[int]) -> dict[int, VersionView]:
        with reading(self._engine) as bulk:
            wanted = list(ids)
            if not wanted:
                return {}
            rows = bulk.fetch(f"{_VERSION}WHERE v.id {bulk.among(wanted)}")
            return {row[0]: _version_view(row) for row in rows}

    def run_doc(self, run_id: int) -> RunDoc:
        with reading(self._engine) as bulk:
            rows = bulk.fetch(
                "SELECT d.body FROM run r JOIN run_doc d ON d.run_id = r.id "
                "WHERE r.id IN (SELECT ? UNION ALL SELECT id FROM run WHERE absorbed_by = ?) "
                "ORDER BY r.id <> ?",
                (run_id, run_id, run_id),
            )
        if not rows:
            raise SubjectError(f"there is no run {run_id}: list runs with 'runs'")
        return merged([codec.unpack_run(row[0])[1] for row in rows])

    def dependencies(self, dependencies_hash: str) -> list[str] | None:
        try:
            digest = bytes.fromhex(dependencies_hash)
        except ValueError:
            return None  # a hash that some other producer made up
        with reading(self._engine) as bulk:
            rows = bulk.fetch("SELECT body FROM dependency_set WHERE hash = ?", (digest,))
        return dependencies_of(codec.unpack_bytes(rows[0][0])) if rows else None

    def siblings(self, run_id: int) -> list[RunView]:
        rest = (
            "JOIN run o ON o.id = ? WHERE r.id = o.id OR (o.kind = 0 AND r.kind = 0 "
            "AND r.flow = o.flow AND r.job_id = o.job_id AND r.map_index = o.map_index)"
        )
        return self._runs(rest, [run_id])

    def children(self, run_id: int) -> list[RunView]:
        with reading(self._engine) as bulk:
            own = bulk.fetch(
                "SELECT r.key, j.namespace, j.name, r.kind FROM run r JOIN job j ON j.id = "
                "r.job_id WHERE r.id = ?",
                (run_id,),
            )
            if not own:
                return []
            key, namespace, name, kind = own[0]
            uuids = bulk.fetch("SELECT run_uuid FROM run_wire WHERE run_id = ?", (run_id,))
            wires = [WireKey(namespace, name, str(UUID(bytes=bytes(row[0])))) for row in uuids]
            rows = []
            for digest in {bytes(key), *map(key_digest, wires)}:
                where = "WHERE r.parent_key = ? AND r.absorbed_by IS NULL"
                rows += bulk.fetch(_RUN + where, (digest,))
            if kind == 1:
                rows += bulk.fetch(f"{_RUN}WHERE r.kind = 0 AND r.flow = ?", (bytes(key),))
            return [_run_view(row) for row in rows]

    def datasets_named(self, text: str) -> list[DatasetRef]:
        with reading(self._engine) as bulk:
            select = "SELECT namespace, name FROM dataset WHERE "
            parts = [at for at, sign in enumerate(text) if sign == "/"][:_PARAMETERS]
            either = " OR ".join(["(name = ? AND namespace = ?)"] * len(parts)) or "1 = 0"
            pairs = [half for at in parts for half in (text[at + 1 :], text[:at])]
            rows = bulk.fetch(f"{select}{either}", pairs)
            rows = rows or bulk.fetch(f"{select}name = ?", (text,))
            return [DatasetRef(row[0], row[1]) for row in rows]

    def versions(self, dataset: DatasetRef) -> list[VersionView]:
        rest = (
            "WHERE d.namespace = ? AND d.name = ? "
            "ORDER BY coalesce(v.ended_us, v.first_seen_us, 0), v.id"
        )
        return self._versions(rest, dataset)

    def versions_since(
        self, datasets: Collection[DatasetRef], since_us: int, before: int
    ) -> dict[DatasetRef, list[VersionView]]:
        end, good = "coalesce(v.ended_us, v.first_seen_us, 0)", int(VersionStatus.GOOD)
        sql = (
            f"SELECT * FROM (SELECT {_VERSION_COLUMNS}, {end} AS at_us, row_number() OVER ("
            f"PARTITION BY v.dataset_id, v.status, {end} >= CAST(? AS bigint) "
            f"ORDER BY {end} DESC, v.id DESC) AS place "
            "FROM asked a JOIN dataset d ON d.name = a.name AND d.namespace = a.namespace "
            "JOIN dataset_version v ON v.dataset_id = d.id) w "
            "WHERE w.ended_us IS NULL OR w.ended_us >= ? "
            f"OR (w.status = {good} AND w.place <= ?) ORDER BY w.at_us, w.id"
        )
        found: dict[DatasetRef, list[VersionView]] = {}
        for row in self._asked(sql, [*datasets], [since_us, since_us, before]):
            found.setdefault(DatasetRef(row[1], row[2]), []).append(_version_view(row))
        return found

    def version_page(
        self, dataset: DatasetRef, after_id: int, limit: int, owners: Owners | None = None
    ) -> list[VersionView]:
        where, values = "WHERE d.namespace = ? AND d.name = ? AND v.id > ? ", [*dataset, after_id]
        with reading(self._engine) as bulk:
            if owners is not None:
                sql, more = has_owned(bulk, owners, "WHERE r.id = v.run_id")
                where += f"AND (v.run_id IS NULL OR {sql}) "
                values += more
            rows = bulk.fetch(f"{_VERSION}{where}ORDER BY v.id LIMIT ?", [*values, limit])
            return [_version_view(row) for row in rows]

    def versions_of_run(self, run_id: int) -> list[VersionView]:
        return self._versions("WHERE v.run_id = ? ORDER BY v.id", [run_id])

    def _versions(self, rest: str, values: Sequence[Any] = ()) -> list[VersionView]:
        with reading(self._engine) as bulk:
            return [_version_view(row) for row in bulk.fetch(_VERSION + rest, values)]

    def reads_of_run(self, run_id: int) -> list[ReadView]:
        with reading(self._engine) as bulk:
            rows = bulk.fetch(f"{_READ}WHERE i.run_id = ? ORDER BY i.id", (run_id,))
            return [_read_view(row) for row in rows]

    def newest_run(self, job: tuple[str, str]) -> RunView | None:
        never = ", ".join(str(int(one)) for one in [RunState.RUNNING, *sorted(NEVER_RAN)])
        rest = (
            "WHERE j.namespace = ? AND j.name = ? AND r.started_us IS NOT NULL "
            f"AND r.absorbed_by IS NULL AND r.state NOT IN ({never}) "
            "ORDER BY r.started_us DESC, r.key DESC LIMIT ?"
        )
        return last_ended(self._runs(rest, [*job, STARTED_LAST]))

    def newest_version(self, dataset: DatasetRef) -> VersionView | None:
        good = int(VersionStatus.GOOD)
        rest = (
            "JOIN run r ON r.id = v.run_id WHERE d.namespace = ? AND d.name = ? "
            f"AND v.status = {good} AND v.ended_us = (SELECT max(n.ended_us) "
            f"FROM dataset_version n WHERE n.dataset_id = d.id AND n.status = {good}) "
            "ORDER BY r.key DESC, v.part DESC LIMIT 1"
        )
        read = (
            "WHERE v.id = (SELECT i.observed_id FROM run_input i JOIN dataset o "
            "ON o.id = i.dataset_id WHERE o.namespace = ? AND o.name = ? "
            "AND i.observed_id IS NOT NULL "
            "ORDER BY i.as_of_us DESC, i.observed_id DESC LIMIT 1)"
        )
        found = self._versions(rest, dataset) or self._versions(read, dataset)
        return found[0] if found else None

    def readers(self, version_id: int, limit: int) -> list[RunView]:
        rest = (
            "WHERE r.id IN (SELECT e.dst FROM edge e WHERE e.src = ?) AND r.absorbed_by IS NULL "
            "ORDER BY coalesce(r.started_us, r.as_of_us) DESC, r.id DESC LIMIT ?"
        )
        return self._runs(rest, [version_id, limit])

    def runs_reading(self, dataset: DatasetRef, since_us: int = 0) -> list[int]:
        with reading(self._engine) as bulk:
            rows = bulk.fetch(
                "SELECT DISTINCT i.run_id FROM run_input i JOIN dataset d ON d.id = i.dataset_id "
                "WHERE d.namespace = ? AND d.name = ? AND i.as_of_us >= ? ORDER BY i.run_id",
                (*dataset, since_us),
            )
        return [row[0] for row in rows]

    def trace(self, nodes: Sequence[int], direction: Direction, depth: int | None) -> list[Edge]:
        """See `ProvenanceReader.trace`.

        One query a step while the depth is bounded; else one recursive query that unites nodes,
        never paths (a fan-in of 20 makes 20 times as many paths a step).
        """
        here, there = ("dst", "src") if direction == "upstream" else ("src", "dst")
        with reading(self._engine) as bulk:
            if depth is not None:
                return _trace_steps(bulk, nodes, here, there, depth)
            if not nodes:
                return []
            rows = bulk.fetch(
                f"WITH RECURSIVE reached(node) AS ({bulk.listed(nodes)} UNION "
                f"SELECT e.{there} FROM reached p JOIN edge e ON e.{here} = p.node) "
                f"{_EDGE}JOIN reached p ON p.node = e.{here}"
            )
            return [_edge(row) for row in rows]

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
        where, values = "WHERE e.seq > ? ", list[Any]([after_seq])
        if before_seq is not None:
            where += "AND e.seq < ? "
            values.append(before_seq)
        if run_id is not None:
            where += (
                "AND e.run_id IN (SELECT ? UNION ALL SELECT id FROM run WHERE absorbed_by = ?) "
            )
            values += [run_id, run_id]
        with reading(self._engine) as bulk:
            if owners is not None:
                whole = "SELECT coalesce(o.absorbed_by, o.id) FROM run o WHERE o.id = e.run_id"
                sql, more = has_owned(bulk, owners, f"WHERE r.id = ({whole})")
                where += f"AND {sql} "
                values += more
            order = "DESC" if newest_first else "ASC"
            ordered = f"{_ENTRY}{where}ORDER BY e.seq {order} LIMIT ?"
            rows = bulk.fetch(ordered, [*values, limit])
            raws = _raws(bulk, [row[0] for row in rows]) if with_raw else {}
            return [_entry(row, raws.get(row[0])) for row in rows]

    def quarantine(self, *, with_raw: bool = False) -> list[QuarantineEntry]:
        body = "body" if with_raw else "NULL"
        with reading(self._engine) as bulk:
            rows = bulk.fetch(
                "SELECT id, received_us, kind, reason, message, source, size_bytes, "
                f"{body} FROM quarantine ORDER BY id"
            )
        return [
            QuarantineEntry(
                id=row[0],
                received_us=row[1],
                kind=row[2],
                reason=row[3],
                message=row[4],
                source=row[5],
                size_bytes=row[6],
                raw=None if row[7] is None else codec.unpack_bytes(row[7]),
            )
            for row in rows
        ]

    def counts(self) -> dict[str, int]:
        tables = {
            "entries": "event",
            "runs": "run WHERE absorbed_by IS NULL",
            "versions": "dataset_version",
            "edges": "edge",
            "quarantined": "quarantine",
        }
        with reading(self._engine) as bulk:
            return {
                name: int(bulk.fetch(f"SELECT count(*) FROM {table}")[0][0])
                for name, table in tables.items()
            }

    def scan_runs(self) -> Iterator[tuple[RunView, RunDoc]]:
        for view in self._runs("WHERE r.absorbed_by IS NULL"):
            yield view, self.run_doc(view.id)

    def scan_versions(self) -> Iterator[VersionView]:
        yield from self._versions("")

    def scan_reads(self) -> Iterator[ReadView]:
        with reading(self._engine) as bulk:
            yield from (_read_view(row) for row in bulk.fetch(_READ))

    def scan_edges(self) -> Iterator[Edge]:
        with reading(self._engine) as bulk:
            yield from (_edge(row) for row in bulk.fetch(_EDGE))

    def scan_dependencies(self) -> Iterator[tuple[str, list[str]]]:
        with reading(self._engine) as bulk:
            rows = bulk.fetch("SELECT hash, body FROM dependency_set")
        for digest, body in rows:
            yield bytes(digest).hex(), dependencies_of(codec.unpack_bytes(body))

    def job_names(self) -> list[tuple[str, str]]:
        with reading(self._engine) as bulk:
            return sorted((row[0], row[1]) for row in bulk.fetch("SELECT namespace, name FROM job"))

    def dataset_names(self) -> list[DatasetRef]:
        with reading(self._engine) as bulk:
            rows = bulk.fetch("SELECT namespace, name FROM dataset")
            return sorted(DatasetRef(row[0], row[1]) for row in rows)

    def jobs(
        self, after: tuple[str, str] | None, limit: int, owners: Owners | None = None
    ) -> list[tuple[str, str]]:
        of = ["WHERE r.job_id = t.id AND r.absorbed_by IS NULL"]
        return [(row[0], row[1]) for row in self._names("job", of, after, limit, owners)]

    def datasets(
        self, after: DatasetRef | None, limit: int, owners: Owners | None = None
    ) -> list[DatasetRef]:
        of = [
            f"JOIN {uses} u ON u.run_id = r.id WHERE u.dataset_id = t.id"
            for uses in ("dataset_version", "run_input")
        ]
        return [DatasetRef(*row) for row in self._names("dataset", of, after, limit, owners)]

    def _names(
        self,
        table: str,
        of: Sequence[str],
        after: tuple[str, str] | None,
        limit: int,
        owners: Owners | None,
    ) -> list[Any]:
        where: list[str] = []
        values: list[Any] = []
        if after is not None:
            where.append("(t.name, t.namespace) > (?, ?)")
            values += [after[1], after[0]]
        with reading(self._engine) as bulk:
            if owners is not None:
                found = [has_owned(bulk, owners, one) for one in of]
                where.append(f"({' OR '.join(sql for sql, _ in found)})")
                values += [value for _, more in found for value in more]
            only = f"WHERE {' AND '.join(where)} " if where else ""
            return bulk.fetch(
                f"SELECT t.namespace, t.name FROM {table} t {only}"
                "ORDER BY t.name, t.namespace LIMIT ?",
                [*values, limit],
            )

    def job_uses(self, jobs: Sequence[tuple[str, str]]) -> list[JobUse]:
        sql = (
            "SELECT j.namespace, j.name, r.kind, j.name, r.task_id, count(r.id), "
            "max(coalesce(r.started_us, r.as_of_us)) FROM asked a "
            "JOIN job j ON j.name = a.name AND j.namespace = a.namespace "
            "LEFT JOIN run r ON r.job_id = j.id AND r.absorbed_by IS NULL "
            "GROUP BY j.namespace, j.name, r.kind, r.task_id"
        )
        return [
            JobUse((row[0], row[1]), _dag_id(*row[2:5]), row[5], row[6])
            for row in self._asked(sql, jobs)
        ]

    def dataset_uses(
        self, datasets: Sequence[DatasetRef], owners: Owners | None = None
    ) -> list[DatasetUse]:
        with reading(self._engine) as bulk:
            only, values = owned(bulk, owners) if owners is not None else ("1 = 1", [])
        sql = " UNION ALL ".join(
            f"SELECT d.namespace, d.name, j.namespace, {DAG} AS dag_id, {counts} FROM asked a "
            "JOIN dataset d ON d.name = a.name AND d.namespace = a.namespace "
            f"JOIN {table} u ON u.dataset_id = d.id JOIN run r ON r.id = u.run_id "
            f"JOIN job j ON j.id = r.job_id WHERE {only} "
            f"GROUP BY d.namespace, d.name, j.namespace, {DAG}"
            for table, counts in (
                ("dataset_version", "count(*) AS writes, 0 AS reads"),
                ("run_input", "0, count(*)"),
            )
        )
        return [
            DatasetUse(DatasetRef(row[0], row[1]), *row[2:6])
            for row in self._asked(sql, datasets, [*values, *values])
        ]

    def _asked(
        self, sql: str, names: Sequence[tuple[str, str]], values: Sequence[Any] = ()
    ) -> list[Any]:
        """Return the rows of a query on the names that are asked for, a hundred at a time."""
        rows = []
        with reading(self._engine) as bulk:
            for start in range(0, len(names), 100):
                some = names[start : start + 100]
                places = ", ".join(["(CAST(? AS text), CAST(? AS text))"] * len(some))
                asked = f"WITH asked(namespace, name) AS (VALUES {places}) "
                rows += bulk.fetch(asked + sql, [*(one for pair in some for one in pair), *values])
        return rows

    def dump_facts(self) -> dict[str, Any]:
        return dump_facts(self)


def _dag_id(kind: int | None, job: str, task_id: str | None) -> str | None:
    """Return the DAG of runs of a job: see `tables.run`."""
    if kind == 0 and task_id is not None:
        return job[: -len(task_id) - 1]
    return job if kind == 1 else None


def _trace_steps(bulk: Bulk, nodes: Sequence[int], here: str, there: str, depth: int) -> list[Edge]:
    found: list[Edge] = []
    seen, frontier = set(nodes), list(nodes)
    for _ in range(depth):
        if not frontier:
            break
        rows = bulk.fetch(f"{_EDGE}WHERE e.{here} {bulk.among(frontier)}")
        edges = [_edge(row) for row in rows]
        found += edges
        ends = {getattr(edge, there) for edge in edges}
        frontier = list(ends - seen)
        seen |= ends
    return found


def _raws(bulk: Bulk, seqs: list[int]) -> dict[int, bytes]:
    """Return the bytes of log entries: each chunk that holds one is opened once."""
    found: dict[int, bytes] = {}
    for seq in seqs:
        if seq not in found:
            rows = bulk.fetch(
                "SELECT first_seq, body FROM event_chunk WHERE first_seq <= ? "
                "ORDER BY first_seq DESC LIMIT 1",
                (seq,),
            )
            if rows:
                found |= codec.unpack_chunk(*rows[0])
    return found


def _uuid_bytes(text: str) -> bytes | None:
    try:
        return UUID(text).bytes
    except ValueError:
        return None


def _run_view(row: Any) -> RunView:
    (number, kind, namespace, name, uuid, dag_run, task_id, map_index, try_number, state,
     execution, started_us, ended_us, hostname, o_state, o_us, o_who, is_final,
     listed_us) = row  # fmt: skip
    key: RunKey
    if kind == 0:
        dag_id = name[: -len(task_id) - 1]
        key = TaskRunKey(namespace, dag_id, dag_run, task_id, map_index, try_number)
    elif kind == 1:
        key = DagRunKey(namespace, name, dag_run)
    else:
        key = WireKey(namespace, name, uuid)
    return RunView(
        number,
        key,
        (namespace, name),
        uuid,
        RunState(state),
        RunState(execution),
        started_us,
        ended_us,
        hostname,
        None if o_state is None else (RunState(o_state), o_us, o_who),
        bool(is_final),
        listed_us,
    )


def _version_view(row: Any) -> VersionView:
    status = VersionStatus(row[6])
    observed = status == VersionStatus.OBSERVED
    return VersionView(
        row[0],
        DatasetRef(row[1], row[2]),
        codec.unpack_part(row[3]),
        row[4],
        row[5],
        status,
        bool(row[7]),
        row[8],
        row[9],
        bool(row[10]) if observed else None,
    )


def _read_view(row: Any) -> ReadView:
    return ReadView(
        row[0],
        row[1],
        DatasetRef(row[2], row[3]),
        codec.unpack_part(row[4]),
        row[5],
        bool(row[6]),
        LinkRule(row[7]),
    )


def _edge(row: Any) -> Edge:
    return Edge(row[0], row[1], LinkRule(row[2]), row[3])


def _entry(row: Any, raw: bytes | None) -> LogEntry:
    return LogEntry(
        row[0],
        bytes(row[1]),
        row[2],
        row[3],
        codec.KINDS[row[4]],
        None if row[5] is None else codec.EVENT_TYPES[row[5]],
        row[6],
        row[7],
        raw,
    )
