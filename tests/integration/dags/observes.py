"""A task that says by `observe` what it reads and writes, and once says it badly."""

from __future__ import annotations

import os

from airflow.sdk import Asset, dag, task

from airflow_provenance import observe

DIRECTORY = os.environ.get("FLIGHTS_DATA_DIR", "")


@dag(schedule=None)
def observes() -> None:
    @task
    def says() -> None:
        observe.input("s3://raw/flights.csv", data=[{"carrier": "UA"}] * 2, version="etag-1")
        observe.check(Asset("postgres://db:5432/air/public/dest"), "is_unique", passed=True)
        with open(f"{DIRECTORY}/said.csv", "w") as file:  # noqa: PTH123 - unseen by Airflow
            file.write("carrier\nUA\n")
        observe.output(f"{DIRECTORY}/said.csv", partition="2013-01", replaces=True)
        observe.output("nowhere")

    says()


observes()
