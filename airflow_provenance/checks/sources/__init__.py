"""Where the rows of a dataset are, seen by SQL.

`database`: a table of PostgreSQL or SQLite, through an Airflow hook. `duck`: a file or a dataframe,
through DuckDB in memory. To add one, fulfil `Source` and name its engine in `dialects`.

What an engine says of an error may quote a row, so a source makes one line of its own of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provenance.checks.dialects import Dialect, Sql


class Relation(NamedTuple):
    """Something to select from.

    Attributes:
        name: in SQL, quoted.
        types: by column; empty texts where the engine needs none.
        compare_as_text: whether its keys have another type than those of the dataset.
    """

    name: str
    types: Mapping[str, str]
    compare_as_text: bool = False


class Source(Protocol):
    """A dataset that can be asked, in one state for all questions where the engine can do that.

    Every method raises `CheckError`, with a line that quotes no value of the data.
    """

    dialect: Dialect
    dataset: Relation

    def other(self, to: Any) -> Relation:
        """Return another dataset that was named when the source was opened."""

    def rows(self, sql: Sql, most: int = 2) -> list[tuple[Any, ...]]:
        """Return the first rows of an answer."""

    def close(self) -> None:
        """Let go of everything."""
