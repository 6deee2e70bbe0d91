"""SQL that is true of the runs of some owners: see `store.base.Owners`.

Which DAG a run belongs to is computed from the name of its job: see `tables.run`. So no index finds
the runs of many DAGs; but the database reads on until it has a page, and sends that page alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provenance.store.base import Owners

if TYPE_CHECKING:
    from airflow_provenance.store.sql.bulk import Bulk

# None for a run of no DAG.
DAG = (
    "CASE r.kind WHEN 1 THEN j.name "
    "WHEN 0 THEN substr(j.name, 1, length(j.name) - length(r.task_id) - 1) END"
)


def owned(bulk: Bulk, owners: Owners) -> tuple[str, list[str]]:
    """Return the condition on a run ``r`` and its job ``j``, and its parameters."""
    sql = (
        f"((r.kind < 2 AND {DAG} IN ({bulk.texts()})) "
        f"OR (r.kind = 2 AND j.namespace IN ({bulk.texts()})))"
    )
    return sql, [json.dumps(sorted(owners.dag_ids)), json.dumps(sorted(owners.namespaces))]


def has_owned(bulk: Bulk, owners: Owners, of: str) -> tuple[str, list[Any]]:
    """Return the condition that `of`, what follows ``run r`` and its job, finds a run of theirs."""
    sql, values = owned(bulk, owners)
    return f"EXISTS (SELECT 1 FROM run r JOIN job j ON j.id = r.job_id {of} AND {sql})", values


def read_owners(bulk: Bulk) -> Owners:
    """Return all owners: one pass over the runs, which sends a row for each."""
    rows = bulk.fetch(
        f"SELECT DISTINCT {DAG}, CASE r.kind WHEN 2 THEN j.namespace END "
        "FROM run r JOIN job j ON j.id = r.job_id WHERE r.absorbed_by IS NULL"
    )
    return Owners(
        frozenset(row[0] for row in rows if row[0] is not None),
        frozenset(row[1] for row in rows if row[1] is not None),
    )
