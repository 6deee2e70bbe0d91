"""What Marquez needs so that it shows what happened (PLATFORM 3).

Facets leave as they came: Marquez keeps them verbatim. Nothing is left out: an event of a job or a
dataset goes as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance.formats.facets import standard
from airflow_provenance.formats.shaping.common import (
    io_on_task,
    late_rides_on_terminal,
    own_run_ids,
    whole_io,
)
from airflow_provenance.formats.shaping.event import (
    SIDES,
    TERMINAL,
    Event,
    Facets,
    Facts,
    apply_rules,
    facet_of,
    raw_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def whole_assertions(event: Event, facts: Facts) -> Event | None:
    """Tell the outcomes of all checks of a dataset where some are told: the newest replace all."""
    _put_where_shown(event)
    for side, member in (("inputs", "inputFacets"), ("outputs", "facets")):
        for one in event.get(side, ()):
            key = (side, one["namespace"], one["name"])
            if key not in facts.checks:
                continue
            rest = {k: v for k, v in one.get(member, {}).items() if k != standard.ASSERTIONS}
            every = facts.checks[key]
            one[member] = rest if every is None else {**rest, standard.ASSERTIONS: every}
    return event


def _put_where_shown(event: Event) -> None:
    """Put outcomes of checks where the panel looks: of inputs by their role, of outputs not."""
    moves = {"inputs": ("facets", "inputFacets"), "outputs": ("outputFacets", "facets")}
    for side, (source, target) in moves.items():
        for one in event.get(side, ()):
            found = one.get(source, {}).get(standard.ASSERTIONS)
            if found is not None:
                rest = {k: v for k, v in one[source].items() if k != standard.ASSERTIONS}
                one[source] = rest
                one[target] = {standard.ASSERTIONS: found, **one.get(target, {})}


def start_first(event: Event, facts: Facts) -> Event | None:
    """Hold back what comes before its run's START, which tells it, too: the first sets the time."""
    is_early = facts.awaits_start and event.get("eventType") not in {"START", *TERMINAL}
    return None if is_early and event.get("run") is not None else event


def outputs_at_the_end(event: Event, facts: Facts) -> Event | None:
    """Name what a run writes when it has ended, and did run: a name makes a version at once."""
    if event.get("run") is None or "outputs" not in event:
        return event
    return (
        event
        if event.get("eventType") in TERMINAL and not facts.never_ran
        else ({**event, "outputs": []})
    )


def unique_assertions(event: Event, facts: Facts) -> Event | None:
    """Let no two checks of a dataset have one text: rows are keyed by column and assertion."""
    return _with_assertions(event, _told_apart)


def _told_apart(assertions: list[Any]) -> list[Any]:
    seen: dict[tuple[Any, str], int] = {}
    told = []
    for one in assertions:
        if not isinstance(one, dict):
            told.append(one)
            continue
        text = str(one.get("name") or one.get("assertion"))
        key = (one.get("column"), text)
        seen[key] = seen.get(key, 0) + 1
        told.append({**one, "assertion": text if seen[key] == 1 else f"{text} #{seen[key]}"})
    return told


def _with_assertions(event: Event, change: Callable[[list[Any]], list[Any]]) -> Event:
    for side, role in SIDES:
        for one in event.get(side, ()):
            for member in ("facets", role):
                facets: Facets = one.get(member, {})
                facet = facet_of(facets, standard.ASSERTIONS)
                if facet is not None and isinstance(facet.get("assertions"), list):
                    changed = {**facet, "assertions": change(facet["assertions"])}
                    one[member] = {**facets, standard.ASSERTIONS: raw_of(changed)}
    return event


RULES = (
    late_rides_on_terminal,
    start_first,
    own_run_ids,
    whole_io,
    io_on_task,
    outputs_at_the_end,
    whole_assertions,
    unique_assertions,
)


def shape(event: Event, facts: Facts) -> Event | None:
    """Return an event as Marquez is to get it."""
    return apply_rules(RULES, event, facts)
