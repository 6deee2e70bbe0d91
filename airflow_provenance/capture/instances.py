"""Task instances as Airflow passes them to hooks: who they are, and what kind they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.clock import to_us
from airflow_provenance.domain.identity import TaskRef

if TYPE_CHECKING:
    from datetime import datetime


def task_ref(task_instance: Any) -> TaskRef:
    """Return which try of which task instance this is."""
    map_index = getattr(task_instance, "map_index", None)
    return TaskRef(
        task_instance.dag_id,
        task_instance.run_id,
        task_instance.task_id,
        -1 if map_index is None else map_index,
        task_instance.try_number,
    )


def is_orm(task_instance: Any) -> bool:
    """Whether this is a database row, as in scheduler and API server, not a running task."""
    return hasattr(task_instance, "_sa_instance_state")


def us_of(moment: datetime | None) -> int | None:
    """Return UTC microseconds."""
    return None if moment is None else to_us(moment)
