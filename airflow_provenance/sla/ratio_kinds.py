"""Promises about many runs: what part of them succeeds, and how many misses come in a row."""

from __future__ import annotations

import itertools
from datetime import timedelta
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.evaluation_change import BURN
from airflow_provenance.domain.run import RunState
from airflow_provenance.sla.burn_rate import (
    WORKBOOK,
    Budget,
    Burn,
    Event,
    Pair,
    budget,
    burns,
    scaled,
)
from airflow_provenance.sla.durations import format_duration, microseconds
from airflow_provenance.sla.evaluation import Evaluation, Maker, State
from airflow_provenance.sla.ratio_windows import spend, window_start_us
from airflow_provenance.sla.run_kinds import counted, instances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.sla.facts import Provenance, RunFact
    from airflow_provenance.sla.objectives import SuccessRatio
    from airflow_provenance.sla.policy import Policy, Severity

SEVERITIES: tuple[Severity, ...] = ("ticket", "page")


def outcomes(policy: Policy, provenance: Provenance, since_us: int) -> list[tuple[RunFact, Event]]:
    """Return the last try of each run that ended, and whether it went well.

    What an excusal covers spares the budget, unless the excusal says that it counts.
    """
    found = []
    for tries in instances(counted(policy, provenance.runs(policy.target, since_us))):
        last = tries[-1]
        if last.ended_us is None or not last.state.is_done or last.state is RunState.UP_FOR_RETRY:
            continue
        if last.failed and _is_spared(policy, last.ended_us):
            continue
        found.append((last, Event(last.ended_us, last.succeeded)))
    return sorted(found, key=lambda one: (one[1].at_us, one[0].id))


def _is_spared(policy: Policy, us: int) -> bool:
    return any(not one.counts and one.covers(us, policy.tz) for one in policy.excusals)


def success_ratio(
    policy: Policy, promised: SuccessRatio, provenance: Provenance, maker: Maker, _since_us: int
) -> list[Evaluation]:
    """Good runs of all that ended in the window; and how fast its budget burns.

    Each severity of burning is a period of its own, so that a page can end while the ticket stays.
    A promise of severity ``ticket`` pages nobody, and one failure neither, unless it says so. A
    budget of slices is used up slice by slice, and has no burn rate.
    """
    from_us = window_start_us(policy, promised, maker.now_us)
    ended = [one for one in outcomes(policy, provenance, from_us) if one[1].at_us > from_us]
    runs, period = [run for run, _ in ended], format_time(maker.now_us) or ""
    events = [event for _, event in ended]
    burning = [] if promised.slice else _burning(promised, events, maker.now_us)
    told = []
    if burning and promised.alert_on == "burn_rate":
        least = _least(promised)
        told = [_told(policy, maker, burning, one, ended, least) for one in SEVERITIES]
    if len(ended) < promised.min_events:
        reason = f"{len(ended)} of {promised.min_events} runs"
        state = State.INSUFFICIENT_HISTORY if ended else State.NO_DATA
        ratio = maker.make(state, period, runs, reason=reason, threshold=promised.at_least)
        return [ratio, *told]
    spent = spend(promised, events, from_us)
    is_single = sum(not event.good for event in events) == 1
    ratio = maker.measured(
        *(period, spent.ratio, maker.now_us, runs),
        at_least=promised.at_least,
        unit="ratio",
        broke_us=spent.broke_us,
        reason=f"budget left: {spent.left:g} {'slices' if promised.slice else 'failures'}",
        budget=None if promised.slice else budget(promised.at_least, events),
        burns=tuple(burning),
        severity="ticket" if is_single and not promised.page_on_one else None,
    )
    return [ratio, *told]


def _left(spent: Budget) -> str:
    return f"budget left: {spent.left:g} failures"


# Fewer events in the long window say nothing, unless one failure may page.
LEAST_EVENTS = 3


def _burning(promised: SuccessRatio, events: Sequence[Event], now_us: int) -> list[Burn]:
    least = _least(promised)
    return burns(
        *(promised.at_least, events, now_us),
        pairs=_pairs(promised.window, least, events, now_us),
        min_events=least,
        page_on_one=promised.page_on_one,
    )


def _least(promised: SuccessRatio) -> int:
    return max(promised.min_events, 1 if promised.page_on_one else LEAST_EVENTS)


def _calm(one: Burn, failures: int, *, is_enough: bool) -> str:
    """Return why nobody is told of a budget that burns fast; nothing where it burns slowly."""
    if one.long_rate < one.pair.factor:
        return ""
    if not is_enough:
        return f"{one.long_events} runs are too few to tell, "
    if one.short_rate < one.pair.factor:
        return "the short window is calm, "
    return "one failure alone tells nobody, " if failures == 1 else ""


def _rounded(length: timedelta) -> str:
    """Return a window to the second: it may be stretched to what is usual."""
    return format_duration(timedelta(seconds=round(length.total_seconds())))


def _pairs(window: timedelta, least: int, events: Sequence[Event], now_us: int) -> tuple[Pair, ...]:
    """Return pairs of windows that hold events at this moment.

    A run ends now earlier, now later. So that a page does not come and go with that, the long
    window is half an interval longer, and the short one reaches back to the last event.
    """
    apart_us = usual_interval_us(events)
    if apart_us is None:
        return scaled(WORKBOOK, None, least, window)
    interval = timedelta(microseconds=apart_us)
    since_last = timedelta(microseconds=now_us - events[-1].at_us + 1)
    found = []
    for pair in scaled(WORKBOOK, interval, least, window):
        long = min(pair.long + interval / 2, window)
        short = min(max(pair.short, since_last), long)
        found.append(msgspec.structs.replace(pair, long=long, short=short))
    return tuple(found)


def _told(
    policy: Policy,
    maker: Maker,
    burning: Sequence[Burn],
    severity: Severity,
    ended: Sequence[tuple[RunFact, Event]],
    least: int,
) -> Evaluation:
    """Return whether a budget burns so fast that it is a page, or a ticket."""
    mine = [one for one in burning if one.pair.severity == severity]
    fired = [one for one in mine if one.fires]
    worst = max(fired or mine, key=lambda one: one.long_rate / one.pair.factor)
    from_us = maker.now_us - microseconds(worst.pair.long)
    failed = [run for run, event in ended if not event.good and event.at_us > from_us]
    rate = worst.long_rate if isfinite(worst.long_rate) else None
    spent = budget(getattr(policy.objective, "at_least", 1.0), [event for _, event in ended])
    windows = f"{_rounded(worst.pair.long)} and {_rounded(worst.pair.short)}"
    calm = "" if fired else _calm(worst, len(failed), is_enough=worst.long_events >= least)
    return maker.make(
        State.AT_RISK if fired else State.OK,
        f"{BURN}{severity}",
        failed,
        observed=rate,
        threshold=worst.pair.factor,
        unit="times",
        reason=f"{calm}in the last {windows}; {_left(spent)}",
        severity=severity if policy.severity == "page" else "ticket",
    )


def failures_in_a_row(
    policy: Policy, count: int, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """Runs that failed, up to the last that ended."""
    ended = outcomes(policy, provenance, since_us)
    return [in_a_row(maker, count, [(not e.good, e.at_us, (run.id,)) for run, e in ended])]


def in_a_row(
    maker: Maker, count: int, misses: Sequence[tuple[bool, int, tuple[int, ...]]]
) -> Evaluation:
    """Judge the misses up to now: (whether it is one, when it was known, its runs), in order."""
    if not misses:
        return maker.nothing("nothing has ended")
    row: list[tuple[bool, int, tuple[int, ...]]] = []
    for one in misses:
        row = [*row, one] if one[0] else []
    runs = {run for _, _, some in (row or misses[-1:]) for run in some}
    shared = {"observed": float(len(row)), "threshold": float(count), "unit": "misses"}
    period = format_time((row or misses[-1:])[0][1]) or ""
    if len(row) >= count:
        return maker.make(State.BREACHED, period, runs, **shared, breached_us=row[count - 1][1])
    return maker.make(State.OK, period, runs, **shared)


def usual_interval_us(events: Sequence[Event]) -> int | None:
    """Return how far apart events usually are."""
    gaps = [b.at_us - a.at_us for a, b in itertools.pairwise(events)]
    return int(median(gaps)) if gaps else None
