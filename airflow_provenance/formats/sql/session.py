"""What a connection remembers from one statement to the next: temporary tables, and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.formats.sql.relations import All, Computed, Derived, Item, Relation, same

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provenance.formats.sql.model import Sources, Table

# How SQLite and PostgreSQL call where temporary tables are.
_TEMPORARY_SCHEMAS = frozenset({"temp", "pg_temp"})


def is_temporary_schema(table: Table) -> bool:
    """Whether a table is named as one that ends with the connection."""
    return len(table.key) > 1 and table.key[-2] in _TEMPORARY_SCHEMAS


class Session:
    """What a connection remembers from one statement to the next."""

    def __init__(self, dialect: str, schema: Mapping[str, Sequence[str]]) -> None:
        self.dialect = dialect
        self._given = {
            tuple(name.lower().split(".")): tuple(columns) for name, columns in schema.items()
        }
        self._made: dict[tuple[str, ...], tuple[str, ...] | None] = {}
        self.temporary: dict[tuple[str, ...], Relation] = {}

    def columns_of(self, table: Table) -> tuple[str, ...] | None:
        """Return the columns of a table, None where they are not known."""
        if table.key in self._made:
            return self._made[table.key]
        wanted = tuple(part.lower() for part in table.key)
        found = {
            columns
            for name, columns in self._given.items()
            if name[-len(wanted) :] == wanted or wanted[-len(name) :] == name
        }
        return found.pop() if len(found) == 1 else None

    def is_temporary(self, table: Table) -> bool:
        """Whether a name is that of a temporary table."""
        if is_temporary_schema(table):
            return True
        return len(table.key) == 1 and table.key in self.temporary

    def make(self, table: Table, columns: tuple[str, ...] | None) -> None:
        """Remember the columns of a table that was made."""
        self._made[table.key] = columns

    def change(self, table: Table) -> None:
        """Remember that the columns of a table are no longer those that were known."""
        self._made[table.key] = None
        self.temporary.pop(table.key[-1:], None)

    def write_temporary(self, table: Table, columns: Mapping[str, Sources], *, whole: bool) -> None:
        """Remember where what a temporary table holds comes from."""
        relation = self.temporary.get(table.key[-1:])
        if relation is None:
            return
        if not whole:  # some columns may have got rows from where it is not known
            self.temporary[table.key[-1:]] = Computed()
            return
        listed: list[Item | All] = []
        for one in relation.items():
            if not isinstance(one, Item):
                listed.append(one)
                continue
            new = [found for name, found in columns.items() if same(one.name, name)]
            sources = one.sources
            if sources is not None:
                sources = sources.union(*new)
            listed.append(Item(one.name, sources))
        self.temporary[table.key[-1:]] = Derived(listed, relation.influences)
