"""What checks said of datasets, read off runs' documents for many datasets together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.sla.run_facts import assertions_of, checked_us

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.sla.facts import AssertionFact
    from airflow_provenance.sla.recorded_versions import RecordedVersions
    from airflow_provenance.store.base import ProvenanceReader

# A run that began this long before what is asked for may not have ended by then.
_LONG_US = 7 * 86_400_000_000
_AT_ONCE = 200  # documents that are held together


class RecordedChecks:
    """Remembers what was read, dataset by dataset."""

    def __init__(self, store: ProvenanceReader, versions: RecordedVersions) -> None:
        self._store, self._versions = store, versions
        self._known: dict[str, tuple[int, list[AssertionFact]]] = {}

    def since(self, name: str, since_us: int) -> list[AssertionFact]:
        """Return what checks said of a dataset since a time, at least, the oldest first."""
        known = self._known.get(name)
        if known is None or known[0] > since_us:
            self._versions.named(name)  # tells of a name that is not clear
            self.prepare({name: since_us})
        return self._known[name][1]

    def prepare(self, asked: Mapping[str, int]) -> None:
        """Read what checks said of datasets since times; names that are not clear are left."""
        found: dict[str, list[AssertionFact]] = {name: [] for name in asked}
        # Of each run, which datasets, by all their names.
        wanted: dict[int, dict[DatasetRef, list[str]]] = {}
        for name, since_us in asked.items():
            ref = self._versions.known(name)
            if ref is None:
                continue
            ids = {*self._store.runs_reading(ref, max(since_us - _LONG_US, 0))}
            versions = self._versions.ended_since(name, since_us)
            ids |= {one.run_id for one in versions if one.run_id is not None}
            for run_id in ids:
                wanted.setdefault(run_id, {}).setdefault(ref, []).append(name)
        every = list(wanted)
        for start in range(0, len(every), _AT_ONCE):
            views = self._store.runs_by_id(every[start : start + _AT_ONCE])
            docs = self._store.run_docs(views)
            for view, doc in [(views[one], docs[one]) for one in views if one in docs]:
                at_us = checked_us(view, doc)
                for io in (*doc.inputs.values(), *doc.outputs.values()):
                    for name in wanted[view.id].get(io.dataset, ()):
                        if view.ended_us is None or view.ended_us >= asked[name]:
                            found[name] += assertions_of(io, view.id, at_us)
        for name, facts in found.items():
            ordered = sorted(facts, key=lambda one: (one.at_us, one.run_id, one.name))
            self._known[name] = asked[name], ordered
