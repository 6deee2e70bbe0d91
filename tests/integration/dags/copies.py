"""One task that reads the file a variable names, and writes what it read to another."""

from __future__ import annotations

import os

from airflow.sdk import ObjectStoragePath, dag, task


@dag(schedule=None)
def copies() -> None:
    @task
    def copy() -> None:
        # Whole, in one read: Airflow sees the first use of a file only.
        with ObjectStoragePath(f"file://{os.environ['COPIES_FROM']}").open("rb") as file:
            content = file.read()
        with ObjectStoragePath(f"file://{os.environ['COPIES_TO']}").open("wb") as file:
            file.write(content)

    copy()


copies()
