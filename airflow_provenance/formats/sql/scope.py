"""Which relations a SELECT can name columns of, and in which order a star lists them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provenance.formats.sql.model import NONE, Sources
from airflow_provenance.formats.sql.relations import (
    NOT_THERE,
    All,
    Computed,
    Found,
    Item,
    Relation,
    as_kind,
    one_of,
    same,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Scope:
    """What stands in one FROM.

    Attributes:
        outer: that of the query this one stands in, whose columns it may use.
        relations: by the name they have here, in lower case.
        listed: the columns, as a star lists them.
        merged: columns that USING made one.
        influences: columns that had a say in which rows there are.
        aliases: names that the SELECT gives, and what is known by them.
    """

    outer: Scope | None = None
    relations: dict[str, Relation] = field(default_factory=dict)
    listed: list[Item | All] = field(default_factory=list)
    merged: dict[str, Sources | None] = field(default_factory=dict)
    influences: Sources = NONE
    aliases: dict[str, Sources | None] = field(default_factory=dict)

    def add(self, name: str | None, relation: Relation) -> None:
        """Add a relation; one without name can only be reached by names of its columns."""
        self.relations[name.lower() if name else f" {len(self.relations)}"] = relation
        self.influences |= relation.influences

    def find(self, name: str, relation_name: str | None = None) -> Found:
        """Return what is known of a column, looking in the outer scopes, too."""
        if relation_name is not None:
            relation = self.relations.get(relation_name.lower())
            if relation is not None:
                return relation.find(name)
            return NOT_THERE if self.outer is None else self.outer.find(name, relation_name)
        if name.lower() in self.merged:
            return Found("yes", self.merged[name.lower()])
        found = one_of(one.find(name) for one in self.relations.values())
        if found.is_there == "yes" or self.outer is None:
            return found
        outer = self.outer.find(name)
        if found.is_there == "no":
            return outer
        # Here or there: the schema would tell.
        return found if outer.is_there == "no" else Found("maybe", None)

    def names(self, name: str) -> bool:
        """Whether a relation has this name, so that the name may stand for a whole row."""
        found = name.lower() in self.relations
        return found or (self.outer is not None and self.outer.names(name))

    def merge(self, name: str, side: str) -> None:
        """Make the columns of that name one, as USING does."""
        found = [one.find(name) for one in self.relations.values()]
        there = [one.sources for one in found if one.is_there != "no"]
        if side == "FULL":
            is_known = all(one is not None for one in there)
            both = NONE.union(*(one or NONE for one in there))
            sources = as_kind(both, "TRANSFORMATION") if is_known else None
        elif side == "RIGHT":
            sources = there[-1] if there else None
        else:
            sources = self.merged.get(name.lower(), there[0] if there else None)
        self.merged[name.lower()] = sources

    def list_star(self, relation: Relation, using: Iterable[str], *, merged_first: bool) -> None:
        """Add the columns of a relation that is joined to what a star lists."""
        names = [*using]
        before, new = _without(self.listed, names), _without(relation.items(), names)
        merged: list[Item | All] = [Item(name, self.merged.get(name.lower())) for name in names]
        if not names or merged_first:
            self.listed = [*merged, *before, *new]
            return
        is_known = all(isinstance(one, Item) for one in self.listed)
        left: list[Item | All] = [
            _replaced(one, merged) if isinstance(one, Item) else one for one in self.listed
        ]
        self.listed = [*(left if is_known else [All(Computed())]), *new]


def _without(listed: list[Item | All], names: list[str]) -> list[Item | All]:
    if not names:
        return list(listed)
    gone = frozenset(name.lower() for name in names)
    return [
        All(one.relation, one.without | gone) if isinstance(one, All) else one
        for one in listed
        if isinstance(one, All) or (one.name or "").lower() not in gone
    ]


def _replaced(item: Item, merged: list[Item | All]) -> Item:
    for one in merged:
        if isinstance(one, Item) and one.name is not None and same(item.name, one.name):
            return one
    return item
