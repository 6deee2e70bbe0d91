"""Columns and rows of data in memory: pandas, Polars, Arrow and what else narwhals knows.

Narwhals is optional and imports none of these; without it, a list of records is understood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from airflow_provenance.emit.observed import MOST_COLUMNS, Column


class Shape(NamedTuple):
    """What data looks like; rows are None for data that is not computed yet."""

    columns: tuple[Column, ...]
    rows: int | None


def shape_of(data: Any) -> Shape:
    """Return columns and rows of data. Raises `TypeError` for data that is not understood.

    >>> shape_of([{"carrier": "UA", "dest": "IAH"}])
    Shape(columns=(Column(name='carrier', type=None), Column(name='dest', type=None)), rows=1)
    """
    if isinstance(data, Sequence) and not isinstance(data, str | bytes | bytearray):
        return _of_records(data)
    kind = f"{type(data).__module__.partition('.')[0]}.{type(data).__qualname__}"
    try:
        import narwhals as nw
    except ImportError:
        advice = "needs narwhals: pip install 'airflow-provenance[dataframes]'"
        raise TypeError(f"{kind} {advice}") from None
    try:
        frame = nw.from_native(data)
    except TypeError:
        raise TypeError(f"{kind} is no dataframe that narwhals knows") from None
    if isinstance(frame, nw.LazyFrame):  # its rows would have to be computed
        return Shape(_columns(frame.collect_schema()), None)
    return Shape(_columns(frame.schema), len(frame))


def _columns(schema: Mapping[str, Any]) -> tuple[Column, ...]:
    first = list(schema.items())[:MOST_COLUMNS]
    return tuple(Column(str(name), str(type_)) for name, type_ in first)


def _of_records(records: Sequence[Any]) -> Shape:
    first = records[0] if records else {}
    names = list(first)[:MOST_COLUMNS] if isinstance(first, Mapping) else []
    return Shape(tuple(Column(str(name)) for name in names), len(records))
