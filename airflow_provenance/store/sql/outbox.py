"""The outbox of a SQL store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance.store.outbox import (
    TOO_MUCH_WAITS,
    DeadLetter,
    FeedState,
    overdue,
    slowest_cursor,
)
from airflow_provenance.store.sql.engine import reading, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.engine import Engine

    from airflow_provenance.store.sql.bulk import Bulk

_FEED = (
    "SELECT name, position, enabled, max_backlog, attempts, next_attempt_us, last_error, "
    "last_error_us, delivered_us, suspended FROM feed "
)


class SqlOutbox:
    """See `store.outbox.Outbox`."""

    _engine: Engine

    def last_seq(self) -> int:
        with reading(self._engine) as bulk:
            return _last_seq(bulk)

    def feeds(self) -> list[FeedState]:
        with reading(self._engine) as bulk:
            return _feeds(bulk)

    def dead_letters(self, feed: str) -> list[DeadLetter]:
        query = "SELECT seq, attempts, error, at_us FROM dead_letter WHERE feed = ? ORDER BY seq"
        with reading(self._engine) as bulk:
            return [DeadLetter(*row) for row in bulk.fetch(query, (feed,))]

    def enable_feeds(self, max_backlogs: Mapping[str, int]) -> None:
        with writing(self._engine) as bulk:
            bulk.execute("UPDATE feed SET enabled = ?", [(0,)])
            bulk.execute(
                "INSERT INTO feed (name, position, enabled, max_backlog, attempts, "
                "next_attempt_us) VALUES (?, 0, 1, ?, 0, 0) ON CONFLICT (name) DO UPDATE SET "
                "enabled = 1, max_backlog = excluded.max_backlog",
                sorted(max_backlogs.items()),
            )

    def advance_feed(
        self, feed: str, expected: int, reached: int, at_us: int, dead: Sequence[DeadLetter] = ()
    ) -> bool:
        with writing(self._engine) as bulk:
            if not bulk.fetch(
                "SELECT 1 FROM feed WHERE name = ? AND position = ?", (feed, expected)
            ):
                return False
            bulk.execute(
                "UPDATE feed SET position = ?, attempts = 0, next_attempt_us = 0, delivered_us = ? "
                "WHERE name = ?",
                [(reached, at_us, feed)],
            )
            _put_dead(bulk, feed, dead)
        return True

    def hold_feed(
        self, feed: str, attempts: int, next_attempt_us: int, error: str, at_us: int
    ) -> None:
        self._change(
            "attempts = ?, next_attempt_us = ?, last_error = ?, last_error_us = ?",
            (attempts, next_attempt_us, _storable(error), at_us, feed),
        )

    def suspend_feed(self, feed: str, reason: str) -> None:
        self._change("suspended = ?", (reason, feed))

    def resume_feed(self, feed: str) -> None:
        self._change("suspended = NULL, attempts = 0, next_attempt_us = 0", (feed,))

    def _change(self, assignments: str, values: Sequence[Any]) -> None:
        with writing(self._engine) as bulk:
            bulk.execute(f"UPDATE feed SET {assignments} WHERE name = ?", [values])

    def rewind_feed(self, feed: str, since_us: int) -> int:
        with writing(self._engine) as bulk:
            found = bulk.fetch("SELECT min(seq) FROM event WHERE received_us >= ?", (since_us,))
            now = bulk.fetch("SELECT position FROM feed WHERE name = ?", (feed,))[0][0]
            cursor = int(now) if found[0][0] is None else min(int(now), int(found[0][0]) - 1)
            bulk.execute("UPDATE feed SET position = ? WHERE name = ?", [(cursor, feed)])
        return cursor

    def put_dead_letters(self, feed: str, letters: Iterable[DeadLetter]) -> None:
        with writing(self._engine) as bulk:
            _put_dead(bulk, feed, letters)

    def forget_dead_letters(self, feed: str, seqs: Iterable[int]) -> None:
        with writing(self._engine) as bulk:
            bulk.execute(
                "DELETE FROM dead_letter WHERE feed = ? AND seq = ?", [(feed, one) for one in seqs]
            )


def held_us(bulk: Bulk, before_us: int) -> int:
    """Return the time before which retention may drop entries: what waits for a feed stays."""
    feeds, last_seq = _feeds(bulk), _last_seq(bulk)
    late = {feed.name for feed in overdue(feeds, last_seq)}
    if late:
        rows = [(TOO_MUCH_WAITS, name) for name in sorted(late)]
        bulk.execute("UPDATE feed SET suspended = ? WHERE name = ?", rows)
    cursor = slowest_cursor(one for one in feeds if one.name not in late)
    if cursor is None:
        return before_us
    waiting = bulk.fetch("SELECT min(event_us) FROM event WHERE seq > ?", (cursor,))[0][0]
    return before_us if waiting is None else min(before_us, int(waiting))


def _feeds(bulk: Bulk) -> list[FeedState]:
    rows = sorted(bulk.fetch(_FEED))
    return [FeedState(row[0], row[1], bool(row[2]), *row[3:]) for row in rows]


def _last_seq(bulk: Bulk) -> int:
    rows = bulk.fetch("SELECT value FROM counter WHERE name = 'seq'")
    return int(rows[0][0]) if rows else 0


def _put_dead(bulk: Bulk, feed: str, letters: Iterable[DeadLetter]) -> None:
    rows = [(feed, one.seq, one.attempts, _storable(one.error), one.at_us) for one in letters]
    if rows:
        bulk.execute(
            "INSERT INTO dead_letter (feed, seq, attempts, error, at_us) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (feed, seq) DO UPDATE SET attempts = excluded.attempts, "
            "error = excluded.error, at_us = excluded.at_us",
            rows,
        )


def _storable(text: str) -> str:
    """Return what PostgreSQL can keep of a text that some server wrote."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
