"""Days and local times: when a deadline falls, on which days there is one, and what is excused.

A local time that a change of the clocks skips is shifted forward by the gap; of one that comes
twice the first counts unless a promise says ``second``. Holidays come from the packages
``holidays`` and ``exchange-calendars`` (extra ``calendars``), loaded when a promise names one.
"""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from airflow_provenance.domain.clock import to_us
from airflow_provenance.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EXTRA = "pip install 'airflow-provenance[calendars]'"


class Calendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """On which days something is expected.

    Attributes:
        weekdays: the days of the week that count.
        holidays: a country, or a country and its part (``DE``, ``DE-BY``): its holidays are off.
        exchange: an exchange's code (``XNYS``): only its sessions count.
        off: more days that do not count.
        on: days that count whatever else is said.
    """

    weekdays: tuple[Weekday, ...] = _WEEKDAYS
    holidays: str | None = None
    exchange: str | None = None
    off: tuple[date, ...] = ()
    on: tuple[date, ...] = ()

    def __post_init__(self) -> None:
        if not self.weekdays and not self.on:
            raise PolicyError("calendar: it has no day: name weekdays")

    def counts(self, day: date) -> bool:
        """Whether something is expected on a day."""
        if day in self.on:
            return True
        if day in self.off or _WEEKDAYS[day.weekday()] not in self.weekdays:
            return False
        if self.exchange is not None and not _is_session(self.exchange, day):
            return False
        return self.holidays is None or day not in _holidays(self.holidays)

    def check(self) -> None:
        """Raise `PolicyError` where a name is unknown or a package is missing."""
        if self.exchange is not None:
            _exchange(self.exchange)
        if self.holidays is not None:
            _holidays(self.holidays)


EVERY_DAY = Calendar()


class Excusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A time for which a breach is excused: who says so, and why.

    Attributes:
        every: the days of the week on which it comes again at the same local times; else once.
        counts: whether what happens then still uses up the error budget.
    """

    start: datetime
    end: datetime
    author: str
    reason: str
    every: tuple[Weekday, ...] = ()
    counts: bool = False

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise PolicyError("excusal: its times have no zone: add one, Z is UTC")
        if self.end <= self.start:
            raise PolicyError("excusal: it ends before it starts")
        if self.every and self.end - self.start > timedelta(days=1):
            raise PolicyError("excusal: one that comes again is longer than a day")
        if not (self.author.strip() and self.reason.strip()):
            raise PolicyError("excusal: say who excuses (author) and why (reason)")

    def covers(self, us: int, zone: ZoneInfo) -> bool:
        """Whether a moment is in it; one that comes again does so by the zone's wall clock."""
        if not self.every:
            return to_us(self.start) <= us < to_us(self.end)
        local = datetime.fromtimestamp(us / 1e6, UTC).astimezone(zone)
        first = self.start.astimezone(zone)
        length = to_us(self.end) - to_us(self.start)
        for day in (local.date(), local.date() - timedelta(days=1)):
            began = instant(day, first.time(), zone)
            comes = day >= first.date() and _WEEKDAYS[day.weekday()] in self.every
            if comes and began <= us < began + length:
                return True
        return False


def find_zone(name: str) -> ZoneInfo:
    """Return an IANA zone; `PolicyError` for a name that is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise PolicyError(f"{name!r} is no time zone: write one such as Europe/Berlin") from error


def instant(
    day: date, at: time, zone: ZoneInfo, ambiguous: Literal["first", "second"] = "first"
) -> int:
    """Return when a local time of a day is, in UTC microseconds.

    >>> from airflow_provenance.domain.clock import format_time
    >>> berlin = find_zone("Europe/Berlin")
    >>> format_time(instant(date(2026, 3, 29), time(2, 30), berlin))
    '2026-03-29T01:30:00.000000Z'
    """
    # `fold=0` reads a skipped time by the offset before the change, which shifts it forward by the
    # gap (PEP 495); `fold=1` would shift it back.
    local = datetime.combine(day, at.replace(fold=0), zone)
    later = local.replace(fold=1)
    if ambiguous == "second" and local.utcoffset() > later.utcoffset():  # type: ignore[operator]
        local = later
    return to_us(local.astimezone(UTC))


def local_day(us: int, zone: ZoneInfo) -> date:
    """Return the local day of a moment."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).astimezone(zone).date()


def due_instants(
    since_us: int,
    until_us: int,
    at: time,
    zone: ZoneInfo,
    calendar: Calendar = EVERY_DAY,
    ambiguous: Literal["first", "second"] = "first",
) -> Iterator[int]:
    """Give the instants of a local time on the calendar's days, from ``since`` to ``until``."""
    day = local_day(since_us, zone) - timedelta(days=1)
    last = local_day(until_us, zone) + timedelta(days=1)
    while day <= last:
        if calendar.counts(day):
            due = instant(day, at, zone, ambiguous)
            if since_us <= due <= until_us:
                yield due
        day += timedelta(days=1)


@functools.cache
def _holidays(name: str) -> Any:
    try:
        import holidays
    except ImportError as error:
        raise PolicyError(f"calendar: holidays of {name!r}: {_EXTRA}") from error
    country, _, part = name.partition("-")
    try:
        return holidays.country_holidays(country, subdiv=part or None)
    except NotImplementedError as error:
        raise PolicyError(f"calendar: nobody knows the holidays of {name!r}") from error


@functools.cache
def _exchange(code: str) -> Any:
    try:
        import exchange_calendars
    except ImportError as error:
        raise PolicyError(f"calendar: exchange {code!r}: {_EXTRA}") from error
    try:
        return exchange_calendars.get_calendar(code)
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise PolicyError(f"calendar: {code!r} is no exchange: write one such as XNYS") from error


def _is_session(code: str, day: date) -> bool:
    calendar = _exchange(code)
    try:
        return bool(calendar.is_session(day.isoformat()))
    except ValueError as error:  # its tables end a year from now
        raise PolicyError(f"calendar: the sessions of {code} on {day} are not known") from error
