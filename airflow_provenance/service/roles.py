"""What the service can do: a row each in `ROLES`.

To add one: a function that is given the role's store and returns a `Step`, and a row that names
it. In each round it does what there is to do, asks `should_stop` wherever it may end, counts into
its loop what the metrics are to show, and returns whether there was anything to do; what it raises
is told in one line and tried again.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance import settings, wiring
from airflow_provenance.errors import ProvenanceError, SettingsError
from airflow_provenance.service.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.service.loop import Loop
    from airflow_provenance.store.base import IngestReport, Store

_log = logging.getLogger(__name__)
_EXPIRY_SECONDS = 3600.0
# A feed that takes longer goes on behind the round: the others need not wait for it.
_PATIENCE_SECONDS = 0.05
# A channel that takes longer goes on behind the round, too.
_CHANNEL_SECONDS = 1.0
# While feeds deliver without a rest, a line tells how much, this often.
_LINE_SECONDS = 10.0


class Step(NamedTuple):
    """What a role does, round by round, and how it lets go.

    Attributes:
        do: does what there is to do; returns whether there was anything.
        close: lets go, in some seconds at most; returns whether nothing goes on behind it.
    """

    do: Callable[[Callable[[], bool], Loop], bool]
    close: Callable[[Loop, float], bool] = lambda _loop, _seconds: True


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

    return Step(step)


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

    return Step(step)


def _open_evaluate(store: Store) -> Step:
    evaluator = wiring.open_evaluator(store)
    publisher = wiring.open_publisher(store)
    next_expiry = time.monotonic() + 60.0
    heartbeat = Heartbeat(settings.spool_dir(), settings.sla_ping_url())

    def step(should_stop: Callable[[], bool], loop: Loop) -> bool:
        began = time.monotonic()
        nonlocal next_expiry
        if time.monotonic() >= next_expiry:
            next_expiry = time.monotonic() + _EXPIRY_SECONDS
            expired = store.expire_promises(wiring.promises_horizon_us())
            loop.counts["evaluation_changes_expired"] += expired
        ticked = evaluator.run_once(should_stop)
        loop.counts["promises_evaluated"] += ticked.evaluated
        loop.counts["evaluation_changes"] += len(ticked.changes)
        loop.gauges["promises_in_force", ""] = ticked.policies
        loop.gauges["evaluate_tick_seconds", ""] = time.monotonic() - began
        for one in ticked.changes:
            cause = f", {one.cause}" if one.cause else ""
            _log.info(
                *("%s: %s %s%s", one.policy_id, one.state, one.period, cause),
                extra={"role": loop.role.name},
            )
        if publisher is not None:
            loop.counts["evaluations_published"] += publisher.run_once(should_stop)
        if not should_stop():
            heartbeat.beat(loop)
        return False

    return Step(step)


def _open_forward(store: Store) -> Step:
    forwarder = wiring.open_forwarder(store)
    counted = told = forwarder.totals()
    next_line = 0.0

    def count(loop: Loop) -> bool:
        # Of totals, as what a feed does between two rounds counts as well.
        nonlocal counted
        before, counted = counted, forwarder.totals()
        loop.counts["events_forwarded"] += counted.sent - before.sent
        loop.counts["dead_letters"] += counted.dead - before.dead
        return counted != before

    def tell(loop: Loop) -> None:
        nonlocal told
        before, told = told, counted
        if told == before:
            return
        sent, dead = told.sent - before.sent, told.dead - before.dead
        _log.info(
            "%d events forwarded, %d dead letters",
            sent,
            dead,
            extra={
                "role": loop.role.name,
                "numbers": {"forwarded": sent, "dead_letters": dead},
            },
        )

    def step(_should_stop: Callable[[], bool], loop: Loop) -> bool:
        nonlocal next_line
        forwarder.run_once(lambda: loop.is_stopping, loop.leads, patience_s=_PATIENCE_SECONDS)
        has_counted = count(loop)
        for feed, waiting in forwarder.backlogs().items():
            loop.gauges["feed_backlog", f'{{feed="{feed}"}}'] = waiting
        failures = forwarder.take_failures()
        if failures:
            lines = (f"feed {feed}: {text}" for feed, text in failures.items())
            raise ProvenanceError("; ".join(lines))
        if not has_counted or time.monotonic() >= next_line:
            tell(loop)
            next_line = time.monotonic() + _LINE_SECONDS
        return has_counted

    def close(loop: Loop, seconds: float) -> bool:
        has_ended = forwarder.close(seconds)
        count(loop)
        tell(loop)
        return has_ended

    return Step(step, close)


def _open_deliver(store: Store) -> Step:
    deliverer = wiring.open_deliverer(store)

    def step(should_stop: Callable[[], bool], loop: Loop) -> bool:
        done = deliverer.run_once(should_stop, patience_s=_CHANNEL_SECONDS)
        loop.counts["notices_made"] += done.made
        loop.counts["notices_sent"] += done.sent
        loop.counts["notices_given_up"] += done.given_up
        for one in store.channel_states():
            loop.gauges["channel_waiting", f'{{channel="{one.name}"}}'] = one.waiting
        if done.sent or done.made:
            _log.info(
                "%d notices made, %d sent", done.made, done.sent, extra={"role": loop.role.name}
            )
        # Not raised: the round would wait, and other channels with it.
        trouble = "; ".join(f"channel {name}: {text}" for name, text in done.errors.items())
        if trouble and trouble != loop.trouble:
            _log.error("%s", trouble, extra={"role": loop.role.name})
        loop.trouble = trouble or None
        return False

    def close(_loop: Loop, _seconds: float) -> bool:
        deliverer.close()
        return True

    return Step(step, close)


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
        Role("evaluate", _open_evaluate, once_across_hosts=True),
        Role("deliver", _open_deliver, once_across_hosts=True),
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
