"""Leaving out of an event the datasets that the policy does not want named, and saying so. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.formats import facets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provenance.domain.granularity import Looks

_Event = dict[str, Any]
_SIDES = ("inputs", "outputs")
# These texts name datasets, too, and cannot be read well enough to leave out one of them.
_NAMING_JOB_FACETS = ("sql", "sourceCode")
_NAMING_TASK_MEMBERS = ("inlets", "outlets")


def applied(event: _Event, looks: Looks, *, is_own: bool) -> _Event:
    """Return an event of a task as the policy wants it.

    Args:
        event: with all that is known; it is left as it is.
        looks: the policy, for the task's DAG.
        is_own: whether this is an event of the task's own job, which always says what was decided;
            others do so when something was left out.
    """
    named = {ref: looks.decide(ref) for ref in _refs(event)}
    left_out = sum(one.level == "none" for one in named.values())
    kept = _without_unnamed(event, looks, left_out) if looks.hides_some else event
    if not is_own and not left_out:
        return kept
    of_dag = looks.of_dag
    others = [
        {**ref._asdict(), "level": one.level, "rule": one.rule}
        for ref, one in named.items()
        if one.level not in (of_dag.level, "none")
    ]
    facet = facets.granularity_facet(of_dag.level, of_dag.rule, others, left_out)
    run = kept["run"]
    return {
        **kept,
        "run": {**run, "facets": {**(run.get("facets") or {}), facets.GRANULARITY: facet}},
    }


def _refs(event: _Event) -> Iterator[DatasetRef]:
    for side in _SIDES:
        for dataset in event.get(side) or ():
            yield _ref(dataset)


def _without_unnamed(event: _Event, looks: Looks, left_out: int) -> _Event:
    kept = {**event}
    for side in _SIDES:
        if kept.get(side):
            kept[side] = _named(kept[side], looks)
    run_facets = _named((event["run"].get("facets") or {}), looks)
    airflow = run_facets.get("airflow")
    if isinstance(airflow, dict):
        task, dag_run = airflow.get("task"), airflow.get("dagRun")
        if isinstance(task, dict):
            airflow["task"] = _without(task, _NAMING_TASK_MEMBERS)
        if isinstance(dag_run, dict) and looks.of_dag.level == "none":
            airflow["dagRun"] = _without(dag_run, ("conf",))
    kept["run"] = {**event["run"], "facets": run_facets}
    job = event.get("job")
    if isinstance(job, dict) and job.get("facets") and (left_out or looks.of_dag.level == "none"):
        kept["job"] = {**job, "facets": _without(job["facets"], _NAMING_JOB_FACETS)}
    return kept


def _named(part: Any, looks: Looks) -> Any:
    """Return a part of an event without list members that name what must not be named."""
    if isinstance(part, dict):
        return {key: _named(value, looks) for key, value in part.items()}
    if isinstance(part, list):
        return [
            _named(one, looks) for one in part if not _is_dataset(one) or looks.names(_ref(one))
        ]
    return part


def _is_dataset(part: Any) -> bool:
    return isinstance(part, dict) and "namespace" in part and "name" in part


def _without(holder: _Event, names: tuple[str, ...]) -> _Event:
    return {name: value for name, value in holder.items() if name not in names}


def _ref(dataset: _Event) -> DatasetRef:
    return DatasetRef(str(dataset.get("namespace")), str(dataset.get("name")))
