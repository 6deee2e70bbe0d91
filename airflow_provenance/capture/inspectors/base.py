"""What every inspector is, and what those of text files share."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Protocol

from airflow_provenance.emit.observed import MOST_COLUMNS, Column, Structure

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHECKED_BYTES = 1 << 16
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BLANK_LINE = re.compile(rb"\n(?=\r?\n)")


class Unreadable(Exception):  # noqa: N818 - a reason, no failure of ours
    """The file is not what its name says; the message says why."""


class Inspector(Protocol):
    """Learns a file's structure from its bytes, in one pass."""

    format: str

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises `Unreadable`."""

    def finish(self) -> Structure:
        """Return what the bytes meant. Raises `Unreadable`."""


def structure(
    format_: str, columns: Sequence[Column], rows: int | None, note: str | None = None
) -> Structure:
    """Return a structure of at most `MOST_COLUMNS` columns, with a note where some are left out."""
    if len(columns) > MOST_COLUMNS:
        note = note or f"the schema has the first {MOST_COLUMNS} of {len(columns)} columns"
    return Structure(format_, tuple(columns[:MOST_COLUMNS]), len(columns), rows, note)


def check_utf8(head: bytes) -> None:
    """Raise `Unreadable` for what does not begin as UTF-8 text; its end may be cut anywhere."""
    if head.startswith(_UTF_16):
        raise Unreadable("UTF-16, which is not looked into: only UTF-8 is")
    head = head[:_CHECKED_BYTES]
    if b"\0" in head:
        raise Unreadable("not text, whatever its name says")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8, so not looked into") from None


class LineCounter:
    """Counts lines that are not blank."""

    def __init__(self) -> None:
        self._count = 0
        # What may make the next line a blank one; a file begins as a line does.
        self._tail = b"\n"

    def feed(self, text: bytes, breaks: int | None = None) -> None:
        """Take the next bytes, and how many line breaks they hold where that is known."""
        if not text:
            return
        self._count += text.count(b"\n") if breaks is None else breaks
        joined = self._tail[-2:] + text if self._tail != b"x" else text
        # From the end, which takes a third of the time; and one byte is looked for many times as
        # fast as three.
        if joined.rfind(b"\n\n") >= 0 or (b"\r" in joined and joined.rfind(b"\n\r\n") >= 0):
            self._count -= len(_BLANK_LINE.findall(joined))
        self._tail = next((end for end in (b"\n\r", b"\n") if joined.endswith(end)), b"x")

    @property
    def count(self) -> int:
        """Lines so far; the last needs no line break."""
        return self._count + (self._tail == b"x")
