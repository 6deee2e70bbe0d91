"""Promises on DAGs, tasks and assets: what they become, and what is refused; nothing of Airflow."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provenance import promise
from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.declare import read_stamp, stamp
from airflow_provenance.sla.objectives import Deadline, Duration, Freshness

QUICK = Duration(at_most=timedelta(minutes=5))


@pytest.fixture
def dag() -> Any:
    return SimpleNamespace(dag_id="shop", default_args={}, timezone=SimpleNamespace(name="UTC"))


def test_a_stamp_is_read_back_as_it_was_promised(dag: Any) -> None:
    made = [
        promise(dag, Deadline(at="09:00", zone="Europe/Berlin"), severity="page"),
        promise(SimpleNamespace(task_id="load", dag=dag), QUICK, id="quick"),
    ]
    stamp(dag)
    assert read_stamp(dag.default_args) == (made, [])


def test_a_dag_without_promises_gets_no_stamp(dag: Any) -> None:
    stamp(dag)
    assert dag.default_args == {}


def test_a_promise_of_an_asset_is_in_its_extra() -> None:
    asset = SimpleNamespace(uri="s3://lake/orders", extra={})
    made = promise(asset, Freshness(at_most=timedelta(hours=25)))
    assert read_stamp(asset.extra) == ([made], [])
    assert made.target.dataset == "s3://lake/orders"


def test_a_dag_is_stamped_with_the_promises_of_its_tasks_assets(dag: Any) -> None:
    asset = SimpleNamespace(uri="s3://lake/orders", extra={})
    made = promise(asset, Freshness(at_most=timedelta(hours=25)))
    dag.tasks = [SimpleNamespace(outlets=[asset]), SimpleNamespace(inlets=[asset])]
    stamp(dag)
    assert read_stamp(dag.default_args) == ([made], [])


def test_what_cannot_be_promised_is_refused_where_it_is_written(dag: Any) -> None:
    promise(dag, QUICK)
    for refused in (
        lambda: promise(dag, QUICK),  # the same id again
        lambda: promise(dag, Freshness(at_most=timedelta(1))),  # of a dataset only
        lambda: promise(SimpleNamespace(task_id="load"), QUICK),  # in no DAG
        lambda: promise("shop", QUICK),
        lambda: promise(dag, QUICK, id="a", severity="loud"),
        lambda: promise(dag, QUICK, id="b", colour="red"),
        lambda: promise(dag, Deadline(at="9:00"), id="c"),
    ):
        with pytest.raises(PolicyError):
            refused()


def test_a_stamp_of_another_release_loses_only_what_it_cannot_read(dag: Any) -> None:
    made = promise(dag, QUICK)
    stamp(dag)
    dag.default_args["airflow_provenance"].append({"id": "new", "objective": {"kind": "telepathy"}})
    found, problems = read_stamp(dag.default_args)
    assert found == [made]
    assert "telepathy" in problems[0]


def test_no_exception_leaves_the_cluster_policy(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    from airflow_provenance.capture.policy import dag_policy

    broken = SimpleNamespace(dag_id="shop", _airflow_provenance_promises=[1], default_args=None)
    dag_policy(broken)
    told = "".join((*capfd.readouterr(), caplog.text))  # Airflow's logging may have taken it
    assert told.count("The promises of DAG shop") == 1


def test_a_dag_without_promises_loads_nothing_of_them() -> None:
    code = """
import sys
from types import SimpleNamespace
from airflow_provenance.capture.policy import dag_policy

dag_policy(SimpleNamespace(dag_id="plain", tasks=[], default_args={}))
sys.stdout.write(str([one for one in sys.modules if one.startswith("airflow_provenance.sla")]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_an_objective_that_is_none_is_told_in_a_line(dag: Any) -> None:
    with pytest.raises(PolicyError, match="what is promised is a str: give an objective"):
        promise(dag, "by nine")  # type: ignore[arg-type]
