"""The outbox of the store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.store.outbox import (
    TOO_MUCH_WAITS,
    DeadLetter,
    FeedState,
    overdue,
    slowest_cursor,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provenance.store.memory import MemoryLedger


class MemoryOutbox:
    """See `store.outbox.Outbox`."""

    _rows: MemoryLedger

    def __init__(self) -> None:
        super().__init__()
        self._feeds: dict[str, FeedState] = {}
        self._dead: dict[str, dict[int, DeadLetter]] = {}

    def last_seq(self) -> int:
        return self._rows.counters["seq"]

    def feeds(self) -> list[FeedState]:
        return [self._feeds[name] for name in sorted(self._feeds)]

    def dead_letters(self, feed: str) -> list[DeadLetter]:
        return [letter for _, letter in sorted(self._dead.get(feed, {}).items())]

    def enable_feeds(self, max_backlogs: Mapping[str, int]) -> None:
        for name in max_backlogs.keys() - self._feeds.keys():
            self._feeds[name] = FeedState(name)
        for name, feed in self._feeds.items():
            self._change(
                name,
                enabled=name in max_backlogs,
                max_backlog=max_backlogs.get(name, feed.max_backlog),
            )

    def advance_feed(
        self, feed: str, expected: int, reached: int, at_us: int, dead: Sequence[DeadLetter] = ()
    ) -> bool:
        state = self._feeds.get(feed)
        if state is None or state.cursor != expected:
            return False
        self._change(feed, cursor=reached, attempts=0, next_attempt_us=0, delivered_us=at_us)
        self.put_dead_letters(feed, dead)
        return True

    def hold_feed(
        self, feed: str, attempts: int, next_attempt_us: int, error: str, at_us: int
    ) -> None:
        self._change(
            feed,
            attempts=attempts,
            next_attempt_us=next_attempt_us,
            last_error=error,
            last_error_us=at_us,
        )

    def suspend_feed(self, feed: str, reason: str) -> None:
        self._change(feed, suspended=reason)

    def resume_feed(self, feed: str) -> None:
        self._change(feed, suspended=None, attempts=0, next_attempt_us=0)

    def rewind_feed(self, feed: str, since_us: int) -> int:
        entries = self._rows.log.values()
        since = [entry.seq for entry in entries if entry.received_us >= since_us]
        cursor = min(self._feeds[feed].cursor, min(since, default=self.last_seq() + 1) - 1)
        self._change(feed, cursor=cursor)
        return cursor

    def put_dead_letters(self, feed: str, letters: Iterable[DeadLetter]) -> None:
        self._dead.setdefault(feed, {}).update({letter.seq: letter for letter in letters})

    def forget_dead_letters(self, feed: str, seqs: Iterable[int]) -> None:
        for seq in seqs:
            self._dead.get(feed, {}).pop(seq, None)

    def _change(self, feed: str, **members: object) -> None:
        if feed in self._feeds:
            self._feeds[feed] = msgspec.structs.replace(self._feeds[feed], **members)

    def _held_us(self, before_us: int) -> int:
        """Return the time before which retention may drop entries: what waits for a feed stays."""
        for feed in overdue(self.feeds(), self.last_seq()):
            self.suspend_feed(feed.name, TOO_MUCH_WAITS)
        cursor = slowest_cursor(self.feeds())
        if cursor is None:
            return before_us
        waiting = [one.event_us for one in self._rows.log.values() if one.seq > cursor]
        return min([before_us, *waiting])
