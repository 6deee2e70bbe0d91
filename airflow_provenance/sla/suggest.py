"""Promises that the past would have kept: how long a DAG or task may take, and when it is done.

So much of the runs as is asked for stays within what is suggested, with a tenth of it to spare, and
rounded up to what a person would write. Fewer than five runs suggest nothing.

>>> rounded_up(timedelta(minutes=66)), rounded_up(timedelta(seconds=3.2))
(datetime.timedelta(seconds=4200), datetime.timedelta(seconds=5))
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.domain.run import RunState
from airflow_provenance.sla.calendar import find_zone, local_day
from airflow_provenance.sla.durations import format_duration
from airflow_provenance.sla.objectives import Deadline, Duration
from airflow_provenance.sla.policy import Policy, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.sla.facts import Provenance, RunFact

LEAST_RUNS = 5
_SPARE = 1.1
_DAY_US = 86_400_000_000
_BACK_US = 40 * _DAY_US
# Up to this long it is rounded up to a multiple of that.
_STEPS = (
    (timedelta(minutes=1), timedelta(seconds=5)),
    (timedelta(minutes=10), timedelta(seconds=30)),
    (timedelta(hours=1), timedelta(minutes=1)),
    (timedelta(hours=4), timedelta(minutes=5)),
)
_LONGEST_STEP = timedelta(minutes=15)


class Suggestion(NamedTuple):
    """A promise, and what speaks for it."""

    policy: Policy
    why: str


def suggest(
    provenance: Provenance, target: Target, now_us: int, zone: str = "UTC", kept: float = 0.99
) -> list[Suggestion]:
    """Return promises for a DAG or task: of its duration, and of a DAG that runs daily its end.

    Args:
        provenance: what was recorded; the last 40 days are looked at.
        target: the DAG or task.
        now_us: the moment.
        zone: of the deadline's local time.
        kept: what part of the past runs would have kept it.
    """
    runs = [
        one
        for one in provenance.runs(target, now_us - _BACK_US)
        if one.state is RunState.COMPLETE
        and one.started_us is not None
        and one.ended_us is not None
    ]
    if len(runs) < LEAST_RUNS:
        return []
    name = ".".join(filter(None, (target.dag, target.task)))
    found = [_duration(name, target, runs, kept)]
    if target.task is None and (deadline := _deadline(name, target, runs, zone, kept)):
        found.append(deadline)
    return found


def _duration(name: str, target: Target, runs: Sequence[RunFact], kept: float) -> Suggestion:
    took = sorted((one.ended_us or 0) - (one.started_us or 0) for one in runs)
    at_most = rounded_up(timedelta(microseconds=_quantile(took, kept) * _SPARE))
    within = sum(us <= at_most // timedelta(microseconds=1) for us in took)
    usual, most = (
        format_duration(timedelta(seconds=round(us / 1e6))) for us in (median(took), took[-1])
    )
    policy = Policy(id=f"{name}.duration", target=target, objective=Duration(at_most=at_most))
    return Suggestion(
        policy, f"{len(took)} runs took {usual} at the median, {most} at most; {within} keep it"
    )


def _deadline(
    name: str, target: Target, runs: Sequence[RunFact], zone: str, kept: float
) -> Suggestion | None:
    """Return a local time by which a DAG is done; none for one that has not one end each day."""
    tz, ends = find_zone(zone), {}
    for one in runs:
        day = local_day(one.due_us or 0, tz)
        ended = datetime.fromtimestamp((one.ended_us or 0) / 1e6, UTC).astimezone(tz)
        if ended.date() != day or day in ends:
            return None
        ends[day] = timedelta(hours=ended.hour, minutes=ended.minute, seconds=ended.second)
    last = _quantile(sorted(one // timedelta(microseconds=1) for one in ends.values()), kept)
    first = min(ends.values()) // timedelta(microseconds=1)
    spare = max(last - first, 0) * (_SPARE - 1)
    step = timedelta(minutes=5) // timedelta(microseconds=1)
    minutes = ceil((last + spare) / step) * 5
    if minutes >= 24 * 60:
        return None
    at = f"{minutes // 60:02}:{minutes % 60:02}"
    within = sum(one <= timedelta(minutes=minutes) for one in ends.values())
    policy = Policy(
        id=f"{name}.deadline",
        target=target,
        objective=Deadline(at=at, zone=None if zone == "UTC" else zone),
    )
    return Suggestion(
        policy, f"on {len(ends)} days it was done by {_clock(last)} ({zone}); {within} keep it"
    )


def _quantile(ordered: Sequence[int], part: float) -> int:
    return ordered[max(ceil(part * len(ordered)) - 1, 0)]


def _clock(us: int) -> str:
    seconds = us // 1_000_000
    return f"{seconds // 3600:02}:{seconds % 3600 // 60:02}"


def rounded_up(length: timedelta) -> timedelta:
    """Return a length of time as a person would write it, and no shorter."""
    step = next((by for upto, by in _STEPS if length <= upto), _LONGEST_STEP)
    return ceil(length / step) * step
