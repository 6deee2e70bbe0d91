"""A trace as people think of it: a mapped task is one, and so are a task and its SQL statements.

What is folded is still known: each node that is left says which it stands for.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.identity import TaskRunKey, WireKey
from airflow_provenance.domain.run import RunState, parent_of
from airflow_provenance.lineage.trace import Trace
from airflow_provenance.store.base import Edge, RunView, VersionView

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.store.base import ProvenanceReader


class Folded(msgspec.Struct):
    """A smaller graph.

    Attributes:
        trace: with one node for many.
        members: those that a node stands for, of nodes that stand for more than one.
        place: which node of the smaller graph a node of the whole one is in.
    """

    trace: Trace
    members: dict[int, list[RunView | VersionView]]
    place: dict[int, int]


def parent_tasks(store: ProvenanceReader, runs: Iterable[RunView]) -> dict[int, RunView]:
    """Return the task that each run of something within a task, as of a statement, belongs to."""
    within = [run for run in runs if isinstance(run.key, WireKey)]
    docs = store.run_docs([run.id for run in within])
    named = {run.id: parent_of(run.key, docs[run.id]) for run in within}
    found = store.runs_by_key({key for key in named.values() if isinstance(key, TaskRunKey)})
    return {number: found[key] for number, key in named.items() if key in found}


def fold(store: ProvenanceReader, answer: Trace) -> Folded:
    """Fold what runs within a task into it, mapped tasks into one, and what these write alike."""
    runs = dict(answer.runs)
    place: dict[int, int] = {}
    for number, task in parent_tasks(store, answer.runs.values()).items():
        runs.setdefault(task.id, task)
        place[number] = task.id
    for group in _mapped(run for run in runs.values() if run.id not in place):
        place |= {one.id: group[0].id for one in group[1:]}
    place = {node: place.get(to, to) for node, to in place.items()}
    place |= _written_alike(answer, place)
    every: dict[int, RunView | VersionView] = {**runs, **answer.versions}
    members: dict[int, list[RunView | VersionView]] = defaultdict(list)
    for node in sorted(every):
        members[place.get(node, node)].append(every[node])
    return Folded(
        _smaller(answer, runs, place),
        {node: these for node, these in members.items() if len(these) > 1},
        {node: place.get(node, node) for node in every},
    )


def _mapped(runs: Iterable[RunView]) -> Iterable[list[RunView]]:
    """Group the instances of one mapped task in one DAG run; first the one that ended worst."""
    groups: dict[tuple[str, str, str], list[RunView]] = defaultdict(list)
    for run in runs:
        if isinstance(run.key, TaskRunKey) and run.key.map_index >= 0:
            groups[run.key.dag_id, run.key.run_id, run.key.task_id].append(run)
    for group in groups.values():
        yield sorted(group, key=lambda one: (one.state == RunState.COMPLETE, one.id))


def _written_alike(answer: Trace, place: dict[int, int]) -> dict[int, int]:
    """Group what the instances of a mapped task wrote, one each, for the same readers."""
    readers: dict[int, set[int]] = defaultdict(set)
    for edge in answer.edges:
        readers[edge.src].add(place.get(edge.dst, edge.dst))
    groups: dict[tuple[int, frozenset[int]], list[int]] = defaultdict(list)
    for number, version in sorted(answer.versions.items()):
        run = answer.runs.get(version.run_id or 0)
        if run is not None and isinstance(run.key, TaskRunKey) and run.key.map_index >= 0:
            groups[place.get(run.id, run.id), frozenset(readers[number])].append(number)
    return {one: group[0] for group in groups.values() for one in group[1:]}


def _smaller(answer: Trace, runs: dict[int, RunView], place: dict[int, int]) -> Trace:
    edges: dict[tuple[int, int], Edge] = {}
    for edge in answer.edges:
        src, dst = place.get(edge.src, edge.src), place.get(edge.dst, edge.dst)
        writer = answer.versions[edge.src].run_id if edge.src in answer.versions else None
        # One statement reads what another of the same task has written: that is within the task.
        is_within = writer is not None and place.get(writer, writer) == dst
        if src != dst and not is_within:
            edges.setdefault((src, dst), Edge(dst, src, edge.rule, edge.via))
    return Trace(
        answer.direction,
        list(dict.fromkeys(place.get(one, one) for one in answer.roots)),
        {node: run for node, run in runs.items() if node not in place},
        {node: one for node, one in answer.versions.items() if node not in place},
        list(edges.values()),
        answer.is_cut,
    )
