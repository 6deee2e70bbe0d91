"""A trace as an SVG drawing: runs and dataset versions, layer by layer along the data.

Nothing is loaded from elsewhere and nothing runs in it. States differ by colour and by sign. The
same trace gives the same bytes.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from airflow_provenance.domain.identity import TaskRunKey
from airflow_provenance.domain.run import RunState, VersionStatus
from airflow_provenance.lineage.fold import Folded
from airflow_provenance.lineage.layers import Layout, Slot, lay_out, place as place_slots
from airflow_provenance.store.base import RunView, VersionView

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow_provenance.lineage.trace import Trace

Members = dict[int, list[RunView | VersionView]]

MOST_NODES: Final = 40
_WIDTH, _HEIGHT, _NOTE_HEIGHT = 240, 46, 16
_COLUMN_GAP, _GAP, _MARGIN, _HEADER, _LEGEND = 44, 14, 20, 44, 46
_BEND, _ROW_GAP, _LEAST_WIDTH = 8, 26, 780
# So many letters of 12 px fit a box, whatever sans-serif font there is.
_MOST_LETTERS, _MOST_DETAIL = 28, 38
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_GREY, _GREEN, _RED, _AMBER, _BLUE = "#57606a", "#1a7f37", "#b42318", "#8a5a00", "#1f5fb4"
_FILL: Final = {
    _GREY: "#f6f8fa",
    _GREEN: "#eaf7ee",
    _RED: "#fdeceb",
    _AMBER: "#fff6e0",
    _BLUE: "#eaf2fd",
}
_RUNS: Final = {
    RunState.RUNNING: ("…", _BLUE),
    RunState.COMPLETE: ("✓", _GREEN),
    RunState.FAIL: ("✗", _RED),
    RunState.ABORT: ("■", _RED),
    RunState.SKIPPED: ("»", _GREY),
    RunState.UP_FOR_RETRY: ("↻", _AMBER),
    RunState.UPSTREAM_FAILED: ("✗", _GREY),
    RunState.REMOVED: ("»", _GREY),
}
_VERSIONS: Final = {
    VersionStatus.OPEN: ("…", _BLUE),
    VersionStatus.GOOD: ("✓", _GREEN),
    VersionStatus.SUSPECT: ("✗", _RED),
    VersionStatus.OBSERVED: ("◇", _GREY),
}
_LEGEND_ITEMS: Final = (
    ("round: a run", _GREY),
    ("square: a dataset version", _GREY),
    ("✓ complete, good", _GREEN),
    ("◇ a source", _GREY),
    ("↻ to be tried again", _AMBER),
    ("✗ failed, not to be trusted", _RED),
    ("! a check failed", _RED),
)


def draw(
    answer: Trace | Folded,
    title: str,
    *,
    notes: Mapping[int, str] | None = None,
    way: Collection[int] = (),
    most: int = MOST_NODES,
) -> str:
    """Return a trace as an SVG document.

    Args:
        answer: what is drawn; of one that is folded, notes and way are by the whole one's nodes.
        title: over it.
        notes: a line for a node that needs attention.
        way: nodes whose edges between each other are drawn strong.
        most: nodes beyond this are left out, those farthest from the subject first; the drawing
            says how many.
    """
    members: Members = {}
    if isinstance(answer, Folded):
        place, members, answer = answer.place, answer.members, answer.trace
        notes = {place.get(node, node): text for node, text in (notes or {}).items()}
        way = [place.get(node, node) for node in way]
    shown = _nearest(answer, {*way}, most)
    layout = lay_out(shown, [(edge.src, edge.dst) for edge in answer.edges])
    notes = {node: text for node, text in (notes or {}).items() if node in shown}
    plan = _plan(layout, notes)
    strong = {*way}
    parts = [
        _edge([plan.at[slot] for slot in slots], plan.is_down, a in strong and b in strong)
        for (a, b), slots in sorted(layout.ways.items())
    ]
    for node in shown:
        along, across, _ = plan.at[node]
        words, note = _words(answer, node, members.get(node, [])), notes.get(node)
        tall = _HEIGHT + (_NOTE_HEIGHT if note is not None else 0)
        corner = (across - _WIDTH / 2, along) if plan.is_down else (along, across - tall / 2)
        parts.append(_box(words, corner, tall, note))
    width, height = max(plan.width, _LEAST_WIDTH), plan.height
    hidden = len(answer.runs) + len(answer.versions) - len(shown)
    said = f"{_said(answer, members, hidden)} Along the data: {plan.direction}."
    return _document(title, said, parts, width, height)


class _Plan(NamedTuple):
    """Where slots are: along the data their start, across it their middle, along it their size."""

    is_down: bool
    at: dict[Slot, tuple[float, float, float]]
    width: float
    height: float

    @property
    def direction(self) -> str:
        return "from top to bottom" if self.is_down else "from left to right"


def _plan(layout: Layout, noted: Collection[int]) -> _Plan:
    """Place slots in layers from left to right, or from top to bottom where that is narrower."""
    most = max(map(len, layout.columns), default=0)
    is_down = len(layout.columns) > most
    heights: dict[Slot, float] = {
        slot: _HEIGHT + (_NOTE_HEIGHT if slot in noted else 0)
        for column in layout.columns
        for slot in column
    }
    layer = _HEIGHT + _NOTE_HEIGHT if is_down else _WIDTH
    widths: dict[Slot, float] = {
        slot: _BEND if isinstance(slot, tuple) else _WIDTH if is_down else height
        for slot, height in heights.items()
    }
    middle, across = place_slots(layout, widths, _GAP)
    gap = _ROW_GAP if is_down else _COLUMN_GAP
    top, side = _HEADER + _MARGIN, _MARGIN
    at: dict[Slot, tuple[float, float, float]] = {}
    for number, column in enumerate(layout.columns):
        for slot in column:
            start = number * (layer + gap) + (top if is_down else side)
            size = heights[slot] if is_down and not isinstance(slot, tuple) else layer
            at[slot] = (start, middle[slot] + (side if is_down else top), size)
    along = len(layout.columns) * (layer + gap) - gap
    width, height = (across, along) if is_down else (along, across)
    return _Plan(is_down, at, width + 2 * _MARGIN, height)


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


class _Words(NamedTuple):
    """What a box says: its sign and colour, its name and a line on it, and all in a tip."""

    sign: str
    colour: str
    name: str
    detail: str
    tip: str
    radius: int


def _words(answer: Trace, node: int, members: Sequence[RunView | VersionView]) -> _Words:
    run = answer.runs.get(node)
    tip = "\n".join(map(_tip, members or [run or answer.versions[node]]))
    if run is not None:
        return _Words(*_RUNS[run.state], *_run_words(run, members), tip, 20)
    version = answer.versions[node]
    partition = f" [{version.partition}]" if version.partition is not None else ""
    name = "/".join(version.dataset.name.rstrip("/").split("/")[-2:]) + partition
    content = version.content_id or "no content id"
    kind, _, digest = content.rpartition(":")
    shown = f"{kind}:{digest[:10]}" if kind else content
    detail = f"v{node}, {version.status.name.lower()}, {shown}"
    if members:
        detail = f"and {len(members) - 1} more, {version.status.name.lower()}"
    return _Words(*_VERSIONS[version.status], name, detail, tip, 2)


def _run_words(run: RunView, members: Sequence[RunView | VersionView]) -> tuple[str, str]:
    """Return a run's name and a line on it; of many, those of the one that stands for them."""
    state = run.state.name.lower().replace("_", " ")
    if not isinstance(run.key, TaskRunKey):
        return run.job[1], f"run {run.id}, {state}{_took([run])}"
    tasks = [one for one in members if isinstance(one, RunView) and one.job == run.job]
    if len(tasks) > 1:
        return f"{run.key.task_id}, {len(tasks)} mapped", f"{state}{_took(tasks)} in all"
    mapped = f"[{run.key.map_index}]" if run.key.map_index >= 0 else ""
    attempt = f", try {run.key.try_number}" if run.key.try_number > 1 else ""
    detail = f"run {run.id}, {state}{attempt}{_took([run])}"
    return f"{run.key.task_id}{mapped}", detail


def _took(runs: Sequence[RunView]) -> str:
    times = [(run.started_us, run.ended_us) for run in runs]
    known = [end - start for start, end in times if start is not None and end is not None]
    return f", {sum(known) / 1e6:.2f} s" if known else ""


def _tip(one: RunView | VersionView) -> str:
    if isinstance(one, RunView):
        index = one.key.map_index if isinstance(one.key, TaskRunKey) else -1
        mapped = f"[{index}]" if index >= 0 else ""
        return f"run {one.id}: {one.job[1]}{mapped}, {one.state.name}"
    partition = f" [{one.partition}]" if one.partition is not None else ""
    return f"v{one.id}: {'/'.join(one.dataset)}{partition}, {one.content_id or 'no content id'}"


def _box(words: _Words, corner: tuple[float, float], height: float, note: str | None) -> str:
    sign, colour = (words.sign, words.colour) if note is None else ("!", _RED)
    x, top = corner
    lines = [
        (
            f'<g><title>{_text(words.tip)}</title><rect x="{x:.1f}" y="{top:.1f}" width="{_WIDTH}" '
            f'height="{height:.1f}" rx="{words.radius}" fill="{_FILL[colour]}" stroke="{colour}"/>'
        ),
        (
            f'<text x="{x + 12:.1f}" y="{top + 20:.1f}" class="n">'
            f'<tspan fill="{colour}">{sign}</tspan> {_text(_end(words.name, _MOST_LETTERS))}</text>'
        ),
        (
            f'<text x="{x + 12:.1f}" y="{top + 36:.1f}" class="d">'
            f"{_text(_start(words.detail, _MOST_DETAIL))}</text>"
        ),
    ]
    if note is not None:
        lines.append(
            f'<text x="{x + 12:.1f}" y="{top + 52:.1f}" class="d" fill="{_RED}">'
            f"{_text(_start(note, _MOST_DETAIL))}</text>"
        )
    return "".join((*lines, "</g>"))


def _edge(points: list[tuple[float, float, float]], is_down: bool, is_strong: bool) -> str:
    def point(along: float, across: float) -> str:
        return f"{across:.1f} {along:.1f}" if is_down else f"{along:.1f} {across:.1f}"

    (start, across, size), *following = points
    at = start + size
    path = [f"M{point(at, across)}"]
    for number, (start, there, size) in enumerate(following, start=1):
        half = (start - at) / 2
        path.append(
            f"C{point(at + half, across)} {point(start - half, there)} {point(start, there)}"
        )
        at, across = start + size, there
        if number < len(following):  # it passes between the boxes of this layer
            path.append(f"L{point(at, across)}")
    return f'<path d="{"".join(path)}" class="{"s" if is_strong else "e"}"/>'


def _said(answer: Trace, members: Members, hidden: int) -> str:
    nodes = [(node, len(members.get(node, [node]))) for node in (*answer.runs, *answer.versions)]
    runs = sum(count for node, count in nodes if node in answer.runs)
    versions = sum(count for node, count in nodes if node in answer.versions)
    said = f"{runs} runs and {versions} dataset versions."
    if hidden:
        said += f" {hidden} of them, farthest from what was asked about, are not drawn."
    return said


def _document(title: str, said: str, parts: list[str], width: float, height: float) -> str:
    total = _HEADER + 2 * _MARGIN + height + _LEGEND
    legend, x = [], _MARGIN
    for text, colour in _LEGEND_ITEMS:
        legend.append(
            f'<text x="{x}" y="{total - _MARGIN:.1f}" class="d" fill="{colour}">'
            f"{_text(text)}</text>"
        )
        x += 15 + round(len(text) * 5.3)
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{total:.0f}" '
                f'viewBox="0 0 {width:.0f} {total:.0f}" role="img" aria-labelledby="title desc">'
            ),
            f'<title id="title">{_text(title)}</title>',
            f'<desc id="desc">{_text(said)}</desc>',
            (
                "<style>text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,"
                "'DejaVu Sans',sans-serif}.t{font-size:16px;font-weight:600}"
                ".n{font-size:12px;font-weight:600;fill:#1f2328}.d{font-size:10.5px}"
                ".e,.s{fill:none;stroke:#8c959f;stroke-width:1.2;marker-end:url(#a)}"
                ".s{stroke:#b42318;stroke-width:2.4;marker-end:url(#b)}</style>"
            ),
            *(
                f'<defs><marker id="{name}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" '
                'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
                f'<path d="M0 0L8 4L0 8z" fill="{colour}"/></marker></defs>'
                for name, colour in (("a", "#8c959f"), ("b", _RED))
            ),
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            f'<text x="{_MARGIN}" y="28" class="t">{_text(title)}</text>',
            f'<text x="{_MARGIN}" y="46" class="d" fill="{_GREY}">{_text(said)}</text>',
            *parts,
            *legend,
            "</svg>\n",
        ]
    )


def _text(text: str) -> str:
    return html.escape(_NOT_IN_XML.sub("\ufffd", text))


def _start(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _end(text: str, most: int) -> str:
    """Shorten a name at its start: its end tells it from others."""
    return text if len(text) <= most else f"…{text[1 - most :]}"
