"""How the boxes and the page of a drawing look; `lineage.picture` says where they stand.

Colours are those of the reader's system, light or dark, and each has a sign beside it.
"""

from __future__ import annotations

import html
import re
import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from airflow_provenance.domain.identity import TaskRunKey
from airflow_provenance.domain.run import RunState, VersionStatus
from airflow_provenance.lineage.short import Names, duration_text
from airflow_provenance.store.base import RunView, VersionView

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEAST_WIDTH, HEIGHT, NOTE_HEIGHT = 240, 46, 16
GAP, MARGIN, HEADER, LEAST_PAGE = 14, 20, 44, 780
_LEGEND, _LINE = 46, 16
# What a letter takes at most, whatever sans-serif font there is: of names, lines and titles.
_NAME_LETTER, _LETTER, _TITLE_LETTER, _INSIDE = 7.3, 5.7, 10.2, 27
_MOST_LETTERS, _MOST_DETAIL = 48, 62
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Of each colour: ink and paper in light, then in dark.
_COLOURS: Final = {
    "grey": ("#57606a", "#f6f8fa", "#9198a1", "#1b2027"),
    "green": ("#1a7f37", "#eaf7ee", "#3fb950", "#12261a"),
    "red": ("#b42318", "#fdeceb", "#ff7b72", "#3a1513"),
    "amber": ("#8a5a00", "#fff6e0", "#e3b341", "#2e2410"),
    "blue": ("#1f5fb4", "#eaf2fd", "#79b8ff", "#13233a"),
}
_PAGE: Final = (("#ffffff", "#1f2328", "#8c959f"), ("#0d1117", "#e6edf3", "#6e7681"))
_RUNS: Final = {
    RunState.RUNNING: ("…", "blue"),
    RunState.COMPLETE: ("✓", "green"),
    RunState.FAIL: ("✗", "red"),
    RunState.ABORT: ("■", "red"),
    RunState.SKIPPED: ("»", "grey"),
    RunState.UP_FOR_RETRY: ("↻", "amber"),
    RunState.UPSTREAM_FAILED: ("✗", "grey"),
    RunState.REMOVED: ("»", "grey"),
}
_VERSIONS: Final = {
    VersionStatus.OPEN: ("…", "blue"),
    VersionStatus.GOOD: ("✓", "green"),
    VersionStatus.SUSPECT: ("✗", "red"),
    VersionStatus.OBSERVED: ("◇", "grey"),
}
_LEGEND_ITEMS: Final = (
    ("round: a run", "grey"),
    ("square: a dataset version", "grey"),
    ("✓ complete, good", "green"),
    ("◇ a source", "grey"),
    ("↻ to be tried again", "amber"),
    ("✗ failed, not to be trusted", "red"),
    ("! a check failed", "red"),
)


class Note(NamedTuple):
    """What is wrong with a node: a line in its box, and more of them for its tip."""

    text: str
    lines: Sequence[str] = ()


class Words(NamedTuple):
    """What a box says: its sign and colour, its name and lines on it, and all in a tip."""

    sign: str
    colour: str
    name: str
    details: list[str]
    tip: str
    radius: int

    @property
    def width(self) -> float:
        """How wide a box must be for it."""
        lines = max(len(_start(one, _MOST_DETAIL)) for one in self.details)
        name = len(_end(self.name, _MOST_LETTERS)) + 2  # its sign
        return max(name * _NAME_LETTER, lines * _LETTER) + _INSIDE

    @property
    def height(self) -> float:
        """How tall a box must be for it."""
        return HEIGHT + NOTE_HEIGHT * (len(self.details) - 1)


def words_of(
    one: RunView | VersionView,
    members: Sequence[RunView | VersionView],
    names: Names,
    note: Note | None,
) -> Words:
    """Return what the box of a run or a version says, which may stand for many.

    Args:
        one: the one that stands for them.
        members: all of them; none where it stands for itself.
        names: how datasets are called.
        note: what is wrong with it.
    """
    tips = [*map(_tip, members or [one]), *(note.lines if note else ())]
    if isinstance(one, RunView):
        (sign, colour), radius = _RUNS[one.state], 20
        name, detail = _run_words(one, members)
    else:
        (sign, colour), radius = _VERSIONS[one.status], 2
        name, detail = _version_words(one, members, names)
    if note is None:
        return Words(sign, colour, name, [detail], "\n".join(tips), radius)
    return Words("!", "red", name, [detail, note.text], "\n".join(tips), radius)


def _version_words(
    version: VersionView, members: Sequence[RunView | VersionView], names: Names
) -> tuple[str, str]:
    partition = f" [{version.partition}]" if version.partition is not None else ""
    name, status = names.dataset(version.dataset), version.status.name.lower()
    if members:
        return name + partition, f"and {len(members) - 1} more, {status}"
    return name + partition, f"v{version.id}, {status}, {names.content(version.content_id)}"


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
    return f"{run.key.task_id}{mapped}", f"run {run.id}, {state}{attempt}{_took([run])}"


def _took(runs: Iterable[RunView]) -> str:
    times = [(run.started_us, run.ended_us) for run in runs]
    known = [end - start for start, end in times if start is not None and end is not None]
    return f", {duration_text(sum(known) / 1e6)}" if known else ""


def _tip(one: RunView | VersionView) -> str:
    if isinstance(one, RunView):
        index = one.key.map_index if isinstance(one.key, TaskRunKey) else -1
        mapped = f"[{index}]" if index >= 0 else ""
        return f"run {one.id}: {one.job[1]}{mapped}, {one.state.name}"
    partition = f" [{one.partition}]" if one.partition is not None else ""
    return f"v{one.id}: {'/'.join(one.dataset)}{partition}, {one.content_id or 'no content id'}"


def box(words: Words, corner: tuple[float, float], width: float) -> str:
    """Return a box with its words, from its upper left corner."""
    x, top = corner
    lines = [
        (
            f'<g class="{words.colour}"><title>{_text(words.tip)}</title>'
            f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{words.height:.1f}" '
            f'rx="{words.radius}"/>'
        ),
        (
            f'<text x="{x + 12:.1f}" y="{top + 20:.1f}" class="n"><tspan class="c">{words.sign}'
            f"</tspan> {_text(_end(words.name, _MOST_LETTERS))}</text>"
        ),
    ]
    for number, detail in enumerate(words.details):
        at = f'x="{x + 12:.1f}" y="{top + 36 + NOTE_HEIGHT * number:.1f}"'
        said = _text(_start(detail, _MOST_DETAIL))
        lines.append(f'<text {at} class="d{" c" if number else ""}">{said}</text>')
    return "".join((*lines, "</g>"))


class Spot(NamedTuple):
    """Where a slot is: along the data its start, its own end and its layer's, across it its middle.

    An edge leaves at its own end, and turns where the layer ends, beside no taller box.
    """

    start: float
    end: float
    layer_end: float
    middle: float


def edge_path(spots: Sequence[Spot], is_down: bool, is_strong: bool) -> str:
    """Return an edge from the first to the last of some slots."""

    def point(along: float, across: float) -> str:
        return f"{across:.1f} {along:.1f}" if is_down else f"{along:.1f} {across:.1f}"

    path = [f"M{point(spots[0].end, spots[0].middle)}"]
    for here, there in pairwise(spots):
        at, half = here.layer_end, (there.start - here.layer_end) / 2
        if path[-1] != f"M{point(at, here.middle)}":  # past boxes beside it
            path.append(f"L{point(at, here.middle)}")
        path.append(
            f"C{point(at + half, here.middle)} {point(there.start - half, there.middle)} "
            f"{point(there.start, there.middle)}"
        )
    return f'<path d="{"".join(path)}" class="{"s" if is_strong else "e"}"/>'


def document(
    title: str, said: Sequence[str], parts: Sequence[str], size: tuple[float, float]
) -> str:
    """Return the page: what it is called and says, the parts below that, and a legend."""
    width, height = size
    room = width - 2 * MARGIN
    titles = textwrap.wrap(title, int(room / _TITLE_LETTER)) or [""]
    lines = [one for text in said for one in textwrap.wrap(text, int(room / _LETTER))]
    down = (len(titles) - 1) * (_LINE + 4) + (len(lines) - 1) * _LINE
    legend, legend_height = _legend(width, HEADER + 2 * MARGIN + height + down)
    total = HEADER + 2 * MARGIN + height + down + legend_height
    y, head = 28, []
    for text in titles:
        head.append(f'<text x="{MARGIN}" y="{y}" class="t">{_text(text)}</text>')
        y += _LINE + 4
    for text in lines:
        head.append(f'<text x="{MARGIN}" y="{y - 2}" class="d q">{_text(text)}</text>')
        y += _LINE
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{total:.0f}" '
                f'viewBox="0 0 {width:.0f} {total:.0f}" role="img" aria-labelledby="title desc">'
            ),
            f'<title id="title">{_text(title)}</title>',
            f'<desc id="desc">{_text(" ".join(said))}</desc>',
            f"<style>{_style()}</style>",
            *(
                f'<defs><marker id="{name}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" '
                'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
                f'<path d="M0 0L8 4L0 8z" class="{name}"/></marker></defs>'
                for name in ("a", "b")
            ),
            '<rect width="100%" height="100%" class="p"/>',
            *head,
            *([f'<g transform="translate(0 {down})">', *parts, "</g>"] if down else parts),
            *legend,
            "</svg>\n",
        ]
    )


def _legend(width: float, top: float) -> tuple[list[str], float]:
    """Return the lines of the legend, and how tall it is."""
    legend, x, y = [], float(MARGIN), top + _LEGEND - MARGIN
    for text, colour in _LEGEND_ITEMS:
        size = 15 + len(text) * _LETTER
        if x > MARGIN and x + size > width:
            x, y = MARGIN, y + _LINE
        legend.append(
            f'<text x="{x:.0f}" y="{y:.1f}" class="d {colour}"><tspan class="c">{_text(text)}'
            "</tspan></text>"
        )
        x += size
    return legend, y - top + MARGIN


def _style() -> str:
    (paper, ink, line), (dark_paper, dark_ink, dark_line) = _PAGE
    light = [
        (
            "text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',"
            "sans-serif}.t{font-size:16px;font-weight:600}.n{font-size:12px;font-weight:600}"
            ".d{font-size:10.5px}.e,.s{fill:none;stroke-width:1.2;marker-end:url(#a)}"
            ".s{stroke-width:2.4;marker-end:url(#b)}"
        ),
        *_tones(paper, ink, line, 0),
    ]
    return (
        f"{''.join(light)}@media(prefers-color-scheme:dark)"
        f"{{{''.join(_tones(dark_paper, dark_ink, dark_line, 2))}}}"
    )


def _tones(paper: str, ink: str, line: str, first: int) -> Iterable[str]:
    red = _COLOURS["red"][first]
    yield f".p{{fill:{paper}}}.t,.n,.d{{fill:{ink}}}.q{{fill:{_COLOURS['grey'][first]}}}"
    yield f".e{{stroke:{line}}}.a{{fill:{line}}}.s{{stroke:{red}}}.b{{fill:{red}}}"
    for name, tones in _COLOURS.items():
        strong, soft = tones[first : first + 2]
        yield f".{name} rect{{fill:{soft};stroke:{strong}}}.{name} .c{{fill:{strong}}}"


def _text(text: str) -> str:
    return html.escape(_NOT_IN_XML.sub("\ufffd", text))


def _start(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _end(text: str, most: int) -> str:
    """Shorten a name at its start: its end tells it from others."""
    return text if len(text) <= most else f"…{text[1 - most :]}"
