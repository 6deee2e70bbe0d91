"""What hooks and `ObjectStoragePath` told Airflow's collector of hook lineage.

Making the collector imports every provider, which takes seconds, so it is only looked at when
something in the process has made it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

# No public way to empty it: Airflow makes a new process for every task, but not in `dag.test()`.
_COLLECTED = ("_inputs", "_outputs", "_input_counts", "_output_counts", "_extra", "_extra_counts")
# As `airflow.providers.common.sql.hooks.lineage` has it, which not every task has imported.
_SQL_JOB = "sql_job"


class Collected(NamedTuple):
    """Assets that were read and written, and what else hooks told, each as Airflow keeps it."""

    inputs: list[Any]
    outputs: list[Any]
    extra: list[Any]


class SqlJobs(NamedTuple):
    """What hooks ran; not all of it where Airflow's collector was full."""

    infos: list[Any]
    is_all: bool


def collected() -> Collected:
    """Return what was collected so far."""
    collector = _collector()
    if collector is None:
        return Collected([], [], [])
    told = collector.collected_assets
    return Collected(
        [info.asset for info in told.inputs],
        [info.asset for info in told.outputs],
        list(getattr(told, "extra", ())),
    )


def sql_jobs() -> SqlJobs:
    """Return what hooks reported of the SQL that they ran, in that order."""
    collector = _collector()
    if collector is None:
        return SqlJobs([], is_all=True)
    extra = collector.collected_assets.extra
    return SqlJobs([info for info in extra if info.key == _SQL_JOB], len(extra) < _most_extra())


def forget_collected() -> None:
    """Empty the collector: in a single-process run one task's files would leak into the next."""
    collector = _collector()
    for name in _COLLECTED:
        if hasattr(collector, name):
            getattr(collector, name).clear()


def _most_extra() -> int:
    from airflow.sdk import lineage

    return getattr(lineage, "MAX_COLLECTED_EXTRA", 200)


def _collector() -> Any:
    from airflow.sdk.lineage import get_hook_lineage_collector

    if not get_hook_lineage_collector.cache_info().currsize:
        return None
    collector = get_hook_lineage_collector()
    return collector if hasattr(collector, "collected_assets") else None
