"""SQL by hooks and by operators, on SQLite and on PostgreSQL."""

from __future__ import annotations

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import dag, task

DELAYS = """
DROP TABLE IF EXISTS delays;
CREATE TABLE delays (carrier text, flights bigint, mean double precision);
WITH known AS (SELECT f.carrier, f.delay FROM flights AS f JOIN airports AS a ON f.dest = a.faa)
INSERT INTO delays SELECT carrier, count(*), avg(delay) FROM known GROUP BY carrier;
INSERT INTO unknown (dest) SELECT dest FROM flights EXCEPT SELECT faa FROM airports
"""


@dag(schedule=None)
def with_sql() -> None:
    @task
    def lite_hook() -> None:
        from airflow.providers.sqlite.hooks.sqlite import SqliteHook

        hook = SqliteHook("lite")
        hook.run("CREATE TABLE flights (carrier TEXT, dest TEXT, delay REAL)")
        hook.run("CREATE TABLE airports (faa TEXT, name TEXT)")
        hook.run("CREATE TABLE unknown (dest TEXT)")
        hook.insert_rows("airports", [("IAH", "Houston")], ["faa", "name"])
        hook.run(
            [
                "INSERT INTO flights VALUES ('UA', 'IAH', 4.5), ('UA', 'IAH', NULL)",
                "INSERT INTO flights (carrier, dest, delay) VALUES ('B6', 'BQN', 1)",
            ]
        )

    @task
    def pg_hook() -> None:
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        hook = PostgresHook("pg")
        hook.run("CREATE TABLE flights (carrier text, dest text, delay double precision)")
        hook.run("CREATE TABLE airports (faa text, name text)")
        hook.run("CREATE TABLE unknown (dest text)")
        hook.insert_rows("airports", [("IAH", "Houston")], ["faa", "name"])
        hook.run(
            [
                "CREATE TEMP TABLE new AS SELECT 'UA' AS carrier, 'IAH' AS dest, 4.5 AS delay",
                "INSERT INTO flights SELECT * FROM new",
                "INSERT INTO flights SELECT 'B6', 'BQN', g FROM generate_series(1, 2) AS g",
            ]
        )

    @task
    def fails() -> None:
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        PostgresHook("pg").run(["INSERT INTO unknown VALUES ('X')", "SELECT 1 / 0"])

    lite, pg = (
        SQLExecuteQueryOperator(
            task_id=f"{name}_operator", conn_id=name, sql=DELAYS, split_statements=True
        )
        for name in ("lite", "pg")
    )
    lite_hook() >> lite
    pg_hook() >> pg >> fails()


with_sql()
