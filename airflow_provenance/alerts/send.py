"""Notices that wait, to their channels: each in order, in a thread of its own.

So a channel that hangs holds no other up: it goes on behind the round that began it, and is left
alone by those after it. A notice is claimed before it is sent, so that of two processes one sends.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.alerts.message import message_of
from airflow_provenance.errors import (
    ChannelUnavailableError,
    NoticeRefusedError,
    ProvenanceError,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provenance.alerts.channels.base import Channel
    from airflow_provenance.alerts.message import Cleaner
    from airflow_provenance.domain.alert import Queued
    from airflow_provenance.domain.clock import Clock
    from airflow_provenance.store.base import Store

_S = 1_000_000
# Longer than an HTTP request takes: whoever leads after a kill waits so long for the one that was
# on its way. In one process a channel that takes longer is busy anyway.
_CLAIM_US = 30 * _S
_LONGEST_WAIT_US = 300 * _S
_GIVEN_UP_US = 7 * 86_400 * _S
_CLOSE_S = 5.0


class Told(NamedTuple):
    """How messages are made: what is taken out of them, and where Airflow is."""

    clean: Cleaner
    base_url: str | None = None


class Sent(NamedTuple):
    """What became of notices since the round before; `errors` by channel."""

    sent: int = 0
    given_up: int = 0
    errors: Mapping[str, str] = {}


class Sender:
    """Sends what waits in a store's outbox of notices."""

    def __init__(
        self,
        store: Store,
        channels: Mapping[str, Channel],
        told: Told,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._store, self._channels, self._told = store, channels, told
        self._clock, self._chance = clock, chance
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._sent = self._given_up = 0
        self._errors: dict[str, str] = {}
        self._failures: list[BaseException] = []

    def run_once(self, should_stop: Callable[[], bool], patience_s: float) -> Sent:
        """Send what waits and may be tried now; a channel that takes longer goes on behind it."""
        queues: dict[str, list[Queued]] = {}
        for one in self._store.waiting_notices():
            queues.setdefault(one.notice.channel, []).append(one)
        for name, queue in queues.items():
            if not self._is_busy(name):
                self._errors.pop(name, None)
                thread = threading.Thread(
                    target=self._run,
                    args=(queue, should_stop),
                    name=f"channel-{name}",
                    daemon=True,  # one that hangs must not keep the service from ending
                )
                self._threads[name] = thread
                thread.start()
        deadline = time.monotonic() + patience_s
        for thread in self._threads.values():
            thread.join(max(deadline - time.monotonic(), 0.0))
        with self._lock:
            found = Sent(self._sent, self._given_up, dict(self._errors))
            self._sent = self._given_up = 0
            failures, self._failures = self._failures, []
        for name in set(self._errors) - queues.keys():
            del self._errors[name]
        if failures:
            raise failures[0]  # the store's, say: nothing of a channel comes so far
        return found

    def _is_busy(self, name: str) -> bool:
        thread = self._threads.get(name)
        return thread is not None and thread.is_alive()

    def _run(self, queue: Sequence[Queued], should_stop: Callable[[], bool]) -> None:
        try:
            for one in queue:
                if should_stop() or not self._may_send(one):
                    return
                error, is_final = self._try(one)
                with self._lock:
                    self._sent += error is None
                    self._given_up += is_final
                    if error is not None:
                        self._errors[one.notice.channel] = error
                if error is not None and not is_final:
                    return
        except BaseException as failure:  # noqa: BLE001 - raised by the round
            with self._lock:
                self._failures.append(failure)

    def _may_send(self, one: Queued) -> bool:
        if self._clock.now_us() < one.next_attempt_us:
            if one.last_error:
                with self._lock:
                    self._errors[one.notice.channel] = one.last_error
            return False
        # Another sender's: what follows must not overtake it.
        return self._store.claim_notice(one.id, one.attempts, self._clock.now_us() + _CLAIM_US)

    def _try(self, one: Queued) -> tuple[str | None, bool]:
        """Send one notice; return what went wrong, and whether it was given up."""
        channel = self._channels.get(one.notice.channel)
        retry_after_s, is_final = 0.0, False
        try:
            if channel is None:
                raise NoticeRefusedError("there is no such channel any more")  # noqa: TRY301
            channel.send(message_of(one.notice, self._told.clean, self._told.base_url))
        except NoticeRefusedError as found:
            error, is_final = str(found), True
        except ChannelUnavailableError as found:
            error, retry_after_s = str(found), found.retry_after_s
        except ProvenanceError as found:
            error = str(found)
        except Exception as found:  # noqa: BLE001 - one channel must not hold the others up
            error = f"{type(found).__name__}: {self._told.clean.text(str(found))}"
        else:
            self._store.settle_notice(one.id, self._clock.now_us())
            return None, False
        now_us = self._clock.now_us()
        is_final = is_final or now_us - one.notice.at_us > _GIVEN_UP_US
        wait_us = min(_S << min(one.attempts, 20), _LONGEST_WAIT_US)
        wait_us = max(int(wait_us * self._chance.uniform(0.5, 1.0)), int(retry_after_s * _S))
        self._store.settle_notice(
            one.id,
            now_us,
            error=" ".join(error.split())[:500],
            next_attempt_us=None if is_final else now_us + wait_us,
        )
        return error, is_final

    def close(self) -> None:
        """Let go of the channels, but of those that hang."""
        deadline = time.monotonic() + _CLOSE_S
        for thread in self._threads.values():
            thread.join(max(deadline - time.monotonic(), 0.0))
        for name, one in self._channels.items():
            if not self._is_busy(name):
                one.close()
