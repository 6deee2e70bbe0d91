"""Promises from what a DAG file says already: Airflow 3's ``deadline=`` and Airflow 2's ``sla=``.

::

    late = DeadlineAlert(DeadlineReference.DAGRUN_LOGICAL_DATE, timedelta(hours=1), callback)
    with DAG("shop", deadline=late, ...) as dag:
        ...
    from_deadline(dag, severity="page")

    with DAG("old", default_args={"sla": timedelta(hours=2)}, ...) as dag:
        ...
    from_sla(dag)

Airflow's alerts go on as they were; the promises are judged from what was recorded, also where
Airflow's scheduler is down, and say why. Nothing here imports Airflow.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.declare import promise
from airflow_provenance.sla.objectives import Duration
from airflow_provenance.sla.policy import RUN_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.sla.policy import Policy

_SINCE = {"DagRunLogicalDateDeadline": "logical_date", "DagRunQueuedAtDeadline": "queued"}
_ADVICE = {
    "FixedDatetimeDeadline": "it is of one moment: promise Deadline(at=...) of each day",
    "AverageRuntimeDeadline": "promise Duration(at_most=...), with at_risk= to be told before",
}


def from_deadline(dag: Any, alerts: Any = None, **more: Any) -> list[Policy]:
    """Promise what the deadlines of a DAG say; return the promises.

    Of runs of all types, as Airflow's deadlines are. A run without a logical date, which Airflow
    leaves out, counts from when it was due.

    Args:
        dag: the DAG.
        alerts: a `DeadlineAlert`, or several; else those of the DAG.
        more: other fields of `Policy`: severity, owner, notify, on_failure, runs.

    Raises:
        PolicyError: there is none, or it has no counterpart; the error says what to promise.
    """
    given = getattr(dag, "deadline", None) if alerts is None else alerts
    every = list(given) if isinstance(given, list | tuple) else [given] if given else []
    if not every:
        raise PolicyError(f"DAG {dag.dag_id} has no deadline")
    made = [_objective(one) for one in every]
    slug = more.pop("id", f"{dag.dag_id}.deadline-alert")
    more.setdefault("runs", RUN_TYPES)
    names = [slug, *(f"{slug}-{number}" for number in range(2, len(made) + 1))]
    return [promise(dag, one, id=name, **more) for name, one in zip(names, made, strict=True)]


def _objective(alert: Any) -> Duration:
    kind = type(alert.reference).__name__
    if kind not in _SINCE:
        advice = _ADVICE.get(kind, "promise a Duration or Deadline")
        raise PolicyError(f"a deadline by {kind} cannot be a promise: {advice}")
    if not isinstance(alert.interval, timedelta):
        raise PolicyError("the deadline's interval is a Variable, read anew for each run: give one")
    if alert.interval <= timedelta(0):
        raise PolicyError("the deadline is due before its run: promise Deadline(at=...)")
    since: Any = _SINCE[kind]
    return Duration(at_most=alert.interval, since=since)


def from_sla(dag: Any, **more: Any) -> list[Policy]:
    """Promise what ``sla=`` said in Airflow 2, of each task that has one; return the promises.

    A task succeeds at most so long after the end of its data interval, in scheduled runs. Call it
    where all tasks are there. Airflow 3 warns of ``sla=`` until it is gone from the file.

    Args:
        dag: the DAG; its ``default_args`` count for all tasks.
        more: other fields of `Policy`.

    Raises:
        PolicyError: no task has one.
    """
    found = [(task, sla) for task in dag.tasks if (sla := _sla_of(task, dag)) is not None]
    if not found:
        raise PolicyError(f"DAG {dag.dag_id}: no task has an sla")
    more.setdefault("runs", ("scheduled",))
    return [
        promise(
            *(task, Duration(at_most=sla, since="due")),
            id=f"{dag.dag_id}.{task.task_id}.sla",
            **more,
        )
        for task, sla in found
    ]


def _sla_of(task: Any, dag: Any) -> timedelta | None:
    """Return a task's own, which Airflow 3 keeps among its arguments alone, or else the DAG's."""
    for told in _arguments(task):
        if "sla" in told:
            return _length(told["sla"])
    return _length((getattr(dag, "default_args", None) or {}).get("sla"))


def _arguments(task: Any) -> Iterable[dict[str, Any]]:
    for name in ("_BaseOperator__init_kwargs", "partial_kwargs"):
        told = getattr(task, name, None)
        if isinstance(told, dict):
            yield told


def _length(value: object) -> timedelta | None:
    if value is None or isinstance(value, timedelta):
        return value
    raise PolicyError(f"sla is {value!r}: it is a timedelta")
