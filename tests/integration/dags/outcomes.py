"""Tasks that end in every way a task can end by itself."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException


@dag(schedule=None)
def outcomes() -> None:
    @task
    def skips() -> None:
        raise AirflowSkipException

    @task(retries=1, retry_delay=timedelta(0))
    def works_at_second_try() -> None:
        if get_current_context()["ti"].try_number == 1:
            raise ValueError("first try")

    @task
    def fails() -> None:
        raise ValueError("always")

    @task
    def mapped(number: int) -> int:
        return number

    skips()
    works_at_second_try()
    fails()
    mapped.expand(number=[1, 2])


outcomes()
