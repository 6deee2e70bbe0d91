"""Promises in a DAG file: one line each, on a DAG, a task or an asset.

::

    promise(dag, Deadline(at="09:00", zone="Europe/Berlin"), severity="page")
    promise(load, Duration(at_most=timedelta(minutes=30)))
    promise(orders, Freshness(at_most=timedelta(hours=25)))  # an asset

They are kept as an attribute of the DAG, or in the asset's ``extra``; `capture.policy` writes those
of a DAG and of its tasks' assets as JSON into its ``default_args`` at every parse, and so into the
serialized DAG. Nothing here imports Airflow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.dataset_names import dataset_name
from airflow_provenance.sla.objectives import Objective
from airflow_provenance.sla.policy import Policy, Target, from_plain, to_plain
from airflow_provenance.sla.refusals import meant

if TYPE_CHECKING:
    from airflow_provenance.sla.objectives import AnyObjective

STAMP = "airflow_provenance"
_ATTRIBUTE = "_airflow_provenance_promises"
_NO_SLUG = re.compile(r"[^A-Za-z0-9._-]+")


def promise(
    what: Any,
    objective: AnyObjective,
    *,
    id: str | None = None,
    **more: Any,
) -> Policy:
    """Promise something of a DAG, a task or an asset; return the promise.

    Args:
        what: the DAG, the task (a mapped one too), or the asset.
        objective: what is promised, such as ``Deadline(at="09:00", zone="Europe/Berlin")``.
        id: its name, unique among all promises; else made of the name of ``what`` and the kind.
        more: other fields of `Policy`: severity, owner, notify, on_failure, runs, zone, calendar.

    Raises:
        PolicyError: it cannot be promised so.
    """
    if not isinstance(objective, Objective):
        raise PolicyError(
            f"what is promised is a {type(objective).__name__}: "
            'give an objective, such as Deadline(at="09:00")'
        )
    what = getattr(what, "operator", what)  # what a call of a decorated task returns
    if isinstance(getattr(what, "uri", None), str) and isinstance(
        getattr(what, "extra", None), dict
    ):
        made = _made(Target(dataset=dataset_of_uri(what.uri)), objective, id, more)
        _add(what.extra.setdefault(STAMP, []), made, to_plain(made))
        return made
    task_id = getattr(what, "task_id", None)
    dag = what if task_id is None else getattr(what, "dag", None)
    dag_id = getattr(dag, "dag_id", None)
    if not isinstance(dag_id, str):
        raise PolicyError(
            f"a promise is of a DAG, a task in a DAG, or an asset, not of {type(what).__name__}"
        )
    zone = getattr(getattr(dag, "timezone", None), "name", None)
    if isinstance(zone, str) and "/" in zone:
        more.setdefault("zone", zone)
    made = _made(Target(dag=dag_id, task=task_id), objective, id, more)
    if _ATTRIBUTE not in vars(dag):
        setattr(dag, _ATTRIBUTE, [])
    _add(getattr(dag, _ATTRIBUTE), made, made)
    return made


def _made(
    target: Target, objective: AnyObjective, slug: str | None, more: dict[str, Any]
) -> Policy:
    if slug is None:
        name = target.dataset or ".".join(filter(None, (target.dag, target.task)))
        slug = _NO_SLUG.sub("-", f"{name}.{objective.kind}").strip("-.")[-200:]
    if "for" in more:
        more["hold"] = more.pop("for")
    if unknown := sorted(set(more) - set(Policy.__struct_fields__)):
        known = [name for name in Policy.__struct_fields__ if name not in ("target", "objective")]
        names = ", ".join("for" if name == "hold" else name for name in known)
        near = meant(unknown[0], known)
        raise PolicyError(f"a promise has no {unknown[0]!r}: {near}it takes {names}")
    made = Policy(id=slug, target=target, objective=objective, **more)
    try:
        return from_plain(to_plain(made))  # as it is read back: types that fit, or an error here
    except PolicyError as error:
        raise PolicyError(f"promise {slug!r}: {error}") from error


def _add(there: list[Any], made: Policy, item: Any) -> None:
    ids = {one.id if isinstance(one, Policy) else one.get("id") for one in there}
    if made.id in ids:
        raise PolicyError(f"two promises are named {made.id!r}: give one of them another id")
    there.append(item)


def dataset_of_uri(uri: str) -> str:
    """Return a dataset's name as OpenLineage has it, of an asset's URI.

    >>> dataset_of_uri("file:///data/orders.csv")
    'file//data/orders.csv'
    >>> dataset_of_uri("s3://lake/orders")
    's3://lake/orders'
    """
    return dataset_name(uri)


def promises_of(dag: Any) -> list[Policy]:
    """Return what was promised of a DAG and its tasks in its file."""
    return list(getattr(dag, _ATTRIBUTE, ()))


def stamp(dag: Any) -> None:
    """Write a DAG's promises, and those of the assets of its tasks, into its ``default_args``.

    Two DAGs that use one asset both have its promise; who reads them takes equal ones for one.
    """
    stamped = {one.id: to_plain(one) for one in promises_of(dag)}
    for task in getattr(dag, "tasks", ()):
        for asset in (*(getattr(task, "outlets", ()) or ()), *(getattr(task, "inlets", ()) or ())):
            extra = getattr(asset, "extra", None)
            for plain in (extra.get(STAMP) or ()) if isinstance(extra, dict) else ():
                stamped.setdefault(plain["id"], plain)
    if stamped:
        dag.default_args[STAMP] = list(stamped.values())


def read_stamp(default_args: object) -> tuple[list[Policy], list[str]]:
    """Return the promises in the ``default_args`` of a serialized DAG, and what is wrong there."""
    stamped = default_args.get(STAMP) if isinstance(default_args, dict) else None
    if not isinstance(stamped, list):
        return [], []
    found, problems = [], []
    for plain in stamped:
        try:
            found.append(from_plain(plain))
        except (PolicyError, msgspec.ValidationError) as error:
            problems.append(str(error))
    return found, problems
