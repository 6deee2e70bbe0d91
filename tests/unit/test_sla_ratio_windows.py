"""Windows of the calendar across changes of the clocks, and budgets by slices of time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.burn_rate import Event
from airflow_provenance.sla.objectives import Aligned, SuccessRatio
from airflow_provenance.sla.policy import Policy, Target, from_plain, to_plain
from airflow_provenance.sla.ratio_windows import spend, window_start_us
from tests.support.sla_events import us


def start(now: str, every: str, since: str = "2026-01-01", zone: str = "Europe/Berlin") -> int:
    aligned = Aligned(start=since, every=every)
    promised = SuccessRatio(at_least=0.9, aligned=aligned)
    policy = Policy(id="p", target=Target(dag="d"), objective=promised, zone=zone)
    # What ended at the edge counts in the window that begins with it.
    return window_start_us(policy, promised, us(now)) + 1


@pytest.mark.parametrize(
    ("every", "now", "began"),
    [
        ("1M", "2026-03-31T21:59:59", "2026-02-28T23:00:00"),  # winter time began it
        ("1M", "2026-03-31T22:00:00", "2026-03-31T22:00:00"),  # summer time ends it
        ("1M", "2025-12-31T22:59:59", "2025-11-30T23:00:00"),  # before the start, too
        ("1d", "2026-03-29T21:59:59", "2026-03-28T23:00:00"),  # a day of 23 hours
        ("1w", "2026-01-07T22:59:59", "2025-12-31T23:00:00"),
        ("2w", "2026-04-01T12:00:00", "2026-03-25T23:00:00"),
        ("1Q", "2026-06-30T12:00:00", "2026-03-31T22:00:00"),
        ("1Y", "2026-12-31T22:59:59", "2025-12-31T23:00:00"),
        ("12h", "2026-01-01T12:30:00", "2026-01-01T11:00:00"),
    ],
)
def test_a_window_of_the_calendar_begins_by_the_wall_clock(
    every: str, now: str, began: str
) -> None:
    assert start(now, every) == us(began)


@pytest.mark.parametrize(
    ("now", "began"),
    [
        ("2026-02-27T12:00:00", "2026-01-31T00:00:00"),
        ("2026-03-01T12:00:00", "2026-02-28T00:00:00"),
    ],
)
def test_a_month_from_the_31st_ends_on_the_last_day_of_a_shorter_one(now: str, began: str) -> None:
    assert start(now, "1M", "2026-01-31", "UTC") == us(began)


def events(text: str) -> list[Event]:
    """Four runs a day: + is good, - is not."""
    six_hours = 6 * 3_600_000_000
    return [Event(number * six_hours, sign == "+") for number, sign in enumerate(text)]


@pytest.mark.parametrize(
    ("values", "ratio", "left", "broke"),
    [
        ({}, 0.75, -0.8, 4),  # 4 of 16 failed, 3.2 may
        ({"slice": timedelta(days=1)}, 0.75, -0.2, 7),  # the mean of 0.25, 0.75, 1, 1
        ({"slice": timedelta(days=1), "slice_at_least": 0.75}, 0.75, -0.2, 3),  # one day of four
        ({"slice": timedelta(days=1), "slice_at_least": 0.8}, 0.5, -1.2, 3),
        ({"slice": timedelta(days=1), "slice_at_least": 0.2}, 1.0, 0.8, None),
    ],
)
def test_a_budget_is_spent_by_runs_or_by_slices(
    values: dict[str, Any], ratio: float, left: float, broke: int | None
) -> None:
    days = events("--+--+++++++++++")
    promised = SuccessRatio(at_least=0.8, **values)

    spent = spend(promised, days, 0)

    assert spent.ratio == pytest.approx(ratio)
    assert spent.left == pytest.approx(left)
    assert spent.broke_us == (None if broke is None else days[broke].at_us)


def test_a_slice_in_which_nothing_ended_does_not_count() -> None:
    promised = SuccessRatio(at_least=0.5, slice=timedelta(hours=1), slice_at_least=1.0)

    assert spend(promised, events("+-"), 0).ratio == 0.5


def test_an_older_promise_is_the_same_revision_as_it_was() -> None:
    """Or every success ratio would be told anew."""
    plain = {
        "id": "p",
        "target": {"dag": "d"},
        "objective": {"kind": "success_ratio", "at_least": 0.9, "window": "7d"},
    }
    assert to_plain(from_plain(plain))["objective"].keys() == {"kind", "at_least", "window"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"slice_at_least": 0.5}, "slice_at_least is of slices"),
        ({"slice": "0s"}, "slice is 0s"),
        ({"aligned": {"start": "2026-01-01T00:00:00Z", "every": "1M"}}, "write a local time"),
        ({"aligned": {"start": "2026-01-01 00:00", "every": "1M"}}, "write a local time"),
        ({"aligned": {"start": "2026-01-01", "every": "month"}}, "every is 'month'"),
    ],
)
def test_what_makes_no_window_is_refused(more: dict[str, Any], reason: str) -> None:
    objective = {"kind": "success_ratio", "at_least": 0.9, **more}
    with pytest.raises(PolicyError, match=reason):
        from_plain({"id": "p", "target": {"dag": "d"}, "objective": objective})
