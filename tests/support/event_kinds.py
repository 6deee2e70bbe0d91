"""Which kinds of event and dataset an event of `tests/integration/dags/everything.py` has.

The facets that each kind must have are in ``tests/golden/facets.json``. An event can be of several
kinds: a mapped instance that ended well has the facets of both.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from airflow_provenance.formats import facets

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

_FIRST = {"sqlite_load", "postgres_load", "writes_files", "named"}
_AFTER = {
    *("mapped", "cleared", "after_cleared", "reads_named"),
    *("sqlite_hook", "sqlite_operator", "postgres_hook", "postgres_operator"),
}
_WITH_EXTRA = {"orders", "by_alias.csv"}


def event_kinds(event: Json) -> Iterator[str]:
    """Return the kinds of a run event."""
    dag_id, *below = event["job"]["name"].split(".")
    if not below:
        # Not `everything_partitions`: what nobody schedules has no nominal time.
        if dag_id == "everything" or event["eventType"] != "START":
            yield f"DAG run {event['eventType']}"
    elif below[1:2] == ["query"]:
        yield "query child"
    else:
        yield from _task_kinds(event, dag_id, below[0])


def _task_kinds(event: Json, dag_id: str, task_id: str) -> Iterator[str]:
    held, type_ = event["run"]["facets"], event["eventType"]
    task, noted = held.get(facets.TASK) or {}, held.get(facets.RUN) or {}
    if dag_id == "everything":
        yield _ended(type_, noted.get("state"))
    kinds = {
        "triggered by an asset": dag_id == "everything_by_region",
        "mapped instance": task.get("mapIndex", -1) >= 0,
        "mapped instance START": task.get("mapIndex", -1) >= 0 and type_ == "START",
        "second try": task.get("tryNumber", 1) > 1,
        "task after others": task_id in _AFTER,
        "task with a secret": task_id == "keeps_a_secret",
    }
    yield from (kind for kind, is_so in kinds.items() if is_so)


def _ended(type_: str, state: str | None) -> str:
    if type_ == "FAIL":
        return "task FAIL to be retried" if state == "UP_FOR_RETRY" else "task FAIL for good"
    return "task skipped COMPLETE" if state == "SKIPPED" else f"task {type_}"


def dataset_kinds(event: Json) -> Iterator[tuple[str, Json]]:
    """Return the kinds of the datasets of a task's own COMPLETE event, each with its dataset."""
    _, task_id, *below = [*event["job"]["name"].split("."), ""]
    state = (event["run"]["facets"].get(facets.RUN) or {}).get("state")
    if event["eventType"] != "COMPLETE" or below not in ([""], []) or state == "SKIPPED":
        return
    for side, did in (("inputs", "read"), ("outputs", "written")):
        for dataset in event.get(side) or []:
            for kind in _dataset_kinds(dataset, task_id):
                yield f"{kind} {did}", dataset
            if side == "outputs" and _is_table(dataset) and task_id not in _FIRST:
                yield "table made from another", dataset


def _dataset_kinds(dataset: Json, task_id: str) -> Iterator[str]:
    if dataset["namespace"] == "file":
        yield "file"
    if _is_table(dataset):
        yield "table"
    if dataset["name"] == "frame":
        yield "data frame"
    if dataset["name"] in ("regions", "summary"):
        yield "partition"
    if PurePath(dataset["name"]).name in _WITH_EXTRA and task_id in ("named", "by_alias"):
        yield "asset with extra"


def _is_table(dataset: Json) -> bool:
    return bool(dataset["namespace"].startswith(("sqlite:", "postgres:")))
