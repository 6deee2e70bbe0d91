"""What stands in a FROM, and which columns it has: tables, subqueries, functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from airflow_provenance.formats.sql.model import DIRECT, NONE, Kind, Source, Sources, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Found(NamedTuple):
    """Whether a relation has a column, and where that comes from; None is not known."""

    is_there: Literal["yes", "maybe", "no"]
    sources: Sources | None = NONE


NOT_THERE = Found("no")


class Item(NamedTuple):
    """A column of a relation; without name where the database makes one up."""

    name: str | None
    sources: Sources | None


class All(NamedTuple):
    """Columns of a relation that are not known one by one, but for those in ``without``."""

    relation: Relation
    without: frozenset[str] = frozenset()


class Relation(Protocol):
    """Something with columns."""

    influences: Sources

    def find(self, name: str) -> Found:
        """Return what is known of a column."""
        ...

    def items(self) -> list[Item | All]:
        """Return the columns, in order."""
        ...


@dataclass(slots=True)
class Base:
    """A table, whose columns may be known."""

    table: Table
    columns: tuple[str, ...] | None = None
    influences: Sources = NONE

    def find(self, name: str) -> Found:
        """Return the table's own column."""
        if self.columns is None:
            return Found("maybe", frozenset({Source(self.table, name, "IDENTITY")}))
        for column in self.columns:
            if same(column, name):
                return Found("yes", frozenset({Source(self.table, column, "IDENTITY")}))
        return NOT_THERE

    def items(self) -> list[Item | All]:
        """Return the columns, in order."""
        if self.columns is None:
            return [All(self)]
        return [Item(name, self.find(name).sources) for name in self.columns]


@dataclass(slots=True)
class Derived:
    """A query, a CTE or a temporary table: its columns are computed."""

    listed: list[Item | All] = field(default_factory=list)
    influences: Sources = NONE

    def find(self, name: str) -> Found:
        """Return the column of that name, or what a star may have brought."""
        named = [one for one in self.listed if isinstance(one, Item) and same(one.name, name)]
        if named:
            return Found("yes", named[0].sources if len(named) == 1 else None)
        stars = (one for one in self.listed if isinstance(one, All))
        found = one_of(one.relation.find(name) for one in stars if name.lower() not in one.without)
        if found.is_there == "no" and any(one.name is None for one in self._items()):
            return Found("maybe", None)  # a name that the database made up
        return found

    def items(self) -> list[Item | All]:
        """Return the columns, in order."""
        return list(self.listed)

    def _items(self) -> Iterator[Item]:
        return (one for one in self.listed if isinstance(one, Item))


@dataclass(slots=True)
class Computed:
    """What a function returns, say: any column may be there, and comes from its arguments."""

    sources: Sources | None = None
    influences: Sources = NONE

    def find(self, name: str) -> Found:  # noqa: ARG002 - any may be there
        """Return the arguments."""
        return Found("maybe", self.sources)

    def items(self) -> list[Item | All]:
        """Return that the columns are not known."""
        return [All(self)]


def renamed(relation: Relation, names: list[str]) -> Relation:
    """Return a relation whose first columns have other names."""
    if not names:
        return relation
    items = relation.items()
    if isinstance(relation, Computed):
        listed: list[Item | All] = [Item(name, relation.sources) for name in names]
        return Derived(listed, relation.influences)
    known = [one for one in items[: len(names)] if isinstance(one, Item)]
    if len(known) == len(names):
        first = [Item(name, one.sources) for name, one in zip(names, known, strict=True)]
        return Derived([*first, *items[len(names) :]], relation.influences)
    return Derived([*(Item(name, None) for name in names), All(Computed())], relation.influences)


def united(left: Relation, right: Relation) -> Derived:
    """Return the columns of a UNION: those of both sides, by position."""
    listed: list[Item | All] = []
    influences = left.influences | right.influences
    for one, other in zip(left.items(), right.items(), strict=False):
        if not isinstance(one, Item) or not isinstance(other, Item):
            return Derived([*listed, All(Computed())], influences)
        is_known = one.sources is not None and other.sources is not None
        both = (one.sources or NONE) | (other.sources or NONE)
        listed.append(Item(one.name, both if is_known else None))
    return Derived(listed, influences)


def one_of(found: Iterable[Found]) -> Found:
    """Return what is known of a column of several relations, of which one has it."""
    answers = [one for one in found if one.is_there != "no"]
    certain = [one for one in answers if one.is_there == "yes"]
    if len(certain) == 1:  # if another had it too, the database would have refused the name
        return certain[0]
    if certain:
        return Found("yes", None)
    if not answers:
        return NOT_THERE
    return answers[0] if len(answers) == 1 else Found("maybe", None)


def as_kind(sources: Iterable[Source], kind: Kind) -> Sources:
    """Return the sources of what is computed from them; what only had a say goes on doing so."""
    if kind not in DIRECT:
        return frozenset(one._replace(kind=kind) for one in sources)
    return frozenset(
        one._replace(kind=max(one.kind, kind, key=DIRECT.index)) if one.kind in DIRECT else one
        for one in sources
    )


def same(one: str | None, other: str) -> bool:
    """Whether two names of columns are one, as in nearly every database."""
    return one is not None and one.lower() == other.lower()
