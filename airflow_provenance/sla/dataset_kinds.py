"""Promises about datasets: how old, how much, how complete, of what shape."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

from airflow_provenance.domain.clock import format_time
from airflow_provenance.sla.calendar import instant, local_day
from airflow_provenance.sla.durations import microseconds
from airflow_provenance.sla.evaluation import Evaluation, Maker, State
from airflow_provenance.sla.run_kinds import amount_of, counted, period_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.sla.facts import Provenance, WriteFact
    from airflow_provenance.sla.objectives import (
        Completeness,
        EndToEndLatency,
        Freshness,
        SchemaContract,
        Volume,
    )
    from airflow_provenance.sla.policy import Policy

# Versions before those that are judged: to know what was newest, or what columns there were; and
# what was usual. Older ones cost more to read than they tell.
FEW_BEFORE, USUAL_OF = 20, 42


def counted_writes(
    policy: Policy, provenance: Provenance, since_us: int | None = None, before: int = 0
) -> list[WriteFact]:
    """Return what runs of the types that count have written, the oldest first.

    All of it; or at least that since a time, and of the ``before`` versions that came before it.
    """
    written = provenance.writes(policy.target.dataset or "", since_us, before)
    return [one for one in written if _counts(policy, one)]


def _counts(policy: Policy, write: WriteFact) -> bool:
    return write.run.run_type is None or write.run.run_type in policy.runs


def advancing(writes: Sequence[WriteFact]) -> list[WriteFact]:
    """Return the writes that went on: an old partition or interval, done again, is left out."""
    found: list[WriteFact] = []
    newest_part: str | None = None
    newest_end = 0
    for one in writes:
        part, end = one.io.partition, one.run.interval_end_us
        if part is not None and newest_part is not None and part < newest_part:
            continue
        if end is not None and end < newest_end:
            continue
        newest_part, newest_end = part or newest_part, end or newest_end
        found.append(one)
    return found


def freshness(
    policy: Policy, promised: Freshness, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """The age of what is newest; each write is a period, which the next one ends."""
    # Where runs count that do old partitions again, what is newest may have come long before.
    backfills = {"backfill", "manual"} & set(policy.runs)
    asked_us = None if backfills else since_us
    writes = advancing(counted_writes(policy, provenance, asked_us, FEW_BEFORE))
    clocked = [(us, one) for one in writes if (us := _clock_us(promised, one)) is not None]
    if not clocked:
        what = (
            "written"
            if promised.clock == "write" or not writes
            else f"told of its {promised.clock}"
        )
        return [maker.nothing(f"nothing was {what}")]
    limit_us, found = microseconds(promised.at_most), []
    for number, (us, one) in enumerate(clocked):
        following = next((w for later, w in clocked[number + 1 :] if later > us), None)
        until_us = maker.now_us if following is None else following.at_us
        if until_us < since_us:
            continue
        shared = {
            "observed": max(until_us - us, 0) / 1e6,
            "threshold": limit_us / 1e6,
            "unit": "s",
            "due_us": us + limit_us,
        }
        period, runs = format_time(us + limit_us) or "", [one.run.id]
        if until_us - us <= limit_us:
            found.append(maker.make(State.OK, period, runs, **shared))
        elif following is None:
            broke = {"breached_us": us + limit_us}
            found.append(maker.make(State.BREACHED, period, runs, **shared, **broke))
        else:
            both = [*runs, following.run.id]
            times = {"breached_us": us + limit_us, "recovered_us": following.at_us}
            found.append(maker.make(State.RECOVERED, period, both, **shared, **times))
    return found


def _clock_us(promised: Freshness, write: WriteFact) -> int | None:
    if promised.clock == "interval_end":
        return write.run.interval_end_us
    return write.io.event_time_us if promised.clock == "event_time" else write.at_us


def _write_period(write: WriteFact) -> str:
    partition = f"[{write.io.partition}]" if write.io.partition is not None else ""
    return f"{period_of(write.run)}{partition}"


def volume(
    policy: Policy, promised: Volume, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """The rows or bytes of each version, against fixed bounds or what was usual before it.

    Usual is the median of the last `USUAL_OF` versions before it, or of as many as it needs.
    """
    found: list[Evaluation] = []
    before: list[tuple[int, int, float]] = []  # (which version, weekday, amount)
    looked_at = max(USUAL_OF, promised.min_history * (7 if promised.baseline == "weekday" else 1))
    looked_at = 0 if promised.baseline == "none" else looked_at
    written = provenance.writes(policy.target.dataset or "", since_us, looked_at)
    for number, one in enumerate(written):
        if not _counts(policy, one):
            continue
        amount, period = amount_of([one.io], promised.of), _write_period(one)
        weekday = local_day(one.run.due_us or one.at_us, policy.tz).weekday()
        before = [earlier for earlier in before if number - earlier[0] <= looked_at]
        usual = [n for _, day, n in before if promised.baseline == "all" or day == weekday]
        if amount is not None:
            before.append((number, weekday, amount))
        if one.at_us < since_us:
            continue
        if amount is None:
            reason = f"how many {promised.of} it has is not known"
            found.append(maker.make(State.NO_DATA, period, [one.run], reason=reason))
            continue
        factor = 1.0
        if promised.baseline != "none":
            if len(usual) < promised.min_history:
                reason = f"{len(usual)} of {promised.min_history} earlier versions"
                found.append(
                    maker.make(State.INSUFFICIENT_HISTORY, period, [one.run], reason=reason)
                )
                continue
            factor = median(usual)
        low, high = promised.at_least, promised.at_most
        found.append(
            maker.measured(
                *(period, amount, one.at_us, [one.run]),
                at_least=None if low is None else low * factor,
                at_most=None if high is None else high * factor,
                unit=promised.of,
            )
        )
    return found or [maker.nothing("nothing was written")]


def completeness(
    policy: Policy, promised: Completeness, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """Rows out for rows in, run by run; or the partitions of the last days."""
    if promised.of == "partitions":
        return [_partitions(policy, promised, provenance, maker)]
    if policy.target.dataset is None:
        runs = counted(policy, provenance.runs(policy.target, since_us))
        pairs = [(run, run.writes) for run in runs]
    else:
        written = counted_writes(policy, provenance, since_us)
        pairs = [(one.run, (one.io,)) for one in written if one.at_us >= since_us]
    found = []
    for run, writes in pairs:
        if not run.succeeded or run.ended_us is None:
            continue
        rows_in, rows_out = amount_of(run.reads, "rows"), amount_of(writes, "rows")
        if not rows_in or rows_out is None:
            reason = "how many rows went in, or came out, is not known"
            found.append(maker.make(State.NO_DATA, period_of(run), [run], reason=reason))
            continue
        is_short = rows_out / rows_in < promised.at_least
        found.append(
            maker.measured(
                *(period_of(run), rows_out / rows_in, run.ended_us, [run]),
                at_least=promised.at_least,
                unit="ratio",
                reason=f"{rows_out:,} of {rows_in:,} rows came out" if is_short else "",
            )
        )
    return found or [maker.nothing("no run has ended")]


def _partitions(
    policy: Policy, promised: Completeness, provenance: Provenance, maker: Maker
) -> Evaluation:
    writes = [
        w for w in provenance.writes(policy.target.dataset or "") if w.io.partition is not None
    ]
    there = {one.io.partition: one for one in writes}
    last = local_day(maker.now_us, policy.tz) - timedelta(days=promised.lag_days)
    days = [last - timedelta(days=back) for back in range(promised.days)]
    wanted = sorted(
        day.strftime(promised.key_format) for day in days if policy.calendar.counts(day)
    )
    if not wanted:
        return maker.nothing("no day of these counts")
    missing = [key for key in wanted if key not in there]
    runs = [there[key].run for key in wanted if key in there]
    # A partition that is missing was missing when its day came to count.
    lag = timedelta(days=promised.lag_days + 1)
    broke_us = None
    if missing:
        by_key = {day.strftime(promised.key_format): day for day in days}
        midnight = datetime.min.replace(tzinfo=UTC).time()
        broke_us = instant(by_key[missing[0]] + lag - timedelta(days=1), midnight, policy.tz)
    return maker.measured(
        *(wanted[-1], (len(wanted) - len(missing)) / len(wanted), maker.now_us, runs),
        at_least=promised.at_least,
        unit="ratio",
        broke_us=broke_us,
        reason=f"missing: {', '.join(missing)}" if missing else "",
    )


def schema_contract(
    policy: Policy, promised: SchemaContract, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """Columns that are gone or have another type; more columns break nothing."""
    found = []
    before = dict(promised.columns) or None
    earlier: list[int] = []
    for one in counted_writes(policy, provenance, since_us, FEW_BEFORE):
        columns = one.io.columns
        if columns is None:
            continue
        wanted, runs = before, [*earlier, one.run.id]
        if not promised.columns:
            before, earlier = dict(columns), [one.run.id]
        if one.at_us < since_us:
            continue
        period = _write_period(one)
        if wanted is None:
            reason = "there is no version before it"
            found.append(maker.make(State.INSUFFICIENT_HISTORY, period, runs, reason=reason))
            continue
        broken = _broken(wanted, dict(columns))
        found.append(
            maker.measured(
                *(period, float(len(broken)), one.at_us, runs),
                at_most=0.0,
                unit="columns",
                reason="; ".join(broken),
            )
        )
    return found or [maker.nothing("no version tells its columns")]


def _broken(wanted: dict[str, str], columns: dict[str, str]) -> list[str]:
    found = []
    for name, kind in sorted(wanted.items()):
        if name not in columns:
            found.append(f"{name} is gone")
        elif kind and columns[name] and columns[name].casefold() != kind.casefold():
            found.append(f"{name} was {kind} and is {columns[name]}")
    return found


def end_to_end_latency(
    policy: Policy, promised: EndToEndLatency, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """From what the source had last, to when it had come all the way."""
    limit_us, found = microseconds(promised.at_most), []
    for one in counted_writes(policy, provenance, since_us):
        if one.at_us < since_us:
            continue
        sources, period = provenance.sources(one, promised.source), _write_period(one)
        if not sources:
            reason = f"no way leads to it from {promised.source}"
            found.append(maker.make(State.NO_DATA, period, [one.run], reason=reason))
            continue
        newest = max(sources, key=lambda source: source.event_time_us)
        runs = [one.run.id, *([newest.run_id] if newest.run_id is not None else [])]
        found.append(
            maker.measured(
                *(period, (one.at_us - newest.event_time_us) / 1e6, one.at_us, runs),
                at_most=limit_us / 1e6,
                unit="s",
                due_us=newest.event_time_us + limit_us,
                broke_us=newest.event_time_us + limit_us,
            )
        )
    return found or [maker.nothing("nothing was written")]
