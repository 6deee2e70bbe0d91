"""Where the nodes of a graph stand in a drawing: layers from left to right, along the data.

The usual three steps (Sugiyama): a layer for each node, an order in each layer that crosses few
edges, and places. An edge over several layers bends in each of them, so that it passes between
boxes. The same graph always gives the same drawing.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

_SWEEPS = 8
# A place in a layer: a node's own id, or (src, dst, layer) where an edge passes through.
Slot = int | tuple[int, int, int]


class Layout(NamedTuple):
    """Columns of slots from left to right, and for each edge the slots it goes through."""

    columns: list[list[Slot]]
    ways: dict[tuple[int, int], list[Slot]]


def lay_out(nodes: Collection[int], edges: Iterable[tuple[int, int]]) -> Layout:
    """Return the places of nodes, joined by edges from left to right."""
    known = set(nodes)
    pairs = sorted({(a, b) for a, b in edges if a != b and a in known and b in known})
    layer = _layers(sorted(known), pairs)
    ways: dict[tuple[int, int], list[Slot]] = {}
    columns: list[list[Slot]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for node in sorted(known):
        columns[layer[node]].append(node)
    beside: dict[Slot, list[Slot]] = defaultdict(list)
    for a, b in pairs:
        bends: list[Slot] = [(a, b, one) for one in range(layer[a] + 1, layer[b])]
        for bend, one in zip(bends, range(layer[a] + 1, layer[b]), strict=True):
            columns[one].append(bend)
        ways[a, b] = way = [a, *bends, b]
        for here, there in itertools.pairwise(way):
            beside[here].append(there)
            beside[there].append(here)
    _order(columns, beside)
    return Layout(columns, ways)


def _layers(nodes: list[int], pairs: list[tuple[int, int]]) -> dict[int, int]:
    """Put each node right of all that leads to it; a source right before its first reader."""
    into: dict[int, list[int]] = defaultdict(list)
    out: dict[int, list[int]] = defaultdict(list)
    for a, b in pairs:
        into[b].append(a)
        out[a].append(b)
    layer = dict.fromkeys(nodes, 0)
    waits = {node: len(into[node]) for node in nodes}
    ready = [node for node in nodes if not waits[node]]
    ordered = []
    while ready:
        node = ready.pop(0)
        ordered.append(node)
        for following in out[node]:
            layer[following] = max(layer[following], layer[node] + 1)
            waits[following] -= 1
            if not waits[following]:
                ready.append(following)
    # What is left goes round in a circle, which lineage does not: it stays where it is.
    for node in reversed(ordered):
        if out[node] and not into[node]:
            layer[node] = max(min(layer[one] for one in out[node]) - 1, 0)
    return layer


def _order(columns: list[list[Slot]], beside: Mapping[Slot, list[Slot]]) -> None:
    """Order each column by the middle of what a slot is joined to in the column before."""
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        numbers = range(1, len(columns)) if forward else range(len(columns) - 2, -1, -1)
        for number in numbers:
            fixed = columns[number - 1 if forward else number + 1]
            place = {slot: (at + 0.5) / len(fixed) for at, slot in enumerate(fixed)}
            here = columns[number]
            wanted = {}
            for at, slot in enumerate(here):
                ends = [place[one] for one in beside.get(slot, ()) if one in place]
                wanted[slot] = sum(ends) / len(ends) if ends else (at + 0.5) / len(here)
            here.sort(key=wanted.__getitem__)


def place(
    layout: Layout, heights: Mapping[Slot, float], gap: float
) -> tuple[dict[Slot, float], float]:
    """Return the middle of each slot from the top, and the height of all.

    Each slot goes where its neighbours are, as far as those above it leave room.
    """
    beside: dict[Slot, list[Slot]] = defaultdict(list)
    for way in layout.ways.values():
        for here, there in itertools.pairwise(way):
            beside[here].append(there)
            beside[there].append(here)
    tallest = max(layout.columns, key=lambda one: sum(heights[s] + gap for s in one), default=[])
    middle: dict[Slot, float] = {}
    start = layout.columns.index(tallest) if tallest else 0
    order = [*range(start, len(layout.columns)), *range(start - 1, -1, -1)]
    for number in order:
        column = layout.columns[number]
        wanted = []
        for slot in column:
            ends = [middle[one] for one in beside[slot] if one in middle]
            wanted.append(sum(ends) / len(ends) if ends else None)
        _stack(column, wanted, heights, gap, middle)
    top = min((middle[one] - heights[one] / 2 for one in middle), default=0.0)
    middle = {slot: at - top for slot, at in middle.items()}
    return middle, max((middle[one] + heights[one] / 2 for one in middle), default=0.0)


def _stack(
    column: list[Slot],
    wanted: list[float | None],
    heights: Mapping[Slot, float],
    gap: float,
    middle: dict[Slot, float],
) -> None:
    """Place a column's slots one below the other, then the whole of it where it fits best."""
    at, end = [], None
    for slot, wish in zip(column, wanted, strict=True):
        half = heights[slot] / 2
        least = half if end is None else end + gap + half
        here = least if wish is None or (end is not None and wish < least) else wish
        at.append(here)
        end = here + half
    offs = [wish - here for wish, here in zip(wanted, at, strict=True) if wish is not None]
    shift = sum(offs) / len(offs) if offs else 0.0
    for slot, here in zip(column, at, strict=True):
        middle[slot] = here + shift
