"""Every way a task can end, and every kind of data it can touch; see `test_everything`."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import (
    Asset,
    AssetAlias,
    ObjectStoragePath,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    dag,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowSkipException

DATA = os.environ.get("EVERYTHING_DATA", "/nowhere")
CREATE = "CREATE TABLE flights (carrier VARCHAR(2), dest VARCHAR(3), arr_delay INTEGER)"
INSERT = """INSERT INTO flights (carrier, dest, arr_delay) VALUES
    ('UA', 'IAH', 11), ('UA', 'IAH', 20), ('AA', 'MIA', 33), ('B6', 'BQN', -18)"""
LATE = """CREATE TABLE late AS
    WITH delayed AS (SELECT carrier, arr_delay FROM flights WHERE arr_delay > 15)
    SELECT carrier AS airline, avg(arr_delay) AS mean_delay, count(*) AS arrivals
    FROM delayed GROUP BY carrier"""
BY_DEST = "CREATE TABLE by_dest AS SELECT dest AS airport, max(arr_delay) AS worst FROM flights "
BY_DEST += "WHERE arr_delay > 0 GROUP BY dest"
BY_CARRIER = "CREATE TABLE by_carrier AS SELECT DISTINCT carrier AS airline FROM flights"

orders, summary = Asset("orders"), Asset("summary")
lake = Asset("s3://lake/raw/orders.parquet")
regions = Asset("s3://lake/regions")
any_day = AssetAlias("any_day")


def file_asset(name: str) -> Asset:
    return Asset(f"file://{DATA}/{name}")


def write(name: str, text: str, *, seen: bool = False) -> None:
    """Write a file, in a way that Airflow sees, or in one that it does not see."""
    if seen:
        with ObjectStoragePath(f"file://{DATA}/{name}").open("w") as file:
            file.write(text)
    else:
        with open(f"{DATA}/{name}", "w") as file:  # noqa: PTH123 - as authors write
            file.write(text)


def read(name: str) -> None:
    with ObjectStoragePath(f"file://{DATA}/{name}").open("rb") as file:
        file.read()


@dag(
    schedule=None,
    start_date=pendulum.datetime(2013, 1, 1),
    default_args={"owner": "ann"},
    tags=["flights"],
)
def everything() -> None:
    ends()
    files()
    assets()
    says()
    sqlite_tables()
    postgres_tables()


def ends() -> None:
    """Every way to end, beside success."""

    @task(retries=1, retry_delay=timedelta(0), outlets=[file_asset("retried.csv")])
    def retried() -> None:
        if get_current_context()["ti"].try_number == 1:
            raise ValueError("first try")
        write("retried.csv", "a\n1\n")

    @task(outlets=[file_asset("failed.csv")])
    def fails() -> None:
        write("failed.csv", "a\n")
        raise ValueError("always")

    @task(outlets=[file_asset("skipped.csv")])
    def skips() -> None:
        raise AirflowSkipException

    @task(params={"api_token": "hunter2-hunter2"})
    def keeps_a_secret() -> None:
        pass

    retried()
    fails()
    skips()
    keeps_a_secret()


def files() -> None:
    """Files that are declared, touched, read by mapped tasks, and written again."""

    @task(outlets=[file_asset("declared.csv")])
    def writes_files() -> None:
        """Write one file that is declared and one that is only touched."""
        write("declared.csv", "carrier,dest\nUA,IAH\nAA,MIA\n")
        write("touched.csv", "carrier\nUA\nAA\nB6\n", seen=True)

    @task
    def mapped(number: int) -> None:
        read("touched.csv")
        write(f"part-{number}.csv", f"number\n{number}\n", seen=True)

    @task
    def cleared() -> None:
        read("touched.csv")
        write("cleared.csv", f"try\n{get_current_context()['ti'].try_number}\n", seen=True)

    @task
    def after_cleared() -> None:
        read("cleared.csv")

    written = writes_files()
    written >> mapped.expand(number=[1, 2, 3])
    written >> cleared() >> after_cleared()


def assets() -> None:
    """Assets that are no file, and one whose file is known at run time alone."""

    @task(outlets=[orders, lake])
    def named(*, outlet_events: Any) -> None:
        outlet_events[orders].extra = {"rows": 3, "source": "shop"}

    @task(inlets=[orders, lake])
    def reads_named() -> None:
        pass

    @task(outlets=[any_day])
    def by_alias(*, outlet_events: Any) -> None:
        write("by_alias.csv", "day\n2013-01-01\n")
        outlet_events[any_day].add(file_asset("by_alias.csv"), extra={"day": "2013-01-01"})

    named() >> reads_named()
    by_alias()


def says() -> None:
    """Tasks that tell themselves what they do."""

    @task
    def frame() -> None:
        import polars as pl

        from airflow_provenance import observe

        df = pl.DataFrame({"carrier": ["UA", "AA"], "flights": [1, 2]})
        observe.output("s3://lake/frame", data=df, version="etag-7", replaces=True)
        observe.check("s3://lake/frame", "no_nulls", passed=True, column="carrier")
        observe.check(
            "s3://lake/frame", "is_complete", passed=False, failed_rows=1, severity="warn"
        )

    @task
    def emits() -> None:
        from airflow.providers.openlineage.api import emit_dataset_lineage
        from openlineage.client.event_v2 import InputDataset, OutputDataset

        emit_dataset_lineage(
            inputs=[InputDataset("s3://lake", "emitted/in")],
            outputs=[OutputDataset("s3://lake", "emitted/out")],
        )

    frame()
    emits()


def sqlite_tables() -> None:
    @task
    def sqlite_load() -> None:
        from airflow.providers.sqlite.hooks.sqlite import SqliteHook

        SqliteHook("everything_sqlite").run([CREATE, INSERT])

    @task
    def sqlite_hook() -> None:
        from airflow.providers.sqlite.hooks.sqlite import SqliteHook

        SqliteHook("everything_sqlite").run(LATE)

    operator = SQLExecuteQueryOperator(
        task_id="sqlite_operator", conn_id="everything_sqlite", sql=[BY_DEST, BY_CARRIER]
    )
    sqlite_load() >> sqlite_hook() >> operator


def postgres_tables() -> None:
    @task
    def postgres_load() -> None:
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        PostgresHook("everything_postgres").run([CREATE, INSERT])

    @task
    def postgres_hook() -> None:
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        PostgresHook("everything_postgres").run(LATE)

    operator = SQLExecuteQueryOperator(
        task_id="postgres_operator",
        conn_id="everything_postgres",
        sql=f"{BY_DEST};\n{BY_CARRIER};",
        split_statements=True,
    )
    postgres_load() >> postgres_hook() >> operator


@dag(schedule=PartitionedAtRuntime(), start_date=pendulum.datetime(2013, 1, 1))
def everything_partitions() -> None:
    @task(outlets=[regions])
    def writes_regions(*, outlet_events: Any) -> None:
        outlet_events[regions].add_partitions(["eu", "us"])

    writes_regions()


@dag(
    schedule=PartitionedAssetTimetable(assets=regions),
    start_date=pendulum.datetime(2013, 1, 1),
    catchup=False,
)
def everything_by_region() -> None:
    @task(inlets=[regions], outlets=[summary])
    def sums_up() -> None:
        pass

    sums_up()


everything()
everything_partitions()
everything_by_region()
