"""Local times, days and excusals: the oracle of REQUIREMENTS A5."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest

from airflow_provenance.domain.clock import format_time, parse_time
from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.calendar import (
    Calendar,
    Excusal,
    due_instants,
    find_zone,
    instant,
)

BERLIN = find_zone("Europe/Berlin")


def utc(day: str, at: str, ambiguous: str = "first") -> str:
    us = instant(date.fromisoformat(day), time.fromisoformat(at), BERLIN, ambiguous)  # type: ignore[arg-type]
    return (format_time(us) or "")[:16]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-03-28", "2026-03-28T08:00"),
        ("2026-03-29", "2026-03-29T07:00"),
        ("2026-10-24", "2026-10-24T07:00"),
        ("2026-10-25", "2026-10-25T08:00"),
    ],
)
def test_nine_in_berlin_is_nine_on_both_sides_of_a_change_of_the_clocks(
    day: str, expected: str
) -> None:
    assert utc(day, "09:00") == expected


def test_a_time_that_the_clocks_skip_is_shifted_forward() -> None:
    for which in ("first", "second"):
        assert utc("2026-03-29", "02:30", which) == "2026-03-29T01:30"
    shifted = datetime(2026, 3, 29, 1, 30, tzinfo=UTC).astimezone(BERLIN)
    assert shifted.time() == time(3, 30)


def test_of_a_time_that_comes_twice_the_first_counts_unless_the_second_is_wanted() -> None:
    assert utc("2026-10-25", "02:30") == "2026-10-25T00:30"
    assert utc("2026-10-25", "02:30", "second") == "2026-10-25T01:30"
    assert utc("2026-10-26", "02:30", "second") == utc("2026-10-26", "02:30")


def test_deadlines_fall_on_every_day_once_across_a_change_of_the_clocks() -> None:
    dues = due_instants(
        parse_time("2026-10-24T00:00Z"), parse_time("2026-10-27T00:00Z"), time(2, 30), BERLIN
    )
    assert [(format_time(us) or "")[:16] for us in dues] == [
        "2026-10-24T00:30",
        "2026-10-25T00:30",
        "2026-10-26T01:30",
    ]


def test_thanksgiving_is_no_trading_day_in_new_york() -> None:
    calendar = Calendar(exchange="XNYS")
    assert not calendar.counts(date(2026, 11, 26))
    assert calendar.counts(date(2026, 11, 25))
    new_york = find_zone("America/New_York")
    dues = due_instants(
        *(parse_time("2026-11-26T00:00Z"), parse_time("2026-11-27T04:00Z")),
        *(time(9, 30), new_york, calendar),
    )
    assert list(dues) == []


def test_weekends_holidays_and_named_days_do_not_count() -> None:
    working = ("mon", "tue", "wed", "thu", "fri")
    calendar = Calendar(working, "DE-BY", off=(date(2026, 1, 7),), on=(date(2026, 1, 10),))
    days = [day for day in range(1, 13) if calendar.counts(date(2026, 1, day))]
    # New Year and Epiphany (Bavaria) are off, the 10th is a Saturday that was named.
    assert days == [2, 5, 8, 9, 10, 12]


@pytest.mark.parametrize("bad", [Calendar(exchange="NOWHERE"), Calendar(holidays="XX")])
def test_an_unknown_calendar_is_refused(bad: Calendar) -> None:
    with pytest.raises(PolicyError):
        bad.check()


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(PolicyError, match="Europe/Berlin"):
        find_zone("Berlin")


def test_an_excusal_that_comes_again_does_so_by_the_wall_clock() -> None:
    every_sunday = Excusal(
        start=datetime(2026, 3, 1, 22, tzinfo=BERLIN),
        end=datetime(2026, 3, 2, 2, tzinfo=BERLIN),
        author="ops",
        reason="backup",
        every=("sun",),
    )

    def covers(text: str) -> bool:
        return every_sunday.covers(parse_time(text), BERLIN)

    assert covers("2026-03-01T21:00Z")
    assert not covers("2026-03-01T20:59:59Z")
    assert covers("2026-04-05T20:00Z")  # summer time: 22:00 again
    assert covers("2026-04-05T23:30Z")  # Monday 01:30, of the window that began on Sunday
    assert not covers("2026-04-06T20:30Z")
    assert not covers("2026-02-22T21:30Z")  # before the first


def test_an_excusal_needs_an_author_a_reason_and_a_zone() -> None:
    with pytest.raises(PolicyError, match="author"):
        Excusal(
            datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), author="", reason=""
        )
    with pytest.raises(PolicyError, match="zone"):
        Excusal(datetime(2026, 1, 1), datetime(2026, 1, 2), author="a", reason="b")  # noqa: DTZ001
