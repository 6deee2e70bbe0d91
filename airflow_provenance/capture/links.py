"""What a try of a task follows: the try before it, the tasks before it, what triggered it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow_provenance.emit.notes import Links


def links_of(task_instance: Any, consumed_asset_events: list[dict[str, Any]] | None) -> Links:
    """Return the links of a task instance in its own process."""
    task = task_instance.task
    upstream = sorted(getattr(task, "upstream_task_ids", None) or ())
    writers = [
        f"{event['dagId']}.{event['taskId']}"
        for event in consumed_asset_events or ()
        if event.get("taskId")
    ]
    return Links(
        previous_try=_previous_try(task_instance),
        is_rerun=_is_rerun(task_instance),
        upstream_jobs=tuple(f"{task_instance.dag_id}.{task_id}" for task_id in upstream),
        asset_jobs=tuple(dict.fromkeys(writers)),
        trigger_rule=_text(getattr(task, "trigger_rule", None)),
    )


def _previous_try(task_instance: Any) -> tuple[str, int] | None:
    number = task_instance.try_number - 1
    if number < 1:
        return None
    from airflow.providers.openlineage.plugins.macros import lineage_run_id

    earlier = SimpleNamespace(
        dag_id=task_instance.dag_id,
        task_id=task_instance.task_id,
        map_index=task_instance.map_index,
        try_number=number,
        get_template_context=task_instance.get_template_context,
    )
    return str(lineage_run_id(earlier)), number


def _is_rerun(task_instance: Any) -> bool:
    """Whether this is the first try since somebody cleared the task.

    Clearing sets ``max_tries`` to the number of the last try and the task's retries
    (`airflow.models.taskinstance.clear_task_instances`).
    """
    retries = getattr(task_instance.task, "retries", None)
    max_tries = getattr(task_instance, "max_tries", None)
    if retries is None or max_tries is None or task_instance.try_number < 2:
        return False
    return bool(max_tries - retries + 1 == task_instance.try_number)


def _text(rule: Any) -> str | None:
    return None if rule is None else str(getattr(rule, "value", rule))
