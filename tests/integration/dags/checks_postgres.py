"""A table of PostgreSQL, checked by our operator and by two of Airflow's."""

from __future__ import annotations

from airflow.providers.common.sql.operators.sql import SQLColumnCheckOperator, SQLValueCheckOperator
from airflow.sdk import dag

from airflow_provenance.checks import NotNull, Pattern, RowCount
from airflow_provenance.operators.dataset_check import DatasetCheckOperator


@dag(schedule=None)
def checks_postgres() -> None:
    DatasetCheckOperator(
        task_id="ours",
        table="passengers",
        conn_id="warehouse",
        checks=[NotNull("name", severity="warn"), Pattern("name", "^[A-Z]"), RowCount(equal=2)],
    )
    SQLColumnCheckOperator(
        task_id="column",
        conn_id="warehouse",
        table="passengers",
        column_mapping={
            "name": {"null_check": {"equal_to": 1}},
            "age": {"max": {"geq_to": 100}},
        },
    )
    SQLValueCheckOperator(
        task_id="value",
        conn_id="warehouse",
        sql="SELECT max(name) FROM passengers",
        pass_value="Quackenbush",  # noqa: S106 - a name
    )


checks_postgres()
