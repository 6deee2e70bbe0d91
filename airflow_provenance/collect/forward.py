"""Forwarding: every feed is delivered by itself, in a thread of its own, so none waits for another.

`Forwarder.run_once` starts the feeds that are at rest and waits a moment; a feed that takes longer
goes on behind it, and is left alone by the next round. `collect.lane` has the rules of delivery.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from airflow_provenance.collect.lane import FeedReport, Lane
from airflow_provenance.domain.clock import Clock, SystemClock
from airflow_provenance.errors import ProvenanceError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provenance.collect.feeds.base import Route
    from airflow_provenance.store.base import Store

_PATIENCE_S = 1.0
_CLOSE_S = 30.0


class Totals(NamedTuple):
    """What was done since a forwarder began; what goes on behind a round is in it."""

    sent: int = 0
    dead: int = 0


class ForwardReport(msgspec.Struct):
    """What became of a round, feed by feed."""

    feeds: dict[str, FeedReport] = {}

    @property
    def sent(self) -> int:
        """How many events were delivered; of a feed that is busy, since its round began."""
        return sum(one.sent for one in self.feeds.values())

    @property
    def dead(self) -> int:
        """How many events became dead letters; of a feed that is busy, since its round began."""
        return sum(one.dead for one in self.feeds.values())

    @property
    def errors(self) -> dict[str, str]:
        """Why feeds wait, by name."""
        return {name: one.error for name, one in self.feeds.items() if one.error}


class Forwarder:
    """Delivers the store's events to feeds: at least once, in order.

    Args:
        store: whose log is delivered, and which keeps how far each feed is.
        routes: the feeds that are enabled; others keep their place, and retention does not wait.
        clock: says when a feed may try again.
        chance: spreads the attempts of many services; a feed waits a bit less by it.
    """

    def __init__(
        self,
        store: Store,
        routes: Sequence[Route],
        clock: Clock | None = None,
        chance: random.Random | None = None,
    ) -> None:
        clock, chance = clock or SystemClock(), chance or random.Random()  # noqa: S311 - no secret
        self._lanes = {route.name: Lane(store, route, clock, chance) for route in routes}
        self._threads: dict[str, threading.Thread] = {}
        self._failures: dict[str, str] = {}
        self._closing = threading.Event()
        self._store = store
        store.enable_feeds({route.name: route.max_backlog for route in routes})

    def run_once(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        leads: Callable[[], bool] = lambda: True,
        *,
        patience_s: float | None = _PATIENCE_S,
    ) -> ForwardReport:
        """Deliver what waits and may be tried now.

        Args:
            should_stop: asked between events; feeds then stop in good order.
            leads: asked before each request: whether this process still is the one that delivers.
            patience_s: how long to wait for feeds that take long; None: until all are done.
        """
        for name, lane in self._lanes.items():
            if not self._is_busy(name):
                run = threading.Thread(
                    target=self._run,
                    args=(lane, should_stop, leads),
                    name=f"feed-{name}",
                    daemon=True,
                )
                self._threads[name] = run
                run.start()
        deadline = None if patience_s is None else time.monotonic() + patience_s
        for one in self._threads.values():
            one.join(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        return ForwardReport(
            {
                name: msgspec.structs.replace(lane.report, is_busy=self._is_busy(name))
                for name, lane in self._lanes.items()
            }
        )

    def _is_busy(self, name: str) -> bool:
        thread = self._threads.get(name)
        return thread is not None and thread.is_alive()

    def totals(self) -> Totals:
        """Return what was done since the beginning."""
        lanes = self._lanes.values()
        return Totals(sum(one.sent for one in lanes), sum(one.dead for one in lanes))

    def take_failures(self) -> dict[str, str]:
        """Return, once, what has failed by feed that is not the backend's: the store's, say."""
        return {name: self._failures.pop(name) for name in list(self._failures)}

    def backlogs(self) -> dict[str, int]:
        """Return how many entries wait for each feed now, by the store."""
        states = {one.name: one for one in self._store.feeds()}
        # After the cursors: whatever came meanwhile waits, too.
        last_seq = self._store.last_seq()
        return {name: last_seq - states[name].cursor for name in self._lanes if name in states}

    def _run(self, lane: Lane, should_stop: Callable[[], bool], leads: Callable[[], bool]) -> None:
        try:
            lane.run(lambda: self._closing.is_set() or should_stop(), leads)
        except Exception as error:  # noqa: BLE001 - the store, say: the next round tries again
            text = str(error) if isinstance(error, ProvenanceError) else repr(error)
            lane.report.error = self._failures[lane.route.name] = text

    def retry_dead_letters(self, name: str) -> tuple[int, int]:
        """Send a feed's dead letters again; return how many went, and how many still wait.

        Raises:
            SubjectError: no such feed is enabled.
        """
        lane = self._lanes.get(name)
        if lane is None:
            raise SubjectError(f"no feed {name!r} is enabled: 'feeds status' lists them")
        return lane.retry_dead_letters()

    def close(self, patience_s: float = _CLOSE_S) -> bool:
        """Stop in good order and let go of the feeds; return whether none is at it any more."""
        self._closing.set()
        deadline = time.monotonic() + patience_s
        for thread in self._threads.values():
            thread.join(max(deadline - time.monotonic(), 0.0))
        for name, lane in self._lanes.items():
            if not self._is_busy(name):
                with contextlib.suppress(OSError):
                    lane.route.feed.close()
        return not any(map(self._is_busy, self._lanes))
