"""``sla status`` from what the service recorded: each promise, and what is due next."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.cli.output import say_json, say_table, tell
from airflow_provenance.domain.clock import SystemClock, format_time
from airflow_provenance.errors import PolicyError
from airflow_provenance.lineage.short import short_time
from airflow_provenance.sla.evaluate import LOOKBACK_US, evaluate
from airflow_provenance.sla.ledger import recorded_with_ledger
from airflow_provenance.sla.policy import from_plain
from airflow_provenance.sla.standing import LastBroken, last_broken, newest
from airflow_provenance.sla.words import observed_text, period_text, promised_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.sla.facts import Provenance
    from airflow_provenance.sla.words import Measured
    from airflow_provenance.store.base import Store
    from airflow_provenance.store.promises import PolicyRow

_BAD = ("breached", "expired")
_LATE_US = 180_000_000  # the service sets its mark every minute
_BACK_US = 90 * 86_400_000_000


# Periods of these have a moment at which they are due, which orders them: one may be judged after
# the next. Those of the others come in the order in which they were written.
_DUE = ("deadline", "duration", "freshness", "missing_run", "queue_latency", "start_delay")
_WITHOUT_VERDICT = ("pending", "no_data", "insufficient_history")


class Stand(NamedTuple):
    """How a promise stands, and why that is no verdict, where it is none."""

    row: PolicyRow
    last: EvaluationChange | None
    broken: LastBroken | None
    why: str

    @property
    def state(self) -> str:
        """Its state: pending, where nothing was recorded yet."""
        return "pending" if self.last is None else self.last.state


class Told(NamedTuple):
    """What is recorded of the promises in force."""

    stands: list[Stand]
    evaluated_us: int


def stored(store: Store, wanted: set[str], declared: Iterable[PolicyRow] = ()) -> Told | None:
    """Return how promises stand by what the service recorded; None where it never did."""
    policies, evaluated_us = store.policies(), store.mark("evaluated")
    if not policies or evaluated_us is None:
        return None
    judged = {one.policy_id for one in policies}
    policies = [*policies, *(one for one in declared if one.policy_id not in judged)]
    if unknown := wanted - {one.policy_id for one in policies}:
        raise PolicyError(f"no promise is named {min(unknown)!r}: 'sla status' lists them")
    changes: dict[tuple[str, str], list[EvaluationChange]] = {}
    for one in store.latest_changes(max(SystemClock().now_us() - _BACK_US, 0)):
        if not one.is_burn or one.state == "at_risk":  # see `sla.standing`
            changes.setdefault((one.policy_id, one.revision), []).append(one)
    dags = {json.loads(one.body)["target"].get("dag", "") for one in policies} - {""}
    provenance = recorded_with_ledger(store, dags, evaluated_us - LOOKBACK_US)
    stands = []
    for row in policies:
        if wanted and row.policy_id not in wanted:
            continue
        found = _in_order(row, changes.get((row.policy_id, row.revision), ()))
        last = newest(found) if found else None
        why = ""
        if last is None or last.state != "ok":
            why = _why(row, provenance, evaluated_us, last)
        if row.policy_id not in judged:
            why = f"not evaluated yet: the service's role evaluate will{why and f'; {why}'}"
        stands.append(Stand(row, last, last_broken(found), why))
    return Told(stands, evaluated_us)


def _in_order(row: PolicyRow, found: Iterable[EvaluationChange]) -> list[EvaluationChange]:
    by_due = json.loads(row.body)["objective"]["kind"] in _DUE
    return sorted(found, key=lambda one: (one.due_us or 0 if by_due else 0, one.seq))


def _why(row: PolicyRow, provenance: Provenance, at_us: int, last: EvaluationChange | None) -> str:
    """Return why it stands so: that is not recorded, and can be told at any time."""
    try:
        found = evaluate(from_plain(json.loads(row.body)), provenance, at_us)
    except PolicyError as error:
        return str(error)
    if last is None or last.state in _WITHOUT_VERDICT:
        return newest(found).reason
    same = [one.reason for one in found if one.period == last.period]
    return same[-1] if same else ""


class Row(NamedTuple):
    """A line of the table: the same of what was recorded and of what is judged now."""

    policy_id: str
    state: str
    since_us: int | None
    numbers: Measured | None
    period: str
    broken: LastBroken | None
    next_us: int | None
    why: str
    place: str


def say_stands(rows: Iterable[Row], *, is_long: bool) -> None:
    """Say how promises stand, as a table."""

    def time(us: int | None) -> str:
        return (format_time(us) if is_long else short_time(format_time(us))) or ""

    heads = ("PROMISE", "STATE", "SINCE", "OBSERVED", "PROMISED", "PERIOD", "LAST BROKEN")
    say_table(
        [*heads, "NEXT DUE", "WHY", "FROM"],
        [
            (
                one.policy_id,
                one.state,
                time(one.since_us),
                "" if one.numbers is None else observed_text(one.numbers),
                "" if one.numbers is None else promised_text(one.numbers),
                one.period if is_long else period_text(one.period),
                "" if one.broken is None else time(one.broken.at_us),
                time(one.next_us),
                one.why,
                one.place,
            )
            for one in rows
        ],
    )


def tell_stored(told: Told, *, as_json: bool, is_long: bool) -> int:
    """Say it; return the exit code."""
    if SystemClock().now_us() - told.evaluated_us > _LATE_US:
        since = format_time(told.evaluated_us)
        tell(f"nobody has evaluated since {since}: run 'airflow-provenance service' (evaluate)")
    if as_json:
        say_json([_json(one) for one in told.stands])
    else:
        say_stands(
            [
                Row(
                    one.row.policy_id,
                    one.state,
                    (one.row.since_us or None) if one.last is None else _since_us(one.last),
                    one.last,
                    "" if one.last is None else one.last.period,
                    one.broken,
                    one.row.next_us,
                    (one.last.cause if one.last is not None else None) or one.why,
                    one.row.place,
                )
                for one in told.stands
            ],
            is_long=is_long,
        )
    return 1 if any(one.state in _BAD for one in told.stands) else 0


def _since_us(one: EvaluationChange) -> int:
    return one.recovered_us or one.breached_us or one.at_us


def _json(stand: Stand) -> dict[str, Any]:
    row, last = stand.row, stand.last
    found: dict[str, Any] = {
        "policy": row.policy_id,
        "revision": row.revision,
        "where": row.place,
        "in_force_since": format_time(row.since_us or None),
        "next_due_at": format_time(row.next_us),
        "promise": json.loads(row.body),
        "state": "pending",
        "since": format_time(row.since_us or None),
        "reason": stand.why,
        "last_broken_at": None if stand.broken is None else format_time(stand.broken.at_us),
        "last_broken_period": None if stand.broken is None else stand.broken.period,
    }
    if last is not None:
        found |= {
            "state": last.state,
            "since": format_time(_since_us(last)),
            "period": last.period,
            "severity": last.severity,
            "observed": last.observed,
            "threshold": last.threshold,
            "unit": last.unit,
            "due_at": format_time(last.due_us),
            "breached_at": format_time(last.breached_us),
            "detected_at": format_time(last.detected_us),
            "recovered_at": format_time(last.recovered_us),
            "runs": list(last.runs),
            "cause": last.cause,
        }
    return found
