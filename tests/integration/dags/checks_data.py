"""Tasks that check data by our operator, our decorator, and by Airflow's SQL check operators."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.common.sql.operators.sql import (
    SQLCheckOperator,
    SQLColumnCheckOperator,
    SQLIntervalCheckOperator,
    SQLTableCheckOperator,
    SQLThresholdCheckOperator,
    SQLValueCheckOperator,
)
from airflow.sdk import Asset, dag, task

from airflow_provenance.checks import (
    AcceptedValues,
    Expression,
    FailingRows,
    ForeignKey,
    Freshness,
    NotNull,
    Range,
    RowCount,
    Table,
    Unique,
)
from airflow_provenance.operators.dataset_check import DatasetCheckOperator

DIRECTORY = os.environ.get("FLIGHTS_DATA_DIR", "")
PASSENGERS = f"{DIRECTORY}/passengers_{{{{ ds }}}}.csv"
CHECKS = [
    NotNull("name"),
    Unique("id"),
    Range("age", min=0, max=120),
    AcceptedValues("origin", ["EWR", "JFK", "LGA"], severity="warn"),
    ForeignKey("origin", to=f"{DIRECTORY}/airports_{{{{ ds }}}}.csv", to_column="faa"),
    Freshness("seen_at", timedelta(days=1)),
    NotNull("no_such_column", severity="warn"),
    RowCount(min=1),
]


@dag(schedule=None, start_date=datetime(2013, 1, 1), default_args={"retries": 0})  # noqa: DTZ001 - Airflow's own zone
def checks_data() -> None:
    options = {"asset": PASSENGERS, "as_of": "{{ ds }}", "key": "id"}
    DatasetCheckOperator(task_id="fails", checks=CHECKS, **options)
    DatasetCheckOperator(task_id="skips", checks=CHECKS, on_failure="skip", **options)
    DatasetCheckOperator(task_id="warns", checks=CHECKS, on_failure="warn", **options)
    DatasetCheckOperator(
        task_id="only_warned",
        asset=PASSENGERS,
        checks=[NotNull("name", severity="warn"), RowCount(equal=4)],
    )
    DatasetCheckOperator(
        task_id="table",
        table="passengers",
        conn_id="people",
        checks=[
            Unique("id"),
            Expression("age < 200 AND name NOT LIKE '%zz%'"),
            FailingRows("SELECT id FROM {dataset} WHERE seen_at > '{{ ds }}'", name="seen_later"),
        ],
    )
    DatasetCheckOperator.partial(task_id="mapped", checks=[NotNull("id"), RowCount(min=1)]).expand(
        asset=[PASSENGERS, f"{DIRECTORY}/passengers_{{{{ ds }}}}.csv"]
    )

    @task.dataset_check(checks=[NotNull("name"), Unique("id")], asset=Asset("s3://crm/passengers"))
    def frame() -> object:
        import polars

        return polars.DataFrame({"id": [1, 2], "name": ["Ann", "Bob"]})

    @task.dataset_check(checks=[RowCount(equal=4)])
    def reference() -> Table:
        return Table("people", "passengers")

    frame()
    reference()
    airflows_own()


def airflows_own() -> None:
    """Airflow's operators, one that passes and one that fails of each."""
    sql = "SELECT count(*) FROM passengers"
    for suffix, rows in (("passes", 4), ("fails", 5)):
        nulls = 1 if rows == 4 else 0
        SQLColumnCheckOperator(
            task_id=f"column_{suffix}",
            conn_id="people",
            table="passengers",
            column_mapping={
                "name": {"null_check": {"equal_to": nulls}},
                "age": {"max": {"geq_to": 100}, "distinct_check": {"geq_to": 3}},
            },
        )
        SQLTableCheckOperator(
            task_id=f"table_{suffix}",
            conn_id="people",
            table="passengers",
            checks={"row_count": {"check_statement": f"COUNT(*) = {rows}"}},
        )
        SQLCheckOperator(
            task_id=f"check_{suffix}",
            conn_id="people",
            sql=f"SELECT count(*) = {rows} FROM passengers",
        )
        SQLValueCheckOperator(
            task_id=f"value_{suffix}", conn_id="people", sql=sql, pass_value=rows, tolerance=0.1
        )
        SQLThresholdCheckOperator(
            task_id=f"threshold_{suffix}",
            conn_id="people",
            sql=sql,
            min_threshold=rows,
            max_threshold=6,
        )
        SQLIntervalCheckOperator(
            task_id=f"interval_{suffix}",
            conn_id="people",
            table="passengers",
            metrics_thresholds={"COUNT(*)": 2 if rows == 4 else 1},
            date_filter_column="seen_at",
            days_back=-1,
        )


checks_data()
