"""The words in which SQL is told: tables, sources of columns, writes, statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# As OpenLineage's lifecycleStateChange has them.
Change = Literal["ALTER", "CREATE", "DROP", "OVERWRITE", "RENAME", "TRUNCATE"]
# As OpenLineage's columnLineage has them: the value itself, and what only had a say in it.
Direct = Literal["IDENTITY", "TRANSFORMATION", "AGGREGATION"]
Indirect = Literal["CONDITIONAL", "FILTER", "GROUP_BY", "JOIN", "SORT", "WINDOW"]
Kind = Direct | Indirect
DIRECT: tuple[Direct, ...] = ("IDENTITY", "TRANSFORMATION", "AGGREGATION")


class Table(NamedTuple):
    """A table as it is written, and as it is compared.

    Attributes:
        parts: catalog and schema, where they are written, and name, without quotes.
        key: the same in lower case, but for what a quote keeps as it is.
    """

    parts: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def name(self) -> str:
        """The last of its parts."""
        return self.parts[-1]

    def __str__(self) -> str:
        return ".".join(self.parts)


class Source(NamedTuple):
    """A column that another comes from."""

    table: Table
    column: str
    kind: Kind

    @property
    def is_direct(self) -> bool:
        """Whether its values went into the other, and did not only have a say in them."""
        return self.kind in DIRECT


Sources = frozenset[Source]
NONE: Sources = frozenset()


@dataclass(frozen=True, slots=True)
class Write:
    """What one statement does to one table.

    Attributes:
        change: what becomes of what was there; None where it may stay.
        columns: where each column comes from, for those where that is known.
        influences: columns that had a say in which rows were written.
        is_counted: whether the rows that the database counts are those written here.
        renamed_from: what the table was called before.
    """

    table: Table
    change: Change | None = None
    columns: Mapping[str, Sources] = field(default_factory=dict)
    influences: Sources = NONE
    is_counted: bool = False
    renamed_from: Table | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """What one statement reads and writes.

    Attributes:
        reads: tables whose rows it read, CTEs and temporary tables not among them.
        writes: tables that it wrote, the temporary not among them.
        set_aside: what stands where a table does, but is temporary or a function.
    """

    reads: tuple[Table, ...] = ()
    writes: tuple[Write, ...] = ()
    set_aside: tuple[Table, ...] = ()


@dataclass(slots=True)
class Reading:
    """What was understood of a text, and what was not: a line each."""

    statements: list[Statement] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
