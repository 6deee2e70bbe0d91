"""One task that works."""

from __future__ import annotations

from airflow.sdk import dag, task


@dag(schedule=None)
def one_task() -> None:
    @task
    def works() -> str:
        return "done"

    works()


one_task()
