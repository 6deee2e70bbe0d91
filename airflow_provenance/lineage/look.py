"""What one question of `why` reads from the store, each thing once, and what it says then.

The walk upstream gives what the subject was made from; beside it stand the runs that only read
some of that, perhaps to check it, and what else they read.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey
from airflow_provenance.domain.run import RunState
from airflow_provenance.lineage.checks import columns_made_from, facet_of, rows_of
from airflow_provenance.lineage.outcomes import Ends, Outcome, last_outcomes
from airflow_provenance.lineage.trace import Trace, walk

if TYPE_CHECKING:
    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.store.base import ProvenanceReader, RunView, VersionView

_BAD_STATES = {RunState.FAIL, RunState.UP_FOR_RETRY, RunState.ABORT, RunState.UPSTREAM_FAILED}


class Look:
    """What one question reads from the store, each thing once."""

    def __init__(self, store: ProvenanceReader, roots: list[int], since_us: int = 0) -> None:
        self._store, self._since_us = store, since_us
        self._asked = {*roots}
        root_runs = store.runs_by_id(roots)
        for run in root_runs.copy().values():
            if isinstance(run.key, DagRunKey):
                root_runs |= {child.id: child for child in store.children(run.id)}
        self.root_runs = {*root_runs}
        roots = list(dict.fromkeys((*roots, *root_runs)))
        written = [one.id for run in root_runs for one in store.versions_of_run(run)]
        self.own = {*roots, *written}
        upstream = walk(store, [*roots, *written], "upstream", None)
        self._upstream = {*roots, *written, *(one.src for one in upstream)}
        # Who read any of it may have checked it; what they read beside it, it was compared with.
        versions = store.versions_by_id(self._upstream)
        reads = walk(store, [*versions], "downstream", 1)
        readers = {one.dst for one in reads if one.dst not in versions}
        beside = walk(store, [*readers], "upstream", 1) if readers else []
        edges = {(one.dst, one.src, one.via): one for one in (*upstream, *beside)}
        nodes = {*roots, *written, *(end for one in edges.values() for end in (one.src, one.dst))}
        runs = store.runs_by_id(nodes)
        self.graph = Trace(
            "upstream",
            roots,
            runs,
            store.versions_by_id(nodes - runs.keys()),
            list(edges.values()),
        )
        self.docs = store.run_docs([*runs])
        self._read_by: dict[int, list[int]] = defaultdict(list)
        self._leads_to: dict[int, list[int]] = defaultdict(list)
        for edge in self.graph.edges:
            self._read_by[edge.dst].append(edge.src)
            self._leads_to[edge.src].append(edge.dst)
        self._written_by: dict[int, list[int]] = defaultdict(list)
        for version in self.graph.versions.values():
            if version.run_id is not None:
                self._written_by[version.run_id].append(version.id)
        self.rows = self._rows()

    def upstream_versions(self) -> list[VersionView]:
        """Return the versions that the subject was made from, and itself."""
        versions = self.graph.versions
        return [versions[one] for one in sorted(self._upstream) if one in versions]

    def outcomes(self) -> list[Outcome]:
        """Return the last outcome of each check of each of these versions."""
        versions = {one.id: one for one in self.upstream_versions()}
        ends = Ends(self._read_by, self._written_by)
        runs = [run for run in self.graph.runs.values() if run.listed_us >= self._since_us]
        return last_outcomes(versions, runs, self.docs, ends)

    def read_nothing(self) -> list[int]:
        """Return the runs that the walk ends at, though no source is there: nobody said one."""
        asked = self.root_runs if len(self.root_runs) == 1 else set()
        return [
            number
            for number in sorted(self._upstream & self.graph.runs.keys())
            if (self._written_by[number] or number in asked)
            and not self.docs[number].inputs
            and not isinstance(self.graph.runs[number].key, DagRunKey)
            and self.graph.runs[number].state.is_done
        ]

    def bad_tries(self) -> list[RunView]:
        """Return the tries that ended badly before one that is in the graph, and bad runs in it."""
        bad = {
            run.id: run
            for run in self.graph.runs.values()
            if run.id in self._upstream and run.state in _BAD_STATES
        }
        for run in self.graph.runs.values():
            if (
                run.id in self._upstream
                and isinstance(run.key, TaskRunKey)
                and run.key.try_number > 1
            ):
                tries = self._store.siblings(run.id)
                bad |= {one.id: one for one in tries if one.state in _BAD_STATES}
        return [bad[one] for one in sorted(bad) if bad[one].listed_us >= self._since_us]

    def failed_runs(self) -> list[tuple[RunView, str | None]]:
        """Return the runs asked about that failed, each with its error's first line."""
        found = []
        for number in sorted(self.root_runs):
            run = self.graph.runs[number]
            # A try that was retried is one of many of a DAG run: its end is told by the last.
            is_asked = number in self._asked or run.state == RunState.FAIL
            if is_asked and run.state in _BAD_STATES:
                told = facet_of(self.docs[number].run_facets, "errorMessage").get("message")
                lines = str(told or "").strip().splitlines()
                found.append((run, lines[0] if lines else None))
        return found

    def changed(self) -> dict[DatasetRef, list[int]]:
        """Return the sources that were read in more than one content."""
        read: dict[tuple[DatasetRef, str | None], dict[str | None, int]] = defaultdict(dict)
        for one in self.upstream_versions():
            if one.run_id is None:
                read[one.dataset, one.partition][one.content_id] = one.id
        return {
            ref: sorted(contents.values())
            for (ref, _), contents in read.items()
            if len(contents) > 1
        }

    def read_to_write(self, version: int) -> dict[int, VersionView]:
        """Return what was read to write a version; a source itself, if it is one."""
        writer = self.graph.versions[version].run_id
        return {version: self.graph.versions[version]} if writer is None else self.read_by(writer)

    def read_by(self, run: int) -> dict[int, VersionView]:
        """Return what a run read."""
        return {one: self.graph.versions[one] for one in self._read_by[run]}

    def columns_behind(self, version: int) -> set[tuple[DatasetRef, str]]:
        """Return the columns that a version was made from, as column lineage says."""
        view = self.graph.versions[version]
        doc = self.docs.get(view.run_id or 0)
        ios = () if doc is None else doc.outputs.values()
        return {
            column for io in ios if io.dataset == view.dataset for column in columns_made_from(io)
        }

    def made_from(self, version: int) -> list[int]:
        """Return all that is upstream of a version, the nearest first."""
        seen = {version: None}
        for node in (queue := [version]):  # grows while it is walked
            for one in self._read_by.get(node, ()):
                if one not in seen:
                    seen[one] = None
                    queue.append(one)
        return [*seen][1:]

    def path(self, start: int, ends: set[int]) -> list[int]:
        """Return the shortest way along the data from a node to one of some, if there is one."""
        came_from: dict[int, int | None] = {start: None}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            if node in ends:
                path = [node]
                while (before := came_from[path[-1]]) is not None:
                    path.append(before)
                return path[::-1]
            for following in sorted(self._leads_to.get(node, ())):
                if following not in came_from:
                    came_from[following] = node
                    queue.append(following)
        return []

    def _rows(self) -> dict[int, int]:
        rows: dict[int, int] = {}
        for run_id, doc in self.docs.items():
            for side, numbers in (
                (doc.inputs, self._read_by[run_id]),
                (doc.outputs, self._written_by[run_id]),
            ):
                counts = {(io.dataset, io.partition): rows_of(io) for io in side.values()}
                for number in numbers:
                    if number in self.graph.versions:  # and not another run
                        version = self.graph.versions[number]
                        count = counts.get((version.dataset, version.partition))
                        if count is not None:
                            rows.setdefault(number, count)
        return rows
