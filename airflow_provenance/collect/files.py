"""OpenLineage events from files: one event, an array of events, or a line each (NDJSON)."""

from __future__ import annotations

import contextlib
import sys
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import msgspec

from airflow_provenance.errors import ProvenanceError
from airflow_provenance.store.base import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provenance.formats.spool_line import Kind

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_JSON = msgspec.json.Decoder(msgspec.Raw)


class Batch(NamedTuple):
    """Some events of a file, and what of it is no JSON."""

    entries: list[tuple[Kind, bytes]]
    rejected: list[Rejected]


def read_events(name: str, max_event_bytes: int, size: int) -> Iterator[Batch]:
    """Read the events of a file, each as the bytes it is in the file.

    NDJSON is read line by line, so a file may be larger than the memory; a line that is no JSON is
    the quarantine's, those after it are read all the same.

    Args:
        name: a path; ``-`` for standard input.
        max_event_bytes: a document that is no NDJSON may be 1,000 times as large.
        size: how many events a batch holds.

    Raises:
        ProvenanceError: the file cannot be read.
    """
    try:
        with contextlib.ExitStack() as stack:
            file = sys.stdin.buffer if name == "-" else stack.enter_context(open(name, "rb"))  # noqa: PTH123 - "-" is no path
            first = _first_line(file)
            if _is_json(first):
                yield from _lines(first, file, size)
            else:
                yield from _document(name, first + file.read(max_event_bytes * 1000), size)
    except OSError as error:
        raise ProvenanceError(f"cannot read {name}: {error.strerror}") from error


def _first_line(file: BinaryIO) -> bytes:
    for line in file:
        if line.strip():
            return line
    return b""


def _is_json(line: bytes) -> bool:
    """Whether a first line is a whole event, so that the file has one a line."""
    stripped = line.strip()
    if not stripped.startswith(b"{"):
        return False
    try:
        _JSON.decode(stripped)
    except msgspec.DecodeError:
        return stripped.endswith(b"}") and len(stripped) > 1
    return True


def _lines(first: bytes, file: BinaryIO, size: int) -> Iterator[Batch]:
    entries: list[tuple[Kind, bytes]] = []
    for line in chain((first,), file):
        if stripped := line.strip():
            entries.append(("E", stripped))
        if len(entries) == size:
            yield Batch(entries, [])
            entries = []
    if entries:
        yield Batch(entries, [])


def _document(name: str, text: bytes, size: int) -> Iterator[Batch]:
    stripped = text.strip()
    if not stripped:
        return
    if not stripped.startswith(b"["):
        yield Batch([("E", stripped)], [])
        return
    try:
        raws = _ARRAY.decode(stripped)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"not a JSON array: {error}"
        yield Batch([], [Rejected("E", stripped, "invalid_json", message, name)])
        return
    for start in range(0, len(raws), size):
        yield Batch([("E", bytes(raw).strip()) for raw in raws[start : start + size]], [])
