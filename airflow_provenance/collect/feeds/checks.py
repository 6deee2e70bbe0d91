"""Outcomes of checks of a dataset, of all tasks that checked what it is now.

Marquez shows the outcomes that the newest event tells, and no others: every event that tells some
must tell all of them. How promises about the dataset stand (`collect.standing`) are outcomes, too:
what a task writes next is told with them, so nothing need be published again for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from airflow_provenance.collect.feeds.known import ends_sent
from airflow_provenance.collect.standing import standings
from airflow_provenance.domain.identity import TaskRunKey, key_digest
from airflow_provenance.domain.run import VersionStatus
from airflow_provenance.formats.facets import standard

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.domain.run import Io, RunDoc
    from airflow_provenance.store.base import RunView, Store, VersionView

# Of a version's readers; of one that is read for years the earlier ones are not looked at.
_READERS = 200


class Outcomes(NamedTuple):
    """What one run found out about a dataset: its facet, and when it said so."""

    run: RunView
    at_us: int
    facet: dict[str, Any]


def checks_told(
    store: Store, run: RunView, sent_seq: int
) -> dict[tuple[str, str, str], msgspec.Raw | None]:
    """Return the outcomes to tell with a run's events: of what it wrote, and of what it checked."""
    doc, told = store.run_doc(run.id), {}
    for side, those in (("inputs", doc.inputs), ("outputs", doc.outputs)):
        for dataset in {io.dataset for io in those.values()}:
            is_output = side == "outputs"
            if not is_output and not checks(_of(dataset, those.values())):
                continue
            versions = checked_versions(store, run, dataset, sent_seq, is_output=is_output)
            if versions or not is_output:
                outcomes = outcomes_of(store, dataset, versions)
                told[side, *dataset] = complete_facet(outcomes)
    return told


def checks(those: Iterable[Io]) -> bool:
    """Whether anything is told of checks."""
    return any(standard.ASSERTIONS in one.facets.keys() | one.role_facets.keys() for one in those)


def checked_versions(
    store: Store, run: RunView, dataset: DatasetRef, sent_seq: int, *, is_output: bool
) -> list[VersionView]:
    """Return the versions, one for each partition, that a backend shows a run's outcomes with.

    What a run writes is its own. What it reads is, for a backend, what is current there: the newest
    version that was sent.
    """
    if is_output:
        return [one for one in store.versions_of_run(run.id) if one.dataset == dataset]
    newest = store.newest_version(dataset)
    if newest is None:
        return []
    if newest.status != VersionStatus.GOOD or newest.run_id is None:
        return [newest]
    writer = store.runs_by_id([newest.run_id]).get(newest.run_id)
    if writer is not None and ends_sent(store, writer, sent_seq):
        return [one for one in store.versions_of_run(writer.id) if one.dataset == dataset]
    links = {edge.src for edge in store.trace([run.id], "upstream", 1)}
    return [one for one in store.versions_by_id(links).values() if one.dataset == dataset]


def outcomes_of(
    store: Store, dataset: DatasetRef, versions: Sequence[VersionView]
) -> list[Outcomes]:
    """Return what was found out about versions, the latest last; of each check task the last.

    Of each promise about the dataset, too: it is of whatever is the newest version.
    """
    runs: dict[int, RunView] = {}
    for version in versions:
        runs |= {one.id: one for one in store.readers(version.id, _READERS)}
    writers = {one.run_id for one in versions if one.run_id is not None}
    runs |= store.runs_by_id(writers - runs.keys())
    docs = store.run_docs(runs)
    found = [
        Outcomes(runs[number], _told_us(doc), facet)
        for number, doc in docs.items()
        if (facet := _facet(dataset, doc)) is not None
    ]
    found += [Outcomes(one.run, one.at_us, one.facet) for one in standings(store, dataset)]
    found.sort(key=lambda one: (one.at_us, key_digest(one.run.key)))
    last = {_task(one.run): one for one in found}
    return sorted(last.values(), key=lambda one: (one.at_us, key_digest(one.run.key)))


def complete_facet(outcomes: Sequence[Outcomes]) -> msgspec.Raw | None:
    """Return one facet with the outcomes of all, tasks by name; None where there are none."""
    if not outcomes:
        return None
    by_task = sorted(outcomes, key=lambda one: _task(one.run))
    every = [each for one in by_task for each in one.facet["assertions"]]
    return msgspec.Raw(msgspec.json.encode({**outcomes[-1].facet, "assertions": every}))


def _told_us(doc: RunDoc) -> int:
    """Return when the run's last event was, as a backend sees it."""
    return doc.terminal[0] if doc.terminal else doc.first_event_us or 0


def _task(run: RunView) -> tuple[str, str, int]:
    return (*run.job, run.key.map_index if isinstance(run.key, TaskRunKey) else -1)


def _facet(dataset: DatasetRef, doc: RunDoc) -> dict[str, Any] | None:
    """Return all that a run said of a dataset, of each partition and in either role."""
    told = [
        facet
        for io in _of(dataset, [*doc.outputs.values(), *doc.inputs.values()])
        for facets in (io.role_facets, io.facets)
        if (facet := _assertions(facets.get(standard.ASSERTIONS))) is not None
    ]
    if not told:
        return None
    every: list[Any] = []
    for facet in told:
        every += [one for one in facet["assertions"] if one not in every]
    return {**told[0], "assertions": every}


def _of(dataset: DatasetRef, those: Iterable[Io]) -> list[Io]:
    return [one for one in those if one.dataset == dataset]


def _assertions(facet: tuple[int, bytes, bytes] | None) -> dict[str, Any] | None:
    if facet is None:
        return None
    found = msgspec.json.decode(facet[2])
    is_one = isinstance(found, dict) and isinstance(found.get("assertions"), list)
    return found if is_one else None
