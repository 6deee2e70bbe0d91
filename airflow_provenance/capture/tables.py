"""Looking at tables: columns, number of rows, size and an id of the content.

Each look is a read-only transaction on a connection of its own, and ends with the deadline. The id
of the content does not depend on the order of rows: their number, and the sums, modulo 2^64, of the
first and of the second 64 bits of the SHA-256 of each row's text. PostgreSQL computes it itself;
rows of SQLite are read here. A row's text is that of the database that has it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from airflow_provenance.emit.notes import Content
from airflow_provenance.emit.observed import MOST_COLUMNS, Column, Structure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provenance.capture.files import Deadline
    from airflow_provenance.formats.sql import Table

NO_TIME = "not looked at: the time of [provenance] table_timeout_seconds was up"
_MISSING = "missing"
_NO_RIGHT = "no right to read it"
_LOCKED = "locked by another connection"
_NOT_REACHED = "the database cannot be reached"
_64_BITS = (1 << 64) - 1
_LONGEST_WAIT_SECONDS = 1.0  # for a lock: other tables want to be looked at, too
_STEPS = 1000  # of SQLite, and rows, from one look at the clock to the next


class UnseenError(Exception):
    """Something could not be looked at; its text says why."""


@dataclass(slots=True)
class Seen:
    """What was seen of a table so far."""

    columns: list[Column] | None = None
    size_bytes: int | None = None
    rows: int | None = None
    digest: str | None = None


class TableInspector(Protocol):
    """Looks at tables of one database."""

    def look(self, table: Table, most_rows: int, seen: Seen) -> None:
        """See what is in a table now. Raises `UnseenError`, and whatever the driver raises."""
        ...

    def reason(self, error: Exception) -> str:
        """Return what an exception of the driver means, without anything that data may be in."""
        ...


def inspect_table(tables: TableInspector, table: Table, most_rows: int) -> Content:
    """Return what is in a table now, or the reason why that is not known. Raises nothing."""
    seen, reason = Seen(), None
    try:
        tables.look(table, most_rows, seen)
    except UnseenError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - drivers raise what they like
        reason = tables.reason(error)
    columns = seen.columns or []
    note = None
    if len(columns) > MOST_COLUMNS:
        note = f"the schema has the first {MOST_COLUMNS} of {len(columns)} columns"
    structure = Structure(
        "table",
        tuple(columns[:MOST_COLUMNS]),
        None if seen.columns is None else len(columns),
        seen.rows,
        note,
    )
    return Content(
        seen.digest is not None,
        seen.digest,
        seen.size_bytes,
        reason=reason,
        structure=structure,
        algorithm="sha256-rows",
    )


class PostgresTables:
    """Tables of PostgreSQL 11 or newer."""

    def __init__(self, connect: Callable[[], Any], deadline: Deadline) -> None:
        self._connect = connect
        self._deadline = deadline

    def default_schema(self) -> str | None:
        """Return the schema of tables that are named without one. Raises `UnseenError`."""
        try:
            with closing(self._connection()) as connection:
                schema = self._row(connection, "SELECT current_schema()")[0]
        except UnseenError:
            raise
        except Exception as error:
            raise UnseenError(self.reason(error)) from error
        return None if schema is None else str(schema)

    def look(self, table: Table, most_rows: int, seen: Seen) -> None:
        """See what is in a table now."""
        with closing(self._connection()) as connection:
            found = self._row(connection, _PG_TABLE, [_pg_name(table)])
            if found[0] is None:
                raise UnseenError(_MISSING)
            name, oid, estimate, is_readable = found
            columns = self._all(connection, _PG_COLUMNS, [oid])
            seen.columns = [Column(str(one), str(kind)) for one, kind in columns]
            seen.size_bytes = int(self._row(connection, _PG_SIZE, [oid])[0])
            if not is_readable:
                raise UnseenError(_NO_RIGHT)
            if float(estimate) > most_rows:
                raise UnseenError(_too_many(most_rows))
            # The name comes from PostgreSQL, quoted.
            sums = self._row(connection, _PG_ROWS.format(name=name, most=most_rows + 1))
            rows, first, second = (int(one) for one in sums)
            if rows > most_rows:
                raise UnseenError(_too_many(most_rows))
            seen.rows, seen.digest = rows, _digest(rows, first, second)

    def reason(self, error: Exception) -> str:
        """Return what PostgreSQL's state says; its message may hold data."""
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if state is None and "OperationalError" in {one.__name__ for one in type(error).__mro__}:
            return _NOT_REACHED
        return _PG_REASONS.get(str(state), f"PostgreSQL answers {type(error).__name__}")

    def _connection(self) -> Any:
        if self._deadline.is_over:
            raise UnseenError(NO_TIME)
        connection = self._connect()
        try:
            connection.autocommit = False
            with closing(connection.cursor()) as cursor:
                cursor.execute(_PG_BEGIN)
        except BaseException:
            connection.close()
            raise
        return connection

    def _row(self, connection: Any, sql: str, values: list[Any] | None = None) -> list[Any]:
        rows = self._all(connection, sql, values)
        return rows[0] if rows else [None]

    def _all(self, connection: Any, sql: str, values: list[Any] | None = None) -> list[list[Any]]:
        milliseconds = int(self._deadline.remaining_seconds * 1000)
        if milliseconds < 1:
            raise UnseenError(NO_TIME)
        wait = min(milliseconds, int(_LONGEST_WAIT_SECONDS * 1000))
        with closing(connection.cursor()) as cursor:
            cursor.execute(
                f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {wait}"
            )
            cursor.execute(sql, values)
            # A connection may be set to give rows as mappings.
            return [
                list(row.values() if isinstance(row, Mapping) else row) for row in cursor.fetchall()
            ]


# Every column has a name of its own, for a connection that gives rows as mappings.
# What a value's text depends on is set, so that equal rows have equal texts.
_PG_BEGIN = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL timezone = 'UTC';
SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C'
"""
_PG_TABLE = """
SELECT oid::regclass::text AS name, oid::bigint AS id, reltuples,
  has_table_privilege(oid, 'SELECT') AS is_readable
FROM pg_catalog.pg_class WHERE oid = to_regclass(%s)
"""
_PG_COLUMNS = """
SELECT attname, pg_catalog.format_type(atttypid, atttypmod) AS kind FROM pg_catalog.pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_PG_SIZE = "SELECT pg_catalog.pg_total_relation_size(%s)"
_PG_ROWS = """
SELECT count(*) AS count,
  coalesce(sum(('x' || substr(digest, 1, 16))::bit(64)::bigint), 0) AS first,
  coalesce(sum(('x' || substr(digest, 17, 16))::bit(64)::bigint), 0) AS second
FROM (SELECT encode(sha256(convert_to((one.*)::text, 'UTF8')), 'hex') AS digest
  FROM (SELECT * FROM {name} LIMIT {most}) AS one) AS digests
"""
_PG_REASONS = {
    "25P02": NO_TIME,
    "42501": _NO_RIGHT,
    "42883": "this PostgreSQL has no sha256: it needs to be version 11 or newer",
    "42P01": _MISSING,
    "3F000": _MISSING,
    "55P03": _LOCKED,
    "57014": NO_TIME,
}


def _pg_name(table: Table) -> str:
    # PostgreSQL reaches no other database; what a connection's is called is no matter then.
    return ".".join('"{}"'.format(part.replace('"', '""')) for part in table.key[-2:])


class SqliteTables:
    """Tables of a SQLite file."""

    def __init__(self, path: Path, deadline: Deadline) -> None:
        self._path = path
        self._deadline = deadline

    def look(self, table: Table, most_rows: int, seen: Seen) -> None:
        """See what is in a table now."""
        if self._deadline.is_over:
            raise UnseenError(NO_TIME)
        if not self._path.exists():
            raise UnseenError(_MISSING)
        wait = min(self._deadline.remaining_seconds, _LONGEST_WAIT_SECONDS)
        uri = f"file:{quote(str(self._path))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None)) as base:
            base.set_progress_handler(lambda: self._deadline.is_over, _STEPS)
            # Text that is no UTF-8 is content, too.
            base.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
            base.execute("BEGIN")
            found = base.execute(_SQLITE_TABLE, [table.name]).fetchone()
            if found is None:
                raise UnseenError(_MISSING)
            name = found[0]
            columns = base.execute(_SQLITE_COLUMNS, [name]).fetchall()
            seen.columns = [Column(str(one), str(kind) or None) for one, kind in columns]
            with suppress(sqlite3.OperationalError):  # not every SQLite is built with it
                seen.size_bytes = base.execute(_SQLITE_SIZE, [name]).fetchone()[0]
            quoted = '"{}"'.format(name.replace('"', '""'))
            counting = f"SELECT count(*) FROM {quoted}"  # noqa: S608 - quoted
            (seen.rows,) = base.execute(counting).fetchone()
            if seen.rows is not None and seen.rows > most_rows:
                raise UnseenError(_too_many(most_rows))
            seen.digest = self._digest(base.execute(f"SELECT * FROM {quoted}"))  # noqa: S608 - quoted

    def reason(self, error: Exception) -> str:
        """Return what SQLite's state says; its message may hold data."""
        state = getattr(error, "sqlite_errorname", "")
        for beginning, reason in _SQLITE_REASONS.items():
            if state.startswith(beginning):
                return reason
        return f"SQLite answers {state or type(error).__name__}"

    def _digest(self, cursor: sqlite3.Cursor) -> str:
        rows = first = second = 0
        encode = json.JSONEncoder(separators=(",", ":"), default=bytes.hex).encode
        for row in cursor:
            if rows % _STEPS == 0 and self._deadline.is_over:
                raise UnseenError(NO_TIME)
            # Bytes would else have the text of their hexadecimal digits.
            kinds = [isinstance(value, bytes) for value in row]
            text = encode([*row, kinds] if True in kinds else row)
            digest = hashlib.sha256(text.encode()).digest()
            rows += 1
            first += int.from_bytes(digest[:8], "big")
            second += int.from_bytes(digest[8:16], "big")
        return _digest(rows, first, second)


_SQLITE_TABLE = """
SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = lower(?)
"""
_SQLITE_COLUMNS = "SELECT name, type FROM pragma_table_info(?)"
_SQLITE_SIZE = """
SELECT sum(pgsize) FROM dbstat
WHERE aggregate AND name IN (SELECT name FROM sqlite_master WHERE tbl_name = ?)
"""
_SQLITE_REASONS = {
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_INTERRUPT": NO_TIME,
    "SQLITE_CANTOPEN": _NOT_REACHED,
    "SQLITE_PERM": _NO_RIGHT,
    "SQLITE_AUTH": _NO_RIGHT,
    "SQLITE_NOTADB": "no SQLite database",
}


def _digest(rows: int, first: int, second: int) -> str:
    return f"{rows:016x}{first & _64_BITS:016x}{second & _64_BITS:016x}"


def _too_many(most_rows: int) -> str:
    return f"not looked into: more rows than [provenance] table_max_rows, {most_rows}"
