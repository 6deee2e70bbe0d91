"""A DAG that promises: of itself, of a task, of a decorated one, of a mapped one, of an asset."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Asset, task
from airflow.sdk.bases.operator import BaseOperator

from airflow_provenance import promise
from airflow_provenance.sla.objectives import Deadline, Duration, Freshness, Throughput

orders = Asset("file:///data/orders.csv")
promise(orders, Freshness(at_most=timedelta(hours=25)))

with DAG(
    "promises", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Berlin")
) as dag:
    plain = BaseOperator(task_id="plain", outlets=[orders])
    promise(dag, Deadline(at="09:00"), severity="page", notify=("oncall",))
    promise(plain, Duration(at_most=timedelta(minutes=5)), id="plain-is-quick")

    @task
    def decorated(number: int) -> int:
        return number

    promise(decorated(1), Throughput(at_least=10))
    promise(
        decorated.override(task_id="many").expand(number=[1, 2]), Duration(at_most=timedelta(1))
    )

with DAG("promises_nothing", schedule=None):
    BaseOperator(task_id="idle")
