"""How the checks of dataset versions ended: of each check of each version, the last outcome.

Whoever made it: the run that wrote the data, or one that only read it to check it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.lineage.checks import checks_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provenance.domain.run import RunDoc
    from airflow_provenance.lineage.checks import CheckOutcome
    from airflow_provenance.store.base import ProvenanceReader, RunView, VersionView


class Outcome(NamedTuple):
    """The outcome of a check of a version, and the run that made it."""

    check: CheckOutcome
    version: int
    run: RunView


class Ends(NamedTuple):
    """What runs read and wrote, by their ids."""

    read: Mapping[int, Sequence[int]]
    written: Mapping[int, Sequence[int]]


def last_outcomes(
    versions: Mapping[int, VersionView],
    runs: Iterable[RunView],
    docs: Mapping[int, RunDoc],
    ends: Ends,
) -> list[Outcome]:
    """Return the last outcome of each check of each of some versions."""
    last: dict[tuple[int, str, str | None], Outcome] = {}
    for run in sorted(runs, key=lambda run: (run.listed_us, run.id)):
        for one in checks_of(run.id, docs[run.id]):
            for number in _checked(one, versions, ends):
                last[number, one.name, one.column] = Outcome(one, number, run)
    return list(last.values())


def failed_checks(
    store: ProvenanceReader, versions: Mapping[int, VersionView]
) -> dict[int, list[CheckOutcome]]:
    """Return the checks that failed of each of some versions, the worst first."""
    read: dict[int, list[int]] = defaultdict(list)
    written: dict[int, list[int]] = defaultdict(list)
    for edge in store.trace([*versions], "downstream", 1) if versions else []:
        read[edge.dst].append(edge.src)
    for version in versions.values():
        if version.run_id is not None:
            written[version.run_id].append(version.id)
    runs = store.runs_by_id({*read, *written})
    found: dict[int, list[CheckOutcome]] = defaultdict(list)
    docs = store.run_docs([*runs])
    for one in last_outcomes(versions, runs.values(), docs, Ends(read, written)):
        if not one.check.is_passed:
            found[one.version].append(one.check)
    for checks in found.values():
        checks.sort(key=lambda check: (check.severity != "error", -(check.failed_rows or 0)))
    return dict(found)


def _checked(check: CheckOutcome, versions: Mapping[int, VersionView], ends: Ends) -> list[int]:
    """Return which of the versions a check was of."""
    side = ends.written if check.is_output else ends.read
    return [
        one
        for one in dict.fromkeys(side.get(check.run_id, ()))
        if one in versions
        and versions[one].dataset == check.dataset
        and check.partition in (None, versions[one].partition)
    ]
