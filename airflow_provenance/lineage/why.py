"""Why data is as it is: what failed on the way to it, and which data speaks for the cause.

The walk upstream gives the versions that the subject was made from (`lineage.look`). Every check of
these counts, whoever made it (`lineage.outcomes`); `lineage.causes` ranks where to look.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.domain.run import VersionStatus
from airflow_provenance.lineage.causes import Candidate, Earlier, Failure, find_candidates
from airflow_provenance.lineage.checks import CheckOutcome, checks_of
from airflow_provenance.lineage.look import Look
from airflow_provenance.lineage.subject import resolve_subject
from airflow_provenance.lineage.trace import Trace, walk
from airflow_provenance.store.base import RunQuery, RunView

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.domain.run import RunDoc
    from airflow_provenance.lineage.outcomes import Outcome
    from airflow_provenance.store.base import ProvenanceReader, VersionView

# How far back to look for the last time that a check passed.
_MOST_EARLIER_RUNS = 50


class Finding(msgspec.Struct):
    """One check that failed, by runs of one job: on one version or on several.

    Attributes:
        failures: one for each version that failed it.
        candidates: where to look for the cause, the likeliest first.
        rows: how many rows were looked at; None where that is not known of all.
        is_own: whether it is of what was asked about, not of what that was made from.
    """

    job: tuple[str, str]
    failures: list[Failure]
    candidates: list[Candidate]
    rows: int | None
    is_own: bool = False

    @property
    def outcome(self) -> CheckOutcome:
        """One of its outcomes: name, column and severity are those of all."""
        return self.failures[0].outcome

    @property
    def failed_rows(self) -> int | None:
        """How many rows failed in all, if that was counted."""
        counts = [one.outcome.failed_rows for one in self.failures]
        return None if None in counts else sum(one or 0 for one in counts)

    @property
    def badness(self) -> tuple[bool, int, tuple[str, str]]:
        """What sorts the worst first: errors before warnings, then by rows."""
        return (self.outcome.severity != "error", -(self.failed_rows or 0), self.job)


class Why(msgspec.Struct):
    """The answer.

    Attributes:
        graph: all nodes and edges the answer speaks of.
        findings: what failed of the subject itself, then what failed behind it; the worst first.
        checked, passed: how many checks were made on the way, and passed.
        bad_tries: tries that failed before the ones that made the data.
        bad_versions: ids of versions whose writer failed.
        changed: sources that were read in several contents, with these versions' ids.
        rows: of versions, as far as runs said it.
        failed_runs: the runs asked about that failed, with their errors' first lines.
        read_nothing: runs that the walk ends at, since nobody said what they had read.
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
    read_nothing: list[int]
    failed_runs: list[tuple[RunView, str | None]] = []


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


def why_nodes(store: ProvenanceReader, roots: Iterable[int], since_us: int = 0) -> Why:
    """Say why nodes of the graph are as they are; see `why`.

    Args:
        store: whose provenance.
        roots: the nodes.
        since_us: what runs before this checked, or failed at, is not told.
    """
    look = Look(store, list(dict.fromkeys(roots)), since_us)
    outcomes = look.outcomes()
    failed = [one for one in outcomes if not one.check.is_passed]
    return Why(
        graph=look.graph,
        findings=_Findings(store, look, failed).found(),
        checked=len(outcomes),
        passed=len(outcomes) - len(failed),
        bad_tries=look.bad_tries(),
        bad_versions=[
            one.id for one in look.upstream_versions() if one.status == VersionStatus.SUSPECT
        ],
        changed=look.changed(),
        sources=[one.id for one in look.upstream_versions() if one.run_id is None],
        rows=look.rows,
        read_nothing=look.read_nothing(),
        failed_runs=look.failed_runs(),
    )


class _Findings:
    """The checks that failed, by job and check, each with where to look for its cause."""

    def __init__(self, store: ProvenanceReader, look: Look, failed: list[Outcome]) -> None:
        self._store = store
        self._look = look
        self._failed = failed
        self._of_version: dict[int, list[Outcome]] = defaultdict(list)
        for one in failed:
            self._of_version[one.version].append(one)

    def found(self) -> list[Finding]:
        """Return them; first those of what was asked about, then the worst."""
        groups: dict[tuple[tuple[str, str], str, str | None], list[Failure]] = defaultdict(list)
        earlier = {version: self._earlier(version) for version in self._of_version}
        for one in self._failed:
            failure = Failure(
                one.check,
                one.version,
                self._look.read_to_write(one.version),
                self._beside(one),
                earlier[one.version],
                self._look.columns_behind(one.version),
            )
            groups[one.run.job, one.check.name, one.check.column].append(failure)
        found = [self._finding(job, failures) for (job, _, _), failures in groups.items()]
        return sorted(found, key=lambda one: (not one.is_own, *one.badness))

    def _finding(self, job: tuple[str, str], failures: list[Failure]) -> Finding:
        self._add_before(job, failures)
        candidates = find_candidates(failures, self._docs_of(failures))
        for candidate in candidates:
            self._lead(candidate, failures)
        own, asked = self._look.own, self._look.root_runs
        is_own = any(one.version in own or one.outcome.run_id in asked for one in failures)
        return Finding(job, failures, candidates, self._rows_looked_at(failures), is_own)

    def _beside(self, one: Outcome) -> dict[int, VersionView]:
        read = self._look.read_by(one.check.run_id)
        return {number: version for number, version in read.items() if number != one.version}

    def _earlier(self, version: int) -> list[Earlier]:
        """Return the checks that failed of what a version was made from, the nearest first."""
        return [
            Earlier(one.check, self._look.read_to_write(before) | self._beside(one))
            for before in self._look.made_from(version)
            for one in self._of_version.get(before, ())
        ]

    def _docs_of(self, failures: list[Failure]) -> dict[int, RunDoc]:
        versions = self._look.graph.versions
        writers = {versions[one.version].run_id for one in failures}
        runs = {one.outcome.run_id for one in failures} | {one for one in writers if one}
        return {one: self._look.docs[one] for one in runs if one in self._look.docs}

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
            began = self._look.graph.runs[failure.outcome.run_id].listed_us
            last = next((run for run in passed if run.listed_us < began), None)
            if last is not None:
                reads = self._store.trace([last.id], "upstream", 1)
                failure.before = defaultdict(set)
                for one in self._store.versions_by_id({edge.src for edge in reads}).values():
                    failure.before[one.dataset].add(one.content_id)

    def _lead(self, candidate: Candidate, failures: list[Failure]) -> None:
        """Say how a candidate leads to what was asked about, and where it comes from itself."""
        rows = [self._look.rows[one] for one in candidate.versions if one in self._look.rows]
        candidate.rows = rows[-1] if rows else None
        if not candidate.versions:
            return
        origins = walk(self._store, candidate.versions, "upstream", None)
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
        """Return the way from a node over what failed to what was asked about.

        Of what only a run that checked had read, the way ends at that run.
        """
        look = self._look
        if there := look.path(start, {failure.version}):
            return [*there, *look.path(failure.version, {*look.graph.roots})[1:]]
        checked = look.path(start, {failure.outcome.run_id})
        return checked or look.path(start, {one.outcome.run_id for one in failure.speaking})

    def _rows_looked_at(self, failures: list[Failure]) -> int | None:
        counts = [
            self._look.rows.get(one.version) if one.outcome.rows is None else one.outcome.rows
            for one in failures
        ]
        return None if None in counts else sum(one or 0 for one in counts)
