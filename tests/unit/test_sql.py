"""What SQL reads and writes: each case with what is true of it, written by hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from airflow_provenance.formats.sql import SqlReader, effects_of

if TYPE_CHECKING:
    from airflow_provenance.formats.sql import Source

SCHEMA = {
    "public.flights": ("carrier", "dest", "delay"),
    "airports": ("faa", "name"),
    "delays": ("carrier", "mean"),
}


class Case(NamedTuple):
    """A text and what is true of it.

    `columns`: for each output column, its direct sources; ``~`` before a transformed column, ``#``
    before an aggregated one. `said`: sources that only had a say, with their kind.
    """

    sql: str
    reads: str = ""
    writes: str = ""  # with the change, as "t:CREATE"
    columns: dict[str, str] | None = None
    said: str | None = None
    dialect: str = "postgres"
    schema: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - nobody changes it


CASES = {
    "plain": Case(
        "INSERT INTO t (a, b) SELECT x, y FROM s WHERE z > 1",
        "s",
        "t",
        {"t.a": "s.x", "t.b": "s.y"},
        "FILTER s.z",
    ),
    "positions, not names": Case(
        "INSERT INTO t (b, a) SELECT a, b FROM s", "s", "t", {"t.b": "s.a", "t.a": "s.b"}
    ),
    "as many columns as are named": Case("INSERT INTO t (a) SELECT x, y FROM s", "s", "t", {}),
    "insert without columns and schema": Case("INSERT INTO t SELECT x FROM s", "s", "t", {}),
    "insert without columns, with schema": Case(
        "INSERT INTO delays SELECT carrier, avg(delay) FROM flights GROUP BY carrier",
        "flights",
        "delays",
        {"delays.carrier": "flights.carrier", "delays.mean": "#flights.delay"},
        "GROUP_BY flights.carrier",
        schema=SCHEMA,
    ),
    "the schema of a table made here": Case(
        "CREATE TABLE t (a int, b int); INSERT INTO t SELECT x, y FROM s",
        "s",
        "t:CREATE",
        {"t.a": "s.x", "t.b": "s.y"},
    ),
    "a table that may have been there": Case(
        "CREATE TABLE IF NOT EXISTS t (a int); INSERT INTO t SELECT x FROM s", "s", "t", {}
    ),
    "values": Case("INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')", "", "t", {}),
    "values with a subquery": Case(
        "INSERT INTO t (a, b) VALUES (1, 2), ((SELECT max(x) FROM s), 3)", "s", "t", {"t.a": "#s.x"}
    ),
    "default values": Case("INSERT INTO t DEFAULT VALUES", "", "t", {}),
    "create as": Case(
        "CREATE TABLE t AS SELECT x, y AS z, x + y AS w, count(*) FROM s GROUP BY x",
        "s",
        "t:CREATE",
        {"t.x": "s.x", "t.z": "s.y", "t.w": "~s.x ~s.y"},
        "GROUP_BY s.x",
    ),
    "an expression without alias has the name that the database gave it": Case(
        "CREATE TABLE delays AS SELECT carrier, avg(delay) FROM flights",
        "flights",
        "delays:CREATE",
        {"delays.carrier": "flights.carrier", "delays.mean": "#flights.delay"},
        schema=SCHEMA,
    ),
    "columns that are not those of what is made are not taken for them": Case(
        "CREATE TABLE delays AS SELECT dest, avg(delay) FROM flights",
        "flights",
        "delays:CREATE",
        {"delays.dest": "flights.dest"},
        schema=SCHEMA,
    ),
    "create as with names": Case(
        "CREATE TABLE t (p, q) AS SELECT x, sum(y) FROM s GROUP BY 1",
        "s",
        "t:CREATE",
        {"t.p": "s.x", "t.q": "#s.y"},
        "GROUP_BY s.x",
    ),
    "create or replace": Case(
        "CREATE OR REPLACE TABLE t AS SELECT x FROM s",
        "s",
        "t:OVERWRITE",
        {"t.x": "s.x"},
        dialect="snowflake",
    ),
    "create if not exists as": Case(
        "CREATE TABLE IF NOT EXISTS t AS SELECT x FROM s", "s", "t", {"t.x": "s.x"}
    ),
    "select into": Case("SELECT x INTO t FROM s", "s", "t:CREATE", {"t.x": "s.x"}),
    "view": Case("CREATE VIEW v AS SELECT x FROM s", "s", "v:CREATE", {"v.x": "s.x"}),
    "cte": Case(
        "WITH c AS (SELECT x AS y FROM s) INSERT INTO t (a) SELECT y FROM c",
        "s",
        "t",
        {"t.a": "s.x"},
    ),
    "nested ctes with names": Case(
        "WITH c AS (WITH d(p) AS (SELECT sum(x) FROM s) SELECT p + 1 AS q FROM d), e AS (SELECT"
        " q FROM c) INSERT INTO t (a) SELECT e.q FROM e",
        "s",
        "t",
        {"t.a": "#s.x"},
    ),
    "a cte named as the table in it": Case(
        "WITH s AS (SELECT x FROM s WHERE k) INSERT INTO t (a) SELECT x FROM s",
        "s",
        "t",
        {"t.a": "s.x"},
        "FILTER s.k",
    ),
    "a cte does not hide a table in a schema": Case(
        "WITH s AS (SELECT 1 AS x) INSERT INTO t (a) SELECT x FROM public.s",
        "public.s",
        "t",
        {"t.a": "public.s.x"},
    ),
    "a star in a cte is looked through": Case(
        "WITH c AS (SELECT * FROM s) INSERT INTO t (a) SELECT x FROM c", "s", "t", {"t.a": "s.x"}
    ),
    "a recursive cte": Case(
        "WITH RECURSIVE r(n, m) AS (SELECT x, x FROM s UNION ALL SELECT n, n + y FROM r JOIN u ON"
        " u.k = r.n) INSERT INTO t (a, b) SELECT n, m FROM r",
        "s u",
        "t",
        {"t.a": "s.x", "t.b": "s.x ~s.x ~u.y"},
    ),
    "a cte around an insert around a cte": Case(
        "INSERT INTO t (a) WITH c AS (SELECT x FROM s) SELECT x FROM c", "s", "t", {"t.a": "s.x"}
    ),
    "union": Case(
        "INSERT INTO t (a) SELECT x FROM s UNION ALL SELECT y + 1 FROM u",
        "s u",
        "t",
        {"t.a": "s.x ~u.y"},
    ),
    "union with a column that is not certain": Case(
        "INSERT INTO t (a, b) SELECT x, y FROM s UNION SELECT z, w FROM u, v",
        "s u v",
        "t",
        {},
    ),
    "except": Case(
        "INSERT INTO t (a) SELECT x FROM s EXCEPT SELECT y FROM u", "s u", "t", {"t.a": "s.x"}
    ),
    "join": Case(
        "INSERT INTO t (a, b) SELECT s.x, u.y FROM s JOIN u ON s.id = u.id",
        "s u",
        "t",
        {"t.a": "s.x", "t.b": "u.y"},
        "JOIN s.id, JOIN u.id",
    ),
    "names that could be of either table": Case(
        "INSERT INTO t (a, b) SELECT x, s.y FROM s JOIN u ON s.id = u.id",
        "s u",
        "t",
        {"t.b": "s.y"},
    ),
    "names that the schema tells apart": Case(
        "INSERT INTO t (a, b) SELECT carrier, name FROM flights f JOIN airports ON dest = faa",
        "flights airports",
        "t",
        {"t.a": "flights.carrier", "t.b": "airports.name"},
        "JOIN flights.dest, JOIN airports.faa",
        schema=SCHEMA,
    ),
    "a name that one table has, and the other may not have": Case(
        "INSERT INTO t (a) SELECT name FROM airports JOIN u ON u.k = faa",
        "airports u",
        "t",
        {"t.a": "airports.name"},
        schema=SCHEMA,
    ),
    "using": Case(
        "INSERT INTO t (a, b) SELECT id, s.x FROM s LEFT JOIN u USING (id)",
        "s u",
        "t",
        {"t.a": "s.id", "t.b": "s.x"},
        "JOIN s.id, JOIN u.id",
    ),
    "using, full": Case(
        "INSERT INTO t (a) SELECT id FROM s FULL JOIN u USING (id)",
        "s u",
        "t",
        {"t.a": "~s.id ~u.id"},
    ),
    "star": Case(
        "INSERT INTO t (a, b, c) SELECT * FROM flights",
        "flights",
        "t",
        {"t.a": "flights.carrier", "t.b": "flights.dest", "t.c": "flights.delay"},
        schema=SCHEMA,
    ),
    "star without schema": Case("INSERT INTO t (a, b) SELECT * FROM s", "s", "t", {}),
    "what comes before a star has its place": Case(
        "INSERT INTO t (a, b, c) SELECT x, s.* FROM s", "s", "t", {"t.a": "s.x"}
    ),
    "what comes beside a star has its name": Case(
        "CREATE TABLE t AS SELECT *, x + 1 AS y FROM s", "s", "t:CREATE", {"t.y": "~s.x"}
    ),
    "star over using, as the standard orders it": Case(
        "INSERT INTO t (a, b, c) SELECT * FROM l JOIN r USING (k)",
        "l r",
        "t",
        {"t.a": "l.k", "t.b": "l.x", "t.c": "r.y"},
        schema={"l": ("x", "k"), "r": ("k", "y")},
    ),
    "star over using, as SQLite orders it": Case(
        "INSERT INTO t (a, b, c) SELECT * FROM l JOIN r USING (k)",
        "l r",
        "t",
        {"t.a": "l.x", "t.b": "l.k", "t.c": "r.y"},
        dialect="sqlite",
        schema={"l": ("x", "k"), "r": ("k", "y")},
    ),
    "star but": Case(
        "INSERT INTO t (a) SELECT * EXCEPT (x) FROM s", "s", "t", {}, dialect="bigquery"
    ),
    "subquery": Case(
        "INSERT INTO t (a) SELECT q.m FROM (SELECT max(x) AS m FROM s WHERE y = 1) AS q",
        "s",
        "t",
        {"t.a": "#s.x"},
        "FILTER s.y",
    ),
    "scalar subquery, which only one row of is": Case(
        "INSERT INTO t (a, b) SELECT x, (SELECT max(u.y) FROM u WHERE u.id = s.id) FROM s",
        "s u",
        "t",
        {"t.a": "s.x", "t.b": "#u.y"},
    ),
    "correlated, with a name that could be of either": Case(
        "INSERT INTO t (a) SELECT (SELECT z FROM u WHERE u.id = s.id) FROM s", "s u", "t", {}
    ),
    "exists and in": Case(
        "INSERT INTO t (a) SELECT x FROM s WHERE EXISTS (SELECT 1 FROM u WHERE u.k = s.k)"
        " AND s.j IN (SELECT v.j FROM v)",
        "s u v",
        "t",
        {"t.a": "s.x"},
        "FILTER u.k, FILTER s.k, FILTER s.j, FILTER v.j",
    ),
    "case": Case(
        "INSERT INTO t (a) SELECT CASE WHEN x > 1 THEN y ELSE 0 END FROM s",
        "s",
        "t",
        {"t.a": "~s.y"},
    ),
    "window": Case(
        "INSERT INTO t (a, b) SELECT sum(x) OVER (PARTITION BY y ORDER BY z), lag(x) OVER (ORDER"
        " BY z) FROM s",
        "s",
        "t",
        {"t.a": "#s.x", "t.b": "~s.x"},
    ),
    "cast, function, aggregate of a function": Case(
        "INSERT INTO t (a, b, c) SELECT x::int, lower(y), sum(abs(z)) FROM s",
        "s",
        "t",
        {"t.a": "~s.x", "t.b": "~s.y", "t.c": "#s.z"},
    ),
    "greatest of two is no aggregation": Case(
        "INSERT INTO t (a, b) SELECT max(x, y), max(x) FROM s",
        "s",
        "t",
        {"t.a": "~s.x ~s.y", "t.b": "#s.x"},
        dialect="sqlite",
    ),
    "a whole row": Case("INSERT INTO t (a) SELECT row_to_json(s) FROM s", "s", "t", {}),
    "a constant": Case("INSERT INTO t (a, b) SELECT 1, x FROM s", "s", "t", {"t.b": "s.x"}),
    "an alias in order by is not a column": Case(
        "CREATE TABLE t AS SELECT x + 1 AS y FROM s ORDER BY y",
        "s",
        "t:CREATE",
        {"t.y": "~s.x"},
        "SORT s.x",
    ),
    "an alias of the same select, where it may be one": Case(
        "INSERT INTO t (a, b) SELECT x + 1 AS y, y * 2 FROM s",
        "s",
        "t",
        {"t.a": "~s.x"},
        dialect="snowflake",
    ),
    "functions in from": Case(
        "INSERT INTO t (a, b) SELECT s.x, g.n FROM s, generate_series(1, s.m) AS g(n)",
        "s",
        "t",
        {"t.a": "s.x", "t.b": "~s.m"},
    ),
    "lateral": Case(
        "INSERT INTO t (a) SELECT l.m FROM s, LATERAL (SELECT s.x + 1 AS m) AS l",
        "s",
        "t",
        {"t.a": "~s.x"},
    ),
    "values as a relation": Case(
        "INSERT INTO t (a, b) SELECT s.x, v.p FROM s, (VALUES (1, 2)) AS v(p, q)",
        "s",
        "t",
        {"t.a": "s.x"},
    ),
    "a join in parentheses": Case(
        "INSERT INTO t (a) SELECT u.y FROM s JOIN (u JOIN v ON u.k = v.k) ON s.k = u.k",
        "s u v",
        "t",
        {"t.a": "u.y"},
    ),
    "update": Case(
        "UPDATE t SET a = s.x, b = t.b + 1, c = 0 FROM s WHERE s.id = t.id",
        "s",
        "t",
        {"t.a": "s.x", "t.b": "~t.b"},
        "FILTER s.id, FILTER t.id",
    ),
    "update of a tuple": Case(
        "UPDATE t SET (a, b) = (SELECT s.x, s.y FROM s WHERE s.id = t.id)",
        "s",
        "t",
        {"t.a": "s.x", "t.b": "s.y"},
    ),
    "update with a join": Case(
        "UPDATE t JOIN s ON s.id = t.id SET t.a = s.x", "s", "t", {"t.a": "s.x"}, dialect="mysql"
    ),
    "merge": Case(
        "MERGE INTO t USING (SELECT id, x + 1 AS y FROM s) AS n ON t.id = n.id WHEN MATCHED THEN"
        " UPDATE SET a = n.y WHEN NOT MATCHED THEN INSERT (id, a) VALUES (n.id, n.y)",
        "s",
        "t",
        {"t.id": "s.id", "t.a": "~s.x"},
        "JOIN t.id, JOIN s.id",
    ),
    "delete": Case(
        "DELETE FROM t USING s WHERE s.id = t.id", "s", "t", {}, "FILTER s.id, FILTER t.id"
    ),
    "delete all does not replace": Case("DELETE FROM t", "", "t", {}),
    "on conflict": Case(
        "INSERT INTO t (k, a) SELECT x, y FROM s"
        " ON CONFLICT (k) DO UPDATE SET a = t.a + excluded.a",
        "s",
        "t",
        {"t.k": "s.x", "t.a": "s.y ~s.y ~t.a"},
    ),
    "reading what is written": Case(
        "INSERT INTO t (a) SELECT a + 1 FROM t", "t", "t", {"t.a": "~t.a"}
    ),
    "truncate": Case("TRUNCATE TABLE t, u", "", "t:TRUNCATE u:TRUNCATE", {}),
    "truncate, then fill": Case(
        "TRUNCATE t; INSERT INTO t (a) SELECT x FROM s", "s", "t:OVERWRITE", {"t.a": "s.x"}
    ),
    "drop": Case("DROP TABLE IF EXISTS t", "", "t:DROP", {}),
    "drop, then make anew": Case(
        "DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT x FROM s",
        "s",
        "t:OVERWRITE",
        {"t.x": "s.x"},
    ),
    "what was written before it was replaced is gone": Case(
        "INSERT INTO t (a) SELECT x FROM s; TRUNCATE t; INSERT INTO t (b) SELECT y FROM u",
        "s u",
        "t:OVERWRITE",
        {"t.b": "u.y"},
    ),
    "swap": Case(
        "CREATE TABLE t_new AS SELECT x FROM s; DROP TABLE t; ALTER TABLE t_new RENAME TO t",
        "s t_new",
        "t:OVERWRITE",
        {"t.x": "s.x"},
    ),
    "alter": Case("ALTER TABLE t ADD COLUMN z int", "", "t:ALTER", {}),
    "insert overwrite": Case(
        "INSERT OVERWRITE TABLE t SELECT x FROM s", "s", "t:OVERWRITE", {}, dialect="hive"
    ),
    "insert overwrite of a partition": Case(
        "INSERT OVERWRITE TABLE t PARTITION (d='1') SELECT x FROM s", "s", "t", {}, dialect="hive"
    ),
    "a temporary table is looked through": Case(
        "CREATE TEMP TABLE q AS SELECT x AS y FROM s; INSERT INTO t (a) SELECT y FROM q",
        "s",
        "t",
        {"t.a": "s.x"},
    ),
    "a temporary table that is filled": Case(
        "CREATE TEMP TABLE q (y int, z int); INSERT INTO q (y) SELECT x FROM s;"
        " UPDATE q SET z = u.w FROM u; INSERT INTO t (a, b) SELECT y, z FROM q; DROP TABLE q",
        "s u",
        "t",
        {"t.a": "s.x", "t.b": "u.w"},
    ),
    "a temporary table whose filling is not certain": Case(
        "CREATE TEMP TABLE q (y int); INSERT INTO q SELECT * FROM s;"
        " INSERT INTO t (a) SELECT y FROM q",
        "s",
        "t",
        {},
    ),
    "a writing cte": Case(
        "WITH gone AS (DELETE FROM s WHERE k = 1 RETURNING x) INSERT INTO t (a) SELECT x FROM gone",
        "",
        "s t",
        {"t.a": "s.x"},
    ),
    "copy": Case("COPY t (a) FROM STDIN; COPY s TO STDOUT", "s", "t", {}),
    "quotes keep a name": Case(
        'INSERT INTO "T x" ("A") SELECT "X", Y FROM (SELECT "X", y FROM "S") AS q',
        "S",
        "T x",
        {},
    ),
    "names without quotes are one whatever their case": Case(
        'INSERT INTO t ("A", B) SELECT q."X", Y FROM s AS Q', "s", "t", {"t.A": "s.X", "t.b": "s.y"}
    ),
    "sqlite's own words": Case(
        "REPLACE INTO t (a) SELECT x FROM s; UPDATE OR IGNORE t SET b = (SELECT max(u.y) FROM u);"
        " INSERT OR REPLACE INTO t (c) SELECT z FROM s WHERE k = ?1",
        "s u",
        "t",
        {"t.a": "s.x", "t.b": "#u.y", "t.c": "s.z"},
        dialect="sqlite",
    ),
    "what SQLite may take for text is no column": Case(
        'INSERT INTO t (a, b, c) SELECT "hunter2", s."x", "delay" FROM s',
        "s",
        "t",
        {"t.b": "s.x"},
        dialect="sqlite",
    ),
    "what is a column for SQLite": Case(
        'INSERT INTO t (a, b) SELECT "hunter2", "delay" FROM flights',
        "flights",
        "t",
        {"t.b": "flights.delay"},
        dialect="sqlite",
        schema=SCHEMA,
    ),
    "a trigger's body is not run": Case(
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO u SELECT CASE WHEN 1 THEN 2 END;"
        " DELETE FROM v; END; INSERT INTO t (a) SELECT x FROM s",
        "s",
        "t",
        {"t.a": "s.x"},
        dialect="sqlite",
    ),
    "nothing": Case("BEGIN; SET x = 1; COMMIT; ; -- done", "", "", {}),
}


def shown(sources: frozenset[Source]) -> str:
    mark = {"IDENTITY": "", "TRANSFORMATION": "~", "AGGREGATION": "#"}
    direct = [one for one in sources if one.is_direct]
    return " ".join(sorted(f"{mark[one.kind]}{one.table}.{one.column}" for one in direct))


@pytest.mark.parametrize("name", CASES)
def test_what_is_read_and_written_and_where_it_comes_from(name: str) -> None:
    case = CASES[name]
    reading = SqlReader(case.dialect, case.schema).read(case.sql)
    reads = list(dict.fromkeys(str(one) for found in reading.statements for one in found.reads))
    effects = effects_of(reading.statements)

    assert reading.left_out == []
    assert " ".join(reads) == case.reads
    assert (
        " ".join(
            f"{table}:{effect.change}" if effect.change else str(table)
            for table, effect in effects.items()
        )
        == case.writes
    )
    columns = {
        f"{table}.{column}": shown(sources)
        for table, effect in effects.items()
        for column, sources in effect.columns.items()
        if any(one.is_direct for one in sources)
    }
    expected = {key: " ".join(sorted(text.split())) for key, text in (case.columns or {}).items()}
    assert columns == expected
    if case.said is not None:
        said = {
            f"{one.kind} {one.table}.{one.column}"
            for effect in effects.values()
            for one in effect.influences
        }
        assert said == set(case.said.split(", "))


def test_what_cannot_be_read_is_left_out_with_the_reason_and_the_others_hold() -> None:
    reading = SqlReader("postgres").read(
        "INSERT INTO t (a) SELECT x FROM s; SELEC 'hunter2'; CALL p('hunter2'); DO $$ x $$;"
        " INSERT INTO u (b) SELECT (y FROM s; EXPLAIN ANALYZE DELETE FROM t; DELETE FROM v"
    )

    assert reading.left_out == [
        "statement 2: SELEC is not understood",
        "statement 3: what CALL does is not known",
        "statement 4: what DO does is not known",
        "statement 5: INSERT is not understood",
        "statement 6: what EXPLAIN does is not known",
    ]
    written = [str(write.table) for one in reading.statements for write in one.writes]
    assert written == ["t", "v"]


def test_sql_that_is_not_understood_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    SqlReader("postgres").read("CALL p('hunter2')")

    assert caplog.text == ""


def test_a_quote_that_does_not_end_leaves_all_out() -> None:
    reading = SqlReader("postgres").read("INSERT INTO t VALUES ('x); DELETE FROM u")

    assert (reading.statements, reading.left_out) == ([], ["a quote or a comment does not end"])


def test_a_temporary_table_lasts_from_one_text_to_the_next() -> None:
    reader = SqlReader("sqlite")
    reader.read("CREATE TEMP TABLE q AS SELECT x FROM s")
    (second,) = reader.read("INSERT INTO t (a) SELECT x FROM q").statements

    assert [str(one) for one in second.set_aside] == ["q"]
    assert second.reads == ()
    assert shown(second.writes[0].columns["a"]) == "s.x"


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (a, b) VALUES (1, 'x');" * 5000,
        "INSERT INTO t (a, b) VALUES " + ",".join(["(1, 'x')"] * 20_000),
        "SELECT " + ", ".join(f"a{n} + b{n} AS c{n}" for n in range(8000)) + " FROM t",
        "SELECT " + "+".join(["a"] * 50_000) + " FROM t",
        "SELECT " + "(" * 50_000 + "1" + ")" * 50_000,
        "".join(f"SELECT {'x' * n} FROM t;" for n in range(1, 600)),
    ],
    ids=["many statements", "many rows", "many columns", "deep left", "deep", "all different"],
)
def test_much_sql_takes_no_seconds(sql: str) -> None:
    began = time.process_time()
    reading = SqlReader("postgres").read(sql)

    assert time.process_time() - began < 3
    assert reading.statements or reading.left_out
    if "VALUES" in sql:
        assert reading.left_out == []
        assert {str(write.table) for one in reading.statements for write in one.writes} == {"t"}


def test_more_sql_than_can_be_read_is_left_out_and_said() -> None:
    reading = SqlReader("postgres").read("SELECT 1; " * 20_001)
    many = SqlReader("postgres").read("".join(f"SELECT {'x' * n} FROM t;" for n in range(1, 600)))

    assert reading.left_out == ["SQL of 200010 characters: 200000 is the most"]
    assert many.left_out == ["statements 501 to 599: 500 different ones are the most"]
    assert len(many.statements) == 500
