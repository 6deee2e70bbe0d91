"""Looking at real tables of SQLite and PostgreSQL, and being harmless where that fails."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from airflow_provenance.capture.files import Deadline
from airflow_provenance.capture.tables import (
    NO_TIME,
    PostgresTables,
    SqliteTables,
    UnseenError,
    inspect_table,
)
from airflow_provenance.emit.observed import Column
from airflow_provenance.formats.sql import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provenance.capture.tables import TableInspector
    from airflow_provenance.emit.notes import Content

MANY = 1_000_000
ROWS = [("UA", 1, None), ("B6", 2, 4.5), ("ÅØ'x", -3, 0.1), ("UA", 1, None)]


def table(name: str) -> Table:
    parts = tuple(name.split("."))
    return Table(parts, parts)


class Lite:
    """A SQLite file."""

    size_is_known = False

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def connect(self) -> Iterator[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            yield connection
            connection.commit()

    def run(self, *statements: str) -> None:
        with self.connect() as connection:
            for one in statements:
                connection.execute(one)

    def tables(self, seconds: float = 30) -> TableInspector:
        return SqliteTables(self.path, Deadline(seconds))


class Pg:
    """A PostgreSQL database."""

    size_is_known = True

    def __init__(self, url: str) -> None:
        self.url = url.replace("+psycopg", "")

    @contextmanager
    def connect(self) -> Iterator[Any]:
        with psycopg.connect(self.url) as connection:
            yield connection

    def run(self, *statements: str) -> None:
        with self.connect() as connection:
            for one in statements:
                connection.execute(one.encode())

    def tables(self, seconds: float = 30) -> TableInspector:
        return PostgresTables(lambda: psycopg.connect(self.url), Deadline(seconds))


Base = Lite | Pg


@pytest.fixture(params=["lite", "pg"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Base:
    if request.param == "lite":
        made: Base = Lite(tmp_path / "odd %20 name?.db")
    else:
        made = Pg(request.getfixturevalue("postgres_url"))
    made.run("CREATE TABLE flights (carrier text, number int, delay double precision)")
    return made


def fill(base: Base, rows: list[tuple[Any, ...]], name: str = "flights") -> None:
    mark = "?" if isinstance(base, Lite) else "%s"
    with base.connect() as connection:
        cursor = connection.cursor()
        cursor.executemany(f"INSERT INTO {name} VALUES ({mark}, {mark}, {mark})", rows)


def look(base: Base, name: str = "flights", most: int = MANY, seconds: float = 30) -> Content:
    return inspect_table(base.tables(seconds), table(name), most)


def test_columns_rows_size_and_an_id_of_the_content_are_seen(base: Base) -> None:
    fill(base, ROWS)
    content = look(base)

    assert content.is_verified
    assert content.reason is None
    assert content.algorithm == "sha256-rows"
    assert content.structure is not None
    assert content.structure.format == "table"
    assert [one.name for one in content.structure.columns] == ["carrier", "number", "delay"]
    assert (content.structure.columns[0].type or "").lower() == "text"
    assert (content.structure.column_count, content.structure.rows) == (3, 4)
    assert content.digest is not None
    assert content.digest.startswith("0000000000000004")
    assert len(content.digest) == 48
    if base.size_is_known:
        assert content.size_bytes


def test_the_id_does_not_depend_on_order_and_tells_other_content_apart(base: Base) -> None:
    contents = {
        "as it is": ROWS,
        "reversed": ROWS[::-1],
        "one row twice less": ROWS[:3],
        "null is no zero": [("UA", 1, 0.0), *ROWS[1:]],
        "another order of values": [("UA", 2, None), ("B6", 1, 4.5), *ROWS[2:]],
        "null is no text": [(None, 1, None), *ROWS[1:]],
    }
    digests: dict[str, str | None] = {}
    for name, rows in contents.items():
        base.run("DELETE FROM flights")
        fill(base, rows)
        digests[name] = look(base).digest

    assert digests.pop("reversed") == digests["as it is"]
    assert len(set(digests.values())) == len(digests)


def test_equal_content_has_an_equal_id_in_another_table(base: Base) -> None:
    base.run('CREATE TABLE "Odd ""name" (t text, number int, delay double precision)')
    for name in ("flights", '"Odd ""name"'):
        fill(base, ROWS, name)

    assert look(base).digest == look(base, 'Odd "name').digest


def test_an_empty_table_has_an_id(base: Base) -> None:
    content = look(base)

    assert content.digest == "0" * 48
    assert content.structure is not None
    assert content.structure.rows == 0


def test_a_view_is_looked_at(base: Base) -> None:
    fill(base, ROWS)
    base.run("CREATE VIEW v AS SELECT carrier, number, delay FROM flights")

    assert look(base, "v").digest == look(base).digest


def test_a_table_that_is_missing_says_so(base: Base) -> None:
    content = look(base, "nowhere")

    assert (content.is_verified, content.digest, content.reason) == (False, None, "missing")


def test_of_a_table_with_too_many_rows_the_columns_are_seen(base: Base) -> None:
    fill(base, ROWS)
    content = look(base, most=3)

    assert content.digest is None
    assert content.reason == "not looked into: more rows than [provenance] table_max_rows, 3"
    assert content.structure is not None
    assert len(content.structure.columns) == 3
    assert look(base, most=4).digest is not None


def test_a_deadline_that_is_over_is_kept(base: Base) -> None:
    assert look(base, seconds=0).reason == NO_TIME


def test_a_look_does_not_outlive_the_deadline(base: Base) -> None:
    series = (
        "SELECT g FROM generate_series(1, 1000000000) AS g"
        if isinstance(base, Pg)
        else "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g) SELECT n FROM g"
    )
    base.run(f"CREATE VIEW slow AS {series}")
    began = time.monotonic()
    content = look(base, "slow", most=10**12, seconds=0.5)

    assert time.monotonic() - began < 3
    assert content.reason == NO_TIME


def test_a_table_that_somebody_else_has_locked_says_so(base: Base) -> None:
    began = time.monotonic()
    with base.connect() as connection:
        if isinstance(base, Lite):
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("DELETE FROM flights")
        else:
            connection.execute("LOCK TABLE flights IN ACCESS EXCLUSIVE MODE")
        content = look(base)

    assert content.reason == "locked by another connection"
    assert time.monotonic() - began < 10


def test_looking_writes_nothing(base: Base) -> None:
    if isinstance(base, Lite):
        before = base.path.read_bytes()
        look(base)
        assert base.path.read_bytes() == before
        return
    # A view can do anything; here it must not.
    base.run(
        "CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS"
        " $$ INSERT INTO flights VALUES ('X', 1, 1) RETURNING 1 $$",
        "CREATE VIEW writing AS SELECT writes() AS one",
    )
    assert look(base, "writing").digest is None
    assert look(base).digest == "0" * 48


def test_what_sqlite_holds_is_told_apart_by_its_type(tmp_path: Path) -> None:
    base = Lite(tmp_path / "x.db")
    base.run("CREATE TABLE t (a)")
    digests = set()
    values = ["1", "1.0", "'1'", "x'31'", "'31'", "NULL", "'null'", "cast(x'ff' AS text)"]
    for value in values:
        base.run("DELETE FROM t", f"INSERT INTO t VALUES ({value})")
        content = look(base, "t")
        assert content.digest, (value, content)
        digests.add(content.digest)

    assert len(digests) == len(values)


def test_a_file_that_is_no_sqlite_database_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("something else entirely, and long enough to be looked at as a header " * 50)

    assert look(Lite(path), "t").reason == "no SQLite database"
    assert look(Lite(tmp_path / "gone.db"), "t").reason == "missing"


def test_a_table_without_rights_has_columns_and_says_so(postgres_url: str) -> None:
    base, url = Pg(postgres_url), make_url(postgres_url)
    role = f"limited_{url.database}"[:60]
    fill_it = "INSERT INTO secrets VALUES ('hunter2')"
    base.run("CREATE TABLE secrets (word text)", fill_it, f"CREATE ROLE {role}")

    def connect() -> Any:
        connection = psycopg.connect(base.url)
        connection.execute(f"SET ROLE {role}".encode())
        connection.commit()
        return connection

    try:
        content = inspect_table(PostgresTables(connect, Deadline(30)), table("secrets"), MANY)
    finally:
        base.run(f"DROP ROLE {role}")

    assert content.reason == "no right to read it"
    assert content.digest is None
    assert content.structure is not None
    assert content.structure.columns == (Column("word", "text"),)
    assert "hunter2" not in repr(content)


def test_a_server_that_is_not_there_says_so() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        url = f"postgresql://nobody@127.0.0.1:{port}/x"
        tables = PostgresTables(lambda: psycopg.connect(url, connect_timeout=5), Deadline(30))
        content = inspect_table(tables, table("t"), MANY)
        with pytest.raises(UnseenError, match="the database cannot be reached"):
            tables.default_schema()

    assert content.reason == "the database cannot be reached"
    assert content.digest is None


@pytest.mark.parametrize("factory", ["dict_row", "namedtuple_row"])
def test_a_connection_may_give_rows_in_any_form(postgres_url: str, factory: str) -> None:
    base = Pg(postgres_url)
    base.run("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (2)")
    row_factory = getattr(psycopg.rows, factory)
    connect: Callable[[], Any] = lambda: psycopg.connect(base.url, row_factory=row_factory)  # noqa: E731
    content = inspect_table(PostgresTables(connect, Deadline(30)), table("t"), MANY)

    assert content.digest == look(base, "t").digest is not None


def test_the_settings_of_a_connection_do_not_change_the_id(postgres_url: str) -> None:
    base = Pg(postgres_url)
    base.run(
        "CREATE TABLE t (a timestamptz, b date, c double precision, d bytea, e interval)",
        "INSERT INTO t VALUES (now(), now(), 0.1::float8 + 0.2, '\\x00ff', '1 day 2 hours')",
    )

    def connect() -> Any:
        connection = psycopg.connect(base.url)
        for setting in (
            "timezone = 'Asia/Tokyo'",
            "datestyle = 'German'",
            "extra_float_digits = 0",
            "bytea_output = 'escape'",
            "intervalstyle = 'iso_8601'",
        ):
            connection.execute(f"SET {setting}".encode())
        connection.commit()
        return connection

    content = inspect_table(PostgresTables(connect, Deadline(30)), table("t"), MANY)
    assert content.digest == look(base, "t").digest is not None


def test_a_schema_is_looked_up_as_the_connection_does(postgres_url: str) -> None:
    base = Pg(postgres_url)
    base.run(
        "CREATE SCHEMA other", "CREATE TABLE other.t (a int)", "INSERT INTO other.t VALUES (1)"
    )

    assert look(base, "other.t").digest == look(base, "db.other.t").digest is not None
    assert look(base, "t").reason == "missing"
    assert PostgresTables(lambda: psycopg.connect(base.url), Deadline(9)).default_schema() == (
        "public"
    )


def test_sqlite_is_let_go_of_when_the_deadline_passes_while_rows_are_read(tmp_path: Path) -> None:
    base = Lite(tmp_path / "x.db")
    base.run("CREATE TABLE flights (carrier text, number int, delay double precision)")
    fill(base, [("UA", number, None) for number in range(300_000)])
    began = time.monotonic()
    threads = threading.active_count()

    assert look(base, seconds=0.2).reason == NO_TIME
    assert time.monotonic() - began < 2
    assert threading.active_count() == threads
