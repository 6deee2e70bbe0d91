"""What SQLite and PostgreSQL do differently when rows come in thousands.

Statements are written with ``?`` for a parameter and work in both. A *stage* is a temporary table
that a batch is joined with, so that a lookup of thousands of keys is one statement.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy.engine import Connection

# Stages: name -> columns. `blob` is BLOB in SQLite and BYTEA in PostgreSQL.
_STAGES = {
    "q_id": "id bigint",
    "q_digest": "digest blob",
    "q_wire": "run_uuid blob, job_id bigint",
    "q_since": "dataset_id bigint, since_us bigint",
    "q_around": "dataset_id bigint, part text, status bigint, bound bigint",
    "q_second": "dataset_id bigint, part text, since_us bigint, run_id bigint, flow blob, "
    "task_id text",
    "q_named": "dataset_id bigint, named text, part text, since_us bigint, run_id bigint",
    "q_flow": "dataset_id bigint, flow blob",
    "q_name": "namespace text, name text",
    "q_observed": "dataset_id bigint, part text, content_id text",
}
_STAGE = re.compile(r"\bq_[a-z]+\b")
# As many rows cost PostgreSQL about the same with the statement as through COPY.
_FEW = 64


class Bulk(Protocol):
    """One connection's bulk operations."""

    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query."""

    def joined(self, sql: str) -> list[Any]:
        """Return all rows of a query whose joins start from a stage and go from left to right.

        A stage has no statistics, and a planner left to itself sees little reason not to read the
        whole of a large table and look each row up in the stage: every batch would cost what the
        store holds. In SQLite the words CROSS JOIN keep the order; in PostgreSQL `engine.writing`
        sets what does.
        """

    def execute(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each row of parameters."""

    def insert(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows that are known to be new."""

    def upsert(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, or replace those with the same first column."""

    def stage(self, name: str, rows: Collection[Sequence[Any]]) -> None:
        """Fill a stage anew."""

    def among(self, ids: Iterable[int]) -> str:
        """Return SQL that is true of a column before it whose value is one of these ids."""

    def listed(self, ids: Iterable[int]) -> str:
        """Return SQL that selects these ids, a row each."""

    def texts(self) -> str:
        """Return SQL that selects the texts of a JSON array, which is its one parameter."""


def _assignments(columns: str) -> tuple[str, str]:
    key, *others = columns.split(", ")
    return key, ", ".join(f"{one} = excluded.{one}" for one in others)


class SqliteBulk:
    """SQLite: prepared statements over tuples."""

    def __init__(self, connection: Connection) -> None:
        self._cursor: Any = connection.connection.cursor()
        self._staged: set[str] = set()

    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        rows: list[Any] = self._cursor.execute(sql, parameters).fetchall()
        return rows

    def joined(self, sql: str) -> list[Any]:
        """See `Bulk`."""
        return self.fetch(sql.replace(" JOIN ", " CROSS JOIN "))

    def execute(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._cursor.executemany(sql, rows)

    def insert(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            places = ", ".join("?" * (columns.count(",") + 1))
            self._cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)

    def upsert(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            key, assignments = _assignments(columns)
            places = ", ".join("?" * (columns.count(",") + 1))
            self._cursor.executemany(
                f"INSERT INTO {table} ({columns}) VALUES ({places}) "
                f"ON CONFLICT ({key}) DO UPDATE SET {assignments}",
                rows,
            )

    def stage(self, name: str, rows: Collection[Sequence[Any]]) -> None:
        if name in self._staged:
            self._cursor.execute(f"DELETE FROM temp.{name}")
        else:
            self._cursor.execute(f"DROP TABLE IF EXISTS temp.{name}")
            self._cursor.execute(f"CREATE TEMP TABLE {name} ({_STAGES[name]})")
            self._staged.add(name)
        places = ", ".join("?" * (_STAGES[name].count(",") + 1))
        self._cursor.executemany(f"INSERT INTO temp.{name} VALUES ({places})", rows)

    def among(self, ids: Iterable[int]) -> str:
        return f"IN ({', '.join(str(int(one)) for one in ids)})"

    def listed(self, ids: Iterable[int]) -> str:
        # VALUES would do, but takes no more than 500 rows.
        return f"SELECT value FROM json_each('[{', '.join(str(int(one)) for one in ids)}]')"

    def texts(self) -> str:
        return "SELECT value FROM json_each(?)"


class PostgresBulk:
    """PostgreSQL: COPY, into the table where rows are new, through a stage where they may not be.

    Where rows are few it is waits that cost, and emptying stages: then rows go with the statement.
    The ledger's lock makes "known to be new" true until the commit.
    """

    def __init__(self, connection: Connection) -> None:
        self._cursor: Any = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
        self._staged: set[str] = set()
        self._few: dict[str, Collection[Sequence[Any]]] = {}  # stages that are no tables

    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        few = [name for name in dict.fromkeys(_STAGE.findall(sql)) if name in self._few]
        columns = [column for name in few for column in self._columns(name)]
        return self._rows(_with(tuple(few)) + sql.replace("?", "%s"), (*columns, *parameters))

    def _rows(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        rows: list[Any] = self._cursor.execute(sql, parameters).fetchall()
        return rows

    def _columns(self, name: str) -> list[list[Any]]:
        rows = self._few[name]
        return [[row[place] for row in rows] for place in range(_STAGES[name].count(",") + 1)]

    def joined(self, sql: str) -> list[Any]:
        """See `Bulk`."""
        return self.fetch(sql)

    def execute(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._cursor.executemany(sql.replace("?", "%s"), rows)

    def insert(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        if len(rows) > _FEW:
            self._copy(f"{table} ({columns})", rows)
        elif rows:
            self._cursor.executemany(_insertion(table, columns), rows)

    def upsert(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        key, assignments = _assignments(columns)
        on_conflict = f" ON CONFLICT ({key}) DO UPDATE SET {assignments}"
        if len(rows) > _FEW:
            self._clear(f"s_{table}", f"(LIKE {table})")
            self._copy(f"s_{table} ({columns})", rows)
            self._cursor.execute(
                f"INSERT INTO {table} ({columns}) SELECT {columns} FROM s_{table}{on_conflict}"
            )
        elif rows:
            self._cursor.executemany(_insertion(table, columns) + on_conflict, rows)

    def stage(self, name: str, rows: Collection[Sequence[Any]]) -> None:
        if len(rows) <= _FEW:
            self._few[name] = rows
            return
        self._few.pop(name, None)
        self._clear(name, f"({_STAGES[name].replace('blob', 'bytea')})")
        self._copy(name, rows)

    def among(self, ids: Iterable[int]) -> str:
        return f"= ANY({_array(ids)})"

    def listed(self, ids: Iterable[int]) -> str:
        return f"SELECT unnest({_array(ids)})"

    def texts(self) -> str:
        return "SELECT json_array_elements_text(CAST(? AS json))"

    def _clear(self, name: str, columns: str) -> None:
        # Made once for each connection: making a table costs a millisecond and fills the catalog.
        if name in self._staged:
            self._cursor.execute(f"TRUNCATE pg_temp.{name}")
        elif self._cursor.execute(f"SELECT to_regclass('pg_temp.{name}')").fetchone()[0] is None:
            self._cursor.execute(f"CREATE TEMP TABLE {name} {columns} ON COMMIT DELETE ROWS")
        self._staged.add(name)

    def _copy(self, into: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._cursor.copy(f"COPY {into} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


@cache
def _with(stages: tuple[str, ...]) -> str:
    """Return the beginning of a statement whose parameters hold these stages, column by column."""
    if not stages:
        return ""
    parts = []
    for stage in stages:
        names, types = zip(*(one.split(" ") for one in _STAGES[stage].split(", ")), strict=True)
        arrays = ", ".join(f"%s::{one.replace('blob', 'bytea')}[]" for one in types)
        parts.append(f"{stage} ({', '.join(names)}) AS (SELECT * FROM unnest({arrays}))")
    return f"WITH {', '.join(parts)} "


@cache
def _insertion(table: str, columns: str) -> str:
    places = ", ".join(["%s"] * (columns.count(",") + 1))
    return f"INSERT INTO {table} ({columns}) VALUES ({places})"


def _array(ids: Iterable[int]) -> str:
    return f"'{{{', '.join(str(int(one)) for one in ids)}}}'::bigint[]"


def bulk_of(connection: Connection) -> Bulk:
    """Return the bulk operations of a connection's database."""
    return (
        SqliteBulk(connection) if connection.dialect.name == "sqlite" else PostgresBulk(connection)
    )
