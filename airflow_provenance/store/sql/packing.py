"""What a row holds: the columns of the ledger's tables, and rows to objects and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey, key_digest, key_kind
from airflow_provenance.domain.linking import LinkRule, Read, Version
from airflow_provenance.domain.run import VersionStatus
from airflow_provenance.formats.brief import brief_of
from airflow_provenance.store.ledger import StoredRead
from airflow_provenance.store.sql import codec

if TYPE_CHECKING:
    from airflow_provenance.store.base import StoredRun

RUN_COLUMNS = (
    "id, key, kind, job_id, run_uuid, dag_run, task_id, map_index, try_number, state, "
    "execution_state, started_us, ended_us, as_of_us, hostname, override_state, override_us, "
    "override_who, is_final, flow, upstream, parent_key, absorbed_by, brief"
)
VERSION_COLUMNS = (
    "id, dataset_id, part, run_id, content_id, status, replaces, ended_us, first_seen_us, verified"
)
READ_COLUMNS = (
    "id, run_id, dataset_id, part, named, verified, as_of_us, consumed, rule, observed_id"
)
SELECT_VERSION = (
    "SELECT v.id, v.dataset_id, v.part, v.run_id, r.key, v.status, v.ended_us, v.content_id, "
    "v.replaces, r.job_id, r.flow, r.task_id, r.map_index "
)
SELECT_READ = (
    "SELECT i.id, i.run_id, i.dataset_id, i.part, i.named, i.verified, i.as_of_us, r.flow, "
    "r.task_id, i.consumed, i.rule, i.observed_id "
)
_CONSUMED = msgspec.msgpack.Decoder(list[tuple[bytes, str, int]])


def uuid_bytes(text: str) -> bytes:
    """Return the bytes of a UUID in canonical form; `UUID` would check it a second time."""
    return bytes.fromhex(text.replace("-", ""))


def run_row(run: StoredRun) -> tuple[Any, ...]:
    """Return a run as `RUN_COLUMNS`."""
    key, facts = run.key, run.facts
    kind = codec.RUN_KINDS.index(key_kind(key))
    if facts is None:  # absorbed: hidden, kept for its document
        absent = (None,) * 5
        return (
            run.id, run.digest, kind, run.job_id, *absent, 0, 0, None, None, 0, None,
            None, None, None, 0, None, None, None, run.absorbed_by, None,
        )  # fmt: skip
    flow, override = facts.flow, facts.override
    parent = facts.parent if kind == 2 else None  # others' parents follow from their keys
    return (
        run.id,
        run.digest,
        kind,
        run.job_id,
        facts.run_uuid,
        key.run_id if isinstance(key, TaskRunKey | DagRunKey) else None,
        flow.task_id if flow else None,
        flow.map_index if flow else None,
        flow.try_number if flow else None,
        int(facts.state),
        int(facts.execution_state),
        facts.started_us,
        facts.ended_us,
        facts.as_of_us,
        facts.hostname,
        int(override.state) if override else None,
        override.at_us if override else None,
        override.who if override else None,
        int(facts.is_final),
        flow.dag_run if flow else None,
        json.dumps(facts.upstream) if facts.upstream else None,
        key_digest(parent) if parent else None,
        None,
        codec.pack_brief(brief_of(run.doc)),
    )


def read_row(one: StoredRead) -> tuple[Any, ...]:
    """Return a read as `READ_COLUMNS`."""
    read = one.read
    return (
        read.id,
        read.run_id,
        read.dataset_id,
        codec.pack_part(read.partition),
        read.named,
        int(read.verified),
        read.as_of_us,
        msgspec.msgpack.encode(read.consumed) if read.consumed else None,
        int(one.rule),
        one.observed_id,
    )


def version(row: Any) -> Version:
    """Return the version of a row of `SELECT_VERSION`."""
    return Version(
        id=row[0],
        dataset_id=row[1],
        partition=codec.unpack_part(row[2]),
        run_id=row[3],
        run_key=bytes(row[4]),
        status=VersionStatus(row[5]),
        ended_us=row[6],
        content_id=row[7],
        replaces=bool(row[8]),
        job_id=row[9],
        flow=None if row[10] is None else bytes(row[10]),
        task_id=None if row[10] is None else row[11],
        map_index=-1 if row[12] is None else row[12],
    )


def version_row(one: Version) -> tuple[Any, ...]:
    """Return a written version as `VERSION_COLUMNS`."""
    return (
        one.id,
        one.dataset_id,
        codec.pack_part(one.partition),
        one.run_id,
        one.content_id,
        int(one.status),
        int(one.replaces),
        one.ended_us,
        None,
        None,
    )


def stored_read(row: Any) -> StoredRead:
    """Return the read of a row of `SELECT_READ`."""
    read = Read(
        id=row[0],
        run_id=row[1],
        dataset_id=row[2],
        partition=codec.unpack_part(row[3]),
        named=row[4],
        verified=bool(row[5]),
        as_of_us=row[6],
        flow=None if row[7] is None else bytes(row[7]),
        task_id=None if row[7] is None else row[8],
        consumed=[] if row[9] is None else _CONSUMED.decode(row[9]),
    )
    return StoredRead(read, LinkRule(row[10]), row[11])
