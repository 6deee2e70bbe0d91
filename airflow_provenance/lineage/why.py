"""Why data is as it is: what failed on the way to it, and which data speaks for the cause.

The walk upstream gives the versions that the subject was made from. Every check of these counts,
whoever made it: the run that wrote the data, or one that only read it to check it. Of one check of
one version the last outcome counts.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.identity import DagRunKey, DatasetRef, TaskRunKey
from airflow_provenance.domain.run import RunState, VersionStatus
from airflow_provenance.lineage.causes import Candidate, Failure, find_candidates
from airflow_provenance.lineage.checks import CheckOutcome, checks_of, rows_of
from airflow_provenance.lineage.subject import resolve_subject
from airflow_provenance.lineage.trace import Trace
from airflow_provenance.store.base import RunQuery, RunView

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.domain.run import RunDoc
    from airflow_provenance.store.base import ProvenanceReader, VersionView

_BAD_STATES = {RunState.FAIL, RunState.UP_FOR_RETRY, RunState.ABORT, RunState.UPSTREAM_FAILED}
# How far back to look for the last time that a check passed.
_MOST_EARLIER_RUNS = 50


class Finding(msgspec.Struct):
    """One check that failed, by runs of one job: on one version or on several.

    Attributes:
        failures: one for each version that failed it.
        candidates: where to look for the cause, the likeliest first.
        rows: how many rows were looked at; None where that is not known of all.
    """

    job: tuple[str, str]
    failures: list[Failure]
    candidates: list[Candidate]
    rows: int | None

    @property
    def outcome(self) -> CheckOutcome:
        """One of its outcomes: name, column and severity are those of all."""
        return self.failures[0].outcome

    @property
    def failed_rows(self) -> int | None:
        """How many rows failed in all, if that was counted."""
        counts = [one.outcome.failed_rows for one in self.failures]
        return None if None in counts else sum(one or 0 for one in counts)


class Why(msgspec.Struct):
    """The answer.

    Attributes:
        graph: all nodes and edges the answer speaks of.
        checked, passed: how many checks were made on the way, and passed.
        bad_tries: tries that failed before the ones that made the data.
        bad_versions: ids of versions whose writer failed.
        changed: sources that were read in several contents, with these versions' ids.
        rows: of versions, as far as runs said it.
    """

    graph: Trace
    findings: list[Finding]
    checked: int
    passed: int
    bad_tries: list[RunView]
    bad_versions: list[int]
    changed: dict[DatasetRef, list[int]]
    sources: list[int]
    rows: dict[int, int]


def why(store: ProvenanceReader, subjects: Sequence[str]) -> Why:
    """Say why data is as it is, or why a run found what it found.

    Args:
        store: whose provenance.
        subjects: one or more; see `lineage.subject`. A DAG run means all its tasks' runs.

    Raises:
        SubjectError: a subject is unknown or ambiguous.
    """
    roots = [one for text in subjects for one in resolve_subject(store, text, "upstream")]
    return why_nodes(store, roots)


def why_nodes(store: ProvenanceReader, roots: Iterable[int]) -> Why:
    """Say why nodes of the graph are as they are; see `why`."""
    look = _Look(store, list(dict.fromkeys(roots)))
    outcomes = look.outcomes()
    failed = [one for one in outcomes if not one[0].is_passed]
    return Why(
        graph=look.graph,
        findings=look.findings(failed),
        checked=len(outcomes),
        passed=len(outcomes) - len(failed),
        bad_tries=look.bad_tries(),
        bad_versions=[
            one.id for one in look.upstream_versions() if one.status == VersionStatus.SUSPECT
        ],
        changed=look.changed(),
        sources=[one.id for one in look.upstream_versions() if one.run_id is None],
        rows=look.rows,
    )


class _Look:
    """What one question reads from the store, each thing once."""

    def __init__(self, store: ProvenanceReader, roots: list[int]) -> None:
        self._store = store
        root_runs = store.runs_by_id(roots)
        for run in root_runs.copy().values():
            if isinstance(run.key, DagRunKey):
                root_runs |= {child.id: child for child in store.children(run.id)}
        roots = list(dict.fromkeys((*roots, *root_runs)))
        written = [one.id for run in root_runs for one in store.versions_of_run(run)]
        upstream = store.trace([*roots, *written], "upstream", None)
        self._upstream = {*roots, *written, *(one.src for one in upstream)}
        # Who read any of it may have checked it; what they read beside it, it was compared with.
        versions = store.versions_by_id(self._upstream)
        reads = store.trace([*versions], "downstream", 1)
        readers = {one.dst for one in reads if one.dst not in versions}
        beside = store.trace([*readers], "upstream", 1) if readers else []
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

    def outcomes(self) -> list[tuple[CheckOutcome, int, RunView]]:
        """Return the last outcome of each check of each version, with the version and the run."""
        last: dict[tuple[int, str, str | None], tuple[CheckOutcome, int, RunView]] = {}
        runs = sorted(self.graph.runs.values(), key=lambda run: (run.listed_us, run.id))
        for run in runs:
            for one in checks_of(run.id, self.docs[run.id]):
                for number in self._checked_versions(one):
                    last[number, one.name, one.column] = (one, number, run)
        return list(last.values())

    def findings(self, failed: list[tuple[CheckOutcome, int, RunView]]) -> list[Finding]:
        """Group failures by job and check, and look for candidates; the worst first."""
        groups: dict[tuple[tuple[str, str], str, str | None], list[Failure]] = defaultdict(list)
        by_version: dict[int, list[CheckOutcome]] = defaultdict(list)
        for one, number, _ in failed:
            by_version[number].append(one)
        earlier = {
            number: [
                (check, self._reads_for(check, before))
                for before in self._made_from(number)
                for check in by_version.get(before, ())
            ]
            for number in by_version
        }
        for one, number, run in failed:
            failure = Failure(one, number, self._reads_for(one, number), earlier[number])
            groups[run.job, one.name, one.column].append(failure)
        found = []
        for (job, _, _), failures in groups.items():
            self._add_before(job, failures)
            candidates = find_candidates(failures, self._docs_of(failures))
            for candidate in candidates:
                self._lead(candidate, failures)
            found.append(Finding(job, failures, candidates, self._rows_looked_at(failures)))
        return sorted(
            found,
            key=lambda one: (one.outcome.severity != "error", -(one.failed_rows or 0), one.job),
        )

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
        return [bad[one] for one in sorted(bad)]

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

    # ---- What the above looks up -----------------------------------------------------------------

    def _checked_versions(self, check: CheckOutcome) -> list[int]:
        """Return which of the subject's versions a check was of."""
        ends = (self._written_by if check.is_output else self._read_by)[check.run_id]
        versions = self.graph.versions
        return [
            one
            for one in dict.fromkeys(ends)
            if one in self._upstream
            and versions[one].dataset == check.dataset
            and check.partition in (None, versions[one].partition)
        ]

    def _reads_for(self, check: CheckOutcome, version: int) -> dict[int, VersionView]:
        """Return what was read to write or to check a version; a source itself, if it is one."""
        writer = self.graph.versions[version].run_id
        runs = (check.run_id,) if writer is None else (writer, check.run_id)
        read = {one for run in runs for one in self._read_by[run]} - {version}
        if writer is None:
            read.add(version)
        return {one: self.graph.versions[one] for one in read}

    def _made_from(self, version: int) -> list[int]:
        """Return all that is upstream of a version, the nearest first."""
        seen = {version: None}
        for node in (queue := [version]):  # grows while it is walked
            for one in self._read_by.get(node, ()):
                if one not in seen:
                    seen[one] = None
                    queue.append(one)
        return [*seen][1:]

    def _docs_of(self, failures: list[Failure]) -> dict[int, RunDoc]:
        writers = {self.graph.versions[one.version].run_id for one in failures}
        runs = {one.outcome.run_id for one in failures} | {one for one in writers if one}
        return {one: self.docs[one] for one in runs if one in self.docs}

    def _add_before(self, job: tuple[str, str], failures: list[Failure]) -> None:
        """Note what was read when the same check passed last before it failed."""
        wanted = failures[0].outcome
        earlier = self._store.runs(RunQuery(job=job[1], limit=_MOST_EARLIER_RUNS))
        docs = self._store.run_docs([run.id for run in earlier])
        passed = [
            run
            for run in earlier
            if any(
                one.is_passed and (one.name, one.column) == (wanted.name, wanted.column)
                for one in checks_of(run.id, docs[run.id])
            )
        ]
        for failure in failures:
            run_id = failure.outcome.run_id
            began = self.graph.runs[run_id].listed_us
            last = next((run for run in passed if run.listed_us < began), None)
            if last is not None:
                reads = self._store.trace([last.id], "upstream", 1)
                failure.before = defaultdict(set)
                for one in self._store.versions_by_id({edge.src for edge in reads}).values():
                    failure.before[one.dataset].add(one.content_id)

    def _lead(self, candidate: Candidate, failures: list[Failure]) -> None:
        """Say how a candidate leads to what was asked about, and where it comes from itself."""
        rows = [self.rows[one] for one in candidate.versions if one in self.rows]
        candidate.rows = rows[-1] if rows else None
        if not candidate.versions:
            return
        origins = self._store.trace(candidate.versions, "upstream", None)
        if origins:
            found = self._store.versions_by_id({edge.src for edge in origins})
            candidate.origins = sorted(
                number for number, one in found.items() if one.run_id is None
            )
        # Of ways as short as each other, that of the newest.
        ways = [
            self._way(one, failure)
            for failure in reversed(failures)
            for one in reversed(candidate.versions)
        ]
        candidate.path = min((way for way in ways if way), key=len, default=[])

    def _way(self, start: int, failure: Failure) -> list[int]:
        """Return the way from a node over what failed to what was asked about."""
        there = self._path(start, {failure.version})
        if not there:  # only what checked it has read it
            return self._path(start, {failure.outcome.run_id})
        return [*there, *self._path(failure.version, {*self.graph.roots})[1:]]

    def _path(self, start: int, ends: set[int]) -> list[int]:
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

    def _rows_looked_at(self, failures: list[Failure]) -> int | None:
        counts = [
            self.rows.get(one.version) if one.outcome.rows is None else one.outcome.rows
            for one in failures
        ]
        return None if None in counts else sum(one or 0 for one in counts)
