"""How the promises about a dataset stand, as their newest published runs say.

The publisher and the feeds both read it here, so that who shows the newest facet alone is shown all
of them: with a promise's own runs, with a check, and with the next version that a task writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from airflow_provenance.formats import facets
from airflow_provenance.formats.facets import standard
from airflow_provenance.sla.policy import Target
from airflow_provenance.sla.published import is_row_of, job_name
from airflow_provenance.store.base import RunQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.store.base import RunView, Store
    from airflow_provenance.store.promises import PolicyRow

# The mark that moves with everything that is published.
PUBLISHED = "sla_published"
Promised = dict[str, list[str]]  # by what a promise calls its dataset


class Standing(NamedTuple):
    """How a promise stands: the run that said so last, when, and its row with the facet's rest."""

    run: RunView
    at_us: int
    facet: dict[str, Any]

    @property
    def row(self) -> dict[str, Any]:
        """The row."""
        row: dict[str, Any] = self.facet["assertions"][0]
        return row


# Moves each minute while promises are evaluated: until then one that was withdrawn is told.
_EVALUATED = "evaluated"
_known: WeakKeyDictionary[Store, tuple[tuple[int, int | None], Promised]] = WeakKeyDictionary()


def promises_about(store: Store, dataset: DatasetRef) -> list[str]:
    """Return the ids of the promises in force about a dataset, if any was ever published.

    It is asked for each event that is forwarded, and read again when something was published.
    """
    published = store.mark(PUBLISHED)
    if published is None:
        return []
    marks = published, store.mark(_EVALUATED)
    known = _known.get(store)
    if known is None or known[0] != marks:
        known = _known[store] = (marks, promised(store.policies()))
    return of_dataset(store, known[1], dataset)


class _Target(msgspec.Struct):
    dataset: str | None = None


class _Body(msgspec.Struct):
    target: _Target


_BODY = msgspec.json.Decoder(_Body)


def promised(rows: Iterable[PolicyRow]) -> Promised:
    """Return the promises about each dataset; of thousands no more is read than that."""
    found: Promised = {}
    for row in rows:
        if (name := _BODY.decode(row.body).target.dataset) is not None:
            found.setdefault(Target(dataset=name).dataset_name, []).append(row.policy_id)
    return found


def of_dataset(store: Store, known: Promised, dataset: DatasetRef) -> list[str]:
    """Return the promises about a dataset, by its whole name or, where that is enough, its own."""
    found = known.get("/".join(dataset), [])
    if (more := known.get(dataset.name)) and dataset_named(store, dataset.name) == dataset:
        return [*found, *more]
    return found


def dataset_named(store: Store, name: str) -> DatasetRef | None:
    """Return the dataset that a promise names; None where none is known by it, or several are."""
    found = store.datasets_named(Target(dataset=name).dataset_name)
    return found[0] if len(found) == 1 else None


def newest_run(store: Store, policy_id: str) -> RunView | None:
    """Return the run that says how a promise stood last."""
    found = store.runs(RunQuery(job=job_name(policy_id), limit=1))
    return found[0] if found else None


def standing_of(store: Store, policy_id: str, dataset: DatasetRef) -> Standing | None:
    """Return how a promise about a dataset stands; None where nobody can say, or nobody said."""
    run = newest_run(store, policy_id)
    if run is None:
        return None
    doc = store.run_doc(run.id)
    if facets.SLA not in doc.run_facets:
        return None  # another producer's job of that name
    for io in doc.inputs.values():
        told = io.role_facets.get(standard.ASSERTIONS) if io.dataset == dataset else None
        facet: Mapping[str, Any] = {} if told is None else msgspec.json.decode(told[2])
        rows = [one for one in facet.get("assertions", ()) if is_row_of(policy_id, one)]
        if rows:
            at_us = doc.terminal[0] if doc.terminal else run.listed_us
            return Standing(run, at_us, {**facet, "assertions": rows[:1]})
    return None


def standings(store: Store, dataset: DatasetRef) -> list[Standing]:
    """Return how the promises about a dataset stand, those of whom somebody can say."""
    found = (standing_of(store, one, dataset) for one in promises_about(store, dataset))
    return [one for one in found if one is not None]
