"""Promises about single runs: how long they take, how late they start, how fast they are.

`deadlines` has those of what must be there by a time, `costs` what runs cost.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from airflow_provenance.domain.run import RunState
from airflow_provenance.sla.amounts import amount_text
from airflow_provenance.sla.calendar import local_day
from airflow_provenance.sla.durations import microseconds
from airflow_provenance.sla.evaluation import Evaluation, Maker, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.sla.facts import Provenance, RunFact
    from airflow_provenance.sla.objectives import (
        Duration,
        QueueLatency,
        StartDelay,
        Throughput,
    )
    from airflow_provenance.sla.policy import Policy


def counted(policy: Policy, runs: Iterable[RunFact]) -> list[RunFact]:
    """Return the runs of the types that count, on days that count."""
    calendar, zone = policy.calendar, policy.tz
    return [
        run
        for run in runs
        if (run.run_type is None or run.run_type in policy.runs)
        and run.state is not RunState.REMOVED
        and ((due := run.due_us) is None or calendar.counts(local_day(due, zone)))
    ]


def instances(runs: Iterable[RunFact]) -> list[list[RunFact]]:
    """Return the tries of each instance of a task, a DAG run being one of its own."""

    def key(run: RunFact) -> tuple[str, str, int]:
        return (run.job, run.run_id or str(run.id), run.map_index)

    ordered = sorted(runs, key=lambda run: (*key(run), run.try_number, run.id))
    found = [list(tries) for _, tries in groupby(ordered, key=key)]
    return sorted(found, key=lambda tries: (tries[0].known_us, tries[0].id))


def period_of(run: RunFact) -> str:
    """Return the name of the period that a run is."""
    if not run.run_id:
        return f"{run.job}/{run.id}"
    mapped = f"[{run.map_index}]" if run.map_index >= 0 else ""
    return f"{run.job}{mapped}/{run.run_id}"


def duration(
    policy: Policy, promised: Duration, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """From start to end, or to now while it runs."""
    limit_us, found = microseconds(promised.at_most), []
    for tries in instances(counted(policy, provenance.runs(policy.target, since_us))):
        begun = [run for run in tries if run.started_us is not None]
        if not begun:
            continue
        for group in [begun] if promised.over == "retries" else [[run] for run in begun]:
            started_us, last = group[0].started_us or 0, group[-1]
            done = last.state.is_done and last.state is not RunState.UP_FOR_RETRY
            if promised.over == "try":
                done = last.state.is_done
            until_us = last.ended_us if done and last.ended_us is not None else maker.now_us
            period = period_of(last)
            if promised.over == "try" and len(tries) > 1:
                period += f"#{last.try_number}"
            shared = {
                "observed": (until_us - started_us) / 1e6,
                "threshold": limit_us / 1e6,
                "unit": "s",
                "due_us": started_us + limit_us,
            }
            if until_us - started_us > limit_us:
                over = amount_text((until_us - started_us - limit_us) / 1e6, "s")
                broke = {"breached_us": started_us + limit_us, "reason": f"{over} too long"}
                found.append(maker.make(State.BREACHED, period, group, **shared, **broke))
            else:
                found.append(
                    maker.make(State.OK if done else State.PENDING, period, group, **shared)
                )
    return found


def start_delay(
    policy: Policy, promised: StartDelay, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """From when it was due to its start."""
    runs = counted(policy, provenance.runs(policy.target, since_us))
    firsts = [tries[0] for tries in instances(runs)]
    limit_us = microseconds(promised.at_most)
    return [
        _waited(maker, run, run.run_after_us, limit_us)
        for run in firsts
        if run.run_after_us is not None
    ]


def queue_latency(
    policy: Policy, promised: QueueLatency, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """From when it was queued to its start, each try."""
    runs = counted(policy, provenance.runs(policy.target, since_us))
    limit_us = microseconds(promised.at_most)
    return [
        _waited(maker, run, run.queued_us, limit_us) for run in runs if run.queued_us is not None
    ]


def _waited(maker: Maker, run: RunFact, from_us: int | None, limit_us: int) -> Evaluation:
    since = from_us or 0
    came_us = run.started_us if run.started_us is not None else run.ended_us
    waited_us = max((came_us if came_us is not None else maker.now_us) - since, 0)
    period = period_of(run) + (f"#{run.try_number}" if run.try_number > 1 else "")
    return maker.awaited(
        *(period, since + limit_us, came_us, [run]),
        observed=waited_us / 1e6,
        threshold=limit_us / 1e6,
        unit="s",
    )


def throughput(
    policy: Policy, promised: Throughput, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """Rows or bytes a second: of what was written, else of what was read."""
    found = []
    for run in counted(policy, provenance.runs(policy.target, since_us)):
        amount = amount_of(run.writes, promised.of)
        amount = amount_of(run.reads, promised.of) if amount is None else amount
        if not (run.succeeded and run.started_us is not None and run.ended_us is not None):
            continue
        seconds = (run.ended_us - run.started_us) / 1e6
        if amount is None or seconds <= 0:
            reason = f"how many {promised.of} it handled is not known"
            found.append(maker.make(State.NO_DATA, period_of(run), [run], reason=reason))
            continue
        unit = f"{promised.of}/s"
        found.append(
            maker.measured(
                *(period_of(run), amount / seconds, run.ended_us, [run]),
                at_least=promised.at_least,
                unit=unit,
            )
        )
    return found


def amount_of(ios: Sequence[object], of: str) -> int | None:
    """Return the rows or bytes of datasets together; None where none says."""
    field = "rows" if of == "rows" else "size_bytes"
    known = [value for io in ios if (value := getattr(io, field)) is not None]
    return sum(known) if known else None
