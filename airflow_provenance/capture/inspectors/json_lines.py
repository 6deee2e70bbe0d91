"""JSON lines: how many there are, and the members of the first ones."""

from __future__ import annotations

import codecs
import json

from airflow_provenance.capture.inspectors.base import (
    LineCounter,
    Unreadable,
    check_utf8,
    structure,
)
from airflow_provenance.emit.observed import Column, Structure

_LINES_READ = 100
_MOST_BYTES_READ = 4 << 20


class JsonLinesInspector:
    """Reads the first lines, counts all that are not blank."""

    format = "jsonl"

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self._names: dict[str, None] = {}
        self._lines = LineCounter()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._head is not None:
            if not self._head:
                check_utf8(chunk)
                chunk = chunk.removeprefix(codecs.BOM_UTF8)
            self._head += chunk
            is_enough = len(self._head) > _MOST_BYTES_READ
            if is_enough or self._head.count(b"\n", 0, 1 << 20) > _LINES_READ:
                self._read(self._head[: self._head.rfind(b"\n") + 1])
        self._lines.feed(chunk)

    def finish(self) -> Structure:
        """Return the members of the first lines, in the order they came, and the number of lines.

        Members of later lines are not known, so the schema says what is there, not all.
        """
        if self._head is not None:
            self._read(self._head)
        rows = self._lines.count
        note = None if rows else "empty: no lines"
        return structure(self.format, [Column(name) for name in self._names], rows, note)

    def _read(self, head: bytes) -> None:
        for number, line in enumerate(head.splitlines()[:_LINES_READ], 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                raise Unreadable(f"line {number} is not JSON") from None
            if not isinstance(record, dict):
                raise Unreadable(f"line {number} is no JSON object")
            self._names.update(dict.fromkeys(record))
        self._head = None
