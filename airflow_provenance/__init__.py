"""Provenance for Airflow 3: which data, code and run made which data.

A task run's events flow one way: ``capture`` notes what happened, ``emit`` writes one line to a
spool, ``collect`` drains the spool into the ``store``, and ``lineage`` answers questions from it.
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["__version__"]
