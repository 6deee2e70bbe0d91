"""From a query to its columns, and what each of them comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from airflow_provenance.formats.sql.expressions import FOLDING, Ctes, Expressions, children
from airflow_provenance.formats.sql.model import NONE, Kind, Sources, Table
from airflow_provenance.formats.sql.relations import (
    All,
    Base,
    Computed,
    Derived,
    Item,
    Relation,
    as_kind,
    renamed,
    united,
)
from airflow_provenance.formats.sql.scope import Scope
from airflow_provenance.formats.sql.session import is_temporary_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Relations grow by their rules: a recursive query's origins are all found after a few rounds.
_MOST_ROUNDS = 10
# A name in a SELECT may stand for another column of that SELECT, but not in these.
_WITHOUT_LATERAL_ALIASES = frozenset({*FOLDING - {"redshift"}, "sqlite", "mysql", "tsql", "trino"})


class Resolver(Expressions):
    """Reads the queries of one statement.

    Attributes:
        reads: tables that were come across, in that order.
        set_aside: what stands where a table does, but is temporary or a function.
        write: called with an INSERT, UPDATE and so on in a WITH; returns its RETURNING.
    """

    def __init__(
        self,
        dialect: str,
        temporary: Mapping[tuple[str, ...], Relation],
        columns_of: Callable[[Table], tuple[str, ...] | None],
        write: Callable[[exp.Expression, Ctes], Relation],
    ) -> None:
        self.reads: dict[Table, None] = {}
        self.set_aside: dict[Table, None] = {}
        super().__init__(dialect)
        self._temporary = temporary
        self._columns_of = columns_of
        self._write = write

    def table(self, node: exp.Table) -> Table:
        """Return which table is named."""
        parts = [part for part in node.parts if isinstance(part, exp.Identifier)]
        return Table(
            tuple(part.name for part in parts),
            tuple(part.name if self._is_kept(part) else part.name.lower() for part in parts),
        )

    def ctes(self, node: exp.Expr, ctes: Ctes) -> Ctes:
        """Return the CTEs that a query can name: those around it, and its own."""
        with_ = node.args.get("with_")
        if with_ is None:
            return ctes
        ctes = dict(ctes)
        for cte in with_.expressions:
            ctes[cte.alias.lower()] = self._cte(cte, ctes, bool(with_.args.get("recursive")))
        return ctes

    def query(self, node: exp.Expr | None, ctes: Ctes, outer: Scope | None = None) -> Relation:
        """Return the columns of a query."""
        if isinstance(node, exp.Subquery | exp.Paren):
            return self.query(node.this, self.ctes(node, ctes), outer)
        if node is None:
            return Derived()
        ctes = self.ctes(node, ctes)
        if isinstance(node, exp.SetOperation):
            left = self.query(node.left, ctes, outer)
            right = self.query(node.right, ctes, outer)
            if node.args.get("by_name"):
                return Derived([All(Computed())], left.influences | right.influences)
            if isinstance(node, exp.Union):
                return united(left, right)
            return Derived(left.items(), left.influences | right.influences)
        if isinstance(node, exp.Select):
            return self._select(node, ctes, outer)
        if isinstance(node, exp.Values):
            return self._values(node, ctes, outer)
        if isinstance(node, exp.Table):
            scope = Scope(outer)
            self.add_from(node, scope, ctes)
            return Derived(scope.listed, scope.influences)
        return Computed()

    def _cte(self, cte: exp.CTE, ctes: Ctes, is_recursive: bool) -> Relation:
        names = [self.column_name(name) for name in cte.args["alias"].columns]
        body = cte.this
        if isinstance(body, exp.Insert | exp.Update | exp.Delete | exp.Merge):
            return renamed(self._write(body, ctes), names)
        if not (is_recursive and isinstance(body, exp.SetOperation)):
            return renamed(self.query(body, ctes), names)
        own = cte.alias.lower()
        relation = renamed(self.query(body.left, self.ctes(body, ctes)), names)
        for _ in range(_MOST_ROUNDS):
            wider = renamed(self.query(body, {**ctes, own: relation}), names)
            if wider == relation:
                break
            relation = wider
        return relation

    def _select(self, node: exp.Select, ctes: Ctes, outer: Scope | None) -> Relation:
        scope = Scope(outer)
        self.add_from(node.args.get("from_"), scope, ctes)
        self.add_joins(node, scope, ctes)
        return self.select_from(scope, node, ctes)

    def select_from(self, scope: Scope, node: exp.Select, ctes: Ctes) -> Relation:
        """Return the columns of a SELECT whose FROM is in the scope."""
        listed: list[Item | All] = []
        for projection in node.expressions:
            listed += self._projected(projection, scope, ctes, listed)
        named = [one for one in listed if isinstance(one, Item) and one.name]
        scope.aliases = {(one.name or "").lower(): one.sources for one in named}
        for clause in ("where", "having", "qualify"):
            self.influence(node.args.get(clause), "FILTER", scope, ctes)
        self._by_position(node.args.get("group"), "GROUP_BY", listed, scope, ctes)
        self._by_position(node.args.get("order"), "SORT", listed, scope, ctes)
        return Derived(listed, scope.influences)

    def add_joins(self, node: exp.Expr, scope: Scope, ctes: Ctes) -> None:
        """Add what is joined to a scope."""
        for join in node.args.get("joins") or ():
            self._join(join, scope, ctes)
        for lateral in node.args.get("laterals") or ():
            self.add_from(lateral, scope, ctes)

    def _join(self, join: exp.Join, scope: Scope, ctes: Ctes) -> None:
        using = [self.column_name(one) for one in join.args.get("using") or ()]
        is_natural = (join.args.get("method") or "").upper() == "NATURAL"
        side = (join.args.get("side") or "").upper()
        before = scope.listed
        scope.listed = []
        self.add_from(join.this, scope, ctes)
        joined = Derived(scope.listed)
        scope.listed = before
        for name in using:
            for relation in scope.relations.values():
                scope.influences |= as_kind(relation.find(name).sources or NONE, "JOIN")
            scope.merge(name, side)
        if is_natural:
            scope.listed = [All(Computed())]
        elif side not in ("SEMI", "ANTI") and (join.args.get("kind") or "") not in ("SEMI", "ANTI"):
            scope.list_star(joined, using, merged_first=self._dialect != "sqlite")
        self.influence(join.args.get("on"), "JOIN", scope, ctes)

    def add_from(self, node: exp.Expr | None, scope: Scope, ctes: Ctes) -> None:
        """Add what stands in a FROM to a scope."""
        if node is None:
            return
        if isinstance(node, exp.From):
            node = node.this
        alias = node.args.get("alias")
        names = [self.column_name(one) for one in (alias.columns if alias else ())]
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table) and not alias:
            self.add_from(node.this, scope, self.ctes(node, ctes))  # a join in parentheses
            self.add_joins(node, scope, ctes)
            return
        relation = renamed(self._relation(node, scope, ctes), names)
        if node.args.get("pivots"):
            relation = Computed(None, relation.influences)
        scope.add(node.alias_or_name or None, relation)
        scope.listed = [*scope.listed, *relation.items()]
        self.add_joins(node, scope, ctes)

    def _relation(self, node: exp.Expr, scope: Scope, ctes: Ctes) -> Relation:
        if isinstance(node, exp.Table):
            if isinstance(node.this, exp.Identifier):
                return self._named(self.table(node), ctes)
            self._note_function(node.this)
            return Computed(self._transformed(node, scope, ctes))
        if isinstance(node, exp.Subquery):
            return self.query(node, ctes, scope)
        if isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery):
            return self.query(node.this, ctes, scope)
        if isinstance(node, exp.Values):
            return self._values(node, ctes, scope)
        return Computed(self._transformed(node, scope, ctes))

    def _transformed(self, node: exp.Expr, scope: Scope, ctes: Ctes) -> Sources | None:
        return self.all_sources(children(node, but=("alias", "joins", "pivots")), scope, ctes)

    def _note_function(self, function: Any) -> None:
        name = function.name if isinstance(function, exp.Anonymous) else ""
        if isinstance(function, exp.ExplodingGenerateSeries | exp.GenerateSeries):
            name = "generate_series"
        if name:
            self.set_aside[Table((name,), (name.lower(),))] = None

    def _named(self, table: Table, ctes: Ctes) -> Relation:
        if len(table.parts) == 1 and table.key[0].lower() in ctes:
            return ctes[table.key[0].lower()]
        temporary = self._temporary.get(table.key[-1:])
        if temporary is not None and (len(table.key) == 1 or is_temporary_schema(table)):
            self.set_aside[table] = None
            return temporary
        self.reads[table] = None
        return self.base(table)

    def base(self, table: Table) -> Base:
        """Return a table with its columns, where these are known."""
        return Base(table, self._columns_of(table))

    def _values(self, node: exp.Values, ctes: Ctes, outer: Scope | None) -> Relation:
        scope = Scope(outer)
        rows = [row.expressions for row in node.expressions if isinstance(row, exp.Tuple)]
        if not rows or any(len(row) != len(rows[0]) for row in rows):
            return Computed()
        columns = zip(*rows, strict=True)
        return Derived([Item(None, self.all_sources(column, scope, ctes)) for column in columns])

    def _projected(
        self, node: exp.Expr, scope: Scope, ctes: Ctes, before: list[Item | All]
    ) -> list[Item | All]:
        if isinstance(node, exp.Star) or (
            isinstance(node, exp.Column) and isinstance(node.this, exp.Star)
        ):
            return self._starred(node, scope)
        if isinstance(node, exp.Alias):
            name = self.column_name(node.args["alias"])
            return [Item(name, self._with_aliases(node.this, scope, ctes, before))]
        if isinstance(node, exp.Aliases):
            return [Item(self.column_name(one), None) for one in node.aliases]
        if isinstance(node, exp.Column):
            sources = self._with_aliases(node, scope, ctes, before)
            return [Item(self.column_name(node), sources)]
        return [Item(None, self._with_aliases(node, scope, ctes, before))]

    def _with_aliases(
        self, node: exp.Expr, scope: Scope, ctes: Ctes, before: list[Item | All]
    ) -> Sources | None:
        if self._dialect not in _WITHOUT_LATERAL_ALIASES:
            aliases = {one.name.lower() for one in before if isinstance(one, Item) and one.name}
            for column in node.find_all(exp.Column):
                name = column.name
                may_be_alias = not column.table and name.lower() in aliases
                if may_be_alias and scope.find(name).is_there != "yes":
                    return None
        return self.sources(node, scope, ctes)

    def _starred(self, node: exp.Expr, scope: Scope) -> list[Item | All]:
        star = node if isinstance(node, exp.Star) else node.this
        if any(star.args.get(name) for name in ("except_", "except", "replace", "rename", "ilike")):
            return [All(Computed())]
        if not isinstance(node, exp.Column):
            return list(scope.listed)
        relation = scope.relations.get(node.table.lower())
        return [All(Computed())] if relation is None else relation.items()

    def influence(self, node: exp.Expr | None, kind: Kind, scope: Scope, ctes: Ctes) -> None:
        """Note the columns that have a say in which rows there are."""
        if node is not None:
            scope.influences |= as_kind(self.known_sources(node, scope, ctes), kind)

    def _by_position(
        self,
        clause: exp.Expr | None,
        kind: Kind,
        listed: list[Item | All],
        scope: Scope,
        ctes: Ctes,
    ) -> None:
        for node in clause.expressions if clause is not None else ():
            inner = node.this if isinstance(node, exp.Ordered) else node
            if isinstance(inner, exp.Literal) and inner.is_int:
                place = int(inner.name) - 1
                is_certain = all(isinstance(one, Item) for one in listed[: place + 1])
                item = listed[place] if is_certain and 0 <= place < len(listed) else None
                if isinstance(item, Item):
                    scope.influences |= as_kind(item.sources or NONE, kind)
            elif kind == "SORT" and isinstance(inner, exp.Column) and not inner.table:
                alias = scope.aliases.get(inner.name.lower())
                by = self.known_sources(inner, scope, ctes) if alias is None else alias
                scope.influences |= as_kind(by, kind)
            else:
                self.influence(inner, kind, scope, ctes)

    def _is_kept(self, identifier: exp.Identifier) -> bool:
        return bool(identifier.args.get("quoted")) and self._dialect != "sqlite"
