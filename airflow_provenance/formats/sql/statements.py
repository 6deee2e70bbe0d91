"""From a statement to what it reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from airflow_provenance.formats.sql.model import NONE, Change, Sources, Statement, Table, Write
from airflow_provenance.formats.sql.queries import Resolver
from airflow_provenance.formats.sql.relations import (
    All,
    Computed,
    Derived,
    Item,
    Relation,
    same,
)
from airflow_provenance.formats.sql.scope import Scope
from airflow_provenance.formats.sql.session import is_temporary_schema
from airflow_provenance.formats.sql.split import NotUnderstoodError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provenance.formats.sql.expressions import Ctes
    from airflow_provenance.formats.sql.session import Session

_Columns = dict[str, Sources]
# What neither reads nor writes rows of tables.
_HARMLESS = (
    exp.Transaction,
    exp.Commit,
    exp.Rollback,
    exp.Set,
    exp.Pragma,
    exp.Use,
    exp.Comment,
    exp.Grant,
    exp.Analyze,
    exp.Attach,
    exp.Detach,
    exp.Describe,
)
_HARMLESS_COMMANDS = frozenset(
    """ABORT ANALYZE BEGIN CHECKPOINT CLUSTER DEALLOCATE DISCARD END GRANT LISTEN LOCK NOTIFY
    REASSIGN REINDEX RELEASE RESET REVOKE SAVEPOINT SECURITY SET SHOW START UNLISTEN VACUUM
    """.split()  # noqa: SIM905 - it reads better so
)
_TABLES = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW"})


class Writer:
    """Reads one statement."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._writes: list[Write] = []
        self._resolver = Resolver(
            session.dialect, session.temporary, session.columns_of, self._returned
        )

    def read(self, node: exp.Expr) -> Statement:
        """Return what the statement reads and writes; raises `NotUnderstoodError`."""
        self._write(node)
        return Statement(
            tuple(self._resolver.reads), tuple(self._writes), tuple(self._resolver.set_aside)
        )

    def _write(self, node: exp.Expr) -> None:
        read: Callable[[Any], None] | None = None
        for kinds, reading in self._readers():
            if isinstance(node, kinds):
                read = reading
        if read is not None:
            read(node)
        elif not isinstance(node, (*_HARMLESS, exp.Values)):
            raise NotUnderstoodError(f"what {type(node).__name__.upper()} does is not known")

    def _readers(self) -> Iterator[tuple[tuple[type, ...], Callable[[Any], None]]]:
        yield (exp.Insert, exp.Update, exp.Delete, exp.Merge), self._change
        yield (exp.Create,), self._create
        yield (exp.Drop,), self._drop
        yield (exp.TruncateTable,), self._truncate
        yield (exp.Alter,), self._alter
        yield (exp.Copy,), self._copy
        yield (exp.Query,), self._select
        yield (exp.Command,), self._command

    def _command(self, node: exp.Command) -> None:
        verb = str(node.this).upper()
        words = str(node.args.get("expression") or "").upper().split()[:4]
        is_of_tables = any(word in ("TABLE", "VIEW") for word in words)
        makes_no_rows = verb in ("CREATE", "ALTER", "DROP") and not is_of_tables
        if verb not in _HARMLESS_COMMANDS and not makes_no_rows:
            raise NotUnderstoodError(f"what {verb} does is not known")

    def _change(self, node: exp.Expr) -> None:
        self._returned(node, {})

    def _truncate(self, node: exp.TruncateTable) -> None:
        for one in node.expressions:
            self._add(self._resolver.table(one), "TRUNCATE")

    def _add(
        self,
        table: Table,
        change: Change | None = None,
        columns: _Columns | None = None,
        influences: Sources = NONE,
        *,
        whole: bool = True,
        is_counted: bool = False,
    ) -> None:
        columns = columns or {}
        if self._session.is_temporary(table):
            self._resolver.set_aside[table] = None
            if change == "DROP":
                self._session.temporary.pop(table.key[-1:], None)
            else:
                self._session.write_temporary(table, columns, whole=whole)
            return
        if change in ("DROP", "ALTER"):
            self._session.change(table)
        self._writes.append(Write(table, change, columns, influences, is_counted))

    def _select(self, node: exp.Expr) -> None:
        relation = self._resolver.query(node, {})
        into = node.args.get("into")
        if into is None:
            return
        table = self._resolver.table(into.this)
        is_temporary = bool(into.args.get("temporary"))
        self._made_of(table, relation, (), is_temporary=is_temporary, change="CREATE")

    def _create(self, node: exp.Create) -> None:
        if (node.args.get("kind") or "").upper() not in _TABLES:
            return  # an index, a function: no rows
        target, names, is_defined = node.this, [], False
        if isinstance(target, exp.Schema):
            defined = [one for one in target.expressions if isinstance(one, exp.ColumnDef)]
            plain = [one for one in target.expressions if isinstance(one, exp.Identifier)]
            names = [self._resolver.column_name(one) for one in defined or plain]
            is_defined = bool(defined) and not target.find(exp.LikeProperty)
            target = target.this
        table = self._resolver.table(target)
        is_temporary = bool(node.find(exp.TemporaryProperty)) or is_temporary_schema(table)
        change: Change | None = "OVERWRITE" if node.args.get("replace") else "CREATE"
        if node.args.get("exists"):
            change = None  # it may have been there, with other columns
        ctes = self._resolver.ctes(node, {})
        if isinstance(node.expression, exp.Query | exp.Values):
            relation = self._resolver.query(node.expression, ctes)
            self._made_of(table, relation, names, is_temporary=is_temporary, change=change)
            return
        clone = node.args.get("clone")
        if clone is not None:
            relation = self._resolver.query(exp.select("*").from_(clone.this.copy()), {})
            self._made_of(table, relation, (), is_temporary=is_temporary, change=change)
            return
        if is_temporary:
            known: list[Item | All] = [Item(name, NONE) for name in names]
            self._session.temporary[table.key[-1:]] = Derived(known) if is_defined else Computed()
            self._resolver.set_aside[table] = None
            return
        if change is not None:
            self._session.make(table, tuple(names) if is_defined else None)
        self._add(table, change)

    def _made_of(
        self,
        table: Table,
        relation: Relation,
        names: Sequence[str],
        *,
        is_temporary: bool,
        change: Change | None,
    ) -> None:
        """Note that a table, or a view, was made of a query."""
        items = relation.items()
        if is_temporary:
            for index, name in enumerate(names):
                if index < len(items) and isinstance(item := items[index], Item):
                    items[index] = Item(name, item.sources)
            self._session.temporary[table.key[-1:]] = Derived(items, relation.influences)
            self._resolver.set_aside[table] = None
            return
        columns = _by_name(items, names or self._named_there(table, items))
        is_known = all(isinstance(one, Item) and one.name for one in items)
        if change is not None:
            made = names or [one.name or "" for one in items if isinstance(one, Item)]
            self._session.make(table, tuple(made) if is_known or names else None)
        self._add(table, change, columns, relation.influences, is_counted=True)

    def _named_there(self, table: Table, items: list[Item | All]) -> Sequence[str]:
        """Return what the columns are called in the database, if these can be them."""
        there = self._session.columns_of(table) or ()
        if len(there) != len(items) or not all(isinstance(one, Item) for one in items):
            return ()
        known = zip(items, there, strict=True)
        is_same = all(
            not isinstance(one, Item) or one.name is None or same(one.name, name)
            for one, name in known
        )
        return there if is_same else ()

    def _drop(self, node: exp.Drop) -> None:
        if (node.args.get("kind") or "").upper() not in _TABLES:
            return
        tables = node.args.get("tables") or [node.this]
        for one in tables:
            if isinstance(one, exp.Table):
                self._add(self._resolver.table(one), "DROP")

    def _alter(self, node: exp.Alter) -> None:
        if (node.args.get("kind") or "").upper() not in _TABLES:
            return
        table = self._resolver.table(node.this)
        for action in node.args.get("actions") or ():
            if isinstance(action, exp.AlterRename):
                new = self._resolver.table(action.this)
                named = Table((*table.parts[:-1], new.name), (*table.key[:-1], new.key[-1]))
                self._session.change(table)
                self._session.change(named)
                self._resolver.reads[table] = None
                self._writes.append(Write(named, "RENAME", renamed_from=table))
                return
        self._add(table, "ALTER")

    def _copy(self, node: exp.Copy) -> None:
        if not node.args.get("kind"):
            self._read_only(node.this)
            return
        target = node.this.this if isinstance(node.this, exp.Schema) else node.this
        self._add(self._resolver.table(target), whole=False, is_counted=True)

    def _read_only(self, node: exp.Expr) -> None:
        if isinstance(node, exp.Schema):
            node = node.this
        self._resolver.query(node, {})

    def _returned(self, node: exp.Expr, ctes: Ctes) -> Relation:
        """Note an INSERT, UPDATE, DELETE or MERGE, and return what its RETURNING gives."""
        ctes = self._resolver.ctes(node, ctes)
        if isinstance(node, exp.Insert):
            table, alias = self._insert(node, ctes)
        elif isinstance(node, exp.Update):
            table, alias = self._update(node, ctes)
        elif isinstance(node, exp.Delete):
            table, alias = self._delete(node, ctes)
        else:
            table, alias = self._merge(node, ctes)
        returning = node.args.get("returning")
        if returning is None:
            return Derived()
        if any(node.args.get(other) for other in ("from_", "using")):
            return Derived([All(Computed())])  # columns of these may be among it
        base = self._resolver.base(table)
        scope = Scope(listed=base.items())
        scope.add(alias, base)
        query = exp.Select(expressions=[one.copy() for one in returning.expressions])
        return self._resolver.select_from(scope, query, ctes)

    def _target(self, node: Any) -> tuple[Table, str, list[str]]:
        """Return a table that is written, its name here, and the columns that are named."""
        names: list[str] = []
        if isinstance(node, exp.Schema):
            names = [self._resolver.column_name(one) for one in node.expressions]
            node = node.this
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            raise NotUnderstoodError("what it writes is no table")
        return self._resolver.table(node), node.alias_or_name, names

    def _insert(self, node: exp.Insert, ctes: Ctes) -> tuple[Table, str]:
        table, alias, names = self._target(node.this)
        query = node.expression
        has_partition = bool(node.find(exp.Partition))
        relation = self._resolver.query(query, ctes) if query is not None else Derived()
        is_by_name = bool(node.args.get("by_name"))
        if is_by_name:
            columns = _by_name(relation.items(), ())
        else:
            known = () if has_partition else self._session.columns_of(table) or ()
            columns = _by_position(relation.items(), names or known, exact=bool(names))
        influences = relation.influences
        conflict = node.args.get("conflict")
        if conflict is not None and conflict.expressions:
            scope = Scope()
            scope.add("excluded", Derived([Item(name, found) for name, found in columns.items()]))
            scope.relations[alias.lower()] = self._resolver.base(table)
            for name, found in self._set(conflict.expressions, scope, ctes).items():
                columns[name] = columns.get(name, NONE) | found
        change: Change | None = None
        if node.args.get("overwrite") and not has_partition:
            change = "OVERWRITE"
        items = relation.items()
        whole = len(columns) == len(items) or isinstance(query, exp.Values)
        self._add(table, change, columns, influences, whole=whole, is_counted=True)
        return table, alias

    def _update(self, node: exp.Update, ctes: Ctes) -> tuple[Table, str]:
        table, alias, _ = self._target(node.this)
        scope = Scope()
        scope.add(alias, self._own(table))
        self._resolver.add_joins(node.this, scope, ctes)
        self._resolver.add_from(node.args.get("from_"), scope, ctes)
        columns = self._set(node.expressions, scope, ctes)
        self._resolver.influence(node.args.get("where"), "FILTER", scope, ctes)
        whole = len(columns) >= len(node.expressions)
        self._add(table, None, columns, scope.influences, whole=whole, is_counted=True)
        return table, alias

    def _own(self, table: Table) -> Relation:
        """Return the columns of a table that is written, which alone is no reading of it."""
        temporary = self._session.temporary.get(table.key[-1:])
        if temporary is not None and self._session.is_temporary(table):
            return temporary
        return self._resolver.base(table)

    def _set(self, assignments: Sequence[Any], scope: Scope, ctes: Ctes) -> _Columns:
        columns: _Columns = {}
        for one in assignments:
            if not isinstance(one, exp.EQ):
                continue
            if isinstance(one.this, exp.Tuple):
                values = _row(one.expression)
                names = [self._resolver.column_name(name) for name in one.this.expressions]
                if values is None:
                    relation = self._resolver.query(one.expression, ctes, scope)
                    columns |= _by_position(relation.items(), names, exact=True)
                elif len(values) == len(names):
                    for name, value in zip(names, values, strict=True):
                        _put(columns, name, self._resolver.sources(value, scope, ctes))
            elif isinstance(one.this, exp.Column):
                value = self._resolver.sources(one.expression, scope, ctes)
                _put(columns, self._resolver.column_name(one.this), value)
        return columns

    def _delete(self, node: exp.Delete, ctes: Ctes) -> tuple[Table, str]:
        table, alias, _ = self._target(node.this)
        scope = Scope()
        scope.add(alias, self._own(table))
        for one in node.args.get("using") or ():
            self._resolver.add_from(one, scope, ctes)
        self._resolver.influence(node.args.get("where"), "FILTER", scope, ctes)
        self._add(table, None, {}, scope.influences)
        return table, alias

    def _merge(self, node: exp.Expr, ctes: Ctes) -> tuple[Table, str]:
        table, alias, _ = self._target(node.this)
        scope = Scope()
        self._resolver.add_from(node.args.get("using"), scope, ctes)
        source = Scope(None, dict(scope.relations), list(scope.listed))
        scope.add(alias, self._own(table))
        self._resolver.influence(node.args.get("on"), "JOIN", scope, ctes)
        columns: _Columns = {}
        whole = True
        for when in node.args["whens"].expressions:
            found = self._when(when, table, scope, source, ctes)
            whole = whole and found is not None
            for name, sources in (found or {}).items():
                columns[name] = columns.get(name, NONE) | sources
            self._resolver.influence(when.args.get("condition"), "FILTER", scope, ctes)
        self._add(table, None, columns, scope.influences, whole=whole, is_counted=True)
        return table, alias

    def _when(
        self, when: Any, table: Table, scope: Scope, source: Scope, ctes: Ctes
    ) -> _Columns | None:
        then = when.args.get("then")
        if isinstance(then, exp.Update):
            return self._set(then.expressions, scope, ctes)
        if not isinstance(then, exp.Insert):
            return {}  # DELETE, DO NOTHING
        values = _row(then.expression)
        if values is None:
            return None
        target = then.this
        if isinstance(target, exp.Tuple):
            names: Sequence[str] = [self._resolver.column_name(one) for one in target.expressions]
        else:
            names = self._session.columns_of(table) or ()
        items = [Item(None, self._resolver.sources(value, source, ctes)) for value in values]
        return _by_position([*items], names, exact=bool(target))


def _by_name(items: list[Item | All], names: Sequence[str]) -> _Columns:
    """Return the columns of a query by name, the first of them by those that are given."""
    columns: _Columns = {}
    is_placed = True
    for index, item in enumerate(items):
        is_placed = is_placed and isinstance(item, Item)
        if not isinstance(item, Item):
            continue
        name = names[index] if is_placed and index < len(names) else item.name
        if name is not None:
            _put(columns, name, item.sources)
    return columns


def _by_position(items: list[Item | All], names: Sequence[str], *, exact: bool) -> _Columns:
    """Return the columns of a query by the names of where they go."""
    is_all_known = all(isinstance(one, Item) for one in items)
    if is_all_known and (len(items) > len(names) or (exact and len(items) != len(names))):
        return {}  # not what we take it for
    columns: _Columns = {}
    for item, name in zip(items, names, strict=False):
        if not isinstance(item, Item):
            break
        _put(columns, name, item.sources)
    return columns


def _put(columns: _Columns, name: str, sources: Sources | None) -> None:
    if sources is not None:
        columns[name] = columns.get(name, NONE) | sources


def _row(node: Any) -> list[Any] | None:
    if isinstance(node, exp.Tuple):
        return list(node.expressions)
    if isinstance(node, exp.Paren):
        return [node.this]
    if isinstance(node, exp.Values) and len(node.expressions) == 1:
        return _row(node.expressions[0])
    return None
