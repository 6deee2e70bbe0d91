"""Where data came from, and what it touches: a walk over runs and dataset versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.linking import LinkRule
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
        is_cut: whether there is more than was asked for.
    """

    direction: Direction
    roots: list[int]
    runs: dict[int, RunView]
    versions: dict[int, VersionView]
    edges: list[Edge]
    is_cut: bool = False

    def edges_beside(self) -> dict[int, list[Edge]]:
        """Return for each node the edges that lead on, in the direction of the walk."""
        beside: dict[int, list[Edge]] = {}
        for edge in sorted(self.edges, key=lambda one: (one.src, one.dst, one.via)):
            here = edge.dst if self.direction == "upstream" else edge.src
            beside.setdefault(here, []).append(edge)
        return beside


def trace(
    store: ProvenanceReader,
    subject: str,
    direction: Direction,
    depth: int | None = None,
    max_nodes: int | None = None,
) -> Trace:
    """Walk from a subject.

    Args:
        store: whose lineage.
        subject: see `lineage.subject`.
        direction: against the data (``upstream``) or along it (``downstream``).
        depth: how many steps; a run and a dataset version are each one. None for all.
        max_nodes: after so many no further ones are looked at. None for all.

    Raises:
        SubjectError: the subject is unknown or ambiguous.
    """
    return trace_nodes(
        store, resolve_subject(store, subject, direction), direction, depth, max_nodes
    )


def trace_nodes(
    store: ProvenanceReader,
    roots: list[int],
    direction: Direction,
    depth: int | None = None,
    max_nodes: int | None = None,
) -> Trace:
    """Walk from nodes of the graph; see `trace`."""
    is_cut = False
    if max_nodes is None:
        edges = walk(store, roots, direction, depth)
    else:
        roots, is_cut = roots[:max_nodes], len(roots) > max_nodes
        edges, is_more = _walk(store, roots, direction, depth, max_nodes)
        is_cut = is_cut or is_more
    nodes = {*roots, *(edge.src for edge in edges), *(edge.dst for edge in edges)}
    runs = store.runs_by_id(nodes)
    versions = store.versions_by_id(nodes - runs.keys())
    return Trace(direction, roots, runs, versions, edges, is_cut)


def walk(
    store: ProvenanceReader, nodes: list[int], direction: Direction, depth: int | None
) -> list[Edge]:
    """Return what the store's own walk finds, without what only an asset's name leads to.

    An asset that is a name alone holds no data that a run could have added to: its versions are
    events, and the earlier ones are not what the later ones were made from.
    """
    edges = store.trace(nodes, direction, depth)
    appended = {edge.dst for edge in edges if edge.rule == LinkRule.APPENDED}
    found = store.versions_by_id(appended) if appended else {}
    names = {number for number, one in found.items() if _is_name_alone(one)}
    if not names:
        return edges
    beside: dict[int, list[Edge]] = {}
    for edge in edges:
        if edge.rule != LinkRule.APPENDED or edge.dst not in names:
            here = edge.dst if direction == "upstream" else edge.src
            beside.setdefault(here, []).append(edge)
    kept, seen = list[Edge](), {*nodes}
    for node in (queue := [*seen]):  # grows while it is walked
        for edge in beside.get(node, ()):
            kept.append(edge)
            end = edge.src if direction == "upstream" else edge.dst
            if end not in seen:
                seen.add(end)
                queue.append(end)
    return kept


def _is_name_alone(version: VersionView) -> bool:
    return version.content_id is None and version.dataset.namespace.startswith("airflow://")


def _walk(
    store: ProvenanceReader,
    roots: list[int],
    direction: Direction,
    depth: int | None,
    max_nodes: int,
) -> tuple[list[Edge], bool]:
    """Return the edges among the first nodes that are reached, and whether there are more."""
    seen, frontier, found, step = set(roots), roots, list[Edge](), 0
    while frontier and (depth is None or step < depth):
        step += 1
        following: list[int] = []
        edges = walk(store, frontier, direction, 1)
        for edge in sorted(edges, key=lambda one: (one.dst, one.src, one.via)):
            end = edge.src if direction == "upstream" else edge.dst
            if end not in seen:
                if len(seen) == max_nodes:
                    return found, True
                seen.add(end)
                following.append(end)
            found.append(edge)
        frontier = following
    return found, bool(frontier and walk(store, frontier, direction, 1))
