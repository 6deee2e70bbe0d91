"""What is known of an event's run beside the event: the facts that shaping rules look at.

It is what the store knows now. An event sent again may so carry more than it did the first time,
never less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.identity import DagRunKey, WireKey, key_digest
from airflow_provenance.domain.run import NEVER_RAN, RunState, parent_of
from airflow_provenance.formats.notes import decode_note
from airflow_provenance.formats.shaping.common import distinct_run_id
from airflow_provenance.formats.shaping.event import (
    TERMINAL,
    Event,
    Facts,
    KnownDataset,
    facet_of,
    read,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.domain.identity import RunKey
    from airflow_provenance.domain.run import Facets, Io, RunDoc
    from airflow_provenance.store.base import LogEntry, RunView, Store

_RANK = {"COMPLETE": 0, "ABORT": 1, "FAIL": 2}
_ENDS = {
    RunState.COMPLETE: "COMPLETE",
    RunState.SKIPPED: "COMPLETE",
    RunState.FAIL: "FAIL",
    RunState.UP_FOR_RETRY: "FAIL",
    RunState.UPSTREAM_FAILED: "FAIL",
    RunState.ABORT: "ABORT",
    RunState.REMOVED: "ABORT",
}


def facts_of(store: Store, entry: LogEntry, event: Event, sent_seq: int) -> Facts:
    """Return what is known of an event's run, when the log until `sent_seq` was sent."""
    run = event.get("run")
    if run is None or entry.run_id is None:
        return Facts()
    uuid = run["runId"]
    own, keyed = _own_run(store, entry, event)
    if own is None:
        return Facts()
    doc = store.run_doc(own.id)
    entries = store.run_entries(own.id)
    sent = of_run_id(store, own, entry, sent_entries(entries, entry, sent_seq))
    terminal = end_by_notes(store, own, sent_seq) or _terminal_sent(store, sent, uuid)
    return Facts(
        run_id=_own_id(uuid, own.key, [one.key for one in keyed]),
        parent_run_id=_parent_id(store, event, own.key, doc),
        is_dag_run=isinstance(own.key, DagRunKey),
        never_ran=own.state in NEVER_RAN,
        awaits_start=not any(one.event_type == "START" for one in sent),
        terminal=terminal,
        is_over=terminal is None and _is_over(doc, entries),
        run_facets=_raw_facets(doc.run_facets),
        job_facets=_raw_facets(doc.job_facets),
        inputs=_known(doc.inputs.values()),
        outputs=_known(doc.outputs.values()),
    )


def own_run(store: Store, entry: LogEntry, event: Event | None) -> RunView | None:
    """Return the run that an entry is of."""
    if entry.run_id is None:
        return None
    if event is None:
        return store.runs_by_id([entry.run_id]).get(entry.run_id)
    return _own_run(store, entry, event)[0] if event.get("run") is not None else None


def _own_run(store: Store, entry: LogEntry, event: Event) -> tuple[RunView | None, list[RunView]]:
    """Return an event's run, and all of Airflow's that share its runId, the first known first."""
    job = (event["job"]["namespace"], event["job"]["name"])
    shared = store.runs_sharing(event["run"]["runId"], job)
    keyed = [one for one in shared if not isinstance(one.key, WireKey)]
    # An entry that another run absorbed is that run's: it is the only one with a key.
    other = keyed[0] if keyed else None
    return next((one for one in shared if one.id == entry.run_id), other), keyed


def sent_entries(entries: list[LogEntry], entry: LogEntry, sent_seq: int) -> list[LogEntry]:
    """Return which of a run's entries were sent, this one aside."""
    return [one for one in entries if one.seq <= sent_seq and one.seq != entry.seq]


def of_run_id(
    store: Store, run: RunView, entry: LogEntry, entries: list[LogEntry]
) -> list[LogEntry]:
    """Return which events have an entry's runId: a DAG run that is cleared gets another one."""
    if entry.raw is None or len(store.run_doc(run.id).run_uuids) < 2:
        return entries
    uuid = read(entry.raw)["run"]["runId"]
    events = [with_raw(store, one) for one in entries if one.kind == "run_event"]
    return [one for one in events if one and one.raw and read(one.raw)["run"]["runId"] == uuid]


def ends_sent(store: Store, run: RunView, sent_seq: int) -> bool:
    """Whether a backend that has the log until `sent_seq` knows a run's end."""
    entries = [one for one in store.run_entries(run.id) if one.seq <= sent_seq]
    if not any(one.kind == "run_event" for one in entries):
        return False
    ends = any(one.event_type in TERMINAL for one in entries)
    return ends or end_by_notes(store, run, sent_seq) is not None


def with_raw(store: Store, entry: LogEntry) -> LogEntry | None:
    """Return an entry with its bytes; None where they have expired."""
    found = store.entries(after_seq=entry.seq - 1, limit=1, with_raw=True)
    return found[0] if found and found[0].seq == entry.seq else None


def _strongest(entries: list[LogEntry]) -> list[LogEntry]:
    """Return a run's terminal events, the one that tells the state by the store's rule first."""
    ends = [one for one in entries if one.event_type in TERMINAL]
    order = [(one.event_us, _RANK[one.event_type or ""], one.id) for one in ends]
    return [one for _, one in sorted(zip(order, ends, strict=True), reverse=True)]


def _terminal_sent(store: Store, entries: list[LogEntry], uuid: str) -> bytes | None:
    for one in _strongest(entries):
        found = with_raw(store, one)
        # A run may have been seen under another runId, too.
        if found is not None and found.raw and read(found.raw)["run"]["runId"] == uuid:
            return found.raw
    return None


def end_by_notes(store: Store, run: RunView, sent_seq: int) -> bytes | None:
    """Return a terminal event for a run whose end, as it is known now, no event tells.

    It is the run's last event with another type and time: a backend that took up the run must let
    go of it. None, too, where the note that tells the end was not yet come to.
    """
    if not run.state.is_done:
        return None
    entries = store.run_entries(run.id)
    strongest = _strongest(entries)
    kind = _ENDS[run.state]
    if strongest and strongest[0].event_type == kind:
        return None
    if not any(one.kind == "note" and one.seq <= sent_seq and _tells_end(store, one)
               for one in entries):  # fmt: skip
        return None
    told = [one for one in entries if one.kind == "run_event"]
    last = (strongest or told[-1:])[:1]
    found = with_raw(store, last[0]) if last else None
    at_us = run.override[1] if run.override else run.ended_us
    if found is None or found.raw is None or at_us is None:
        return None
    at_us = max(at_us, strongest[0].event_us + 1 if strongest else 0)
    return write({**read(found.raw), "eventType": kind, "eventTime": format_time(at_us)})


def _tells_end(store: Store, entry: LogEntry) -> bool:
    found = with_raw(store, entry)
    if found is None or found.raw is None:
        return False
    state = decode_note(found.raw).state
    return state is not None and RunState[state].is_done


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
