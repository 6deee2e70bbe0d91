"""Our cluster policy: writes a DAG's promises into what Airflow serializes of it.

Airflow calls it for every DAG at every parse, in task processes too: it only moves what is in
memory. An exception here would make the DAG disappear, so none leaves.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from airflow.policies import hookimpl

_log = logging.getLogger(__name__)


@hookimpl
def dag_policy(dag: Any) -> None:
    """Stamp the promises of a DAG."""
    # Whoever promised something has loaded it. For all other DAGs, and their tasks, it stays out.
    declare = sys.modules.get("airflow_provenance.sla.declare")
    if declare is None:
        return
    try:
        declare.stamp(dag)
    except Exception as error:  # noqa: BLE001 - or the DAG disappears
        _log.error(
            "The promises of DAG %s are not known to its watchers: %s",
            getattr(dag, "dag_id", "?"),
            error,
        )
