"""From an expression to the columns that it comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from airflow_provenance.formats.sql.model import NONE, Kind, Sources
from airflow_provenance.formats.sql.relations import Item, Relation, as_kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.formats.sql.scope import Scope

Ctes = dict[str, Relation]
# Where a name without quotes means that name in lower case.
FOLDING = frozenset({"postgres", "redshift", "materialize", "risingwave"})
# What takes a value from another row is no aggregation, though it is written as one.
_PICKS = (exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue)
_NAMES = (exp.Identifier, exp.Literal, exp.DataType, exp.Var, exp.Star)


class Expressions(ABC):
    """Reads the expressions of one statement; `Resolver` reads the queries in them."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect

    @abstractmethod
    def query(self, node: exp.Expr | None, ctes: Ctes, outer: Scope | None = None) -> Relation:
        """Return the columns of a query."""

    def column_name(self, node: Any) -> str:
        """Return a column's name as the database knows it."""
        identifier = node if isinstance(node, exp.Identifier) else node.this
        name = str(identifier.name)
        is_folded = self._dialect in FOLDING and not identifier.args.get("quoted")
        return name.lower() if is_folded else name

    def sources(self, node: exp.Expr | None, scope: Scope, ctes: Ctes) -> Sources | None:
        """Return what an expression comes from, or None where that is not certain."""
        if node is None:
            return NONE
        if isinstance(node, exp.Paren | exp.Alias):
            return self.sources(node.this, scope, ctes)
        if isinstance(node, exp.Column):
            return self._column(node, scope)
        if isinstance(node, exp.Subquery | exp.Query):
            return self._scalar(node, scope, ctes)
        if isinstance(node, exp.Exists):
            relation = self.query(node.this, ctes, scope)
            return as_kind(relation.influences, "CONDITIONAL")
        if isinstance(node, exp.Case | exp.If):
            return self._chosen(node, scope, ctes)
        if isinstance(node, exp.Window | exp.Filter):
            return self._windowed(node, scope, ctes)
        is_aggregate = isinstance(node, exp.AggFunc) and not isinstance(node, _PICKS)
        kind: Kind = "AGGREGATION" if is_aggregate else "TRANSFORMATION"
        return self.all_sources(children(node), scope, ctes, kind)

    def _chosen(self, node: exp.Expr, scope: Scope, ctes: Ctes) -> Sources | None:
        ifs = node.args.get("ifs") or [node]
        default = node.args.get("default") or node.args.get("false")
        found = self.all_sources([*(one.args.get("true") for one in ifs), default], scope, ctes)
        if found is None:
            return None
        conditions = [one.this for one in ifs]
        if isinstance(node, exp.Case):
            conditions.append(node.this)
        said = NONE.union(*(self.known_sources(one, scope, ctes) for one in conditions))
        return found | as_kind(said, "CONDITIONAL")

    def _windowed(self, node: exp.Expr, scope: Scope, ctes: Ctes) -> Sources | None:
        found = self.sources(node.this, scope, ctes)
        if found is None:
            return None
        if isinstance(node, exp.Filter):
            return found | as_kind(self.known_sources(node.expression, scope, ctes), "FILTER")
        rows = [*(node.args.get("partition_by") or ()), node.args.get("order")]
        said = NONE.union(*(self.known_sources(one, scope, ctes) for one in rows))
        return found | as_kind(said, "WINDOW")

    def all_sources(
        self,
        nodes: Iterable[Any],
        scope: Scope,
        ctes: Ctes,
        kind: Kind = "TRANSFORMATION",
    ) -> Sources | None:
        """Return what several expressions come from, or None where one of them is not certain."""
        found: Sources = NONE
        for node in nodes:
            one = self.sources(node, scope, ctes)
            if one is None:
                return None
            found |= as_kind(one, kind)
        return found

    def known_sources(self, node: exp.Expr | None, scope: Scope, ctes: Ctes) -> Sources:
        """Return the sources of an expression that are certain, where others may be missing."""
        if node is None:
            return NONE
        if isinstance(node, exp.Column | exp.Subquery | exp.Query | exp.Exists):
            found = self.sources(node, scope, ctes) or NONE
            if not isinstance(node, exp.Column) or node.table:
                return found
            # Some databases take a name that is no column's for that of the SELECT's own.
            is_certain = scope.find(node.name).is_there == "yes"
            alias = scope.aliases.get(node.name.lower(), found)
            return found if is_certain or alias == found else NONE
        return NONE.union(*(self.known_sources(one, scope, ctes) for one in children(node)))

    def _column(self, node: exp.Column, scope: Scope) -> Sources | None:
        if isinstance(node.this, exp.Star):
            return None  # a whole row
        found = scope.find(self.column_name(node), node.table or None)
        if found.is_there != "yes" and not node.table and scope.names(node.name):
            return None  # PostgreSQL: a whole row
        if found.is_there != "yes" and self._may_be_text(node):
            return None
        return None if found.is_there == "no" else found.sources

    def _may_be_text(self, node: exp.Column) -> bool:
        """Whether this may be a value: SQLite takes a quoted name that is no column's for text."""
        is_quoted = bool(node.this.args.get("quoted")) and not node.table
        return self._dialect == "sqlite" and is_quoted

    def _scalar(self, node: exp.Expr, scope: Scope, ctes: Ctes) -> Sources | None:
        relation = self.query(node, ctes, scope)
        items = relation.items()
        if not items or not all(isinstance(one, Item) for one in items):
            return None
        found: Sources = NONE
        for item in items:
            sources = item.sources if isinstance(item, Item) else None
            if sources is None:
                return None
            found |= sources
        return found | relation.influences


def children(node: exp.Expr, but: tuple[str, ...] = ()) -> list[Any]:
    """Return what an expression is made of; not names, types and the like."""
    return [
        one
        for name, value in node.args.items()
        for one in (value if isinstance(value, list) else (value,))
        if name not in but and isinstance(one, exp.Expression) and not isinstance(one, _NAMES)
    ]
