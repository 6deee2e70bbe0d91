"""The store as outbox: how far each feed is, what it could not deliver, and why it waits.

A feed is told from the log by its `seq` alone: `cursor` is the last entry that was delivered, left
out or set aside. It moves after delivery, so a crash repeats and never loses.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.store.base import RunView, VersionView

_log = logging.getLogger(__name__)
TOO_MUCH_WAITS: Final = "more events wait than its max_backlog"


class FeedState(msgspec.Struct, frozen=True):
    """How a feed is doing. Times in UTC microseconds."""

    name: str
    cursor: int = 0
    enabled: bool = True
    max_backlog: int = 1_000_000
    attempts: int = 0  # that failed since the last success
    next_attempt_us: int = 0
    last_error: str | None = None
    last_error_us: int | None = None
    delivered_us: int | None = None
    suspended: str | None = None  # why it does not go on until somebody asks for it


class DeadLetter(msgspec.Struct, frozen=True):
    """An event that a backend refused; its bytes are in the log."""

    seq: int
    attempts: int
    error: str  # with the backend's answer
    at_us: int


class Outbox(Protocol):
    """What delivery asks of a store."""

    def last_seq(self) -> int:
        """Return the `seq` of the newest entry there ever was."""

    def feeds(self) -> list[FeedState]:
        """Return every feed that was ever enabled, by name."""

    def dead_letters(self, feed: str) -> list[DeadLetter]:
        """Return what a backend refused, in order of `seq`."""

    def enable_feeds(self, max_backlogs: Mapping[str, int]) -> None:
        """Enable these feeds, each with its `max_backlog`, and no others. A new one starts at 0."""

    def advance_feed(
        self, feed: str, expected: int, reached: int, at_us: int, dead: Sequence[DeadLetter] = ()
    ) -> bool:
        """Move a feed's cursor on, set dead letters aside, and forget failures.

        Returns whether it was done: not when the cursor is no longer where it was expected, since
        somebody moved it meanwhile.
        """

    def hold_feed(
        self, feed: str, attempts: int, next_attempt_us: int, error: str, at_us: int
    ) -> None:
        """Note that a feed failed, and when it is to try again."""

    def suspend_feed(self, feed: str, reason: str) -> None:
        """Let a feed rest until it is resumed; retention does not wait for it."""

    def resume_feed(self, feed: str) -> None:
        """Let a feed try now, whatever it waited for."""

    def rewind_feed(self, feed: str, since_us: int) -> int:
        """Put a feed back before the first entry received since a time; return its new cursor."""

    def put_dead_letters(self, feed: str, letters: Iterable[DeadLetter]) -> None:
        """Set dead letters aside, or bring them up to date."""

    def forget_dead_letters(self, feed: str, seqs: Iterable[int]) -> None:
        """Forget dead letters that were delivered after all."""

    def newest_run(self, job: tuple[str, str]) -> RunView | None:
        """Return which run of a job ended last: of the last to start that did run and ended."""

    def newest_version(self, dataset: DatasetRef) -> VersionView | None:
        """Return what a dataset is now: of its good versions the newest, or else what was read."""

    def readers(self, version_id: int, limit: int) -> list[RunView]:
        """Return the runs that read a version, those that started last first."""


def overdue(feeds: Iterable[FeedState], last_seq: int) -> list[FeedState]:
    """Return the feeds that retention must wait for no longer, and tell them."""
    found = [
        feed
        for feed in feeds
        if feed.enabled and feed.suspended is None and last_seq - feed.cursor > feed.max_backlog
    ]
    for feed in found:
        _log.error(
            "feed %s is suspended: %d events wait for it, more than its max_backlog (%d); mend it "
            "and run 'airflow-provenance feeds retry %s'",
            feed.name,
            last_seq - feed.cursor,
            feed.max_backlog,
            feed.name,
        )
    return found


def slowest_cursor(feeds: Iterable[FeedState]) -> int | None:
    """Return the cursor that retention must not pass; None where no feed holds it."""
    return min((one.cursor for one in feeds if one.enabled and one.suspended is None), default=None)
