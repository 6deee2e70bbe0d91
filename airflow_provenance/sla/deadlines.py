"""Promises of what must be there by a time: done by a deadline, or a run that exists at all."""

from __future__ import annotations

import functools
import itertools
from datetime import time, timedelta
from typing import TYPE_CHECKING, Literal

from airflow_provenance.domain.clock import format_time
from airflow_provenance.sla import causes
from airflow_provenance.sla.calendar import due_instants, find_zone, local_day
from airflow_provenance.sla.durations import format_duration, microseconds
from airflow_provenance.sla.evaluation import Evaluation, Maker, State
from airflow_provenance.sla.periods import in_periods
from airflow_provenance.sla.run_kinds import counted, instances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.sla.calendar import Calendar
    from airflow_provenance.sla.facts import Provenance, RunFact, WriteFact
    from airflow_provenance.sla.objectives import Deadline, MissingRun
    from airflow_provenance.sla.policy import Policy

DAY_US = 86_400_000_000
_NEAR_US = 1_000_000  # Airflow writes a DAG run's times a little otherwise than its timetable


def deadline(
    policy: Policy, promised: Deadline, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """Done by a local time; every day of the calendar is a period, whether anything ran or not."""
    windows = due_windows(policy, promised, maker.now_us, since_us)
    if not windows:
        return [maker.nothing("no deadline falls into this time")]
    if policy.target.dataset is not None:
        written = provenance.writes(policy.target.dataset, windows[0][0])
        return [_written_by(written, maker, *one) for one in windows]
    # A run that is late for the period before must not count for the first that is told.
    first_us = windows[0][0]
    every = [*due_windows(policy, promised, first_us, first_us)[:1], *windows]
    runs = counted(policy, provenance.runs(policy.target, every[0][0] - DAY_US))
    found = list(zip(every, in_periods(provenance, runs, every), strict=True))
    return [_by_deadline(policy, provenance, maker, *one) for one in found[-len(windows) :]]


def due_windows(
    policy: Policy, promised: Deadline, now_us: int, since_us: int
) -> list[tuple[int, int]]:
    """Return (last deadline, deadline) of each period due since a time, and of the open one."""
    # From whole days to whole days, so that promises with one time of day share the instants.
    around = since_us // DAY_US - 40, now_us // DAY_US + 41
    asked = promised.at, policy.tz_name, policy.calendar, promised.ambiguous
    windows = [one for one in _windows(*around, *asked) if one[1] >= since_us]
    past = [one for one in windows if one[1] < now_us]
    return [*past, *[one for one in windows if one[1] >= now_us][:1]]


@functools.lru_cache(maxsize=1024)
def _windows(
    first_day: int,
    last_day: int,
    at: str,
    zone: str,
    calendar: Calendar,
    ambiguous: Literal["first", "second"],
) -> Sequence[tuple[int, int]]:
    """Return (last deadline, deadline) between two days, which are counted from 1970."""
    around = first_day * DAY_US, last_day * DAY_US
    dues = due_instants(*around, time.fromisoformat(at), find_zone(zone), calendar, ambiguous)
    return list(itertools.pairwise(dues))


def _by_deadline(
    policy: Policy,
    provenance: Provenance,
    maker: Maker,
    window: tuple[int, int],
    runs: Sequence[RunFact],
) -> Evaluation:
    before_us, due_us = window
    period = format_time(due_us) or ""
    ends = [done for one in _by_run(runs) if (done := _success_us(one)) is not None]
    came_us = min(ends, default=None)
    latest = instances(runs)
    failed = [tries[-1] for tries in latest if tries[-1].failed]
    shared = {"threshold": due_us / 1e6, "unit": "time"}
    is_held = _paused_at(provenance, policy.target.dag or "", min(due_us, maker.now_us))
    if is_held and all(one.known_us > due_us for one in runs):
        return _held(maker, period, due_us, came_us, runs)
    if came_us is not None:
        return maker.awaited(period, due_us, came_us, runs, observed=came_us / 1e6, **shared)
    if failed and policy.on_failure == "ignore":
        return maker.make(State.NO_DATA, period, runs, due_us=due_us, reason="failed: not counted")
    if failed and policy.on_failure == "breach_now":
        failed_us = min(run.ended_us or due_us for run in failed)
        times = {"due_us": due_us, "breached_us": min(failed_us, due_us)}
        return maker.make(
            State.BREACHED,
            period,
            runs,
            waits=True,
            reason="it failed",
            cause=causes.FAILED,
            **shared,
            **times,
        )
    reason = "it failed" if failed else "it runs" if runs else "no run"
    cause = None
    if maker.now_us > due_us:
        cause = causes.FAILED if failed else causes.RUNNING
        cause = cause if runs else _why_none(policy, provenance, before_us, due_us)
    return maker.awaited(period, due_us, None, runs, reason=reason, cause=cause, **shared)


def _why_none(policy: Policy, provenance: Provenance, before_us: int, due_us: int) -> str | None:
    """Return why a DAG has no run in a period: from when the first was expected, if known."""
    if policy.target.dag is None:
        return None
    expected = provenance.expected(policy.target.dag, before_us + 1, due_us) or ()
    came = [one for one in expected if one.came_us is not None]
    if came:
        return causes.RUNNING
    from_us = min((one.due_us for one in expected), default=due_us)
    return causes.why_absent(provenance, policy.target.dag, from_us, due_us)


def _written_by(
    written: Sequence[WriteFact], maker: Maker, before_us: int, due_us: int
) -> Evaluation:
    """Judge whether a dataset was written between two deadlines; late is before the next one."""
    writes = [one for one in written if before_us < one.at_us]
    came = min(writes, key=lambda one: one.at_us, default=None)
    values = {"threshold": due_us / 1e6, "unit": "time"}
    if came is None:
        values["reason"] = "nothing was written"
    else:
        values["observed"] = came.at_us / 1e6
    return maker.awaited(
        format_time(due_us) or "",
        due_us,
        None if came is None else came.at_us,
        [] if came is None else [came.run],
        **values,
    )


def _by_run(runs: Sequence[RunFact]) -> list[list[list[RunFact]]]:
    found: dict[str, list[list[RunFact]]] = {}
    for tries in instances(runs):
        found.setdefault(tries[0].run_id or str(tries[0].id), []).append(tries)
    return list(found.values())


def _success_us(mapped: list[list[RunFact]]) -> int | None:
    """Return when the last of a task's instances in a DAG run succeeded, if all did."""
    if not all(tries[-1].succeeded and tries[-1].ended_us is not None for tries in mapped):
        return None
    return max(tries[-1].ended_us or 0 for tries in mapped)


def _paused_at(provenance: Provenance, dag: str, us: int) -> bool:
    return any(a <= us and (b is None or us < b) for a, b in provenance.pauses(dag))


def _held(
    maker: Maker, period: str, due_us: int, came_us: int | None, runs: Sequence[RunFact]
) -> Evaluation:
    """Judge what was due while its DAG was paused: it is owed to nobody, so it is never late."""
    if came_us is not None:
        reason = "the DAG was paused when it was due"
        return maker.make(State.OK, period, runs, due_us=due_us, reason=reason)
    reason = "the DAG is paused"
    return maker.make(
        State.SUSPENDED, period, runs, due_us=due_us, reason=reason, cause=causes.PAUSED
    )


def missing_run(
    policy: Policy, promised: MissingRun, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """Every run that is expected exists, soon after it was due."""
    dag, grace_us = policy.target.dag or "", microseconds(promised.grace)
    expected = provenance.expected(dag, since_us, maker.now_us)
    if expected is None:
        return [maker.nothing("nobody knows which runs are expected")]
    runs = [
        run
        for run in provenance.runs(policy.target, since_us - DAY_US)
        if run.run_type in (None, "scheduled", "asset_triggered")
    ]
    found = []
    for one in expected:
        if not policy.calendar.counts(local_day(one.due_us, policy.tz)):
            continue
        mine = [run for run in runs if _meets(run, one.due_us, one.logical_us)]
        period, due_us = format_time(one.due_us) or "", one.due_us + grace_us
        came = [run.known_us for run in mine] + ([one.came_us] if one.came_us is not None else [])
        came_us = min(came, default=None)
        is_late = came_us is None or came_us > due_us
        if is_late and _paused_at(provenance, dag, min(due_us, maker.now_us)):
            found.append(_held(maker, period, due_us, came_us, mine))
            continue
        late_us = max((maker.now_us if came_us is None else came_us) - one.due_us, 0)
        reason = "" if came else f"no run {_text(late_us)} after it was due"
        values = {"observed": late_us / 1e6, "threshold": grace_us / 1e6, "unit": "s"}
        cause = None
        if (maker.now_us if came_us is None else came_us) > due_us:
            has_later = any((run.run_after_us or 0) > one.due_us + _NEAR_US for run in runs)
            has_later |= any(o.came_us is not None and o.due_us > one.due_us for o in expected)
            until_us = due_us if came_us is None else came_us
            cause = causes.why_absent(provenance, dag, one.due_us, until_us, has_later=has_later)
        found.append(
            maker.awaited(period, due_us, came_us, mine, reason=reason, cause=cause, **values)
        )
    return found or [maker.nothing("no run is due yet", State.PENDING)]


def _text(us: int) -> str:
    return format_duration(timedelta(seconds=round(us / 1e6)))


def _meets(run: RunFact, due_us: int, logical_us: int | None) -> bool:
    if logical_us is not None and run.logical_us is not None:
        return abs(run.logical_us - logical_us) < _NEAR_US
    return run.run_after_us is not None and abs(run.run_after_us - due_us) < _NEAR_US
