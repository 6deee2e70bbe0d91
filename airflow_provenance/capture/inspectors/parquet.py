"""Parquet: columns with types, and rows, from the footer, by pyarrow where that is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.capture.inspectors.base import structure
from airflow_provenance.emit.observed import Column, Structure

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

PARQUET = "parquet"
_MAGIC = b"PAR1"
_SUFFIXES = frozenset({".parquet", ".pq"})


def is_parquet(path: Path, head: bytes) -> bool:
    """Whether this file should have a footer to read."""
    return path.suffix.lower() in _SUFFIXES or head.startswith(_MAGIC)


def read_footer(file: BinaryIO) -> Structure:
    """Return columns and rows, or a note that says why not."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return Structure(PARQUET, note="pyarrow is not installed, so not looked into")
    try:
        footer = parquet.ParquetFile(file)
        columns = [Column(one.name, str(one.type)) for one in footer.schema_arrow]
        return structure(PARQUET, columns, footer.metadata.num_rows)
    except (pa.ArrowException, OSError, ValueError):
        return Structure(PARQUET, note="no footer of Parquet, so not looked into")
