"""Over which window a success ratio counts, and what of its budget is spent: by run or by slice.

The three ways are OpenSLO's: ``Occurrences`` (every run), ``Timeslices`` (slices of the window that
were good enough) and ``RatioTimeslices`` (the mean of the slices' ratios). A slice in which nothing
ended says nothing: jobs rest for most of the day.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.sla.calendar import instant, local_day
from airflow_provenance.sla.durations import microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from airflow_provenance.sla.burn_rate import Event
    from airflow_provenance.sla.objectives import Aligned, SuccessRatio
    from airflow_provenance.sla.policy import Policy

_MONTHS = {"M": 1, "Q": 3, "Y": 12}
_DAYS = {"d": 1, "w": 7}
_US = {"m": 60_000_000, "h": 3_600_000_000}


class Spent(NamedTuple):
    """How much of a budget is gone, in failures or in slices."""

    ratio: float
    left: float
    broke_us: int | None


def spend(promised: SuccessRatio, events: Sequence[Event], from_us: int) -> Spent:
    """Return how well the events of a window, of which there are some, did."""
    units = _units(promised, events, from_us)
    bad = round(sum(one for _, one in units), 9)
    allowed = round((1 - promised.at_least) * len(units), 9)
    gone, broke_us = 0.0, None
    for at_us, one in units:
        # It broke with the failure that used up the last of the budget.
        if one and (broke_us is None or gone <= allowed):
            broke_us = at_us
        gone = round(gone + one, 9)
    return Spent((len(units) - bad) / len(units), round(allowed - bad, 9), broke_us)


def _units(
    promised: SuccessRatio, events: Sequence[Event], from_us: int
) -> list[tuple[int, float]]:
    """Return what is counted: when it was known, and how bad it was, from 0 to 1."""
    if promised.slice is None:
        return [(one.at_us, float(not one.good)) for one in events]
    # Slices of a window that rolls stay where they are; those of the calendar begin with it.
    first_us = 0 if promised.aligned is None else from_us
    slices: dict[int, list[Event]] = {}
    for one in events:
        slices.setdefault((one.at_us - first_us) // microseconds(promised.slice), []).append(one)
    return [(some[-1].at_us, _bad(promised, some)) for _, some in sorted(slices.items())]


def _bad(promised: SuccessRatio, events: Sequence[Event]) -> float:
    ratio = sum(one.good for one in events) / len(events)
    if promised.slice_at_least is None:
        return 1 - ratio
    return float(ratio < promised.slice_at_least)


def window_start_us(policy: Policy, promised: SuccessRatio, now_us: int) -> int:
    """Return when the window that holds a moment began."""
    if promised.aligned is None:
        return now_us - microseconds(promised.window)
    aligned, tz = promised.aligned, policy.tz
    number = _guess(aligned, tz, now_us)
    while _edge_us(aligned, tz, number) > now_us:
        number -= 1
    while _edge_us(aligned, tz, number + 1) <= now_us:
        number += 1
    # What ended at the very edge is of the window that begins there.
    return _edge_us(aligned, tz, number) - 1


def _guess(aligned: Aligned, tz: ZoneInfo, now_us: int) -> int:
    first, today = datetime.fromisoformat(aligned.start).date(), local_day(now_us, tz)
    count, unit = int(aligned.every[:-1]), aligned.every[-1]
    if unit in _MONTHS:
        months = (today.year - first.year) * 12 + today.month - first.month
        return months // (count * _MONTHS[unit])
    if unit in _DAYS:
        return (today - first).days // (count * _DAYS[unit])
    return (now_us - _edge_us(aligned, tz, 0)) // (count * _US[unit])


def _edge_us(aligned: Aligned, tz: ZoneInfo, number: int) -> int:
    """Return when window ``number`` begins: by the wall clock, if it is as long as a day."""
    start = datetime.fromisoformat(aligned.start)
    count, unit = number * int(aligned.every[:-1]), aligned.every[-1]
    day = start.date()
    if unit in _MONTHS:
        day = _months_on(day, count * _MONTHS[unit])
    elif unit in _DAYS:
        day += timedelta(days=count * _DAYS[unit])
    edge_us = instant(day, start.time(), tz)
    return edge_us + count * _US[unit] if unit in _US else edge_us


def _months_on(day: date, months: int) -> date:
    """Return the same day so many months on, or the last of its month: April has no 31st."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    after = date(year + month // 11, (month + 1) % 12 + 1, 1)
    return min(date(year, month + 1, 1) + timedelta(days=day.day - 1), after - timedelta(days=1))
