"""``sla status`` from what the service recorded: each promise, and what is due next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.cli.output import say_json, say_table, tell
from airflow_provenance.domain.clock import SystemClock, format_time
from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.status import Stand, since_us, stand_json, stands

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store

_BAD = ("breached", "expired")
_LATE_US = 180_000_000  # the service sets its mark every minute


class Told(NamedTuple):
    """What is recorded of the promises in force."""

    stands: list[Stand]
    evaluated_us: int


def stored(store: Store, wanted: set[str]) -> Told | None:
    """Return how promises stand by what the service recorded; None where it never did."""
    policies, evaluated_us = store.policies(), store.mark("evaluated")
    if not policies or evaluated_us is None:
        return None
    if unknown := wanted - {one.policy_id for one in policies}:
        raise PolicyError(f"no promise is named {min(unknown)!r}: 'sla status' lists them")
    rows = [one for one in policies if not wanted or one.policy_id in wanted]
    return Told(stands(store, rows, evaluated_us, SystemClock().now_us()), evaluated_us)


def tell_stored(told: Told, *, as_json: bool) -> int:
    """Say it; return the exit code."""
    if SystemClock().now_us() - told.evaluated_us > _LATE_US:
        since = format_time(told.evaluated_us)
        tell(f"nobody has evaluated since {since}: run 'airflow-provenance service' (evaluate)")
    if as_json:
        say_json([stand_json(one) for one in told.stands])
    else:
        say_table(
            ["PROMISE", "STATE", "SINCE", "PERIOD", "LAST BROKEN", "NEXT DUE", "WHY", "FROM"],
            [
                (
                    one.row.policy_id,
                    one.state,
                    format_time(one.row.since_us if one.last is None else since_us(one.last)),
                    "" if one.last is None else one.last.period,
                    "" if one.broken is None else format_time(one.broken.at_us),
                    format_time(one.row.next_us) or "",
                    one.why or ("" if one.last is None else one.last.cause or ""),
                    one.row.place,
                )
                for one in told.stands
            ],
        )
    return 1 if any(one.state in _BAD for one in told.stands) else 0
