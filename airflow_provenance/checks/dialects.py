"""How PostgreSQL, SQLite and DuckDB say what a check needs. SQL text only, nothing runs here.

Names are quoted and values are bound: a fragment holds one NUL for each of its values, which no
name and no SQL can hold, and `Dialect.statement` puts the engine's own placeholder there.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOLE = "\0"


class Sql(NamedTuple):
    """SQL with holes, and the values that fill them."""

    text: str
    values: tuple[Any, ...] = ()


def quote(name: str) -> str:
    """Return a name as SQL's standard quotes it.

    >>> print(quote('a"b'))
    "a""b"
    """
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def holes(values: Sequence[object]) -> str:
    """Return one hole for each value."""
    return ", ".join([_HOLE] * len(values))


class Dialect:
    """What the engines differ in; this is PostgreSQL, where a column has a type that must fit."""

    engine: ClassVar[str] = "postgres"  # as sqlglot names it
    placeholder: ClassVar[str] = "%s"
    is_case_sensitive: ClassVar[bool] = True
    # Whether a value may be no number, time or text though its column is compared as such.
    is_loose: ClassVar[bool] = False

    def statement(self, sql: Sql) -> tuple[str, tuple[Any, ...]]:
        """Return what the engine's cursor takes."""
        text = sql.text
        if sql.values and self.placeholder == "%s":
            text = text.replace("%", "%%")
        return text.replace(_HOLE, self.placeholder), sql.values

    def matches(self, column: str) -> str:
        """Return a condition with one hole: a regular expression is found in the column."""
        return f"CAST({column} AS TEXT) ~ {_HOLE}"

    def comparable(self, column: str, type_: str, family: type) -> str:
        """Return the column as it compares with values of a family; null for what is none."""
        del type_  # for those that look at it
        return f"CAST({column} AS TEXT)" if family is str else column

    def bound(self, value: Any) -> Any:
        """Return a value as the engine's driver takes it."""
        return value

    def text(self, expression: str) -> str:
        """Return an expression as text."""
        return f"CAST({expression} AS TEXT)"


class PostgreSql(Dialect):
    """PostgreSQL, by psycopg 2 or 3."""


class SQLite(Dialect):
    """SQLite, where every value has its own type: one that does not fit sorts after all others.

    Times are texts in one of the forms that SQLite's own functions read.
    """

    engine = "sqlite"
    placeholder = "?"
    is_case_sensitive = False
    is_loose = True

    def matches(self, column: str) -> str:
        """Return a condition on ``REGEXP``, a function that the source registers."""
        return f"CAST({column} AS TEXT) REGEXP {_HOLE}"

    def comparable(self, column: str, type_: str, family: type) -> str:
        """Return the value where it has the type, so that ``'9' > 10`` is never asked."""
        del type_  # a column has none that can be relied on
        if family is datetime:
            time = f"strftime('%Y-%m-%d %H:%M:%f', {column})"
            return f"CASE WHEN typeof({column}) = 'text' THEN {time} END"
        if family is str:
            return f"CASE WHEN typeof({column}) <> 'blob' THEN CAST({column} AS TEXT) END"
        return f"CASE WHEN typeof({column}) IN ('integer', 'real') THEN {column} END"

    def bound(self, value: Any) -> Any:
        """Return a time as ``strftime`` writes it."""
        if isinstance(value, date):
            return _utc(value).isoformat(sep=" ", timespec="milliseconds")
        return float(value) if isinstance(value, Decimal) else value


class DuckDb(Dialect):
    """DuckDB, for files and dataframes; in files of text the column's type is what was found."""

    engine = "duckdb"
    placeholder = "?"
    is_case_sensitive = False
    is_loose = True

    _TYPES: ClassVar = {float: "DOUBLE", bool: "BOOLEAN", datetime: "TIMESTAMP"}

    def matches(self, column: str) -> str:
        """Return a condition in RE2."""
        return f"regexp_matches(CAST({column} AS VARCHAR), {_HOLE})"

    def comparable(self, column: str, type_: str, family: type) -> str:
        """Return the value, tried as the type where it is text."""
        if family is str:
            return f"CAST({column} AS VARCHAR)"
        if type_ == "VARCHAR" or family is datetime:
            return f"TRY_CAST({column} AS {self._TYPES[family]})"
        return column

    def bound(self, value: Any) -> Any:
        """Return a time in UTC, without the zone: that would ask for another package."""
        return _utc(value) if isinstance(value, date) else value

    def text(self, expression: str) -> str:
        """Return an expression as text."""
        return f"CAST({expression} AS VARCHAR)"


def _utc(value: date) -> datetime:
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - UTC, said without zone
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
