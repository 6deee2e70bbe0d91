"""DAGs that said when they are late before there were promises: ``deadline=`` and ``sla=``."""

from __future__ import annotations

import warnings
from datetime import timedelta

import pendulum
from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference, task
from airflow.sdk.bases.operator import BaseOperator

from airflow_provenance.sla.migrate import from_deadline, from_sla

START = pendulum.datetime(2026, 1, 1, tz="Europe/Berlin")
# Airflow 3 says of each task that its sla counts no more.
warnings.filterwarnings("ignore", message="The SLA feature is removed")


async def told() -> None:
    """Nobody is told here."""


LATE = [
    DeadlineAlert(reference, timedelta(hours=hours), AsyncCallback(told))
    for reference, hours in (
        (DeadlineReference.DAGRUN_LOGICAL_DATE, 1),
        (DeadlineReference.DAGRUN_QUEUED_AT, 2),
    )
]

with DAG("with_deadline", schedule="@daily", start_date=START, deadline=LATE) as with_deadline:
    BaseOperator(task_id="idle")
from_deadline(with_deadline, severity="page")

old = {"sla": timedelta(hours=2)}
with DAG("with_sla", schedule="@daily", start_date=START, default_args=old) as with_sla:
    BaseOperator(task_id="by_default")
    BaseOperator(task_id="own", sla=timedelta(minutes=30))

    @task
    def decorated(number: int) -> int:
        return number

    decorated.expand(number=[1, 2])
from_sla(with_sla, owner="ann")
