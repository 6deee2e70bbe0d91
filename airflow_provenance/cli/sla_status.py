"""``sla status`` from what the service recorded: each promise, and what is due next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.cli.output import say_json, say_table, tell
from airflow_provenance.domain.clock import SystemClock, format_time
from airflow_provenance.errors import PolicyError
from airflow_provenance.lineage.short import short_time
from airflow_provenance.sla.status import Stand, since_us, stand_json, stands
from airflow_provenance.sla.words import observed_text, period_text, promised_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provenance.sla.standing import LastBroken
    from airflow_provenance.sla.words import Measured
    from airflow_provenance.store.base import Store
    from airflow_provenance.store.promises import PolicyRow

_BAD = ("breached", "expired")
_LATE_US = 180_000_000  # the service sets its mark every minute


class Told(NamedTuple):
    """What is recorded of the promises in force."""

    stands: list[Stand]
    evaluated_us: int


def stored(
    store: Store, wanted: set[str], declared: Callable[[], Iterable[PolicyRow]] = tuple
) -> Told | None:
    """Return how promises stand by what the service recorded; None where it never did.

    Args:
        store: what was recorded.
        wanted: ids of promises; empty: all.
        declared: gives those that are declared now. It is asked where nobody has evaluated of late,
            or one is wanted that is not recorded: to ask Airflow takes seconds.
    """
    policies, evaluated_us = store.policies(), store.mark("evaluated")
    if not policies or evaluated_us is None:
        return None
    now_us = SystemClock().now_us()
    judged = {one.policy_id for one in policies}
    if wanted - judged or now_us - evaluated_us > _LATE_US:
        policies = [*policies, *(one for one in declared() if one.policy_id not in judged)]
    if unknown := wanted - {one.policy_id for one in policies}:
        raise PolicyError(f"no promise is named {min(unknown)!r}: 'sla status' lists them")
    rows = [one for one in policies if not wanted or one.policy_id in wanted]
    found = [
        one if one.row.policy_id in judged else one._replace(why=_not_yet(one.why))
        for one in stands(store, rows, evaluated_us, now_us)
    ]
    return Told(found, evaluated_us)


def _not_yet(why: str) -> str:
    return f"not evaluated yet: the service's role evaluate will{why and f'; {why}'}"


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
        say_json([stand_json(one) for one in told.stands])
    else:
        say_stands(
            [
                Row(
                    one.row.policy_id,
                    one.state,
                    (one.row.since_us or None) if one.last is None else since_us(one.last),
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
