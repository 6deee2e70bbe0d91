"""How far promises were kept, as one page of HTML: nothing is loaded, and nothing runs in it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from airflow_provenance.sla.amounts import amount_text, moment_text
from airflow_provenance.sla.attainment import totals
from airflow_provenance.sla.evaluation import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.sla.attainment import Cell, Line, Span

_CELL, _GAP, _HEIGHT = 9, 2, 22
MOST_CELLS: Final = 92  # the newest of a line
_KINDS: Final = {
    State.OK: ("ok", "kept"),
    State.RECOVERED: ("late", "broken, made good late"),
    State.BREACHED: ("broken", "broken"),
    State.EXPIRED: ("broken", "broken, no longer waited for"),
}
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #57606a; --line: #d0d7de; --paper: #fff;
  --ok: #1a7f37; --late: #b07d00; --broken: #b42318; --excused: #1f5fb4; --none: #afb8c1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d;
  --paper: #0d1117; --ok: #3fb950; --late: #d29922; --broken: #f85149; --excused: #58a6ff;
  --none: #484f58; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p.soft, td.soft, span.soft { color: var(--soft); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 600; color: var(--soft); } td.n, th.n { text-align: right; white-space: nowrap; }
.ok { fill: var(--ok); } .late { fill: var(--late); } .broken { fill: var(--broken); }
.excused { fill: var(--excused); } .none { fill: var(--none); }
svg { display: block; } .key svg { display: inline; vertical-align: -2px; }
"""


def page(lines: Sequence[Line], span: Span, made_us: int) -> str:
    """Return the page.

    Args:
        lines: of `attainment.attainment`.
        span: what they are of.
        made_us: when it is made.
    """
    when = f"{moment_text(span.from_us)} to {moment_text(span.until_us)}"
    body = [
        "<h1>How far promises were kept</h1>",
        f"<p class=soft>{when}, made {moment_text(made_us)}.</p>",
        f"<p class=key>{_key()}</p>",
    ]
    for total in totals(lines):
        owner = total.owner or "no owner"
        part = percent(total.attainment)
        counted = f"{plural(total.kept, 'period')} kept, {total.broken} broken, "
        counted += f"{total.excused} excused{beside_periods(lines, total.owner)}"
        body.append(f"<h2>{_text(owner)} <span class=soft>{part}; {counted}</span></h2>")
        body.append(_table(one for one in lines if (one.owner or "") == total.owner))
    if not lines:
        body.append("<p>Nothing was judged in this time.</p>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>How far promises were kept</title><style>{_STYLE}</style></head>\n<body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


def percent(part: float | None) -> str:
    """Return a part as a percentage that never rounds a breach away."""
    if part is None:
        return "nothing judged"
    text = f"{100 * part:.2f}"
    if part < 1 and text == "100.00":
        return "> 99.99 %"
    return f"{text} %"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "period"), plural(2, "period")
    ('1 period', '2 periods')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def beside_periods(lines: Iterable[Line], owner: str) -> str:
    """Return an owner's promises that have no periods to count, each with the time it stood."""
    found = [
        f"{one.policy} {percent(one.attainment)} of the time ({one.label})"
        for one in lines
        if one.time_us and (one.owner or "") == owner
    ]
    return f"; beside it {', '.join(found)}" if found else ""


def _key() -> str:
    words = {
        "ok": "kept",
        "late": "made good late",
        "broken": "broken",
        "excused": "excused",
        "none": "not judged",
    }
    return " ".join(
        f"<svg width={_CELL} height={_CELL}><rect class={kind} width={_CELL} height={_CELL} "
        f"/></svg> {text}&nbsp;"
        for kind, text in words.items()
    )


def _table(lines: Iterable[Line]) -> str:
    heads = "<th>Promise<th>Of<th>Stretch<th class=n>Kept<th class=n>Worst delay<th>Periods"
    rows = [f"<tr>{heads}, oldest first</tr>", *map(_row, lines)]
    return f"<table>{''.join(rows)}</table>"


def _row(line: Line) -> str:
    worst = amount_text(line.worst_us / 1e6, "s") if line.worst_us else ""
    numbers = f"{line.kept} of {line.kept + line.broken}"
    if line.time_us:
        numbers = f"of the time; {plural(line.broken, 'time')} broken"
    return (
        f"<tr><td>{_text(line.policy)}</td><td class=soft>{_text(line.target)}</td>"
        f"<td>{_text(line.label)}</td>"
        f"<td class=n>{percent(line.attainment)}<br><span class=soft>{numbers}</span></td>"
        f"<td class=n>{worst}</td><td>{_strip(line.cells)}</td></tr>"
    )


def _strip(cells: Sequence[Cell]) -> str:
    shown = cells[-MOST_CELLS:]
    more = f"<span class=soft>{len(cells) - len(shown)} before</span>" if cells[MOST_CELLS:] else ""
    width = max(len(shown) * (_CELL + _GAP), 1)
    boxes = "".join(
        f"<rect class={_kind(one)[0]} x={number * (_CELL + _GAP)} y=0 width={_CELL} "
        f"height={_HEIGHT} rx=2><title>{_text(_told(one))}</title></rect>"
        for number, one in enumerate(shown)
    )
    return f'{more}<svg width={width} height={_HEIGHT} role="img">{boxes}</svg>'


def _kind(cell: Cell) -> tuple[str, str]:
    if cell.excused is not None:
        return "excused", f"excused by {cell.excused}"
    found = next((kind for state, kind in _KINDS.items() if state == cell.state), None)
    return found or ("none", cell.state.replace("_", " "))


def _told(cell: Cell) -> str:
    parts = [cell.period, _kind(cell)[1]]
    if cell.observed is not None:
        parts.append(f"observed {amount_text(cell.observed, cell.unit)}")
    if cell.threshold is not None:
        parts.append(f"promised {amount_text(cell.threshold, cell.unit)}")
    if cell.late_us is not None:
        parts.append(f"late by {amount_text(cell.late_us / 1e6, 's')}")
    return "; ".join(parts)


def _text(text: str) -> str:
    return html.escape(text)
