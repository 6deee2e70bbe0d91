"""OpenSLO v1 in and out: promises as documents that other tools read, and theirs as promises.

Flow in: `documents` (YAML with lines) -> `schema` (is it OpenSLO v1?) -> `read` (SLOs, with
`alerts`) -> `policy.from_plain`. Flow out: `write` -> `text`. Imports what `sla` has, nothing else.

What OpenSLO has a place for goes there: a success ratio is a ``ratioMetric`` of runs, with its
window, its budgeting method and its target. Any other kind is a ratio of periods in which it was
kept, and its own words are an annotation of the SLO, a string, under ``airflow-provenance/``:

==================  ================================================================================
``id``              where the id is no name that every tool takes
``target``          ``{"dag": ..., "task": ...}``, where the indicator is not one of ours
``objective``       all of an objective that is no success ratio
``at-least``        of 1: OpenSLO's targets are below it
``min-events``      and ``page-on-one``, ``window``: of a success ratio
``on-failure``      and ``runs``, ``zone``, ``calendar``, ``excusals``, ``expires-after``,
                    ``at-risk``, ``for``, ``description``: as in files of promises
==================  ================================================================================

What a place of OpenSLO says wins over an annotation that says it more exactly, where another tool
changed it. What we cannot take over is told, in a line each; `kept` keeps it in ``annotations`` of
the promise, as ``openslo/...``, from where `write` puts it back.
"""

from __future__ import annotations

from airflow_provenance.sla.openslo.read import (
    Imported,
    is_openslo,
    is_openslo_text,
    read_openslo,
    read_openslo_text,
)
from airflow_provenance.sla.openslo.text import promises_text
from airflow_provenance.sla.openslo.write import openslo_text

__all__ = [
    "Imported",
    "is_openslo",
    "is_openslo_text",
    "openslo_text",
    "promises_text",
    "read_openslo",
    "read_openslo_text",
]
