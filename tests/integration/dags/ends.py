"""Every way a task can end under a scheduler, seen and unseen by hooks; see `test_reconcile`."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta

from airflow.sdk import dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException


@dag(schedule=None)
def ends() -> None:  # noqa: C901 - a task for each end
    @task
    def works() -> None: ...

    @task(retries=1, retry_delay=timedelta(0))
    def retried() -> None:
        if get_current_context()["ti"].try_number == 1:
            raise ValueError("first try")

    @task
    def fails() -> None:
        raise ValueError("always")

    @task
    def after_failure() -> None: ...

    @task
    def skips() -> None:
        raise AirflowSkipException

    @task.branch
    def chooses() -> str:
        return "chosen"

    @task
    def chosen() -> None: ...

    @task
    def not_chosen() -> None: ...

    @task
    def mapped(number: int) -> int:
        return number

    @task
    def killed() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def waits() -> None:
        time.sleep(300)

    @task
    def cleared() -> None: ...

    works()
    retried()
    fails() >> after_failure()
    skips()
    chooses() >> [chosen(), not_chosen()]
    mapped.expand(number=[1, 2])
    killed()
    waits()
    cleared()


ends()
