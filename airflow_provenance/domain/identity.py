"""Who is who: ids of events, runs, datasets and dataset versions.

An id is a type: a string from outside is parsed once, at the edge, into one of these.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple
from uuid import UUID


class TaskRef(NamedTuple):
    """One try of one task instance, as Airflow names it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int


class TaskRunKey(NamedTuple):
    """A task's try. The namespace tells two Airflows apart that share a store."""

    namespace: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int

    @property
    def dag_run(self) -> DagRunKey:
        """The DAG run this try belongs to."""
        return DagRunKey(self.namespace, self.dag_id, self.run_id)

    @property
    def job_name(self) -> str:
        """The OpenLineage job name Airflow's provider gives it."""
        return f"{self.dag_id}.{self.task_id}"


class DagRunKey(NamedTuple):
    """A DAG run, by Airflow's own run_id: the official runId can be shared by two of them."""

    namespace: str
    dag_id: str
    run_id: str

    @property
    def job_name(self) -> str:
        """The OpenLineage job name Airflow's provider gives it."""
        return self.dag_id


class WireKey(NamedTuple):
    """A run as any producer names it on the wire: job namespace, job name, runId (lower case)."""

    namespace: str
    job: str
    run_uuid: str


# Keys of two kinds can be equal as tuples: compare digests where kinds mix.
RunKey = TaskRunKey | DagRunKey | WireKey
_KINDS: dict[type, str] = {TaskRunKey: "task", DagRunKey: "dag_run", WireKey: "run"}


class DatasetRef(NamedTuple):
    """A dataset, named as OpenLineage names it."""

    namespace: str
    name: str


def key_kind(key: RunKey) -> str:
    """Return ``task``, ``dag_run`` or ``run``."""
    return _KINDS[type(key)]


def key_list(key: RunKey | None) -> list[str | int] | None:
    """Return a run key as JSON shows it: its kind, then its members."""
    return None if key is None else [_KINDS[type(key)], *key]


def key_digest(key: RunKey) -> bytes:
    """Return 16 bytes that stand for the key in the store.

    Names never hold NUL (ingest refuses them), so joining by NUL cannot make two keys alike.
    """
    text = "\0".join((_KINDS[type(key)], *map(str, key)))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def event_id(event_us: int, raw: bytes) -> bytes:
    """Return the 16 bytes of the UUID of an event: it sorts by time, and equal bytes are equal.

    48 bits of the event's time in ms, then 74 bits of the SHA-256 of the bytes as emitted, in the
    layout of UUID version 7 (RFC 9562, section 5.7).

    >>> from uuid import UUID
    >>> str(UUID(bytes=event_id(1_000_000, b"{}")))
    '00000000-03e8-7441-8dbe-8d56cd9e2845'
    """
    digest = int.from_bytes(hashlib.sha256(raw).digest()[:10], "big")
    high12, low62 = digest >> 68, (digest >> 6) & ((1 << 62) - 1)
    number = (event_us // 1000) << 80 | 7 << 76 | high12 << 64 | 0b10 << 62 | low62
    return number.to_bytes(16, "big")


def format_event_id(raw: bytes) -> str:
    """Return the id of an event as a UUID string."""
    return str(UUID(bytes=raw))
