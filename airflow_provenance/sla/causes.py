"""Why what was expected did not come, told apart by what was seen of Airflow meanwhile.

What was seen are conditions of a DAG, or of all of them, each from a time to a time. The first of
`ABSENT` that held while a run was awaited is taken for the cause: those that concern this DAG alone
come before those of the whole Airflow, and not having seen anything comes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provenance.sla.facts import Provenance

PAUSED = "paused"  # no breach: what is promised of a paused DAG is suspended
DAG_DELETED = "dag_deleted"
DAG_REMOVED = "dag_removed"  # from its file
IMPORT_ERROR = "import_error"
SCHEDULER_DOWN = "scheduler_down"
MAX_ACTIVE_RUNS = "max_active_runs"
POOL_FULL = "pool_full"
WAITS_FOR_ASSETS = "upstream_asset_not_updated"
AIRFLOW_UNREACHABLE = "airflow_unreachable"
SKIPPED = "skipped_without_catchup"
FAILED = "failed"
RUNNING = "still_running"
UNKNOWN = "unknown"

ABSENT = (
    DAG_DELETED,
    IMPORT_ERROR,
    DAG_REMOVED,
    SCHEDULER_DOWN,
    MAX_ACTIVE_RUNS,
    POOL_FULL,
    WAITS_FOR_ASSETS,
)


def why_absent(
    provenance: Provenance, dag: str, from_us: int, until_us: int, *, has_later: bool = False
) -> str:
    """Return why no run came between two times; `has_later`: one that was due later did come."""
    held = {
        one.kind
        for one in provenance.conditions(dag)
        if one.from_us <= until_us and (one.until_us is None or one.until_us > from_us)
    }
    found = next((kind for kind in ABSENT if kind in held), None)
    if found is None and has_later:
        return SKIPPED
    return found or (AIRFLOW_UNREACHABLE if AIRFLOW_UNREACHABLE in held else UNKNOWN)
