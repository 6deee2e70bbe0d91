"""Provenance for Airflow 3: which data, code and run made which data.

A task run's events flow one way: ``capture`` notes what happened, ``emit`` writes one line to a
spool, ``collect`` drains the spool into the ``store``, and ``lineage`` answers questions from it.

For DAG authors: `observe`, which tells what a task really read and wrote, and `promise`, which
declares what is promised of a DAG, task or asset, by the kinds of `sla.objectives`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provenance.capture import observe
    from airflow_provenance.sla.declare import promise

__version__ = "0.1.0"
__all__ = ["__version__", "observe", "promise"]


def __getattr__(name: str) -> Any:
    # By name and when asked for: every module imports this one, `domain` too.
    if name == "observe":
        return import_module("airflow_provenance.capture.observe")
    if name == "promise":
        return import_module("airflow_provenance.sla.declare").promise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
