"""From what hooks report to notes, with real hooks and real databases."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.providers.sqlite.hooks.sqlite import SqliteHook
from airflow.sdk.lineage import ExtraLineageInfo
from sqlalchemy.engine import make_url

from airflow_provenance.capture.files import Deadline
from airflow_provenance.capture.hook_lineage import SqlJobs
from airflow_provenance.capture.sql_jobs import note_tables
from airflow_provenance.capture.tables import NO_TIME
from airflow_provenance.domain.identity import DatasetRef, TaskRef
from airflow_provenance.emit.notes import TaskRunNotes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provenance.emit.notes import Content


def job(hook: Any, sql: str, rows: int | None = None, times: int = 1) -> ExtraLineageInfo:
    value = {"sql": sql} if rows is None else {"sql": sql, "row_count": rows}
    return ExtraLineageInfo(key="sql_job", value=value, count=times, context=hook)


def noted(
    *jobs: ExtraLineageInfo, seconds: float = 30, is_all: bool = True, state: Any = "COMPLETE"
) -> TaskRunNotes:
    notes = TaskRunNotes(TaskRef("d", "r", "t", -1, 1), state=state)
    note_tables(notes, SqlJobs(list(jobs), is_all), Deadline(seconds))
    return notes


def reasons(contents: dict[DatasetRef, Content]) -> dict[str, str | None]:
    return {ref.name: content.reason for ref, content in contents.items()}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "lite.db"
    connection = {"conn_type": "sqlite", "host": str(path)}
    monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps(connection))
    with closing(sqlite3.connect(path)) as base:
        base.executescript("CREATE TABLE t (a, b); CREATE TABLE s (x, y); CREATE TABLE u (z)")
    return path


@pytest.fixture
def lite(path: Path) -> SqliteHook:
    return SqliteHook("lite")


def connection_to(url: str, **more: Any) -> str:
    parts = make_url(url)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts.host,
            "port": parts.port,
            "login": parts.username,
            "password": parts.password or "",
            "schema": parts.database,
            **more,
        }
    )


def test_tables_are_named_by_their_file(lite: SqliteHook, path: Path) -> None:
    notes = noted(job(lite, "INSERT INTO main.t (a) SELECT x FROM s"))

    assert list(notes.outputs) == [DatasetRef(f"sqlite://{path}", "t")]
    assert list(notes.inputs) == [DatasetRef(f"sqlite://{path}", "s")]
    assert notes.outputs[DatasetRef(f"sqlite://{path}", "t")].is_verified


def test_rows_are_summed_where_every_statement_told(lite: SqliteHook) -> None:
    insert = "INSERT INTO {} VALUES (1)"
    notes = noted(
        job(lite, insert.format("t"), 2),
        job(lite, insert.format("t"), 3, times=2),
        job(lite, "DELETE FROM t WHERE a = 1", 5),
        job(lite, insert.format("s"), 2),
        job(lite, insert.format("s")),
        job(lite, f"{insert.format('u')}; DELETE FROM t", 4),
    )

    rows = {ref.name: written.rows for ref, written in notes.written.items()}
    assert rows == {"t": 8, "s": None, "u": None}


def test_rows_are_not_summed_where_airflow_did_not_keep_all(lite: SqliteHook) -> None:
    notes = noted(job(lite, "INSERT INTO t VALUES (1)", 2), is_all=False)

    assert [written.rows for written in notes.written.values()] == [None]


def test_what_a_failed_task_wrote_may_have_been_rolled_back(lite: SqliteHook) -> None:
    notes = noted(job(lite, "INSERT INTO t VALUES (1)", 2), state="UP_FOR_RETRY")

    assert [written.rows for written in notes.written.values()] == [None]
    assert [content.is_verified for content in notes.outputs.values()] == [False]
    assert "rolled back" in str(reasons(notes.outputs)["t"])


def test_the_columns_that_are_there_tell_where_they_come_from(lite: SqliteHook) -> None:
    notes = noted(job(lite, "INSERT INTO t SELECT * FROM s"))

    (written,) = notes.written.values()
    assert written.column_lineage is not None
    fields = written.column_lineage["fields"]
    assert {name: [one["field"] for one in of["inputFields"]] for name, of in fields.items()} == {
        "a": ["x"],
        "b": ["y"],
    }


def test_what_is_no_dataset_is_set_aside(lite: SqliteHook) -> None:
    notes = noted(
        job(lite, "CREATE TEMP TABLE q AS SELECT x FROM s"),
        job(
            lite, "INSERT INTO t (a) SELECT x FROM q WHERE 'x' IN (SELECT name FROM sqlite_master)"
        ),
        job(lite, "CREATE TABLE w AS SELECT x FROM s"),
        job(lite, "ALTER TABLE w RENAME TO v"),
    )

    assert set(reasons(notes.outputs)) == {"t", "v"}
    assert set(reasons(notes.inputs)) == {"s"}
    assert {ref.name for ref in notes.not_datasets} == {"q", "sqlite_master", "w"}
    changes = {ref.name: written.change for ref, written in notes.written.items()}
    assert changes == {"t": None, "v": "CREATE"}


def test_a_table_that_is_read_and_written_is_looked_at_once(lite: SqliteHook) -> None:
    notes = noted(job(lite, "INSERT INTO t SELECT a + 1, b FROM t", 0))

    assert reasons(notes.inputs) == {"t": "the task wrote it too"}
    assert reasons(notes.outputs) == {"t": None}


def test_a_database_in_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps({"conn_type": "sqlite", "host": ":memory:"}))
    notes = noted(job(SqliteHook("lite"), "INSERT INTO t VALUES (1)"))

    assert (notes.inputs, notes.outputs) == ({}, {})


def test_a_hook_that_raises_harms_no_other(
    lite: SqliteHook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    notes = noted(
        job(SqliteHook("nowhere"), "DELETE FROM t"),
        job(lite, "INSERT INTO t VALUES (1); CALL p('hunter2')"),
    )

    assert set(reasons(notes.outputs)) == {"t"}
    (line,) = [one for one in caplog.messages if "Provenance of SQL" in one]
    assert "SqliteHook raises AirflowNotFoundException" in line
    assert "statement 2: what CALL does is not known" in line
    assert "The task is not affected" in line
    assert "hunter2" not in caplog.text


class Odd(PostgresHook):
    """A hook that does as it is told when it is asked for its database."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        super().__init__("pg")
        self.answer = answer

    def get_openlineage_database_info(self, connection: Any) -> Any:  # noqa: ARG002 - as its base
        return self.answer()


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", connection_to("postgresql://nobody@127.0.0.1:1/x"))


@pytest.mark.usefixtures("nowhere")
def test_a_hook_that_does_not_answer_does_not_hold_the_task(
    lite: SqliteHook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    noted(job(lite, "DELETE FROM t"))  # what is imported once is no matter here
    began = time.monotonic()
    noted(job(Odd(lambda: time.sleep(60)), "DELETE FROM t"), seconds=0.5)

    assert time.monotonic() - began < 4
    assert NO_TIME in caplog.text


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("error", [SystemExit, RuntimeError])
def test_a_hook_that_exits_ends_no_task_and_harms_no_other(
    error: type[BaseException], lite: SqliteHook, caplog: pytest.LogCaptureFixture
) -> None:
    def exits() -> None:
        raise error("hunter2")

    caplog.set_level("INFO")
    notes = noted(job(Odd(exits), "DELETE FROM x"), job(lite, "DELETE FROM t"))

    assert set(reasons(notes.outputs)) == {"t"}
    assert f"a hook of postgres raises {error.__name__}" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_hook_whose_members_have_no_text_harms_no_other(lite: SqliteHook) -> None:
    class Wordless:
        def __str__(self) -> str:
            raise RuntimeError

    odd = SqliteHook("lite")
    odd.schema = Wordless()
    notes = noted(job(odd, "DELETE FROM s"), job(lite, "DELETE FROM t"))

    assert set(reasons(notes.outputs)) == {"s", "t"}


FORKS = """
import importlib.abc, os, signal, sys, threading, time

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if threading.current_thread() is not threading.main_thread():
            time.sleep(3)

import airflow_provenance.formats.sql.statements  # that it takes long is no matter here
from airflow.providers.sqlite.hooks.sqlite import SqliteHook
from tests.unit.test_sql_jobs import job, noted
sys.meta_path.insert(0, Slow())
noted(job(SqliteHook("lite"), "INSERT INTO t SELECT * FROM s"), seconds=1)
if not (child := os.fork()):
    from airflow_provenance.formats.sql import SqlReader
    signal.alarm(20)  # ends it
    SqlReader("sqlite").read("SELECT 1")
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.usefixtures("path")
def test_a_fork_beside_a_look_that_is_left_behind_waits_for_no_import_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split()[-1] == "0"


def test_nothing_is_done_where_it_is_turned_off(lite: SqliteHook) -> None:
    notes = noted(job(lite, "DELETE FROM t"), seconds=0)

    assert (notes.outputs, notes.written) == ({}, {})


def test_tables_of_postgresql_are_named_as_the_official_provider_names_them(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.openlineage.sqlparser import get_openlineage_facets_with_sql

    monkeypatch.setenv("AIRFLOW_CONN_PG", connection_to(postgres_url))
    hook = PostgresHook("pg")
    hook.run(
        'CREATE TABLE flights (a int); CREATE TABLE "Odd" (a int); CREATE SCHEMA other;'
        " CREATE TABLE other.t (a int)"
    )
    sql = 'INSERT INTO other.t SELECT a FROM Flights UNION SELECT a FROM "Odd"'
    official = get_openlineage_facets_with_sql(hook, sql, "pg", None, use_connection=False)
    notes = noted(job(hook, sql, 0))

    assert official is not None
    assert {(one.namespace, one.name) for one in official.inputs} == set(notes.inputs)
    assert {(one.namespace, one.name) for one in official.outputs} == set(notes.outputs)
    assert all(content.digest for content in [*notes.inputs.values(), *notes.outputs.values()])


def test_the_schema_of_a_name_is_that_of_the_connection(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", connection_to(postgres_url))
    PostgresHook("pg").run("CREATE SCHEMA other; CREATE TABLE other.t (a int)")
    hook = PostgresHook("pg", options="-c search_path=other")
    notes = noted(job(hook, "TRUNCATE t"), job(hook, "INSERT INTO other.t VALUES (1)", 1))

    (ref,) = notes.outputs
    assert ref.name.endswith(".other.t")
    assert (notes.written[ref].change, notes.written[ref].rows) == ("OVERWRITE", 1)


@pytest.mark.parametrize(
    "change", ["SET search_path TO other", "SELECT set_config('search_path', 'other', false)"]
)
def test_a_name_without_a_schema_is_not_guessed_where_the_task_changed_what_it_means(
    change: str,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setenv("AIRFLOW_CONN_PG", connection_to(postgres_url))
    hook = PostgresHook("pg")
    hook.run("CREATE TABLE t (a int); CREATE SCHEMA other; CREATE TABLE other.t (a int)")
    notes = noted(job(hook, f"{change}; DELETE FROM t"), job(hook, "DELETE FROM other.t"))

    assert [ref.name.split(".", 1)[1] for ref in notes.outputs] == ["other.t"]
    assert "the task changed search_path" in caplog.text


@pytest.mark.parametrize(
    ("end", "is_verified"),
    [("ROLLBACK", False), ("abort", False), ("ROLLBACK WORK TO SAVEPOINT a", True)],
)
def test_what_a_task_rolled_back_is_not_verified(
    end: str, is_verified: bool, lite: SqliteHook
) -> None:
    notes = noted(job(lite, "BEGIN"), job(lite, "INSERT INTO t VALUES (1)", 1), job(lite, end))

    (content,) = notes.outputs.values()
    assert content.is_verified is is_verified
    assert [one.rows for one in notes.written.values()] == [1 if is_verified else None]


def test_a_server_that_is_gone_is_said_and_what_can_be_named_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://nobody@127.0.0.1:{taken.getsockname()[1]}/x"
        monkeypatch.setenv("AIRFLOW_CONN_PG", connection_to(url))
        notes = noted(job(PostgresHook("pg"), "INSERT INTO public.t (a) SELECT b FROM s"))

    assert reasons(notes.outputs) == {"x.public.t": "the database cannot be reached"}
    assert notes.inputs == {}
    (line,) = [one for one in caplog.messages if "Provenance of SQL" in one]
    assert "tables without schema" in line
    assert "the database cannot be reached" in line


def test_a_server_that_does_not_answer_does_not_hold_the_task(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/x"
        monkeypatch.setenv("AIRFLOW_CONN_PG", connection_to(url))
        hook = PostgresHook("pg")
        began = time.monotonic()
        notes = noted(job(hook, "DELETE FROM t"), seconds=0.5)

    assert time.monotonic() - began < 4
    assert notes.outputs == {}
    assert NO_TIME in caplog.text


def test_a_slow_table_is_named_and_does_not_hold_the_task(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", connection_to(postgres_url))
    hook = PostgresHook("pg")
    hook.run("CREATE VIEW slow AS SELECT 1 AS one FROM pg_sleep(60); CREATE TABLE t (a int)")
    noted(job(hook, "DELETE FROM t"))  # what is imported once is no matter here
    began = time.monotonic()
    notes = noted(job(hook, "INSERT INTO t SELECT 1 FROM slow", 1), seconds=2)

    assert time.monotonic() - began < 5
    assert list(reasons(notes.inputs).values()) == [NO_TIME]
    assert [content.is_verified for content in notes.outputs.values()] == [True]
    assert [written.rows for written in notes.written.values()] == [1]
