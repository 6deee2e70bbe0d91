"""CSV with a header: names of columns, and how many records follow.

Records are counted without parsing fields: what stands in quotes is taken out, and lines of the
rest are counted. That agrees with Python's ``csv`` where a quote begins a field, as in RFC 4180; a
file where one stands inside an unquoted field is not counted.
"""

from __future__ import annotations

import codecs
import csv
import io
import re

from airflow_provenance.capture.inspectors.base import (
    LineCounter,
    Unreadable,
    check_utf8,
    structure,
)
from airflow_provenance.emit.observed import Column, Structure

_MOST_HEADER_BYTES = 4 << 20
_DELIMITERS = ",;\t|"
# What may stand before a quote that begins a field; nothing at all, before one that was doubled.
_BEFORE_QUOTE = frozenset([b"", *(one.encode() for one in f"{_DELIMITERS}\n\r")])
_HEADER = re.compile(rb'(?:[^"\r\n]++|"[^"]*+")*+(?:\r?\n)')
_QUOTED = re.compile(rb'"[^"]*+"')


class CsvInspector:
    """Reads the header, counts the records."""

    format = "csv"

    def __init__(self) -> None:
        self._head = b""
        self._columns: list[Column] | None = None
        self._records = _RecordCounter()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._columns is None:
            if not self._head:
                check_utf8(chunk)
                chunk = chunk.removeprefix(codecs.BOM_UTF8)
            self._head += chunk
            if (header := _HEADER.match(self._head)) is not None:
                self._columns, self._head = _columns(header.group()), b""
            elif len(self._head) > _MOST_HEADER_BYTES:
                raise Unreadable("the header does not end")
        self._records.feed(chunk)

    def finish(self) -> Structure:
        """Return the columns of the header and the number of records after it."""
        records = self._records.finish()
        if self._columns is None:
            if not self._head.strip():
                return Structure(self.format, rows=0, note="empty: no header")
            self._columns = _columns(self._head)
        return structure(self.format, self._columns, max(0, records - 1))


def _columns(header: bytes) -> list[Column]:
    try:
        text = header.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8, so not looked into") from None
    if "\r" in text:
        raise Unreadable("its lines end with CR alone, which is not looked into")
    unquoted = _QUOTED.sub(b"", header).decode()
    delimiter = max(_DELIMITERS, key=unquoted.count)  # the first, a comma, if there is none
    try:
        names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error as error:
        raise Unreadable(f"the header is not CSV: {error}") from None
    return [Column(name) for name in names]


class _RecordCounter:
    """Counts lines outside quotes."""

    def __init__(self) -> None:
        self._lines = LineCounter()
        self._in_quotes = False
        self._last = ord("\n")

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises `Unreadable` where quotes do not tell where records end."""
        if not chunk:
            return
        self._lines.feed(self._unquoted(chunk) if self._in_quotes or b'"' in chunk else chunk)
        self._last = chunk[-1]

    def finish(self) -> int:
        """Return how many records there are, with the header."""
        if self._in_quotes:
            raise Unreadable("a quote is not closed, so its rows are not counted")
        return self._lines.count

    def _unquoted(self, chunk: bytes) -> bytes:
        parts = chunk.split(b'"')
        began_in_quotes = self._in_quotes
        self._in_quotes = began_in_quotes == (len(parts) % 2 == 1)
        outside = parts[began_in_quotes::2]
        before_quotes = outside if self._in_quotes else outside[:-1]
        if not began_in_quotes and before_quotes and not before_quotes[0]:
            before_quotes = [bytes([self._last]), *before_quotes[1:]]
            # A quote that was doubled lies on both sides of the chunk's edge.
            before_quotes = before_quotes[1:] if self._last == ord('"') else before_quotes
        if not {part[-1:] for part in before_quotes} <= _BEFORE_QUOTE:
            raise Unreadable("quotes stand inside fields, so its rows are not counted")
        return b'"' * began_in_quotes + b'"'.join(outside) + b'"' * self._in_quotes
