"""A trace as an SVG drawing: runs and dataset versions, from left to right along the data.

Nothing is loaded from elsewhere and nothing runs in it. States differ by colour and by sign. The
same trace gives the same bytes.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

from airflow_provenance.domain.identity import TaskRunKey
from airflow_provenance.domain.run import RunState, VersionStatus
from airflow_provenance.lineage.layers import Slot, lay_out, place

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_provenance.lineage.trace import Trace

MOST_NODES: Final = 40
_WIDTH, _HEIGHT, _NOTE_HEIGHT = 240, 46, 16
_COLUMN_GAP, _GAP, _MARGIN, _HEADER, _LEGEND = 44, 14, 20, 44, 46
_BEND_HEIGHT = 8
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
    answer: Trace,
    title: str,
    *,
    notes: Mapping[int, str] | None = None,
    way: Collection[int] = (),
    most: int = MOST_NODES,
) -> str:
    """Return a trace as an SVG document.

    Args:
        answer: what is drawn.
        title: over it.
        notes: a line for a node that needs attention.
        way: nodes whose edges between each other are drawn strong.
        most: nodes beyond this are left out, those farthest from the subject first; the drawing
            says how many.
    """
    shown = _nearest(answer, {*way}, most)
    layout = lay_out(shown, [(edge.src, edge.dst) for edge in answer.edges])
    notes = {node: text for node, text in (notes or {}).items() if node in shown}
    heights: dict[Slot, float] = {
        slot: _BEND_HEIGHT
        if isinstance(slot, tuple)
        else _HEIGHT + (_NOTE_HEIGHT if slot in notes else 0)
        for column in layout.columns
        for slot in column
    }
    middle, height = place(layout, heights, _GAP)
    left = {
        slot: _MARGIN + number * (_WIDTH + _COLUMN_GAP)
        for number, column in enumerate(layout.columns)
        for slot in column
    }
    at = {slot: (left[slot], _HEADER + _MARGIN + middle[slot]) for slot in middle}
    strong = {*way}
    parts = [
        _edge([at[slot] for slot in slots], is_strong=a in strong and b in strong)
        for (a, b), slots in sorted(layout.ways.items())
    ]
    parts += [_node(answer, node, at[node], heights[node], notes.get(node)) for node in shown]
    width = max(len(layout.columns) * (_WIDTH + _COLUMN_GAP) - _COLUMN_GAP + 2 * _MARGIN, 760)
    return _document(answer, title, parts, width, height, len(shown))


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


def _node(
    answer: Trace, node: int, at: tuple[float, float], height: float, note: str | None
) -> str:
    run = answer.runs.get(node)
    if run is not None:
        sign, colour = _RUNS[run.state]
        key = run.key if isinstance(run.key, TaskRunKey) else None
        mapped = f"[{key.map_index}]" if key and key.map_index >= 0 else ""
        attempt = f", try {key.try_number}" if key and key.try_number > 1 else ""
        name = f"{run.job[1]}{mapped}"
        short = f"{key.task_id}{mapped}" if key else name
        took = (
            ""
            if run.started_us is None or run.ended_us is None
            else f", {(run.ended_us - run.started_us) / 1e6:.2f} s"
        )
        detail = f"run {node}, {run.state.name.lower().replace('_', ' ')}{attempt}{took}"
        whole, radius = f"run {node}: {name}, {run.state.name}", 20
    else:
        version = answer.versions[node]
        sign, colour = _VERSIONS[version.status]
        partition = f" [{version.partition}]" if version.partition is not None else ""
        short = "/".join(version.dataset.name.rstrip("/").split("/")[-2:]) + partition
        content = version.content_id or "no content id"
        kind, _, digest = content.rpartition(":")
        shown = f"{kind}:{digest[:10]}" if kind else content
        detail = f"v{node}, {version.status.name.lower()}, {shown}"
        whole = f"v{node}: {'/'.join(version.dataset)}{partition}, {content}"
        radius = 2
    sign, colour = (sign, colour) if note is None else ("!", _RED)
    x, top = at[0], at[1] - height / 2
    lines = [
        (
            f'<g><title>{_text(whole)}</title><rect x="{x:.1f}" y="{top:.1f}" width="{_WIDTH}" '
            f'height="{height:.1f}" rx="{radius}" fill="{_FILL[colour]}" stroke="{colour}"/>'
        ),
        (
            f'<text x="{x + 12:.1f}" y="{top + 20:.1f}" class="n">'
            f'<tspan fill="{colour}">{sign}</tspan> {_text(_end(short, _MOST_LETTERS))}</text>'
        ),
        (
            f'<text x="{x + 12:.1f}" y="{top + 36:.1f}" class="d">'
            f"{_text(_start(detail, _MOST_DETAIL))}</text>"
        ),
    ]
    if note is not None:
        lines.append(
            f'<text x="{x + 12:.1f}" y="{top + 52:.1f}" class="d" fill="{_RED}">'
            f"{_text(_start(note, _MOST_DETAIL))}</text>"
        )
    return "".join((*lines, "</g>"))


def _edge(points: list[tuple[float, float]], *, is_strong: bool) -> str:
    (x, y), *following = points
    path = [f"M{x + _WIDTH:.1f} {y:.1f}"]
    at = x + _WIDTH
    for number, (left, there) in enumerate(following, start=1):
        half = (left - at) / 2
        path.append(
            f"C{at + half:.1f} {y:.1f} {left - half:.1f} {there:.1f} {left:.1f} {there:.1f}"
        )
        if number < len(following):  # it passes between the boxes of this column
            path.append(f"H{left + _WIDTH:.1f}")
        at, y = left + _WIDTH, there
    return f'<path d="{"".join(path)}" class="{"s" if is_strong else "e"}"/>'


def _document(
    answer: Trace, title: str, parts: list[str], width: float, height: float, shown: int
) -> str:
    nodes = len(answer.runs) + len(answer.versions)
    said = f"{len(answer.runs)} runs and {len(answer.versions)} dataset versions."
    if shown < nodes:
        said += f" {nodes - shown} of them, farthest from what was asked about, are not drawn."
    total = _HEADER + 2 * _MARGIN + height + _LEGEND
    legend, x = [], _MARGIN
    for text, colour in _LEGEND_ITEMS:
        legend.append(
            f'<text x="{x}" y="{total - _MARGIN:.1f}" class="d" fill="{colour}">'
            f"{_text(text)}</text>"
        )
        x += 24 + round(len(text) * 5.8)
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{total:.0f}" '
                f'viewBox="0 0 {width:.0f} {total:.0f}" role="img" aria-labelledby="title desc">'
            ),
            f'<title id="title">{_text(title)}</title>',
            f'<desc id="desc">{_text(said)} From left to right along the data.</desc>',
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
