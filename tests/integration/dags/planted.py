"""Secrets and values of data in all the places from which they might leave."""

from __future__ import annotations

import os

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import dag, task
from airflow.sdk.log import mask_secret

from airflow_provenance import observe

REGISTERED = os.environ.get("PLANTED_REGISTERED", "")
TOKEN = os.environ.get("PLANTED_TOKEN", "")


@dag(schedule=None, params={"mail": "planted.param@example.org", "month": "2013-01"})
def planted() -> None:
    @task
    def registers() -> None:
        mask_secret(REGISTERED)
        observe.output("planted.argument@example.org", rows="Bearer planted-argument-token")

    @task
    def takes(first: str, second: str) -> None:
        """Do nothing with the arguments, which are rendered fields."""

    pays = SQLExecuteQueryOperator(
        task_id="pays",
        conn_id="planted_sqlite",
        sql=[
            "create table pay (card text, who text) -- planted comment",
            "insert into pay values ('4111 1111 1111 1111', :who)",
            "insert into pay select 'planted literal', 5500005555555559 from pay",
        ],
        parameters={"who": "planted parameter"},
    )

    @task
    def fails() -> None:
        raise ConnectionError(
            f"postgres://svc:planted-uri-password@db:5432/pay refused {TOKEN}: "
            "Key (card)=(planted-key) already exists; insert into pay values ('planted in error')"
        )

    registers() >> takes(REGISTERED, f"see {TOKEN}") >> pays >> fails()


planted()
