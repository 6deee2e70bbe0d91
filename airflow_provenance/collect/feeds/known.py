"""What is known of an event's run beside the event: the facts that shaping rules look at.

It is what the store knows now. An event sent again may so carry more than it did the first time,
never less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.identity import DagRunKey, WireKey, key_digest
from airflow_provenance.domain.run import parent_of
from airflow_provenance.formats.shaping.common import distinct_run_id
from airflow_provenance.formats.shaping.event import (
    TERMINAL,
    Event,
    Facts,
    KnownDataset,
    facet_of,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.domain.identity import RunKey
    from airflow_provenance.domain.run import Facets, Io, RunDoc
    from airflow_provenance.store.base import LogEntry, RunView, Store

_RANK = {"COMPLETE": 0, "ABORT": 1, "FAIL": 2}


def facts_of(store: Store, entry: LogEntry, event: Event, before_seq: int) -> Facts:
    """Return what is known of an event's run, when what is before `before_seq` was sent."""
    run = event.get("run")
    if run is None or entry.run_id is None:
        return Facts()
    uuid = run["runId"]
    own, keyed = _own_run(store, entry, event)
    if own is None:
        return Facts()
    doc = store.run_doc(own.id)
    entries = store.run_entries(own.id)
    terminal = _terminal_before(store, entries, before_seq, uuid)
    return Facts(
        run_id=_own_id(uuid, own.key, [one.key for one in keyed]),
        parent_run_id=_parent_id(store, event, own.key, doc),
        is_dag_run=isinstance(own.key, DagRunKey),
        terminal=terminal,
        is_over=terminal is None and _is_over(doc, entries),
        run_facets=_raw_facets(doc.run_facets),
        job_facets=_raw_facets(doc.job_facets),
        inputs=_known(doc.inputs.values()),
        outputs=_known(doc.outputs.values()),
    )


def start_to_send_first(store: Store, entry: LogEntry) -> LogEntry | None:
    """Return the START of a run whose terminal event came before it, if it has come since."""
    if entry.event_type not in TERMINAL or not entry.raw:
        return None
    own, _ = _own_run(store, entry, read(entry.raw))
    entries = [] if own is None else store.run_entries(own.id)
    if any(one.seq < entry.seq for one in entries if one.kind == "run_event"):
        return None
    later = (one for one in entries if one.event_type == "START" and one.seq > entry.seq)
    found = next(later, None)
    return None if found is None else _with_raw(store, found)


def _own_run(store: Store, entry: LogEntry, event: Event) -> tuple[RunView | None, list[RunView]]:
    """Return an event's run, and all of Airflow's that share its runId, the first known first."""
    job = (event["job"]["namespace"], event["job"]["name"])
    shared = store.runs_sharing(event["run"]["runId"], job)
    keyed = [one for one in shared if not isinstance(one.key, WireKey)]
    # An entry that another run absorbed is that run's: it is the only one with a key.
    other = keyed[0] if keyed else None
    return next((one for one in shared if one.id == entry.run_id), other), keyed


def _with_raw(store: Store, entry: LogEntry) -> LogEntry | None:
    found = store.entries(after_seq=entry.seq - 1, limit=1, with_raw=True)
    return found[0] if found and found[0].seq == entry.seq else None


def _terminal_before(store: Store, entries: list[LogEntry], seq: int, uuid: str) -> bytes | None:
    """Return the terminal event that tells the state, as the store's own rule has it."""
    before = [one for one in entries if one.seq < seq and one.event_type in TERMINAL]
    before.sort(key=lambda one: (one.event_us, _RANK[one.event_type or ""], one.id), reverse=True)
    for one in before:
        found = _with_raw(store, one)
        # A run may have been seen under another runId, too.
        if found is not None and found.raw and read(found.raw)["run"]["runId"] == uuid:
            return found.raw
    return None


def _is_over(doc: RunDoc, entries: list[LogEntry]) -> bool:
    """Whether the run ended in an event that has expired: then it was sent."""
    return doc.terminal is not None and doc.terminal[2] not in {one.id for one in entries}


def _own_id(uuid: str, key: RunKey, sharing: Sequence[RunKey]) -> str | None:
    """Return the id of a run that is not the first to have its runId; ids in a store grow."""
    if isinstance(key, WireKey) or not sharing or key_digest(sharing[0]) == key_digest(key):
        return None
    return distinct_run_id(uuid, key.run_id)


def _parent_id(store: Store, event: Event, key: RunKey, doc: RunDoc) -> str | None:
    parent, facet = parent_of(key, doc), facet_of(event["run"].get("facets"), "parent")
    if parent is None or isinstance(parent, WireKey) or facet is None:
        return None
    try:
        uuid, job = facet["run"]["runId"], (facet["job"]["namespace"], facet["job"]["name"])
    except (KeyError, TypeError):
        return None
    shared = [one.key for one in store.runs_sharing(uuid, job)]
    keyed = [one for one in shared if not isinstance(one, WireKey)]
    if key_digest(parent) not in map(key_digest, keyed):
        return None
    return _own_id(uuid, parent, keyed)


def _known(datasets: Iterable[Io]) -> list[KnownDataset]:
    return [
        KnownDataset(
            one.dataset.namespace,
            one.dataset.name,
            one.partition,
            _raw_facets(one.facets),
            _raw_facets(one.role_facets),
        )
        for one in datasets
    ]


def _raw_facets(facets: Facets) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(facet[2]) for name, facet in facets.items()}
