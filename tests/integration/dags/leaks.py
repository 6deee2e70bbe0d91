"""Two tasks, each with a file of its own: what one touched is not the other's."""

from __future__ import annotations

import os

from airflow.sdk import Asset, ObjectStoragePath, dag, task

DIRECTORY = os.environ.get("FLIGHTS_DATA_DIR", "")


@dag(schedule=None)
def leaks() -> None:
    @task
    def touches() -> None:
        with ObjectStoragePath(f"file://{DIRECTORY}/touched.csv").open("wb") as file:
            file.write(b"touched")

    @task(outlets=[Asset(f"file://{DIRECTORY}/declared.csv")])
    def declares() -> None:
        with open(f"{DIRECTORY}/declared.csv", "w") as file:  # noqa: PTH123 - unseen by Airflow
            file.write("declared")

    touches() >> declares()


leaks()
