"""A check as SQL: a condition that is true for the rows that fail, and false or null for others.

In every statement the dataset is called ``d``. Conditions of one row are counted together in one
scan; what looks at more than its row is counted by a query that the engine can plan well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.checks.author_sql import closed
from airflow_provenance.checks.definitions import (
    AcceptedValues,
    Expression,
    FailingRows,
    ForeignKey,
    NotNull,
    Pattern,
    Range,
    Unique,
    family,
)
from airflow_provenance.checks.dialects import Dialect, Sql, holes, quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provenance.checks.definitions import Check
    from airflow_provenance.checks.sources import Relation

_HOLE = holes([None])


def row_fails(check: Check, dialect: Dialect, types: Mapping[str, str]) -> Sql | None:
    """Return the condition of a check that looks at one row, None for any other check.

    Args:
        check: what must hold.
        dialect: of the engine.
        types: the columns of the dataset.
    """
    if isinstance(check, Expression):
        # On lines of its own, so that a comment ends; null where the condition is.
        return Sql(f"NOT (\n{closed(check.condition, dialect.engine)}\n)")
    if not isinstance(check, NotNull | Range | AcceptedValues | Pattern):
        return None
    column = f"d.{quote(check.column)}"
    if isinstance(check, NotNull):
        return Sql(f"{column} IS NULL")
    if isinstance(check, Pattern):
        return Sql(f"NOT ({dialect.matches(column)})", (check.regex,))
    if isinstance(check, Range):
        given = [(">=", check.min), ("<=", check.max)]
        values = tuple(value for _, value in given if value is not None)
        template = " AND ".join(
            f"{{0}} {sign} {_HOLE}" for sign, value in given if value is not None
        )
    else:
        values = tuple(check.values)
        template = f"{{0}} IN ({holes(values)})"
    kind = family(values[0])
    compared = dialect.comparable(column, types[check.column], kind)
    fails = f"NOT ({template.replace('{0}', compared)})"
    if dialect.is_loose:
        fails = f"({column} IS NOT NULL AND ({compared} IS NULL OR {fails}))"
    return Sql(fails, tuple(dialect.bound(value) for value in values))


def counted(check: Check, dialect: Dialect, dataset: str, other: Relation | None) -> Sql | None:
    """Return a query for the number of failing rows of a check that looks at more than a row."""
    if isinstance(check, Unique):
        groups = f"SELECT count(*) AS n {_repeated(check.columns, dataset)}"
        return Sql(f"SELECT coalesce(sum(n), 0) FROM ({groups}) AS g")
    if isinstance(check, ForeignKey) and other is not None:
        return Sql(f"SELECT count(*) FROM {dataset} AS d WHERE {_orphan(check, other)}")
    if isinstance(check, FailingRows):
        return Sql(f"SELECT count(*) FROM {subquery(check.query, dialect, dataset)} AS d")
    return None


def sampled(
    check: Check, dialect: Dialect, dataset: str, other: Relation | None, fails: Sql | None
) -> tuple[str, Sql] | None:
    """Return where failing rows are, and the condition that finds them; None if that is unknown."""
    if fails is not None:
        return f"{dataset} AS d", fails
    if isinstance(check, Unique):
        columns = ", ".join(f"d.{quote(one)}" for one in check.columns)
        names = ", ".join(map(quote, check.columns))
        return f"{dataset} AS d", Sql(
            f"({columns}) IN (SELECT {names} {_repeated(check.columns, dataset)})"
        )
    if isinstance(check, ForeignKey) and other is not None:
        return f"{dataset} AS d", Sql(_orphan(check, other))
    if isinstance(check, FailingRows):
        return f"{subquery(check.query, dialect, dataset)} AS d", Sql("1 = 1")
    return None


def subquery(query: str, dialect: Dialect, dataset: str) -> str:
    """Return the author's query to select from."""
    text = closed(query.replace("{dataset}", dataset), dialect.engine)
    return f"(\n{text}\n)"


def _repeated(columns: Sequence[str], dataset: str) -> str:
    # A row with a null is like no other, as in SQL's own unique constraints.
    names = ", ".join(map(quote, columns))
    present = " AND ".join(f"{quote(one)} IS NOT NULL" for one in columns)
    return f"FROM {dataset} WHERE {present} GROUP BY {names} HAVING count(*) > 1"


def _orphan(check: ForeignKey, other: Relation) -> str:
    column, key = f"d.{quote(check.column)}", f"o.{quote(check.key)}"
    same = f"{key} = {column}"
    if other.compare_as_text:
        same = f"CAST({key} AS VARCHAR) = CAST({column} AS VARCHAR)"
    found = f"SELECT 1 FROM {other.name} AS o WHERE {same}"
    return f"{column} IS NOT NULL AND NOT EXISTS ({found})"
