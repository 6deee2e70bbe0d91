"""Where data came from, and what it touches: a walk over runs and dataset versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.lineage.subject import resolve_subject
from airflow_provenance.store.base import (
    Direction,
    Edge,
    RunView,
    VersionView,
)

if TYPE_CHECKING:
    from airflow_provenance.store.base import (
        ProvenanceReader,
    )


class Trace(msgspec.Struct):
    """The answer: the subject's nodes, and all that was reached from them.

    Attributes:
        roots: the nodes that the subject means.
        runs, versions: every node by id.
        edges: along the data, from ``src`` to ``dst``, whichever way was walked.
    """

    direction: Direction
    roots: list[int]
    runs: dict[int, RunView]
    versions: dict[int, VersionView]
    edges: list[Edge]

    def edges_beside(self) -> dict[int, list[Edge]]:
        """Return for each node the edges that lead on, in the direction of the walk."""
        beside: dict[int, list[Edge]] = {}
        for edge in sorted(self.edges, key=lambda one: (one.src, one.dst, one.via)):
            here = edge.dst if self.direction == "upstream" else edge.src
            beside.setdefault(here, []).append(edge)
        return beside


def trace(
    store: ProvenanceReader, subject: str, direction: Direction, depth: int | None = None
) -> Trace:
    """Walk from a subject.

    Args:
        store: whose lineage.
        subject: see `lineage.subject`.
        direction: against the data (``upstream``) or along it (``downstream``).
        depth: how many steps; a run and a dataset version are each one. None for all.

    Raises:
        SubjectError: the subject is unknown or ambiguous.
    """
    roots = resolve_subject(store, subject, direction)
    edges = store.trace(roots, direction, depth)
    nodes = {*roots, *(edge.src for edge in edges), *(edge.dst for edge in edges)}
    runs = store.runs_by_id(nodes)
    return Trace(direction, roots, runs, store.versions_by_id(nodes - runs.keys()), edges)
