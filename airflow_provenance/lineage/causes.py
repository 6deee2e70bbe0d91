"""Where to look for the cause of a failed check: datasets, ranked by the evidence against each.

Nothing here knows what any data means. Each rule is one observation about a dataset that the run
which wrote what was checked had read, or the run which checked it:

=============  ====  ===============================================================================
``compared``    100  the check names it as what values are compared with; or so does a failed check
                     of the same data behind it
``changed``      60  its content is another than when the same check passed last
``failed``       50  a check of it failed, too, of the same data
``lineage``      40  the column that was checked comes from it, as column lineage says
``named``        30  the check's name has a word of its name
``column``       20  it has a column of that name
``unchanged``    10  several runs failed the check, and all of them read this one content of it
``source``        5  no run in the store wrote it: what is wrong with it came with it
``read``          1  it was read for what was checked
=============  ====  ===============================================================================

The same data, that is the same column, or the whole of what is checked; of a check that has no
column it is also a column that the checked one was made from, as column lineage says.

What only the run which checked had read is no candidate by that alone: nothing in the data came
from it. One of the first three rules or the check's name must tie it to the check.

The weights only rank: what is compared with goes before all the rest, a coincidence of names never
before something that was seen. Every candidate is told with its rules, so that a reader can judge.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.lineage.checks import CheckOutcome, columns_behind, columns_of
from airflow_provenance.store.base import VersionView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provenance.domain.run import Io, RunDoc

WEIGHTS: Final = {
    "compared": 100,
    "changed": 60,
    "failed": 50,
    "lineage": 40,
    "named": 30,
    "column": 20,
    "unchanged": 10,
    "source": 5,
    "read": 1,
}
# These tie to a check what nothing in the data came from.
_TIES: Final = {"compared", "changed", "failed", "named"}
_WORD = re.compile(r"[^\W\d_]+")
# Shorter ones are endings of files and little words of check names.
_SHORTEST_WORD = 4


class Evidence(msgspec.Struct, frozen=True):
    """One observation: by which rule, and in words."""

    rule: str
    text: str


class Candidate(msgspec.Struct):
    """A dataset that may be the cause.

    Attributes:
        versions: which of its versions were read for what was checked.
        origins: the source versions that it was made from; none if it is a source itself.
        path: node ids along the data, from it to what was asked about.
        failures: of how many failed checks it is a candidate.
    """

    dataset: DatasetRef
    versions: list[int]
    evidence: list[Evidence]
    failures: int = 1
    rows: int | None = None
    origins: list[int] = []
    path: list[int] = []

    @property
    def score(self) -> int:
        """How much speaks for it."""
        return sum(WEIGHTS[one.rule] for one in self.evidence)


class Earlier(msgspec.Struct):
    """A check that failed of what the data was made from, and what was read by who made it."""

    outcome: CheckOutcome
    reads: dict[int, VersionView]


class Failure(msgspec.Struct):
    """One failed check with what was read for it: what the rules look at.

    Attributes:
        version: what was checked.
        reads: what the run that wrote it had read, by version id; of a source, itself.
        beside: what else the run that checked it had read.
        earlier: checks that failed of what it was made from.
        columns: what its columns were made from, as column lineage says.
        before: contents of those datasets when the same check passed last; None: it never did.
    """

    outcome: CheckOutcome
    version: int
    reads: dict[int, VersionView]
    beside: dict[int, VersionView] = {}
    earlier: list[Earlier] = []
    columns: set[tuple[DatasetRef, str]] = set()
    before: dict[DatasetRef, set[str | None]] | None = None

    @property
    def all_reads(self) -> dict[int, VersionView]:
        """What was read to write or to check it."""
        return {**self.beside, **self.reads}

    @property
    def speaking(self) -> list[Earlier]:
        """Those of the earlier ones that are about the same data."""
        return [one for one in self.earlier if self._is_same(one.outcome)]

    def _is_same(self, earlier: CheckOutcome) -> bool:
        if earlier.column is None:
            return True
        if self.outcome.column is None:
            return (earlier.dataset, earlier.column) in self.columns
        return earlier.column == self.outcome.column


class Seen(msgspec.Struct):
    """A dataset that may be the cause, as the rules look at it.

    Attributes:
        versions: those that were read to write what was checked, to check it, or to check what it
            was made from.
        is_behind: whether what was checked was written by who had read it.
        is_read: whether it was read to write or to check it.
    """

    ref: DatasetRef
    versions: dict[int, VersionView] = {}
    is_behind: bool = False
    is_read: bool = False
    failures: int = 0


def find_candidates(
    failures: list[Failure],
    docs: Mapping[int, RunDoc],
) -> list[Candidate]:
    """Return the candidates of failures of one check, the likeliest first.

    Of two for which as much speaks, what was read to write the data goes first.

    Args:
        failures: of the same check by runs of the same job.
        docs: of the runs that checked or wrote, by run id.
    """
    ios = list(_ios(docs.values()))
    found: list[tuple[bool, Candidate]] = []
    for seen in _seen(failures):
        evidence = [
            Evidence(rule, text)
            for rule in WEIGHTS
            if (text := _say(rule, seen, failures, ios)) is not None
        ]
        if seen.is_behind or any(one.rule in _TIES for one in evidence):
            versions = sorted(seen.versions)
            candidate = Candidate(seen.ref, versions, evidence, max(seen.failures, 1))
            found.append((seen.is_behind, candidate))
    found.sort(key=lambda one: (-one[1].score, not one[0], -one[1].failures, one[1].dataset))
    return [candidate for _, candidate in found]


def _seen(failures: list[Failure]) -> list[Seen]:
    """Return the datasets that were read for what was checked, or that checks compare with."""
    seen: dict[DatasetRef, Seen] = {}
    for failure in failures:
        looked_at = failure.all_reads
        compared = [ref for ref, _ in failure.outcome.compared_with]
        for earlier in failure.speaking:
            others = {ref for ref, _ in earlier.outcome.compared_with}
            compared.extend(others)
            looked_at |= {key: one for key, one in earlier.reads.items() if one.dataset in others}
        for number, version in looked_at.items():
            one = seen.setdefault(version.dataset, Seen(version.dataset))
            one.versions[number] = version
            one.is_behind |= number in failure.reads
            one.is_read |= number in failure.all_reads
        for ref in {one.dataset for one in looked_at.values()}:
            seen[ref].failures += 1
        for ref in compared:
            seen.setdefault(ref, Seen(ref))
    return [*seen.values()]


def _ios(docs: Iterable[RunDoc]) -> Iterable[Io]:
    for doc in docs:
        yield from (*doc.inputs.values(), *doc.outputs.values())


def _say(rule: str, seen: Seen, failures: list[Failure], ios: list[Io]) -> str | None:
    """Return what a rule has to say of a dataset, None if nothing."""
    ref, versions = seen.ref, seen.versions
    if rule == "compared":
        return _compared(ref, failures) or _compared_earlier(ref, failures)
    if rule == "changed":
        return _changed(ref, failures)
    if rule == "failed":
        return _failed(ref, failures)
    if rule in ("lineage", "column"):
        return _columns(rule, ref, failures[0].outcome, ios) if seen.is_behind else None
    if rule == "named":
        word = _shared_word(failures[0].outcome.name, ref)
        return None if word is None else f"the check's name speaks of '{word}'"
    if rule == "unchanged":
        is_one = len(versions) == 1 and _all_read(ref, failures)
        return f"all {len(failures)} that failed read the same content of it" if is_one else None
    if rule == "source":
        is_source = versions and all(one.run_id is None for one in versions.values())
        return "a source: no run here wrote it" if is_source else None
    if seen.is_behind:
        return "read for what was checked"
    return "read by the run that checked" if seen.is_read else None


def _compared(ref: DatasetRef, failures: list[Failure]) -> str | None:
    columns = {
        column for one in failures for other, column in one.outcome.compared_with if other == ref
    }
    if not columns:
        return None
    column = next((one for one in columns if one), None)
    return f"the check looks its values up in it{f' (column {column})' if column else ''}"


def _compared_earlier(ref: DatasetRef, failures: list[Failure]) -> str | None:
    for failure in reversed(failures):
        for check in (one.outcome for one in failure.speaking):
            for other, column in check.compared_with:
                if other == ref:
                    whose = check.dataset.name.rstrip("/").rpartition("/")[2]
                    of = f" (column {column})" if column else ""
                    return f"the failed {check.title} of {whose} looks here{of}"
    return None


def _failed(ref: DatasetRef, failures: list[Failure]) -> str | None:
    own = (
        check
        for failure in failures
        for check in (failure.outcome, *(one.outcome for one in failure.speaking))
    )
    title = next((check.title for check in own if check.dataset == ref), None)
    return None if title is None else f"its own check failed: {title}"


def _changed(ref: DatasetRef, failures: list[Failure]) -> str | None:
    for one in failures:
        now = {read.content_id for read in one.all_reads.values() if read.dataset == ref}
        before = (one.before or {}).get(ref)
        if now and before and None not in now | before and now != before:
            return "its content has changed since the check last passed"
    return None


def _columns(rule: str, ref: DatasetRef, outcome: CheckOutcome, ios: list[Io]) -> str | None:
    column = outcome.column
    if rule == "lineage":
        # Of a check of rows, any column of what was checked speaks.
        of = (io for io in ios if io.dataset == outcome.dataset)
        if any(ref in columns_behind(io, column) for io in of):
            return f"{f'column {column}' if column else 'what was checked'} was made from it"
        return None
    if column and any(column in columns_of(io) for io in ios if io.dataset == ref):
        return f"it has a column {column}: the values may have come with it"
    return None


def _all_read(ref: DatasetRef, failures: list[Failure]) -> bool:
    return len(failures) > 1 and all(
        any(read.dataset == ref for read in one.all_reads.values()) for one in failures
    )


def _shared_word(name: str, ref: DatasetRef) -> str | None:
    last = ref.name.rstrip("/").rpartition("/")[2]
    shared = _words(name) & _words(last)
    return min(shared, default=None)


def _words(text: str) -> set[str]:
    words = (word.lower() for word in _WORD.findall(text))
    return {word.removesuffix("s") for word in words if len(word) >= _SHORTEST_WORD}
