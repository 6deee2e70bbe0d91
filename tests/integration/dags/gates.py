"""Tasks that go on only where promises are kept, and that wait until a dataset is fresh."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Asset, task

from airflow_provenance import observe
from airflow_provenance.operators.sla_check import SlaCheckOperator
from airflow_provenance.sensors.freshness import FreshnessSensor
from airflow_provenance.sla.objectives import Freshness, Volume
from airflow_provenance.sla.policy import Policy, Target

ORDERS = Target(dataset="pg/orders")
LARGE = Policy(id="large", target=ORDERS, objective=Volume(at_least=100), runs=("scheduled",))
HUGE = Policy(id="huge", target=ORDERS, objective=Volume(at_least=100_000))
UNKNOWN = Policy(
    id="unknown", target=Target(dataset="pg/nobody"), objective=Freshness(at_most=timedelta(1))
)

with DAG("gates", schedule=None, start_date=pendulum.datetime(2013, 1, 1)):

    @task(trigger_rule="all_success")
    def after() -> None:
        """Run where the gate lets it."""

    fails = SlaCheckOperator(task_id="fails", policy=[LARGE, HUGE], retries=3)
    skips = SlaCheckOperator(task_id="skips", policy=HUGE, on_breach="skip")
    warns = SlaCheckOperator(task_id="warns", policy=[HUGE, UNKNOWN], on_breach="warn")
    kept = SlaCheckOperator(task_id="kept", policy=LARGE)
    needs = SlaCheckOperator(task_id="needs", policy=UNKNOWN, needs_data=True)
    nobody = SlaCheckOperator(task_id="nobody", sla_ids="no-such-promise", on_breach="warn")
    fails >> after.override(task_id="after_fails")()
    skips >> after.override(task_id="after_skips")()
    warns >> after.override(task_id="after_warns")()
    kept >> after.override(task_id="after_kept")()

with DAG("in_force", schedule=None, start_date=pendulum.datetime(2013, 1, 1)):
    SlaCheckOperator(task_id="by_id", sla_ids="{{ 'orders-' ~ 'huge' }}", on_breach="skip")
    SlaCheckOperator(task_id="by_target", target="dataset:pg/orders", on_breach="skip")

with DAG("waits", schedule=None, start_date=pendulum.datetime(2013, 1, 1)):
    orders = Asset("s3://lake/orders")
    every = {"poke_interval": 0.5, "timeout": 60}
    FreshnessSensor(task_id="there", dataset="pg/orders", at_most=timedelta(days=1), **every)
    deferred = FreshnessSensor(
        task_id="deferred", dataset=orders, at_most=timedelta(days=1), **every
    )
    pokes = FreshnessSensor(
        task_id="pokes",
        dataset=orders,
        since="{{ (logical_date or dag_run.run_after).isoformat() }}",
        deferrable=False,
        **every,
    )
    deferred >> pokes  # a test runs one after the other: who pokes would wait in vain
    FreshnessSensor(
        task_id="in_vain",
        dataset="pg/nobody",
        at_most=timedelta(days=1),
        deferrable=False,
        soft_fail=True,
        poke_interval=0.1,
        timeout=0.3,
    )

with DAG("settles", schedule=None, start_date=pendulum.datetime(2013, 1, 1)):

    @task
    def writes() -> None:
        """Write what the gate asks about."""
        observe.output("s3://lake/settled.csv", data=[{"carrier": "UA"}] * 2, replaces=True)

    settled = Policy(
        id="settled",
        target=Target(dataset="s3://lake/settled.csv"),
        objective=Freshness(at_most=timedelta(minutes=5)),
        runs=("manual",),
    )
    writes() >> SlaCheckOperator(task_id="asks", policy=settled, needs_data=True, settle=60)
