"""What the service can do: a row each in `ROLES`.

To add one: a function that is given the role's store and returns a *step*, and a row that names it.
A step does what there is to do, asks `should_stop` wherever it may end, counts into its loop what
the metrics are to show, and returns whether there was anything to do; what it raises is told in one
line and tried again.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provenance import settings, wiring
from airflow_provenance.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.service.loop import Loop
    from airflow_provenance.store.base import IngestReport, Store

_log = logging.getLogger(__name__)
_EXPIRY_SECONDS = 3600.0


class Step(Protocol):
    """One round of a role."""

    def __call__(self, should_stop: Callable[[], bool], loop: Loop) -> bool:
        """Do what there is to do; return whether there was anything."""


class Role(NamedTuple):
    """One thing the service can do.

    Attributes:
        name: as ``--roles`` names it.
        open: makes its step on a store of its own.
        needs_store: whether it does, by the store's URL that was given; else it is passed None.
        once_across_hosts: whether it needs the lease; otherwise every host's service does it.
        busy_pause_seconds, idle_pause_seconds: until the next step, after work and without.
    """

    name: str
    open: Callable[[Any], Step]
    needs_store: Callable[[str | None], bool] = lambda _: True
    once_across_hosts: bool = False
    busy_pause_seconds: float = 0.1
    idle_pause_seconds: float = 1.0


def _open_drain(store: Store | None) -> Step:
    drain = wiring.open_drain(store, wiring.SERVICE_BATCH_BYTES)
    next_expiry = time.monotonic() + 60.0  # not at once: a host that starts has other things to do

    def step(should_stop: Callable[[], bool], loop: Loop) -> bool:
        nonlocal next_expiry
        report = drain.run_once(should_stop=should_stop)
        _tell(report, loop)
        if store is not None and time.monotonic() >= next_expiry and not should_stop():
            next_expiry = time.monotonic() + _EXPIRY_SECONDS
            loop.counts["events_expired"] += store.expire(wiring.retention_horizon_us())
        return report.received > 0

    return step


def _open_reconcile(store: Store) -> Step:
    reconciler = wiring.open_reconciler(store)

    def step(should_stop: Callable[[], bool], loop: Loop) -> bool:
        found = reconciler.run_once(wiring.retention_horizon_us(), should_stop=should_stop)
        loop.counts["runs_reconciled"] += found.runs
        loop.counts["events_missing"] += found.missing
        loop.counts["notes_synthesised"] += found.repaired
        if found.repaired:
            _log.info(
                "%d notes from Airflow's own record, %d events were missing",
                found.repaired,
                found.missing,
                extra={"role": loop.role.name},
            )
        return False

    return step


def _open_forward(store: Store) -> Step:
    forwarder = wiring.open_forwarder(store)

    def step(should_stop: Callable[[], bool], loop: Loop) -> bool:
        report = forwarder.run_once(should_stop=should_stop)
        loop.counts["events_forwarded"] += report.sent
        loop.counts["dead_letters"] += report.dead
        loop.gauges["feed_backlog"] = sum(one.backlog for one in report.feeds.values())
        if report.sent or report.dead:
            _log.info(
                "%d events forwarded, %d dead letters",
                report.sent,
                report.dead,
                extra={"role": loop.role.name},
            )
        return report.sent > 0

    return step


def _tell(report: IngestReport, loop: Loop) -> None:
    if not report.received:
        return
    numbers = {
        "ingested": report.ingested,
        "repeated": report.repeated,
        "quarantined": report.quarantined,
    }
    for name, number in numbers.items():
        loop.counts[f"events_{name}"] += number
    _log.info(
        "%s",
        ", ".join(f"{number} {name}" for name, number in numbers.items()),
        extra={"role": loop.role.name, "numbers": numbers},
    )
    for warning in report.warnings[:5]:
        _log.warning("%s", warning, extra={"role": loop.role.name})


ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role("drain", _open_drain, needs_store=lambda url: not wiring.sends_spool(url)),
        Role("forward", _open_forward, once_across_hosts=True),
        Role("reconcile", _open_reconcile, once_across_hosts=True, idle_pause_seconds=30.0),
    )
}


def usual(store_url: str | None) -> str:
    """Return the roles of a service that is told none: on a host without a store, the drain."""
    if wiring.sends_spool(store_url) and not settings.is_store_set():
        return "drain"
    return ",".join(ROLES)


def named(text: str) -> list[Role]:
    """Return the roles that a list with commas names; `SettingsError` for one there is not."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in ROLES]
    if unknown or not names:
        raise SettingsError(
            f"--roles {text!r}: give some of {', '.join(ROLES)}, separated by commas"
        )
    return [ROLES[name] for name in names]
