"""One feed's delivery: from its cursor on, one event after the other.

Rules that a ``kill -9`` at any moment cannot break:

1. The cursor moves after delivery and after the feed's `flush`: a crash repeats, and never loses.
2. Events go in order of `seq`; what is late of a run that has ended goes with its terminal event
   again (`formats.shaping`), and what it would make look old goes again, too (`feeds.deliveries`).
3. A refused event becomes a dead letter in the transaction that moves the cursor past it.
4. A backend that does not answer stops this feed alone, for twice as long each time.
5. What was delivered while the store could not be written is not sent again when it can.
6. One process at a time: whoever does not lead any more sends nothing and notes nothing. It is
   asked right before each body is written; what is left is a process that hangs between the two.
7. Where it answers 500 again and again, the event may be to blame: if it takes another one and this
   one still not, this one becomes a dead letter. One that refuses event after event is treated so,
   too: then it is not the events.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.collect.feeds.base import Guarded
from airflow_provenance.collect.feeds.deliveries import bodies
from airflow_provenance.errors import EventRefusedError, FeedUnavailableError, ProvenanceError
from airflow_provenance.store.outbox import TOO_MUCH_WAITS, DeadLetter, FeedState, overdue

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from airflow_provenance.collect.feeds.base import Route
    from airflow_provenance.domain.clock import Clock
    from airflow_provenance.store.base import LogEntry, Store

_log = logging.getLogger(__name__)
_BATCH = 200
# A crash repeats at most this much.
_COMMIT_US = 2_000_000
_FIRST_WAIT_S, _MAX_WAIT_S = 1.0, 300.0
_ATTEMPTS_BEFORE_BLAME = 5
_ROUNDS_BEFORE_BLAME = 3
_OTHERS_TO_TRY = 3
_REFUSALS_IN_A_ROW = 50


class FeedReport(msgspec.Struct):
    """What became of a feed in one round."""

    sent: int = 0
    left_out: int = 0  # notes, and events that the backend must not get
    dead: int = 0
    backlog: int = 0
    error: str | None = None
    is_busy: bool = False  # its thread is still at it


class _NoLongerLeadsError(Exception):
    """Another process delivers now."""


class Lane:
    """Delivers one feed.

    `report` is what was done in the round under way, or the last one; `sent` and `dead` are what
    was done since the beginning, and never go back.
    """

    def __init__(self, store: Store, route: Route, clock: Clock, chance: random.Random) -> None:
        self.route = route
        self.report = FeedReport()
        self.sent = self.dead = 0
        self._store = store
        self._clock = clock
        self._chance = chance
        self._refusals = 0  # since the last event that was taken
        self._leads: Callable[[], bool] = lambda: True
        # Delivered, and not yet in the store: from which state, how far, with which dead letters.
        self._unsaved: tuple[FeedState, int, list[DeadLetter]] | None = None

    def run(
        self, should_stop: Callable[[], bool], leads: Callable[[], bool] = lambda: True
    ) -> None:
        """Deliver until nothing is left, the backend fails, or somebody asks to stop.

        Args:
            should_stop: asked between events.
            leads: whether this process still is the one that delivers.
        """
        self.report, self._leads = FeedReport(), leads
        if isinstance(self.route.feed, Guarded):
            self.route.feed.last_check = self._check_lead
        self._save()
        while (state := self._state()) is not None and not should_stop():
            if not state.enabled or state.suspended or self._waits(state):
                self.report.error = state.suspended or state.last_error
                break
            entries = self._store.entries(after_seq=state.cursor, limit=_BATCH, with_raw=True)
            if not entries or not self._deliver(state, entries, should_stop):
                break
        state = self._state()
        if state is not None:
            self.report.backlog = self._store.last_seq() - state.cursor

    def _state(self) -> FeedState | None:
        found = [one for one in self._store.feeds() if one.name == self.route.name]
        return found[0] if found else None

    def _waits(self, state: FeedState) -> bool:
        # Before its last failure is after the clock was set back: it must not wait for that long.
        return (state.last_error_us or 0) <= self._clock.now_us() < state.next_attempt_us

    def _deliver(
        self, state: FeedState, entries: list[LogEntry], should_stop: Callable[[], bool]
    ) -> bool:
        """Deliver a batch and move the cursor; return whether to go on."""
        reached, dead = state.cursor, list[DeadLetter]()
        failure: FeedUnavailableError | None = None
        from_us = self._clock.now_us()
        for index, entry in enumerate(entries):
            if should_stop() or not from_us <= self._clock.now_us() <= from_us + _COMMIT_US:
                break
            attempts = state.attempts + 1 if index == 0 else 1
            try:
                self._send_or_blame(entry, entries[index + 1 :], attempts)
            except EventRefusedError as error:
                dead.append(DeadLetter(entry.seq, attempts, str(error), self._clock.now_us()))
            except FeedUnavailableError as error:
                failure = error
                break
            except _NoLongerLeadsError:
                break
            reached = entry.seq
        try:
            self.route.feed.flush()
        except FeedUnavailableError as error:
            failure, reached = failure or error, state.cursor
        if not self._leads():
            return False  # whoever leads now notes how far it is, and why it waits
        if reached > state.cursor:
            self._unsaved = state, reached, dead
            self._save()
        if failure is not None:
            self._hold(state if reached == state.cursor else None, failure)
        return failure is None

    def _send_or_blame(self, entry: LogEntry, after: list[LogEntry], attempts: int) -> None:
        try:
            self._send(entry)
        except FeedUnavailableError as error:
            if not error.may_be_the_event or attempts < _ATTEMPTS_BEFORE_BLAME:
                raise
            # Again and again, since one that fails at times may fail this one twice by chance.
            for _ in range(_ROUNDS_BEFORE_BLAME):
                if not self._takes_another(entry, after):
                    raise
                try:
                    self._send(entry)
                except FeedUnavailableError as again:
                    if not again.may_be_the_event:
                        raise
                    error = again
                else:
                    return
            raise EventRefusedError(f"{error}; it takes other events") from error

    def _takes_another(self, entry: LogEntry, after: list[LogEntry]) -> bool:
        """Whether the backend takes an event of another run; it is sent again in its turn."""
        others = [one for one in after if one.kind == "run_event" and one.run_id != entry.run_id]
        # Rather one of another job: within a job they would change places.
        others.sort(key=lambda one: one.job_id == entry.job_id)
        for other in others[:_OTHERS_TO_TRY]:
            try:
                if self._send(other):
                    return True
            except EventRefusedError:
                continue
            except FeedUnavailableError as error:
                if not error.may_be_the_event:
                    return False
        return False

    def _send(self, entry: LogEntry, sent_seq: int = 0) -> int:
        """Send an entry; return how many events that was.

        Args:
            entry: what is sent.
            sent_seq: how far the feed is, where that is further than just before this entry.
        """
        try:
            sending = list(self._bodies(entry, max(entry.seq - 1, sent_seq)))
            for body in sending:
                self._send_body(body)
        except (ProvenanceError, _NoLongerLeadsError):
            raise
        except Exception as error:  # a mistake in a feed or of ours: this feed alone waits for it
            raise FeedUnavailableError(
                f"{type(error).__name__}: {error}", may_be_the_event=True
            ) from error
        self.report.left_out += not sending
        return len(sending)

    def _send_body(self, body: bytes) -> None:
        self._check_lead()
        try:
            self.route.feed.send(body)
        except EventRefusedError as error:
            self._refusals += 1
            if self._refusals <= _REFUSALS_IN_A_ROW:
                raise
            raise FeedUnavailableError(
                f"{error}; it has refused every event for a while: check the feed's url",
                may_be_the_event=True,
            ) from error
        self._refusals = 0
        self.report.sent += 1
        self.sent += 1

    def _check_lead(self) -> None:
        if not self._leads():
            raise _NoLongerLeadsError

    def _bodies(self, entry: LogEntry, sent_seq: int) -> Iterable[bytes]:
        if not self.route.rules:
            if entry.kind != "note" and entry.raw is not None:
                yield entry.raw
            return
        try:
            yield from bodies(self._store, entry, sent_seq, self.route.rules)
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError) as error:
            # Whatever a producer put into it, the events after it must get through.
            raise EventRefusedError(
                f"it cannot be shaped for this backend ({type(error).__name__}: {error})"
            ) from error

    def _save(self) -> None:
        """Move the cursor past what was delivered; until that is done, nothing more is sent."""
        if self._unsaved is None:
            return
        state, reached, dead = self._unsaved
        now_us = self._clock.now_us()
        is_moved = self._store.advance_feed(self.route.name, state.cursor, reached, now_us, dead)
        self._unsaved = None
        if not is_moved:
            return  # somebody moved it meanwhile: from there on, again
        self.report.dead += len(dead)
        self.dead += len(dead)
        if state.attempts:
            _log.info("feed %s delivers again", self.route.name)
        for letter in dead:
            _log.warning(
                "feed %s: entry %d became a dead letter: %s",
                self.route.name,
                letter.seq,
                letter.error,
            )

    def _hold(self, state: FeedState | None, failure: FeedUnavailableError) -> None:
        """Note the failure and how long to wait: twice as long each time, by chance a bit less."""
        attempts = 1 if state is None else state.attempts + 1
        wait_s = min(_FIRST_WAIT_S * 2 ** min(attempts - 1, 20), _MAX_WAIT_S)
        wait_s = max(wait_s * self._chance.uniform(0.5, 1.0), failure.retry_after_s)
        now_us = self._clock.now_us()
        self.report.error = str(failure)
        next_us = now_us + round(wait_s * 1e6)
        self._store.hold_feed(self.route.name, attempts, next_us, str(failure), now_us)
        if attempts == 1:
            _log.warning("feed %s waits: %s", self.route.name, failure)
        current = self._state()
        if current is not None and overdue([current], self._store.last_seq()):
            self._store.suspend_feed(self.route.name, TOO_MUCH_WAITS)

    def _send_again(self, seq: int) -> None:
        found = self._store.entries(after_seq=seq - 1, limit=1, with_raw=True)
        if not found or found[0].seq != seq:
            raise EventRefusedError("its event has expired, so it cannot be sent again")
        # What was sent after it was refused: a run that has ended since must not begin again.
        state = self._state()
        self._send(found[0], 0 if state is None else state.cursor)

    def retry_dead_letters(self) -> tuple[int, int]:
        """Send dead letters again; return how many were delivered, and how many still wait."""
        self.report = FeedReport()
        letters = self._store.dead_letters(self.route.name)
        delivered = []
        for letter in letters:
            try:
                self._send_again(letter.seq)
            except EventRefusedError as error:
                again = DeadLetter(
                    letter.seq, letter.attempts + 1, str(error), self._clock.now_us()
                )
                self._store.put_dead_letters(self.route.name, [again])
            except FeedUnavailableError as error:
                self.report.error = str(error)
                break
            else:
                delivered.append(letter.seq)
        try:
            self.route.feed.flush()
        except FeedUnavailableError as error:
            self.report.error = str(error)
            return 0, len(letters)
        self._store.forget_dead_letters(self.route.name, delivered)
        return len(delivered), len(letters) - len(delivered)
