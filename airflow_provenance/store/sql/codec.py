"""How rows are packed: documents, facets, chunks of raw entries, codes for words."""

from __future__ import annotations

import zlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.identity import (
    DagRunKey,
    RunKey,
    TaskRunKey,
    WireKey,
    key_kind,
)
from airflow_provenance.domain.run import Facets, RunDoc
from airflow_provenance.formats.brief import RunBrief

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provenance.store.base import LogEntry

# Level 1: a fifth more bytes than level 6, at a third of the time (measured on Airflow's events).
_LEVEL = 1
# Entries are compressed together, since one event is much like the next: 64 of 5 KB take 250 bytes
# each, alone 1,350. Larger chunks gain little and make reading one entry dearer.
_CHUNK_ENTRIES = 64
_CHUNK_BYTES = 1 << 20

KINDS = ("run_event", "job_event", "dataset_event", "note")
EVENT_TYPES = ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
RUN_KINDS = ("task", "dag_run", "run")


class _Stored(msgspec.Struct, array_like=True):
    kind: str
    key: list[str | int]
    doc: RunDoc


# What the facets of the official provider's events have in common: documents get half as large.
# Never change it: stored documents are read with it (those written without one are read, too).
_DICTIONARY = (files(__package__) / "run_doc.zdict").read_bytes()
_COMPRESSOR = zlib.compressobj(3, zdict=_DICTIONARY)
_ENCODER = msgspec.msgpack.Encoder()
_STORED = msgspec.msgpack.Decoder(_Stored)
_BRIEF = msgspec.msgpack.Decoder(RunBrief)
_FACETS = msgspec.msgpack.Decoder(Facets)
_KEYS: dict[str, Any] = {"task": TaskRunKey, "dag_run": DagRunKey, "run": WireKey}


def pack_run(key: RunKey, doc: RunDoc) -> bytes:
    """Return the bytes of a run's document and key."""
    compressor = _COMPRESSOR.copy()  # a third quicker than one that has to learn the dictionary
    encoded = _ENCODER.encode(_Stored(key_kind(key), list(key), doc))
    return compressor.compress(encoded) + compressor.flush()


def unpack_run(body: bytes) -> tuple[RunKey, RunDoc]:
    """Return what `pack_run` packed."""
    stored = _STORED.decode(zlib.decompressobj(zdict=_DICTIONARY).decompress(body))
    key: RunKey = _KEYS[stored.kind](*stored.key)
    return key, stored.doc


def pack_brief(brief: RunBrief) -> bytes:
    """Return the bytes of a brief; so few that compressing them would cost more than it gains."""
    return _ENCODER.encode(brief)


def unpack_brief(body: bytes) -> RunBrief:
    """Return what `pack_brief` packed."""
    return _BRIEF.decode(body)


def pack_facets(facets: Facets) -> bytes:
    """Return the bytes of merged facets."""
    return zlib.compress(_ENCODER.encode(facets), _LEVEL)


def unpack_facets(body: bytes | None) -> Facets:
    """Return what `pack_facets` packed; none for None."""
    return {} if body is None else _FACETS.decode(zlib.decompress(body))


def pack_bytes(raw: bytes) -> bytes:
    """Return compressed bytes."""
    return zlib.compress(raw, _LEVEL)


def unpack_bytes(body: bytes) -> bytes:
    """Return what `pack_bytes` packed."""
    return zlib.decompress(body)


def pack_chunks(entries: Sequence[LogEntry]) -> Iterator[tuple[int, int, bytes]]:
    """Return (first seq, greatest event time, body) of chunks of contiguous entries."""
    chunk: list[LogEntry] = []
    size = 0
    for entry in entries:
        raw_size = len(entry.raw or b"")
        if chunk and (len(chunk) == _CHUNK_ENTRIES or size + raw_size > _CHUNK_BYTES):
            yield _pack_chunk(chunk)
            chunk, size = [], 0
        chunk.append(entry)
        size += raw_size
    if chunk:
        yield _pack_chunk(chunk)


def _pack_chunk(entries: list[LogEntry]) -> tuple[int, int, bytes]:
    raws = [entry.raw or b"" for entry in entries]
    head = b"".join(len(raw).to_bytes(4, "big") for raw in raws)
    body = zlib.compress(len(raws).to_bytes(4, "big") + head + b"".join(raws), _LEVEL)
    return entries[0].seq, max(entry.event_us for entry in entries), body


def unpack_chunk(first_seq: int, body: bytes) -> dict[int, bytes]:
    """Return the entries of a chunk by `seq`."""
    whole = zlib.decompress(body)
    count = int.from_bytes(whole[:4], "big")
    found, start = {}, 4 + 4 * count
    for index in range(count):
        size = int.from_bytes(whole[4 + 4 * index : 8 + 4 * index], "big")
        found[first_seq + index] = whole[start : start + size]
        start += size
    return found


def pack_part(partition: str | None) -> str:
    """Return how a partition is kept: empty for the whole dataset."""
    return "" if partition is None else f"={partition}"


def unpack_part(part: str) -> str | None:
    """Return what `pack_part` packed."""
    return part[1:] if part else None
