"""Tasks of whose end the official provider tells nothing, because looking at them never returns."""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import BaseOperator, Context, dag
from airflow.sdk.exceptions import AirflowSkipException


class Silent(BaseOperator):
    """Ends as its name says."""

    def execute(self, context: Context) -> None:  # noqa: ARG002 - named by Airflow
        """Work, fail or skip."""
        if self.task_id == "fails":
            raise ValueError("as it is named")
        if self.task_id == "skips":
            raise AirflowSkipException

    def get_openlineage_facets_on_complete(self, ti: Any) -> None:  # noqa: ARG002 - named by Airflow
        """Never return."""
        time.sleep(3600)

    get_openlineage_facets_on_failure = get_openlineage_facets_on_complete


@dag(schedule=None)
def silent_ends() -> None:
    for name in ("works", "fails", "skips"):
        Silent(task_id=name)


silent_ends()
