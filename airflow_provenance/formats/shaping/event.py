"""An event between the store and a backend: taken apart as far as rules need, facets left as text.

Facets are `msgspec.Raw`: what a rule does not touch leaves as the very text that came.

>>> write(read(b'{"run":{"runId":"r","facets":{"x":{"n":1.50}}}}'))
b'{"run":{"runId":"r","facets":{"x":{"n":1.50}}}}'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Event = dict[str, Any]
Facets = dict[str, msgspec.Raw]

TERMINAL = frozenset({"COMPLETE", "FAIL", "ABORT"})
SIDES = (("inputs", "inputFacets"), ("outputs", "outputFacets"))

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_FACETS = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


class KnownDataset(msgspec.Struct, frozen=True):
    """A dataset, or one partition of it, as all events of its run told it."""

    namespace: str
    name: str
    partition: str | None = None
    facets: Facets = {}
    role_facets: Facets = {}


class Facts(msgspec.Struct, frozen=True):
    """What is known of an event's run beside the event; what is empty is not known.

    Attributes:
        run_id: under which the run is sent, where another run before it has its runId.
        parent_run_id: the same for the run that its parent facet names.
        is_dag_run: whether it is a run of a DAG as a whole.
        never_ran: whether it was skipped, or removed: it wrote nothing of what it declares.
        awaits_start: whether no START of it was sent.
        terminal: the terminal event that tells the run's state, of those sent before this one.
        is_over: whether a terminal event was sent that the store has dropped since.
        run_facets: of all events of the run.
        job_facets: of all events of the run.
        inputs: of all events of the run.
        outputs: of all events of the run.
        checks: of datasets by role, namespace and name: the outcomes of all their checks as one
            facet; None where there are none.
    """

    run_id: str | None = None
    parent_run_id: str | None = None
    is_dag_run: bool = False
    never_ran: bool = False
    awaits_start: bool = False
    terminal: bytes | None = None
    is_over: bool = False
    run_facets: Facets = {}
    job_facets: Facets = {}
    inputs: list[KnownDataset] = []
    outputs: list[KnownDataset] = []
    checks: dict[tuple[str, str, str], msgspec.Raw | None] = {}


if TYPE_CHECKING:
    Rule = Callable[[Event, Facts], Event | None]


def read(raw: bytes) -> Event:
    """Take an event apart; it was ingested, so it is one."""
    event: Event = dict(_MEMBERS.decode(raw))
    for name in ("run", "job", "dataset"):
        if name in event:
            event[name] = _read_part(event[name], "facets")
    for side, role in SIDES:
        if side in event:
            datasets = _LIST.decode(event[side]) or []
            event[side] = [_opened(dict(one), "facets", role) for one in datasets]
    for name in ("eventType", "eventTime", "producer"):
        if name in event:
            event[name] = msgspec.json.decode(event[name])
    return event


def _read_part(raw: msgspec.Raw, *facets: str) -> Event | None:
    part = _FACETS.decode(raw)
    return None if part is None else _opened(dict(part), *facets)


def _opened(part: Event, *facets: str) -> Event:
    for name in facets:
        if name in part:
            part[name] = dict(_FACETS.decode(part[name]) or {})
    for name in ("runId", "namespace", "name"):
        if name in part:
            part[name] = msgspec.json.decode(part[name])
    return part


def write(event: Event) -> bytes:
    """Return an event's bytes."""
    return msgspec.json.encode(event)


def facet_of(facets: Facets | None, name: str) -> Event | None:
    """Return a facet decoded; None where it is not there or is no object."""
    raw = (facets or {}).get(name)
    found = None if raw is None else msgspec.json.decode(raw)
    return found if isinstance(found, dict) else None


def raw_of(value: object) -> msgspec.Raw:
    """Return a value as the text of a facet."""
    return msgspec.Raw(msgspec.json.encode(value))


def filled(facets: Mapping[str, msgspec.Raw] | None, known: Mapping[str, msgspec.Raw]) -> Facets:
    """Return facets, and of those known the ones that are not among them."""
    return {**(facets or {}), **{k: v for k, v in known.items() if k not in (facets or {})}}


def apply_rules(rules: Iterable[Rule], event: Event, facts: Facts) -> Event | None:
    """Return what becomes of an event by rules, one after the other; None: it is not sent."""
    shaped: Event | None = event
    for rule in rules:
        if shaped is None:
            return None
        shaped = rule(shaped, facts)
    return shaped
