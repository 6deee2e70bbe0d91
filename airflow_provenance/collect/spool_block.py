"""The records of a piece of a spool file: read by the drain here, and by the API elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.errors import EventError
from airflow_provenance.formats.spool_line import MAGIC, decode_line
from airflow_provenance.store.base import Rejected

if TYPE_CHECKING:
    from airflow_provenance.formats.spool_line import Kind


def records_of(block: bytes, source: str, start: int = 0) -> list[tuple[Kind, bytes] | Rejected]:
    """Return what each line holds, in their order; a line that cannot be read is rejected.

    Args:
        block: lines of a spool file.
        source: where they came from; with the line's place in it, for the quarantine.
        start: where in the file the block begins.
    """
    records: list[tuple[Kind, bytes] | Rejected] = []
    position = start
    for line in block.split(b"\n"):
        if line:
            try:
                records.append(decode_line(line))
            except EventError as error:
                torn, whole = _parted(line)
                place = f"{source}:{position}"
                records.append(Rejected("?", torn, error.reason, str(error), place))
                records += whole
        position += len(line) + 1
    return records


def _parted(line: bytes) -> tuple[bytes, list[tuple[Kind, bytes]]]:
    """Part a torn line from a whole one that another process wrote right behind it.

    Length and checksum must be right, so this is no guess.
    """
    position = line.find(MAGIC, 1)
    while position > 0:
        try:
            return line[:position], [decode_line(line[position:])]
        except EventError:
            position = line.find(MAGIC, position + 1)
    return line, []
