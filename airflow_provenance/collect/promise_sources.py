"""All promises in force, of files and of DAGs, in one place.

Ids are unique over all sources. The same promise from several (an asset's, which every DAG that
uses it carries) is one; another promise under a taken id is a problem, and whichever was there
before stays. Where a source is wrong, its last good promises stay, also over a restart.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, Protocol

from airflow_provenance.errors import PolicyError, StoreUnavailableError
from airflow_provenance.sla.files import Declared, PolicyFiles
from airflow_provenance.sla.policy import from_plain, to_plain
from airflow_provenance.store.promises import PolicyRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.collect.airflow_promises import DagPromises

FILES = "file"
# A DAG's new version becomes visible later than the time that it has.
_OVERLAP_US = 300_000_000


class DagReader(Protocol):
    """What is asked of Airflow's serialized DAGs; see `collect.airflow_promises`."""

    def promises(self, since_us: int = 0) -> list[DagPromises]:
        """Return the promises of the DAGs that were written since a time."""

    def serialized(self) -> set[str]:
        """Return the ids of all DAGs that are serialized."""


class Source(NamedTuple):
    """The good promises of one source, and what is wrong with it now."""

    declared: Sequence[Declared]
    problems: Sequence[str] = ()


class PromiseSources:
    """Reads the sources again when they change.

    Args:
        pattern: of the YAML files; empty for none.
        dags: reads Airflow's serialized DAGs; None for no Airflow.
        known: the promises that were in force last.
    """

    def __init__(
        self, pattern: str, dags: DagReader | None, known: Iterable[PolicyRow] = ()
    ) -> None:
        self._files = PolicyFiles(pattern) if pattern else None
        self._dags, self._read_until_us = dags, 0
        self._sources: dict[str, Source] = {}
        for row in known:
            if (declared := _declared(row)) is not None:
                before = self._sources.get(row.source, Source(()))
                self._sources[row.source] = Source([*before.declared, declared])
        if self._files is None:
            self._sources.pop(FILES, None)
        else:
            self._files.active = list(self._sources.get(FILES, Source(())).declared)
        self._owners = {one.policy.id: name for name, of in self._sources.items() for one in of[0]}
        self.active: list[tuple[str, Declared]] = []
        self.problems: list[str] = []
        self._combine()

    def refresh(self, *, ask_airflow: bool = True) -> bool:
        """Read what changed; return whether other promises are in force, or others are wrong.

        Raises:
            StoreUnavailableError: Airflow's database cannot be read; files are all the same.
        """
        before = self.active, self.problems
        if self._files is not None:
            self._files.reload()
            self._sources[FILES] = Source(self._files.active, [*map(str, self._files.problems)])
        failure = None
        if self._dags is not None and ask_airflow:
            try:
                self._read_dags(self._dags)
            except StoreUnavailableError as error:
                failure = error
        self._combine()
        if failure is not None:
            raise failure
        return before != (self.active, self.problems)

    def _read_dags(self, dags: DagReader) -> None:
        for one in dags.promises(max(self._read_until_us - _OVERLAP_US, 0)):
            name = f"dag:{one.dag_id}"
            version = "" if one.version is None else f" (version {one.version})"
            place = f"DAG {one.dag_id}{version}"
            problems = [f"{place}: {text}" for text in one.problems]
            good = [Declared(policy, place, is_of_dag=True) for policy in one.policies]
            if problems:
                good = list(self._sources.get(name, Source(())).declared)
            if good or problems:
                self._sources[name] = Source(good, problems)
            else:
                self._sources.pop(name, None)
            self._read_until_us = max(self._read_until_us, one.updated_us)
        there = {f"dag:{dag_id}" for dag_id in dags.serialized()}
        for name in [one for one in self._sources if one != FILES and one not in there]:
            del self._sources[name]

    def _combine(self) -> None:
        """Put the sources together: who had an id keeps it, then files come before DAGs."""
        found: dict[str, tuple[str, Declared]] = {}
        problems = [text for of in self._sources.values() for text in of.problems]
        names = sorted(self._sources, key=lambda name: (name != FILES, name))
        for held in (True, False):
            for name in names:
                for one in self._sources[name].declared:
                    slug = one.policy.id
                    if (self._owners.get(slug) == name) is not held:
                        continue
                    other = found.setdefault(slug, (name, one))[1]
                    if other is not one and to_plain(other.policy) != to_plain(one.policy):
                        problems.append(
                            f"{one.where}: id {slug!r} is taken, by {other.where}: that one counts"
                        )
        self._owners = {slug: name for slug, (name, _) in found.items()}
        self.active = [found[slug] for slug in sorted(found)]
        self.problems = problems

    def rows(self) -> list[PolicyRow]:
        """Return the promises in force as a store keeps them."""
        return [
            PolicyRow(
                policy_id=one.policy.id,
                revision=one.policy.revision,
                source=name,
                place=one.where,
                body=json.dumps(to_plain(one.policy), sort_keys=True),
            )
            for name, one in self.active
        ]


def _declared(row: PolicyRow) -> Declared | None:
    try:
        return Declared(from_plain(json.loads(row.body)), row.place, row.source != FILES)
    except (PolicyError, ValueError):
        return None  # of another release: its source will say it again
