"""Rules that more than one backend needs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from airflow_provenance.domain.clock import parse_time
from airflow_provenance.formats import facets as our_facets
from airflow_provenance.formats.shaping.event import (
    SIDES,
    TERMINAL,
    Event,
    Facts,
    KnownDataset,
    facet_of,
    filled,
    raw_of,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_RANK = {"COMPLETE": 0, "ABORT": 1, "FAIL": 2}


def distinct_run_id(run_uuid: str, run_id: str) -> str:
    """Return the id of the later of two Airflow runs that the official provider gave one runId.

    >>> distinct_run_id("0190a1b2-0000-7000-8000-000000000000", "manual__2")
    'c26af453-e75a-5fc0-8065-f9519fae8ea1'
    """
    return str(uuid5(UUID(run_uuid), run_id))


def late_rides_on_terminal(event: Event, facts: Facts) -> Event | None:
    """Send the run's terminal event again, with what came after it.

    Backends take the state of a run from what they received last: an event that comes late would
    open the run again, and the weaker of two terminal events would change how it ended.
    """
    if event.get("run") is None:
        return event
    if facts.terminal is None:
        return None if facts.is_over and event.get("eventType") not in TERMINAL else event
    terminal = read(facts.terminal)
    if _strength(event) > _strength(terminal):
        return event
    for part, known in (("run", facts.run_facets), ("job", facts.job_facets)):
        late = filled(event[part].get("facets"), known)
        terminal[part]["facets"] = filled(terminal[part].get("facets"), late)
    for side, role in SIDES:
        own = [KnownDataset(*_name(one), one.get("facets", {}), one.get(role, {}))
               for one in event.get(side, ())]  # fmt: skip
        _fill_side(terminal, side, role, own)
    return terminal


def _strength(event: Event) -> tuple[bool, int, int]:
    """Return what orders events by what they say of the state."""
    kind = event.get("eventType") or ""
    if kind not in TERMINAL:
        return (False, 0, 0)
    return (True, parse_time(event["eventTime"]), _RANK[kind])


def own_run_ids(event: Event, facts: Facts) -> Event | None:
    """Give the later of two runs that share a runId one of its own, also where it is the parent."""
    run = event.get("run")
    if run is None:
        return event
    if facts.run_id is not None:
        run = {**run, "runId": facts.run_id}
    parent = facet_of(run.get("facets"), "parent")
    if parent is not None and facts.parent_run_id is not None:
        root = parent.get("root")
        if isinstance(root, dict) and root.get("run") == parent.get("run"):
            parent["root"] = {**root, "run": {**root["run"], "runId": facts.parent_run_id}}
        parent["run"] = {**parent["run"], "runId": facts.parent_run_id}
        run = {**run, "facets": {**run["facets"], "parent": raw_of(parent)}}
    return {**event, "run": run}


def whole_io(event: Event, facts: Facts) -> Event | None:
    """Repeat all inputs and outputs of the run.

    Marquez retires the edges of a side that an event leaves empty, DataHub overwrites them.
    """
    if event.get("run") is None:
        return event
    event = dict(event)
    for (side, role), known in zip(SIDES, (facts.inputs, facts.outputs), strict=True):
        _fill_side(event, side, role, known)
    return event


def io_on_task(event: Event, facts: Facts) -> Event | None:
    """Leave data to the task where a query is its child: else both would be shown to write it."""
    if event.get("run") is None:
        return event
    task = facet_of(event["run"].get("facets"), our_facets.TASK)
    return {**event, "inputs": [], "outputs": []} if task and task.get("ioOnTask") else event


def _fill_side(event: Event, side: str, role: str, known: Sequence[KnownDataset]) -> None:
    datasets = [dict(one) for one in event.get(side, ())]
    by_name = {_name(one): one for one in datasets}
    for one in known:
        mine = by_name.get((one.namespace, one.name, one.partition))
        if mine is None:
            mine = {"namespace": one.namespace, "name": one.name}
            by_name[one.namespace, one.name, one.partition] = mine
            datasets.append(mine)
        for member, facets in (("facets", one.facets), (role, one.role_facets)):
            if facets:
                mine[member] = filled(mine.get(member), facets)
    event[side] = datasets


def _name(dataset: Event) -> tuple[str, str, str | None]:
    partition = facet_of(dataset.get("facets"), our_facets.PARTITION)
    return (dataset["namespace"], dataset["name"], partition.get("key") if partition else None)
