"""``sla status`` from what the service recorded: each promise, and what is due next."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.cli.output import say_json, say_table, tell
from airflow_provenance.domain.clock import SystemClock, format_time
from airflow_provenance.errors import PolicyError

if TYPE_CHECKING:
    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.store.base import Store
    from airflow_provenance.store.promises import PolicyRow

_BAD = ("breached", "expired")
_LATE_US = 180_000_000  # the service sets its mark every minute
_BACK_US = 90 * 86_400_000_000


class Told(NamedTuple):
    """What is recorded of the promises in force."""

    rows: list[tuple[PolicyRow, EvaluationChange | None]]
    evaluated_us: int


def stored(store: Store, wanted: set[str]) -> Told | None:
    """Return how promises stand by what the service recorded; None where it never did."""
    policies, evaluated_us = store.policies(), store.mark("evaluated")
    if not policies or evaluated_us is None:
        return None
    if unknown := wanted - {one.policy_id for one in policies}:
        raise PolicyError(f"no promise is named {min(unknown)!r}: 'sla status' lists them")
    last: dict[tuple[str, str], EvaluationChange] = {}
    for one in store.latest_changes(max(SystemClock().now_us() - _BACK_US, 0)):
        if one.is_burn and one.state != "at_risk":
            continue  # that it burns no faster says nothing of how full the budget is
        key = one.policy_id, one.revision
        # What is broken and may still be made good is what matters, else the newest.
        if one.state == "breached" or key not in last or last[key].state != "breached":
            last[key] = one
    rows = [
        (one, last.get((one.policy_id, one.revision)))
        for one in policies
        if not wanted or one.policy_id in wanted
    ]
    return Told(rows, evaluated_us)


def tell_stored(told: Told, *, as_json: bool) -> int:
    """Say it; return the exit code."""
    if SystemClock().now_us() - told.evaluated_us > _LATE_US:
        since = format_time(told.evaluated_us)
        tell(f"nobody has evaluated since {since}: run 'airflow-provenance service' (evaluate)")
    if as_json:
        say_json([_json(row, last) for row, last in told.rows])
    else:
        say_table(
            ["PROMISE", "STATE", "SINCE", "PERIOD", "BROKE AT", "NEXT DUE", "CAUSE", "FROM"],
            [
                (
                    row.policy_id,
                    "pending" if last is None else last.state,
                    format_time(row.since_us if last is None else _since_us(last)) or "",
                    "" if last is None else last.period,
                    "" if last is None else format_time(last.breached_us) or "",
                    format_time(row.next_us) or "",
                    "" if last is None else last.cause or "",
                    row.place,
                )
                for row, last in told.rows
            ],
        )
    return 1 if any(last is not None and last.state in _BAD for _, last in told.rows) else 0


def _since_us(one: EvaluationChange) -> int:
    return one.recovered_us or one.breached_us or one.at_us


def _json(row: PolicyRow, last: EvaluationChange | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "policy": row.policy_id,
        "revision": row.revision,
        "where": row.place,
        "in_force_since": format_time(row.since_us),
        "next_due_at": format_time(row.next_us),
        "promise": json.loads(row.body),
        "state": "pending",
        "since": format_time(row.since_us),
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
