"""One task with a parameter, a rendered template and a file that it writes."""

from __future__ import annotations

import os

from airflow.sdk import ObjectStoragePath, dag, task


@dag(schedule=None, params={"threshold": 15, "password": "never-shown"})
def with_params() -> None:
    @task
    def writes(threshold: str) -> None:
        with ObjectStoragePath(f"file://{os.environ['WITH_PARAMS_TO']}").open("w") as file:
            file.write(threshold)

    writes("{{ params.threshold }}")


with_params()
