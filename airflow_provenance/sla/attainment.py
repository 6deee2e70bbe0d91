"""How far promises were kept, by promise, stretch of the calendar and owner, from their changes.

A period counts in the stretch in which it was due (one that was kept early may be due only after
all of them: then in which it was judged), or else broke, or else was judged. What nobody
could judge (``no_data``, suspended, pending) counts as neither; what somebody has excused does not
count as broken. A promise without periods (a success ratio, misses in a row) counts by time: for
what part of the stretch it stood.

    attainment = kept / (kept + broken), or 1 - time broken / time
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from airflow_provenance.domain.clock import format_time, to_us
from airflow_provenance.sla.calendar import find_zone
from airflow_provenance.sla.evaluation import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provenance.domain.evaluation_change import EvaluationChange

By = Literal["all", "day", "week", "month"]
_BROKEN = (State.BREACHED, State.RECOVERED, State.EXPIRED)


class Span(msgspec.Struct, frozen=True):
    """A time from when (included) to when, in UTC microseconds."""

    from_us: int
    until_us: int


class Promised(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a promise beside its changes.

    Attributes:
        zone: whose days, weeks and months its periods are of.
        is_level: whether it has no periods, and counts by time.
        since_us: since when it is in force; it is not counted before.
    """

    zone: str = "UTC"
    is_level: bool = False
    since_us: int = 0


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One period, as it is drawn: when it was, and how it ended."""

    period: str
    at_us: int
    state: str
    observed: float | None = None
    threshold: float | None = None
    unit: str = ""
    late_us: int | None = None
    excused: str | None = None

    @property
    def is_broken(self) -> bool:
        """Whether it counts as broken."""
        return self.excused is None and self.state in _BROKEN


class Line(msgspec.Struct, kw_only=True):
    """One promise in one stretch of the calendar.

    Attributes:
        kept, broken: periods; ``late`` of the broken ones were made good.
        excused: broken periods that do not count.
        unknown: periods that nobody could judge.
        late_us: by how much the late ones were late, in all; ``worst_us`` the worst.
        broken_us, time_us: of a promise that counts by time.
    """

    policy: str
    target: str
    owner: str | None
    severity: str
    span: Span
    label: str
    kept: int = 0
    broken: int = 0
    late: int = 0
    excused: int = 0
    unknown: int = 0
    late_us: int = 0
    worst_us: int = 0
    broken_us: int = 0
    time_us: int = 0
    cells: list[Cell] = []

    @property
    def attainment(self) -> float | None:
        """The part that was kept; None where nothing was judged."""
        if self.time_us:
            return 1 - self.broken_us / self.time_us
        judged = self.kept + self.broken
        return self.kept / judged if judged else None


def attainment(
    changes: Iterable[EvaluationChange],
    promised: Mapping[str, Promised],
    span: Span,
    by: By = "all",
    excused: Callable[[EvaluationChange], str | None] = lambda _: None,
) -> list[Line]:
    """Return how far promises were kept, by promise and stretch.

    Args:
        changes: all that were written until the end of the span, in order.
        promised: of promises by id; of others the usual is taken.
        span: what is looked at; what was written after its end is left out.
        by: the stretches that it is cut into.
        excused: says who has excused a breach, and why; None: nobody.
    """
    last: dict[str, dict[str, EvaluationChange]] = defaultdict(dict)
    for one in changes:
        if one.at_us < span.until_us:
            last[one.policy_id][one.period] = one
    found = []
    for policy, periods in sorted(last.items()):
        known = promised.get(policy, Promised())
        newest = max(periods.values(), key=lambda one: one.seq)
        cells = [_cell(one, excused(one), span.until_us) for one in periods.values()]
        cells.sort(key=lambda cell: cell.at_us)
        for label, stretch in stretches(span, by, known.zone):
            line = Line(
                policy=policy,
                target=newest.target,
                owner=newest.owner,
                severity=newest.severity,
                span=stretch,
                label=label,
            )
            if known.is_level:
                _by_time(line, known, periods.values(), excused)
            else:
                _by_periods(line, cells)
            if line.cells or line.time_us:
                found.append(line)
    return found


def _cell(one: EvaluationChange, excused: str | None, until_us: int) -> Cell:
    times = (one.due_us, one.breached_us, one.at_us)
    at_us = next(us for us in times if us is not None and us < until_us)
    late_us = None
    if one.recovered_us is not None and one.breached_us is not None:
        late_us = one.recovered_us - one.breached_us
    return Cell(
        period=one.period,
        at_us=at_us,
        state=one.state,
        observed=one.observed,
        threshold=one.threshold,
        unit=one.unit,
        late_us=late_us,
        excused=excused if one.breached_us is not None else None,
    )


def _by_periods(line: Line, cells: Iterable[Cell]) -> None:
    line.cells = [one for one in cells if line.span.from_us <= one.at_us < line.span.until_us]
    for one in line.cells:
        if one.state == State.OK:
            line.kept += 1
        elif one.state not in _BROKEN:
            line.unknown += 1
        elif one.excused is not None:
            line.excused += 1
        else:
            line.broken += 1
        if one.late_us is not None and one.is_broken:
            line.late += 1
            line.late_us += one.late_us
            line.worst_us = max(line.worst_us, one.late_us)


def _by_time(
    line: Line,
    known: Promised,
    changes: Iterable[EvaluationChange],
    excused: Callable[[EvaluationChange], str | None],
) -> None:
    from_us = max(line.span.from_us, known.since_us)
    until_us = line.span.until_us
    line.time_us = max(until_us - from_us, 0)
    for one in changes:
        if one.breached_us is None:
            continue
        ended_us = until_us if one.recovered_us is None else one.recovered_us
        broke_us, ended_us = max(one.breached_us, from_us), min(ended_us, until_us)
        if broke_us >= ended_us:
            continue
        who = excused(one)
        line.cells.append(_cell(one, who, until_us))
        if who is not None:
            line.excused += 1
            continue
        line.broken += 1
        line.broken_us += ended_us - broke_us
        line.worst_us = max(line.worst_us, ended_us - broke_us)


def stretches(span: Span, by: By, zone: str) -> list[tuple[str, Span]]:
    """Return the local days, weeks or months that a span touches, cut at its ends.

    >>> from airflow_provenance.domain.clock import parse_time
    >>> span = Span(parse_time("2026-03-30T00:00:00Z"), parse_time("2026-04-02T00:00:00Z"))
    >>> [label for label, _ in stretches(span, "month", "Europe/Berlin")]
    ['2026-03', '2026-04']
    """
    if by == "all":
        return [(f"{_day(span.from_us)} to {_day(span.until_us)}", span)]
    tz = find_zone(zone)
    begin = datetime.fromtimestamp(span.from_us / 1e6, UTC).astimezone(tz)
    day = begin.date()
    if by == "week":
        day -= timedelta(days=day.weekday())
    elif by == "month":
        day = day.replace(day=1)
    found: list[tuple[str, Span]] = []
    while True:
        if by == "month":
            after = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
            label = f"{day:%Y-%m}"
        else:
            after = day + timedelta(days=7 if by == "week" else 1)
            label = f"{day.isocalendar().year}-W{day.isocalendar().week:02}"
            label = label if by == "week" else day.isoformat()
        first = to_us(datetime(day.year, day.month, day.day, tzinfo=tz))
        if first >= span.until_us:
            return found
        end = to_us(datetime(after.year, after.month, after.day, tzinfo=tz))
        found.append((label, Span(max(first, span.from_us), min(end, span.until_us))))
        day = after


def _day(us: int) -> str:
    return (format_time(us) or "")[:10]


def line_json(one: Line) -> dict[str, Any]:
    """Return a line as JSON: times as ISO 8601 in UTC, lengths of time in seconds."""
    return {
        "policy": one.policy,
        "target": one.target,
        "owner": one.owner,
        "severity": one.severity,
        "stretch": one.label,
        "from": format_time(one.span.from_us),
        "until": format_time(one.span.until_us),
        "attainment": None if one.attainment is None else round(one.attainment, 6),
        "kept": one.kept,
        "broken": one.broken,
        "late": one.late,
        "excused": one.excused,
        "unknown": one.unknown,
        "late_seconds": one.late_us / 1e6,
        "worst_seconds": one.worst_us / 1e6,
        "broken_seconds": one.broken_us / 1e6 if one.time_us else None,
        "periods": [
            {
                "period": cell.period,
                "at": format_time(cell.at_us),
                "state": cell.state,
                "observed": cell.observed,
                "threshold": cell.threshold,
                "unit": cell.unit,
                "late_by_seconds": None if cell.late_us is None else cell.late_us / 1e6,
                "excused": cell.excused,
            }
            for cell in one.cells
        ],
    }


class Total(msgspec.Struct, kw_only=True):
    """All promises of one owner."""

    owner: str
    promises: int = 0
    kept: int = 0
    broken: int = 0
    excused: int = 0

    @property
    def attainment(self) -> float | None:
        """The part of all periods that was kept."""
        judged = self.kept + self.broken
        return self.kept / judged if judged else None


def totals(lines: Iterable[Line]) -> list[Total]:
    """Return the sums by owner; promises that count by time add no periods that were kept."""
    found: dict[str, Total] = {}
    seen: dict[str, set[str]] = defaultdict(set)
    for one in lines:
        owner = one.owner or ""
        total = found.setdefault(owner, Total(owner=owner))
        seen[owner].add(one.policy)
        if one.time_us:
            continue
        total.kept += one.kept
        total.broken += one.broken
        total.excused += one.excused
    for owner, total in found.items():
        total.promises = len(seen[owner])
    return [found[owner] for owner in sorted(found)]
