"""What the bytes of a file mean: columns and rows of CSV, JSON lines and Parquet.

An inspector is fed the chunks that are hashed, so a file is read once. It is chosen by the file's
name; a Parquet file is also known by its first bytes. Everything else is bytes. To add a format,
write an `Inspector` and name it in `inspector_for`.

Nothing is guessed: CSV and JSON lines have names of columns, not types. What cannot be told has a
note that says why, and the digest is never given up for it: an inspector that takes too long is
stopped (`Watched`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provenance.capture.inspectors.base import Unreadable
from airflow_provenance.capture.inspectors.csv_file import CsvInspector
from airflow_provenance.capture.inspectors.json_lines import JsonLinesInspector
from airflow_provenance.capture.inspectors.parquet import PARQUET, is_parquet
from airflow_provenance.emit.observed import Structure

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.capture.inspectors.base import Inspector

__all__ = ["PARQUET", "Watched", "inspector_for", "is_parquet"]

_BY_SUFFIX: dict[str, type[CsvInspector | JsonLinesInspector]] = {
    ".csv": CsvInspector,
    ".tsv": CsvInspector,
    ".jsonl": JsonLinesInspector,
    ".ndjson": JsonLinesInspector,
}
_TOO_SLOW = "not counted: that took too much of [provenance] hash_timeout_seconds"


def inspector_for(path: Path) -> Inspector | None:
    """Return an inspector to feed, or None for a file whose bytes are just bytes.

    >>> from pathlib import Path
    >>> inspector_for(Path("flights.CSV")).format
    'csv'
    """
    inspector = _BY_SUFFIX.get(path.suffix.lower())
    return None if inspector is None else inspector()


class Watched:
    """Feeds an inspector within a budget; what goes wrong in it is a note."""

    def __init__(self, inspector: Inspector, budget_seconds: float) -> None:
        self._inspector = inspector
        self._left_seconds = budget_seconds
        self._note: str | None = None

    def feed(self, chunk: bytes) -> None:
        """Show the next chunk, unless the inspector has given up."""
        if self._note is not None:
            return
        began = time.perf_counter()
        try:
            self._inspector.feed(chunk)
        except Unreadable as error:
            self._note = str(error)
        except Exception as error:  # noqa: BLE001 - a file may hold anything, the digest matters more
            self._note = f"not readable as {self._inspector.format}: {type(error).__name__}"
        self._left_seconds -= time.perf_counter() - began
        if self._left_seconds < 0 and self._note is None:
            self._note = _TOO_SLOW

    def finish(self) -> Structure:
        """Return what was learnt, or a note that says why not."""
        format_ = self._inspector.format
        if self._note is not None:
            return Structure(format_, note=self._note)
        try:
            return self._inspector.finish()
        except Unreadable as error:
            return Structure(format_, note=str(error))
        except Exception as error:  # noqa: BLE001 - as above
            return Structure(format_, note=f"not readable as {format_}: {type(error).__name__}")
