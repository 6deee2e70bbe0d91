"""A table of PostgreSQL or SQLite, through the hook of an Airflow connection.

All questions are asked in one transaction that only reads.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from airflow_provenance.checks.definitions import Table
from airflow_provenance.checks.dialects import Dialect, PostgreSql, Sql, SQLite, quote
from airflow_provenance.checks.sources import Relation
from airflow_provenance.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PART = re.compile(r'"((?:[^"]|"")+)"|([^.]+)')
_DIALECTS: dict[str, type[Dialect]] = {"postgres": PostgreSql, "sqlite": SQLite}
_BEGIN = {
    "postgres": (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "SET LOCAL TIME ZONE 'UTC'",
    ),
    "sqlite": ("PRAGMA query_only = ON", "BEGIN"),
}


def hook_of(conn_id: str) -> Any:
    """Return the hook of a connection; `CheckError` if it has none that checks can use."""
    from airflow.sdk.bases.hook import BaseHook

    try:
        hook = BaseHook.get_hook(conn_id)
    except Exception as error:
        raise CheckError(
            f"connection {conn_id!r} cannot be used: {type(error).__name__}; is it defined, and its"
            " provider installed?"
        ) from error
    if getattr(hook, "conn_type", None) not in _DIALECTS:
        kind = getattr(hook, "conn_type", None) or type(hook).__name__
        raise CheckError(f"connection {conn_id!r} is of {kind}: PostgreSQL and SQLite are checked")
    return hook


def name_parts(table: str) -> tuple[str, ...]:
    """Return schema and name of a table; what stands in double quotes may hold a dot.

    >>> name_parts('air."2013.flights"')
    ('air', '2013.flights')
    """
    parts: list[str] = []
    at = 0
    while (match := _PART.match(table, at)) is not None:
        quoted, plain = match.groups()
        if quoted is not None and match.end() not in (len(table), table.find(".", match.end())):
            break  # a quote that is a part of the name
        parts.append(plain if quoted is None else quoted.replace('""', '"'))
        at = match.end() + 1
        if match.end() == len(table):
            return tuple(parts)
    raise CheckError(f"{table!r} is no table: give name, schema.name or database.schema.name")


def sqlite_path(hook: Any) -> Path | None:
    """Return the file of an SQLite connection, None for a database in memory.

    The hook opens it as a ``file:`` URI, where ``%``, ``?`` and ``#`` mean something.
    """
    file, _, parameters = str(hook.get_uri()).replace("sqlite:///", "", 1).partition("?")
    path = unquote(file.partition("#")[0])
    if not path.strip("/") or ":memory:" in path or "mode=memory" in parameters:
        return None
    # Not resolved: a link's name stays, as that of other files does.
    return Path(os.path.abspath(f"/{path.lstrip('/')}" if path.startswith("//") else path))  # noqa: PTH100


class DatabaseSource:
    """One table of one connection."""

    def __init__(self, hook: Any, table: str) -> None:
        self._engine: str = hook.conn_type
        self.dialect = _DIALECTS[self._engine]()
        parts = name_parts(table)
        # Connecting would make an empty file of one that is missing.
        if self._engine == "sqlite" and (path := sqlite_path(hook)) and not path.is_file():
            raise CheckError("the connection's SQLite file does not exist")
        try:
            self._connection = hook.get_conn()
        except Exception as error:
            raise CheckError(f"no connection to the database: {type(error).__name__}") from error
        try:
            if self._engine == "sqlite":
                self._connection.isolation_level = None  # transactions are begun here
                self._connection.create_function("regexp", 2, _regexp, deterministic=True)
            self._begin()
            self.dataset = self._relation(parts)
        except Exception:
            self.close()
            raise

    def other(self, to: Any) -> Relation:
        """Return another table of the same connection."""
        if isinstance(to, Table):
            to = to.table
        if not isinstance(to, str):
            raise CheckError(f"a {type(to).__name__} is no table of the same connection")
        return self._relation(name_parts(to))

    def rows(self, sql: Sql, most: int = 2) -> list[tuple[Any, ...]]:
        """Return the first rows of an answer."""
        return self._ask(sql, most)[1]

    def close(self) -> None:
        """End the transaction and the connection."""
        with suppress(Exception):
            self._connection.rollback()
        with suppress(Exception):
            self._connection.close()

    def _relation(self, parts: Sequence[str]) -> Relation:
        name = ".".join(map(quote, parts))
        names, _ = self._ask(Sql(f"SELECT * FROM {name} LIMIT 0"), 0)
        return Relation(name, dict.fromkeys(names, ""))

    def _begin(self) -> None:
        cursor = self._connection.cursor()
        for statement in _BEGIN[self._engine]:
            cursor.execute(statement)
        cursor.close()

    def _ask(self, sql: Sql, most: int) -> tuple[list[str], list[tuple[Any, ...]]]:
        text, values = self.dialect.statement(sql)
        try:
            cursor = self._connection.cursor()
            try:
                cursor.execute(text, values) if values else cursor.execute(text)
                names = [column[0] for column in cursor.description or ()]
                return names, [tuple(row) for row in cursor.fetchmany(most)] if most else []
            finally:
                cursor.close()
        except Exception as error:
            self._again()
            raise CheckError(_said(error)) from error

    def _again(self) -> None:
        # After an error PostgreSQL answers nothing more in the transaction.
        with suppress(Exception):
            self._connection.rollback()
            self._begin()


def _regexp(pattern: str, text: str | None) -> bool | None:
    return None if text is None else re.search(pattern, text) is not None


def _said(error: Exception) -> str:
    """Return an error in one line. SQLite's messages name no values; of PostgreSQL's, some do."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    message = str(error)
    if state is not None:
        primary = getattr(getattr(error, "diag", None), "message_primary", None)
        # Syntax, missing names, rights: what is named there is in the schema or in the check.
        message = primary if str(state).startswith("42") and primary else ""
        if not message:
            return f"the database says {type(error).__name__} ({state})"
    elif not type(error).__module__.startswith("sqlite3"):
        return f"the database says {type(error).__name__}"
    return f"the database says: {' '.join(message.split())}"
