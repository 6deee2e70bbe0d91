"""CSV with a header: names of columns, and how many records follow.

Records are counted without parsing fields: what stands in quotes is left out, and lines of the rest
are counted. That agrees with Python's ``csv`` where a quote begins a field, as in RFC 4180; a file
where one stands inside an unquoted field is not counted.

Looking at each quote costs ten times as much as hashing. So a chunk is turned into letters that
say what stands before each quote, all else is dropped, and what is left is nearly always the same
two letters again and again.
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
_MOST_HELD_BYTES = 1 << 16
_DELIMITERS = ",;\t|"
_HEADER = re.compile(rb'(?:[^"\r\n]++|"[^"]*+")*+(?:\r?\n)')
_QUOTED = re.compile(rb'"[^"]*+"')
_LONE_CR = re.compile(rb"\r(?!\n)")


class CsvInspector:
    """Reads the header, counts the records."""

    format = "csv"

    def __init__(self) -> None:
        self._head = b""
        self._columns: list[Column] = []
        self._records: _RecordCounter | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._records is not None:
            self._records.feed(chunk)
            return
        if not self._head:
            check_utf8(chunk)
            chunk = chunk.removeprefix(codecs.BOM_UTF8)
        self._head += chunk
        if (header := _HEADER.match(self._head)) is not None:
            self._begin(header.group())
        elif len(self._head) > _MOST_HEADER_BYTES:
            raise Unreadable("the header does not end")

    def finish(self) -> Structure:
        """Return the columns of the header and the number of records after it."""
        if not self._head.strip():
            return Structure(self.format, rows=0, note="empty: no header")
        records = self._records or self._begin(self._head)
        return structure(self.format, self._columns, max(0, records.finish() - 1))

    def _begin(self, header: bytes) -> _RecordCounter:
        self._columns, delimiter = _columns(header)
        self._records = _RecordCounter(delimiter)
        self._records.feed(self._head)
        self._head = header
        return self._records


def _columns(header: bytes) -> tuple[list[Column], str]:
    """Return the columns, and what stands between them."""
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
    return [Column(name) for name in names], delimiter


class _RecordCounter:
    """Counts lines outside quotes.

    Marking turns a quote into ``Q`` where a field may begin, into ``q`` elsewhere. It is done by
    `bytes.title`, the one method that looks at what stands before a letter: a letter is in upper
    case unless a letter is before it. So delimiters become spaces, and all other bytes ``a``.
    """

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter.encode()
        marks = dict.fromkeys(range(256), "a") | {ord(one): one for one in "\r\n"}
        marks |= {ord(delimiter): " ", ord('"'): "q"}
        self._marks = "".join(marks.values()).encode()
        self._lines = LineCounter()
        self._in_quotes = False
        self._has_doubled = False
        self._last = b"\n"
        self._held = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises `Unreadable` where quotes do not tell where records end."""
        chunk = self._held + chunk
        if b"\r" in chunk and _LONE_CR.search(chunk) is not None:
            # Those of CR LF, too: where a chunk ends between them, a blank line is no record.
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        # Up to the end of a line, where most often no quote is open; else up to what is no quote:
        # whether one is doubled is known when what follows it is.
        end = chunk.rfind(b"\n") + 1
        self._held = chunk[end:]
        if len(self._held) > _MOST_HELD_BYTES:
            end = len(chunk.rstrip(b'"'))
            held = len(chunk) - end
            self._held = b'"' * (held if held < 3 else 2 - held % 2)
        self._take(chunk[:end])

    def finish(self) -> int:
        """Return how many records there are, with the header."""
        self._take(self._held)
        if self._in_quotes:
            raise Unreadable("a quote is not closed, so its rows are not counted")
        return self._lines.count

    def _take(self, chunk: bytes) -> None:
        if not chunk:
            return
        if self._in_quotes or b'"' in chunk:
            self._take_quoted(chunk)
        else:
            self._lines.feed(chunk)
        self._last = chunk[-1:]

    def _take_quoted(self, chunk: bytes) -> None:
        text = self._last + chunk
        doubled = self._has_doubled and text.rfind(b'""') >= 0
        marked = self._marked(self._without_doubled(text) if doubled else text)
        breaks = self._breaks_if_plain(marked)
        if breaks is not None:
            self._lines.feed(chunk, breaks - (self._last == b"\n"))
        elif not self._has_doubled and text.rfind(b'""') >= 0:
            self._has_doubled = True
            self._take_quoted(chunk)
        else:
            self._lines.feed(self._outside(marked))

    def _without_doubled(self, text: bytes) -> bytes:
        """Return a text without pairs of quotes, which open and close, or close and open.

        Nothing changes without them, but that a line that is nothing else is a record.
        """
        return text.replace(b'\n""', b"\n" + self._delimiter).replace(b'""', b"")

    def _marked(self, text: bytes) -> bytes:
        return text.translate(self._marks).title()

    def _breaks_if_plain(self, marked: bytes) -> int | None:
        """Return how many lines there are if every quote begins a field or ends it on its line."""
        if self._in_quotes:
            return None
        quotes = marked.translate(None, b"aA \r")
        breaks = quotes.count(b"\n")
        return breaks if 2 * quotes.count(b"Qq") + breaks == len(quotes) else None

    def _outside(self, marked: bytes) -> bytes:
        """Return text with the lines that are outside quotes."""
        openings = marked.translate(None, b"aA \r\n")[self._in_quotes :: 2]
        if b"q" in openings:
            raise Unreadable("quotes stand inside fields, so its rows are not counted")
        # Without the first: it stands for the last byte of the chunk before.
        lines = b"Q" * self._in_quotes + marked.translate(None, b"a")[1:]
        # Most are gone before they are looked at one by one; no "q" opens, so this is a field.
        parts = lines.replace(b"Qq", b"A").replace(b"q", b"Q").split(b"Q")
        self._in_quotes = len(parts) % 2 == 0
        return b"A".join(parts[::2]) + b"A" * self._in_quotes
