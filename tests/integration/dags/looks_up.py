"""Copies a file, and looks its values up in another: what is missing there is a warning."""

from __future__ import annotations

import os
from datetime import datetime

from airflow.sdk import ObjectStoragePath, dag, task

from airflow_provenance.checks import ForeignKey
from airflow_provenance.operators.dataset_check import DatasetCheckOperator

DIRECTORY = os.environ.get("LOOKS_UP_IN", "")


@dag(schedule=None, start_date=datetime(2013, 1, 1))  # noqa: DTZ001 - Airflow's own zone
def looks_up() -> None:
    @task
    def copy() -> None:
        with ObjectStoragePath(f"file://{DIRECTORY}/parts.csv").open("rb") as file:
            content = file.read()
        with ObjectStoragePath(f"file://{DIRECTORY}/copy.csv").open("wb") as file:
            file.write(content)

    check = DatasetCheckOperator(
        task_id="check",
        asset=f"file://{DIRECTORY}/copy.csv",
        checks=[ForeignKey("maker", to=f"{DIRECTORY}/zz9.csv", to_column="id", severity="warn")],
    )
    copy() >> check


looks_up()
