"""OpenLineage events from files: one event, an array of events, or a line each (NDJSON)."""

from __future__ import annotations

import codecs
import contextlib
import sys
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import msgspec

from airflow_provenance.errors import ProvenanceError
from airflow_provenance.store.base import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
            first = _next_line(file).removeprefix(codecs.BOM_UTF8)
            second = b"" if _is_json(first) else _next_line(file)
            if _is_json(first) or _is_after_broken(second, first):
                yield from _lines(chain((first, second), file), size)
            else:
                rest = file.read(max_event_bytes * 1000)
                yield from _document(name, first + second + rest, size)
    except OSError as error:
        raise ProvenanceError(f"cannot read {name}: {error.strerror}") from error


def _next_line(file: BinaryIO) -> bytes:
    """Return the next line that is not blank; nothing at the end."""
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


def _is_after_broken(second: bytes, first: bytes) -> bool:
    """Whether the file has an event a line, only that its first is broken.

    Of an event over many lines the second is indented, or begins with a name.
    """
    return second.startswith(b"{") and not first.lstrip().startswith(b"[") and _is_json(second)


def _lines(lines: Iterable[bytes], size: int) -> Iterator[Batch]:
    entries: list[tuple[Kind, bytes]] = []
    for line in lines:
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
