"""Every kind of check on every engine: the same rows, the same verdicts, counted by hand."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from airflow_provenance.checks import (
    AcceptedValues,
    Check,
    Expression,
    FailingRows,
    ForeignKey,
    Freshness,
    Measure,
    NotNull,
    Pattern,
    Range,
    RowCount,
    Unique,
)
from airflow_provenance.checks.evaluate import Outcome, evaluate
from airflow_provenance.checks.sampling import Hasher
from airflow_provenance.checks.sources.database import DatabaseSource
from airflow_provenance.checks.sources.duck import DuckSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provenance.checks.sources import Source

NOW = datetime(2013, 1, 5, 12, tzinfo=UTC)
HASHER = Hasher.of("a key")
COLUMNS = ("id", "dest", "miles", "seen_at", 'a"b', "select", "50%")
# id twice 2; dest once null, once unknown to the airports; miles once null, once below zero.
ROWS = [
    (1, "IAH", 1400.5, "2013-01-01 05:00:00", "x", 1, "p"),
    (2, "BQN", 1576.0, "2013-01-02 05:00:00", "y y", 1, None),
    (2, None, None, None, None, 2, "q"),
    (3, "IAH", -1.0, "2013-01-05 11:00:00", "x'--", 2, "r"),
]
RECORDS = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
AIRPORTS = ["IAH", "MIA"]
TYPES = ("integer", "text", "double precision", "timestamp", "text", "integer", "text")
FRAMES = ("pandas", "polars", "lazy polars", "arrow", "records")
ENGINES = ("sqlite", "postgres", "csv", "csv.gz", "tsv", "jsonl", "parquet", *FRAMES)
HAVE_COLUMNS_WITHOUT_ROWS = [one for one in ENGINES if one not in ("jsonl", "records")]
MAY_MIX_TYPES = ["sqlite", "csv", "csv.gz", "tsv"]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def fill(execute: Callable[..., Any], many: Callable[..., Any], rows: list[Any], mark: str) -> None:
    columns = ", ".join(f"{quoted(c)} {t}" for c, t in zip(COLUMNS, TYPES, strict=True))
    execute(f"CREATE TABLE {quoted('my flights')} ({columns})")
    execute("CREATE TABLE airports (faa text)")
    marks = ", ".join([mark] * len(COLUMNS))
    many(f"INSERT INTO {quoted('my flights')} VALUES ({marks})", rows)
    many(f"INSERT INTO airports VALUES ({mark})", [(one,) for one in AIRPORTS])


def sqlite_source(folder: Path, rows: list[Any], table: str = "my flights") -> Source:
    path = folder / "air.db"
    database = sqlite3.connect(path)
    fill(database.execute, database.executemany, rows, "?")
    database.commit()
    database.close()
    hook = SimpleNamespace(
        conn_type="sqlite",
        get_uri=lambda: f"sqlite:///{path}",
        get_conn=lambda: sqlite3.connect(path),
    )
    return DatabaseSource(hook, table)


def postgres_source(url: str, rows: list[Any], table: str = "public.my flights") -> Source:
    url = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url) as database, database.cursor() as cursor:
        fill(cursor.execute, cursor.executemany, rows, "%s")
    hook = SimpleNamespace(conn_type="postgres", get_conn=lambda: psycopg.connect(url))
    return DatabaseSource(hook, table)


def frame(engine: str, records: list[dict[str, Any]]) -> Any:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    if engine == "pandas":
        return pd.DataFrame(records, columns=list(COLUMNS))
    if engine == "arrow":
        return arrow(records)
    if engine == "records":
        return records
    eager = pl.from_arrow(pa.Table.from_batches(arrow(records).to_batches(), arrow(records).schema))
    return eager.lazy() if engine == "lazy polars" else eager


def arrow(records: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    types = (
        pa.int64(),
        pa.string(),
        pa.float64(),
        pa.string(),
        pa.string(),
        pa.int64(),
        pa.string(),
    )
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    return pa.Table.from_pylist(records, schema=schema)


def written(folder: Path, engine: str, records: list[dict[str, Any]]) -> Path:
    import gzip

    import pyarrow.parquet as pq

    path = folder / f"my [fl*ghts] it's.{engine}"
    if engine == "parquet":
        pq.write_table(arrow(records), path)
    elif engine == "jsonl":
        path.write_text("".join(json.dumps(one) + "\n" for one in records))
    else:
        mark = "\t" if engine == "tsv" else ","
        lines = [COLUMNS, *([one[c] for c in COLUMNS] for one in records)]
        fields = [
            ["" if v is None else quoted(str(v)) if '"' in str(v) else str(v) for v in line]
            for line in lines
        ]
        text = "".join(mark.join(line) + "\n" for line in fields).encode()
        path.write_bytes(gzip.compress(text) if engine == "csv.gz" else text)
    return path


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_source(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Source]]:
    opened: list[Source] = []
    airports = tmp_path / "airports.csv"
    airports.write_text("\n".join(["faa", *AIRPORTS]) + "\n")

    def open_(records: list[dict[str, Any]] = RECORDS) -> Source:
        rows = [tuple(one[c] for c in COLUMNS) for one in records]
        others = [str(airports), str(tmp_path / "missing.csv")]
        if engine == "sqlite":
            source: Source = sqlite_source(tmp_path, rows)
        elif engine == "postgres":
            source = postgres_source(request.getfixturevalue("postgres_url"), rows)
        elif engine in FRAMES:
            source = DuckSource(frame(engine, records), others, is_frame=True)
        else:
            source = DuckSource(written(tmp_path, engine, records), others)
        opened.append(source)
        return source

    yield open_
    for source in opened:
        source.close()


@pytest.fixture
def airports(engine: str, tmp_path: Path) -> str:
    return "airports" if engine in ("sqlite", "postgres") else str(tmp_path / "airports.csv")


def run(source: Source, *checks: Check, key: tuple[str, ...] = ("id",)) -> list[Outcome]:
    return evaluate(checks, source, now=NOW, key=key, hasher=HASHER)


def counts(source: Source, *checks: Check) -> list[tuple[str, int | None]]:
    return [
        (one.state if one.error is None else one.error, one.failing_rows)
        for one in run(source, *checks)
    ]


def test_a_null_fails_not_null_alone(open_source: Callable[..., Source]) -> None:
    checks = (
        NotNull("dest"),
        NotNull("id"),
        Range("miles", min=-1, max=1576),
        AcceptedValues("dest", ["IAH", "BQN"]),
        Pattern("dest", "^(IAH|BQN)$"),
        Unique("seen_at"),
        Expression("dest <> 'MIA'"),
    )

    assert counts(open_source(), *checks) == [("FAIL", 1), ("PASS", 0), *[("PASS", 0)] * 5]


def test_every_row_of_a_repeated_value_fails_unique(open_source: Callable[..., Source]) -> None:
    checks = (Unique("id"), Unique("dest"), Unique(("id", "select")), Unique(("dest", "select")))

    assert counts(open_source(), *checks) == [("FAIL", 2), ("FAIL", 2), ("PASS", 0), ("PASS", 0)]


def test_repeated_pairs_are_found(open_source: Callable[..., Source]) -> None:
    again = [*RECORDS, RECORDS[0], {**RECORDS[2]}]

    (by_pair, by_null) = counts(open_source(again), Unique(["id", "dest"]), Unique("dest"))

    assert by_pair == ("FAIL", 2)  # 1, IAH; the pair with a null is like no other
    assert by_null == ("FAIL", 3)


@pytest.mark.parametrize(
    ("check", "failing"),
    [
        (Range("miles", min=0), 1),
        (Range("miles", max=1400.5), 1),
        (Range("miles", min=Decimal(-1), max=Decimal("1575.9")), 1),
        (Range("id", min=2, max=2), 2),
        (Range("dest", min="C", max="J"), 1),
        (Range("seen_at", min="2013-01-02", max="2013-01-03"), 2),
    ],
    ids=lambda one: str(one),
)
def test_a_range_holds_its_bounds(
    open_source: Callable[..., Source], check: Check, failing: int
) -> None:
    assert counts(open_source(), check) == [("FAIL" if failing else "PASS", failing)]


@pytest.mark.parametrize(
    "bounds",
    [
        {"min": date(2013, 1, 2), "max": date(2013, 1, 5)},
        {"min": datetime(2013, 1, 2, 5), "max": datetime(2013, 1, 5)},  # noqa: DTZ001 - what is tested
        {"min": datetime(2013, 1, 2, 5, tzinfo=UTC), "max": datetime(2013, 1, 5, tzinfo=UTC)},
    ],
    ids=["dates", "naive", "aware"],
)
def test_times_are_compared_as_times(
    open_source: Callable[..., Source], bounds: dict[str, Any]
) -> None:
    # 5 January, 11:00 is after its beginning, 1 January before all.
    assert counts(open_source(), Range("seen_at", **bounds)) == [("FAIL", 2)]


@pytest.mark.parametrize(
    ("check", "failing"),
    [
        (AcceptedValues("dest", ["IAH"]), 1),
        (AcceptedValues("id", [1, 2]), 1),
        (AcceptedValues("miles", [1400.5, -1]), 1),
        (AcceptedValues("dest", ["x' OR '1'='1"]), 3),
        (AcceptedValues("50%", ["p", "q", "r"]), 0),
        (AcceptedValues('a"b', ["x", "y y", "x'--"]), 0),
    ],
    ids=lambda one: str(one),
)
def test_only_accepted_values_pass(
    open_source: Callable[..., Source], check: Check, failing: int
) -> None:
    assert counts(open_source(), check) == [("FAIL" if failing else "PASS", failing)]


def test_a_pattern_is_found_anywhere_in_a_value(open_source: Callable[..., Source]) -> None:
    checks = (
        Pattern("dest", "A", name="anywhere"),
        Pattern("dest", "^[A-Z]{3}$"),
        Pattern("id", "^[12]$"),
        Pattern('a"b', "['%]", name="odd"),
        Pattern("50%", "^.$"),
    )

    assert counts(open_source(), *checks) == [
        ("FAIL", 1),
        ("PASS", 0),
        ("FAIL", 1),
        ("FAIL", 2),
        ("PASS", 0),
    ]


def test_rows_are_counted(open_source: Callable[..., Source]) -> None:
    source = open_source()
    outcomes = run(
        source, RowCount(equal=4), RowCount(min=5, name="more"), RowCount(max=4, name="m")
    )

    assert [one.state for one in outcomes] == ["PASS", "FAIL", "PASS"]
    assert {one.rows for one in outcomes} == {4}
    assert {one.failing_rows for one in outcomes} == {None}


@pytest.mark.parametrize("engine", HAVE_COLUMNS_WITHOUT_ROWS, indirect=True)
def test_no_rows_are_no_failure_but_for_counts_and_freshness(
    open_source: Callable[..., Source], airports: str
) -> None:
    checks = (
        NotNull("dest"),
        Unique("id"),
        Range("miles", min=0),
        ForeignKey("dest", airports, "faa"),
        RowCount(min=1),
        Freshness("seen_at", timedelta(days=1)),
    )

    assert [one.state for one in run(open_source([]), *checks)] == [*["PASS"] * 4, "FAIL", "FAIL"]


def test_a_foreign_key_must_be_in_the_other_dataset(
    open_source: Callable[..., Source], engine: str, airports: str
) -> None:
    missing = airports.replace("airports", "missing")
    source = open_source()
    found, alone, column, column_type = run(
        source,
        ForeignKey("dest", airports, "faa"),
        ForeignKey("dest", missing, "faa", name="no such dataset"),
        ForeignKey("dest", airports, name="no such column"),
        ForeignKey('a"b', airports, "faa", name="none"),
    )

    assert (found.state, found.failing_rows) == ("FAIL", 1)
    assert alone.state == "ERROR"
    assert column.error == "there is no column 'dest' in the other dataset"
    assert (column_type.state, column_type.failing_rows) == ("FAIL", 3)


def test_the_newest_time_counts_for_freshness(open_source: Callable[..., Source]) -> None:
    checks = (
        Freshness("seen_at", timedelta(hours=1)),
        Freshness("seen_at", timedelta(minutes=59), name="stricter"),
        Freshness("dest", timedelta(days=9)),
    )

    fresh, stale, no_time = run(open_source(), *checks)

    assert (fresh.state, stale.state) == ("PASS", "FAIL")
    assert no_time.error == "the newest value of the column is no time"


def test_a_condition_of_the_author_holds_for_every_row(open_source: Callable[..., Source]) -> None:
    checks = (
        Expression("miles >= 0"),
        Expression("id < 9 -- all of them", name="commented"),
        Expression("id % 2 = 1 OR dest LIKE 'B%'", name="percent"),
        Expression('"a""b" <> \'x\'', name="quoted"),
    )

    assert counts(open_source(), *checks) == [("FAIL", 1), ("PASS", 0), ("PASS", 0), ("FAIL", 1)]


def test_a_query_of_the_author_finds_the_failing_rows(open_source: Callable[..., Source]) -> None:
    found, none, other = run(
        open_source(),
        FailingRows("SELECT * FROM {dataset} WHERE id % 2 = 0;"),
        FailingRows("SELECT id FROM {dataset} WHERE id > 9", name="none"),
        FailingRows(
            "SELECT count(*) AS n FROM {dataset} GROUP BY dest HAVING count(*) > 1", name="n"
        ),
    )

    assert (found.state, found.failing_rows) == ("FAIL", 2)
    assert found.sample is not None
    assert len(found.sample.hashes) == 2
    assert (none.state, none.failing_rows) == ("PASS", 0)
    # What it gives has no key.
    assert (other.state, other.failing_rows, other.sample) == ("FAIL", 1, None)


def test_a_number_of_a_query_lies_between_bounds(open_source: Callable[..., Source]) -> None:
    query = "SELECT max(id) FROM {dataset}"
    outcomes = run(
        open_source(),
        Measure(query, equal=3),
        Measure(query, min=4, name="too small"),
        Measure("SELECT id FROM {dataset}", min=0, name="rows"),
        Measure("SELECT max(dest) FROM {dataset}", min=0, name="text"),
        Measure("SELECT max(id) FROM {dataset} WHERE id > 9", min=0, name="null"),
    )

    assert [one.state for one in outcomes] == ["PASS", "FAIL", "ERROR", "ERROR", "ERROR"]


def test_a_check_that_cannot_run_is_an_error_of_its_own(open_source: Callable[..., Source]) -> None:
    outcomes = run(
        open_source(),
        NotNull("dest"),
        NotNull("no_such"),
        Expression("no_such_column > 1"),
        FailingRows("SELECT * FROM no_such_table"),
        Range("miles", min=0),
        Unique("id"),
    )

    assert [one.state for one in outcomes] == ["FAIL", "ERROR", "ERROR", "ERROR", "FAIL", "FAIL"]
    assert outcomes[1].error == "there is no column 'no_such'"
    assert "no_such_column" in str(outcomes[2].error)
    assert "no_such_table" in str(outcomes[3].error)
    assert all("\n" not in str(one.error) for one in outcomes)


def test_the_keys_of_failing_rows_are_told_hashed_and_at_most_ten(
    open_source: Callable[..., Source],
) -> None:
    many = [{**RECORDS[0], "id": number, "dest": None} for number in range(100, 130)]
    source = open_source([*RECORDS, *many])

    failing, passing = run(source, NotNull("dest"), NotNull("id"))
    (two,) = run(source, Unique("id"), key=("id", "select"))
    (none,) = run(source, NotNull("dest"), key=())
    (unknown,) = run(source, NotNull("dest"), key=("no_such",))

    assert failing.failing_rows == 31
    assert failing.sample is not None
    assert failing.sample.hashes[0] in (HASHER.hash(["2"]), HASHER.hash(["100"]))
    assert len(failing.sample.hashes) == 10
    assert two.sample is not None
    assert two.sample.hashes == (HASHER.hash(["2", "1"]), HASHER.hash(["2", "2"]))
    assert passing.sample is none.sample is unknown.sample is None


def test_no_error_quotes_a_value(open_source: Callable[..., Source]) -> None:
    secret = [{**RECORDS[0], "dest": "Quackenbush"}]

    outcomes = run(
        open_source(secret),
        Expression("CAST(dest AS INTEGER) > 1"),
        Measure("SELECT dest FROM {dataset}", min=1),
        FailingRows("SELECT CAST(dest AS INTEGER) AS n FROM {dataset}", name="cast"),
        Freshness("dest", timedelta(days=1)),
    )

    assert not any("Quackenbush" in repr(one) for one in outcomes)


@pytest.mark.parametrize(
    "evil",
    [
        FailingRows("SELECT 1) AS d; COMMIT; DROP TABLE {dataset}; SELECT (1"),
        FailingRows("SELECT 1; DROP TABLE {dataset}"),
        Expression("1 = 1); DELETE FROM d WHERE (1 = 1"),
        Expression("id = 1) OR (id = 2"),
        Expression("id = 1 /* not closed"),
        Measure("DELETE FROM {dataset}", min=0),
        Measure("WITH gone AS (DELETE FROM {dataset} RETURNING 1) SELECT 1", min=0),
    ],
    ids=str,
)
def test_sql_that_does_more_than_read_does_not_run(
    open_source: Callable[..., Source], evil: Check
) -> None:
    source = open_source()

    (refused, alive) = run(source, evil, RowCount(equal=4))

    assert (refused.state, alive.state) == ("ERROR", "PASS")


def test_quotes_and_comments_may_hold_anything(open_source: Callable[..., Source]) -> None:
    check = Expression("dest <> ');' /* ; ) */ AND dest <> '(' -- );")

    assert counts(open_source(), check) == [("PASS", 0)]


@pytest.mark.parametrize("engine", MAY_MIX_TYPES, indirect=True)
def test_a_text_among_numbers_is_no_number_and_no_time(
    open_source: Callable[..., Source],
) -> None:
    mixed = [*RECORDS, {**RECORDS[0], "miles": "far", "seen_at": "soon"}]

    assert (
        counts(
            open_source(mixed),
            Range("miles", min=-1),
            AcceptedValues("miles", [1400.5, 1576, -1]),
            Range("seen_at", min=date(2013, 1, 1)),
        )
        == [("FAIL", 1)] * 3
    )
