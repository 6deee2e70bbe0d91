"""Time: UTC microseconds since 1970 inside, ISO 8601 with a zone outside."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from airflow_provenance.errors import EventError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# The last that `datetime` can name; it fits the 48 bits of ms of an event's id.
MAX_TIME_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


class Clock(Protocol):
    """Where the time comes from; injected, so that tests and back-tests set it."""

    def now_us(self) -> int:
        """Return UTC microseconds since 1970."""


class SystemClock:
    """The time of this machine."""

    def now_us(self) -> int:
        """Return UTC microseconds since 1970."""
        return time.time_ns() // 1000


class FixedClock:
    """A time that stands still until it is set."""

    def __init__(self, now_us: int) -> None:
        self.us = now_us

    def now_us(self) -> int:
        """Return the time it was set to."""
        return self.us


def to_us(moment: datetime) -> int:
    """Return UTC microseconds since 1970 of an aware datetime; `EventError` for a naive one."""
    if moment.tzinfo is None:
        raise EventError(
            "no_time_zone", f"the time {moment.isoformat()} has no zone: add one, Z is UTC"
        )
    return (moment - _EPOCH) // _MICROSECOND


def parse_time(text: str) -> int:
    """Return UTC microseconds since 1970 of an ISO 8601 time with a zone.

    Digits beyond microseconds are cut off. Raises `EventError` (`invalid_event`, `no_time_zone`).
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise EventError("invalid_event", f"{text[:60]!r} is not an ISO 8601 time") from error
    us = to_us(moment)
    if not 0 <= us <= MAX_TIME_US:
        raise EventError("invalid_event", f"{text[:60]!r} is before 1970 or too far ahead")
    return us


def format_time(us: int | None) -> str | None:
    """Return ISO 8601 in UTC with microseconds and ``Z``, or None for None."""
    if us is None:
        return None
    moment = _EPOCH + us * _MICROSECOND
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
