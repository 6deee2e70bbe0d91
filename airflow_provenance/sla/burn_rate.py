"""Error budgets, and how fast they burn.

Pairs of windows and factors are those of the SRE workbook, chapter "Alerting on SLOs": 14.4 times
for an hour uses 2 % of a 30 days' budget, 6 times for six hours 5 %, once for three days 10 %. They
presume many events an hour. A daily DAG has 30 in its window, so windows are stretched until the
short one holds an event at all, and what a single event says does not page.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from airflow_provenance.sla.durations import microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORKBOOK_WINDOW = timedelta(days=30)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One thing that went well or not, and when."""

    at_us: int
    good: bool


class Pair(msgspec.Struct, frozen=True, gc=False):
    """A long and a short window; both must burn faster than the factor."""

    factor: float
    long: timedelta
    short: timedelta
    severity: Literal["page", "ticket"]


# SRE workbook, table 5-8; the short window is a twelfth of the long one.
WORKBOOK: tuple[Pair, ...] = (
    Pair(14.4, timedelta(hours=1), timedelta(minutes=5), "page"),
    Pair(6.0, timedelta(hours=6), timedelta(minutes=30), "page"),
    Pair(1.0, timedelta(days=3), timedelta(hours=6), "ticket"),
)


class Burn(msgspec.Struct, frozen=True, gc=False):
    """How a pair of windows burns."""

    pair: Pair
    long_rate: float
    short_rate: float
    long_events: int
    short_events: int
    fires: bool


class Budget(msgspec.Struct, frozen=True, gc=False):
    """What may still go wrong in a window, in events."""

    total: int
    bad: int
    allowed: float

    @property
    def left(self) -> float:
        """Failures that are left; below 0 the objective is missed."""
        return self.allowed - self.bad


def burn_rate(objective: float, bad: int, total: int) -> float:
    """Return how many times faster than the objective allows errors happen.

    >>> round(burn_rate(0.99, 6, 24), 6)
    25.0
    """
    if not total:
        return 0.0
    allowed = 1 - objective
    if allowed <= 0:
        return float("inf") if bad else 0.0
    return round(bad / total / allowed, 9)


def budget(objective: float, events: Sequence[Event]) -> Budget:
    """Return the error budget of events, and what is left of it."""
    bad = sum(not one.good for one in events)
    return Budget(len(events), bad, round((1 - objective) * len(events), 9))


def budget_used(pair: Pair, window: timedelta = _WORKBOOK_WINDOW) -> float:
    """Return what part of a window's budget is gone when a pair has burnt for its long window.

    >>> [round(budget_used(pair), 4) for pair in WORKBOOK]
    [0.02, 0.05, 0.1]
    """
    return pair.factor * (pair.long / window)


def scaled(
    pairs: Sequence[Pair], interval: timedelta | None, min_events: int, window: timedelta
) -> tuple[Pair, ...]:
    """Return pairs whose windows fit an objective's window and a schedule.

    Windows keep their part of the objective's window, so that a pair uses the same part of the
    budget; then they are stretched until the short one holds an event and the long one
    ``min_events`` of them.
    """
    found = []
    for pair in pairs:
        part = window / _WORKBOOK_WINDOW
        long, short = pair.long * part, pair.short * part
        if interval is not None:
            long = min(max(long, interval * min_events), window)
            short = min(max(short, interval), long)
        found.append(msgspec.structs.replace(pair, long=long, short=short))
    return tuple(found)


def burns(
    objective: float,
    events: Sequence[Event],
    now_us: int,
    *,
    pairs: Sequence[Pair] = WORKBOOK,
    min_events: int = 1,
    page_on_one: bool = False,
) -> list[Burn]:
    """Return how each pair of windows burns, and whether it says so.

    Fewer than ``min_events`` in the long window say nothing, and one bad event pages nobody unless
    ``page_on_one``. When the short window is well again the pair is silent, though the long is not.
    """
    found = []
    for pair in pairs:
        long, short = (_within(events, now_us, one) for one in (pair.long, pair.short))
        long_bad, short_bad = (sum(not one.good for one in some) for some in (long, short))
        rates = [
            burn_rate(objective, bad, len(some))
            for bad, some in ((long_bad, long), (short_bad, short))
        ]
        enough = len(long) >= min_events and (page_on_one or long_bad > 1)
        fires = enough and all(rate >= pair.factor for rate in rates)
        found.append(Burn(pair, rates[0], rates[1], len(long), len(short), fires))
    return found


def _within(events: Sequence[Event], now_us: int, window: timedelta) -> list[Event]:
    since_us = now_us - microseconds(window)
    return [one for one in events if since_us < one.at_us <= now_us]
