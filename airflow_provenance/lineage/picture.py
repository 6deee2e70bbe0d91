"""A trace as an SVG drawing: runs and dataset versions, layer by layer along the data.

Nothing is loaded from elsewhere and nothing runs in it. States differ by colour and by sign, and a
version of which a check failed is marked, whatever became of its run. The same trace gives the same
bytes. How a box and the page look is in `lineage.boxes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from airflow_provenance.lineage.boxes import (
    GAP,
    HEADER,
    LEAST_PAGE,
    LEAST_WIDTH,
    MARGIN,
    Note,
    Spot,
    Words,
    box,
    document,
    edge_path,
    words_of,
)
from airflow_provenance.lineage.fold import Folded
from airflow_provenance.lineage.layers import Layout, Slot, lay_out, place as place_slots
from airflow_provenance.lineage.short import Names, many
from airflow_provenance.store.base import RunView, VersionView

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow_provenance.lineage.checks import CheckOutcome
    from airflow_provenance.lineage.trace import Trace

Members = dict[int, list[RunView | VersionView]]

MOST_NODES: Final = 40
_COLUMN_GAP, _ROW_GAP, _BEND = 44, 26, 8


def draw(
    answer: Trace | Folded,
    title: str,
    *,
    said: str = "",
    notes: Mapping[int, Note] | None = None,
    way: Collection[int] = (),
    most: int = MOST_NODES,
) -> str:
    """Return a trace as an SVG document.

    Args:
        answer: what is drawn; of one that is folded, notes and way are by the whole one's nodes.
        title: over it.
        said: below that, before what the drawing says of itself.
        notes: of nodes that need attention; see `notes_of`.
        way: nodes whose edges between each other are drawn strong.
        most: nodes beyond this are left out, those farthest from the subject first; the drawing
            says how many.
    """
    members: Members = {}
    if isinstance(answer, Folded):
        place, members, answer = answer.place, answer.members, answer.trace
        notes = _folded(notes or {}, place)
        way = [place.get(node, node) for node in way]
    shown = _nearest(answer, {*way}, most)
    layout = lay_out(shown, [(edge.src, edge.dst) for edge in answer.edges])
    notes = {node: note for node, note in (notes or {}).items() if node in shown}
    names = Names({one.dataset for one in answer.versions.values()})
    words = {
        node: words_of(
            answer.runs.get(node) or answer.versions[node],
            members.get(node, ()),
            names,
            notes.get(node),
        )
        for node in shown
    }
    plan = _plan(layout, words)
    strong = {*way}
    parts = [
        edge_path([plan.at[slot] for slot in slots], plan.is_down, a in strong and b in strong)
        for (a, b), slots in sorted(layout.ways.items())
    ]
    for node, one in words.items():
        along, _, _, across = plan.at[node]
        is_down = plan.is_down
        corner = (across - plan.box / 2, along) if is_down else (along, across - one.height / 2)
        parts.append(box(one, corner, plan.box))
    hidden = len(answer.runs) + len(answer.versions) - len(shown)
    told = f"{_said(answer, members, hidden)} Along the data: {plan.direction}."
    size = (max(plan.width, LEAST_PAGE), plan.height)
    return document(title, [said, told] if said else [told], parts, size)


def notes_of(failed: Mapping[int, Sequence[CheckOutcome]]) -> dict[int, Note]:
    """Return what the drawing says of the versions of which checks failed, the worst first."""
    return {
        version: Note(_told(checks), [*map(_line, checks)]) for version, checks in failed.items()
    }


def _told(checks: Sequence[CheckOutcome]) -> str:
    rows = max((one.failed_rows or 0 for one in checks), default=0)
    if len(checks) > 1:
        return f"{len(checks)} checks failed" + (f", up to {rows:,} rows each" if rows else "")
    if checks[0].not_run is not None:
        return f"{checks[0].name} could not be made"
    return f"{checks[0].name}: {many(rows, 'row')}" if rows else f"{checks[0].name} failed"


def _line(check: CheckOutcome) -> str:
    if check.not_run is not None:
        return f"{check.title} could not be made ({check.severity}): {check.not_run}"
    rows = "" if check.failed_rows is None else f": {many(check.failed_rows, 'row')}"
    return f"{check.title} failed ({check.severity}){rows}"


def _folded(notes: Mapping[int, Note], place: Mapping[int, int]) -> dict[int, Note]:
    """Return one note for all that are in one box."""
    folded: dict[int, list[Note]] = {}
    for node, note in sorted(notes.items()):
        folded.setdefault(place.get(node, node), []).append(note)
    return {
        node: those[0]
        if len(those) == 1
        else Note(f"checks of {len(those)} failed", [line for one in those for line in one.lines])
        for node, those in folded.items()
    }


class _Plan(NamedTuple):
    """Where slots are, and how wide boxes and the whole."""

    is_down: bool
    box: float
    at: dict[Slot, Spot]
    width: float
    height: float

    @property
    def direction(self) -> str:
        return "from top to bottom" if self.is_down else "from left to right"


def _plan(layout: Layout, words: Mapping[int, Words]) -> _Plan:
    """Place slots in layers from left to right, or from top to bottom where that is narrower.

    Every box is as wide as the widest, each layer as tall as what is in it.
    """
    most = max(map(len, layout.columns), default=0)
    is_down = len(layout.columns) > most
    wide = max((one.width for one in words.values()), default=0)
    wide = float(max(wide, LEAST_WIDTH))
    size: dict[Slot, tuple[float, float]] = {  # along, across
        slot: (0, _BEND)
        if isinstance(slot, tuple)
        else (words[slot].height, wide)
        if is_down
        else (wide, words[slot].height)
        for column in layout.columns
        for slot in column
    }
    middle, across = place_slots(layout, {slot: one[1] for slot, one in size.items()}, GAP)
    gap = _ROW_GAP if is_down else _COLUMN_GAP
    top, side = HEADER + MARGIN, MARGIN
    at: dict[Slot, Spot] = {}
    start = float(top if is_down else side)
    for column in layout.columns:
        layer = max((size[slot][0] for slot in column), default=0)
        for slot in column:
            across_it = middle[slot] + (side if is_down else top)
            at[slot] = Spot(start, start + size[slot][0], start + layer, across_it)
        start += layer + gap
    along = start - gap - (top if is_down else side)
    width, height = (across, along) if is_down else (along, across)
    return _Plan(is_down, wide, at, width + 2 * MARGIN, height)


def _nearest(answer: Trace, wanted: set[int], most: int) -> list[int]:
    """Return the nodes to draw: those asked for, then the nearest to the subject."""
    beside = answer.edges_beside()
    is_up = answer.direction == "upstream"
    nodes = list(dict.fromkeys(answer.roots))
    seen = set(nodes)
    for node in nodes:  # grows while it is walked
        for edge in beside.get(node, ()):
            end = edge.src if is_up else edge.dst
            if end not in seen:
                seen.add(end)
                nodes.append(end)
    first = [node for node in nodes if node in wanted]
    rest = [node for node in nodes if node not in wanted]
    return sorted([*first, *rest][:most])


def _said(answer: Trace, members: Members, hidden: int) -> str:
    nodes = [(node, len(members.get(node, [node]))) for node in (*answer.runs, *answer.versions)]
    runs = sum(count for node, count in nodes if node in answer.runs)
    versions = sum(count for node, count in nodes if node in answer.versions)
    said = f"{_count(runs, 'run')} and {_count(versions, 'dataset version')}."
    if hidden:
        said += f" {hidden} of them, farthest from what was asked about, are not drawn."
    return said


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' if number != 1 else ''}"
