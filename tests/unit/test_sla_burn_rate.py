"""Error budgets: the oracle of REQUIREMENTS A7."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provenance.sla.burn_rate import (
    WORKBOOK,
    Event,
    budget,
    budget_used,
    burn_rate,
    burns,
    scaled,
)

HOUR = 3_600_000_000
NOW = 1_000 * HOUR
PAGE = WORKBOOK[:1]


def events(*groups: tuple[float, int, int]) -> list[Event]:
    """Of (hours ago, bad, total) each."""
    return [
        Event(int(NOW - hours * HOUR), number >= bad)
        for hours, bad, total in groups
        for number in range(total)
    ]


def test_burn_rates_are_those_of_the_oracle() -> None:
    assert burn_rate(0.99, 6, 24) == 25.0
    assert burn_rate(0.99, 1, 2) == 50.0
    assert burn_rate(0.99, 144, 1000) == 14.4


def test_one_of_two_is_below_min_events_and_pages_nobody() -> None:
    two = events((0.01, 1, 2))
    (burn,) = burns(0.99, two, NOW, pairs=PAGE, min_events=10)
    assert (burn.long_rate, burn.short_rate, burn.fires) == (50.0, 50.0, False)


def test_it_takes_an_error_ratio_of_0_144_in_both_windows() -> None:
    def fires(long_bad: int, short_bad: int) -> bool:
        told = events((0.5, long_bad - short_bad, 900), (0.01, short_bad, 100))
        return burns(0.99, told, NOW, pairs=PAGE)[0].fires

    assert not fires(143, 20)  # 0.143 of the hour
    assert fires(145, 15)
    assert not fires(300, 14)  # 0.14 of the last minutes


def test_exactly_the_factor_fires() -> None:
    told = events((0.01, 144, 1000))
    (burn,) = burns(0.99, told, NOW, pairs=PAGE)
    assert (burn.long_rate, burn.fires) == (14.4, True)


def test_a_short_window_that_is_well_again_clears_the_page_though_the_long_is_high() -> None:
    told = events((0.5, 500, 500), (0.01, 0, 100))
    (burn,) = burns(0.99, told, NOW, pairs=PAGE)
    assert burn.long_rate > 14.4
    assert burn.short_rate == 0.0
    assert not burn.fires


def test_a_single_failure_pages_only_where_the_objective_says_so() -> None:
    one = events((0.01, 1, 1))
    assert not burns(0.99, one, NOW, pairs=PAGE)[0].fires
    assert burns(0.99, one, NOW, pairs=PAGE, page_on_one=True)[0].fires


def test_the_pairs_use_the_workbooks_parts_of_a_months_budget() -> None:
    assert [round(budget_used(pair), 9) for pair in WORKBOOK] == [0.02, 0.05, 0.1]


def test_windows_of_a_daily_dag_hold_events() -> None:
    page, _, ticket = scaled(WORKBOOK, timedelta(days=1), 3, timedelta(days=30))
    assert (page.long, page.short) == (timedelta(days=3), timedelta(days=1))
    assert ticket.long == timedelta(days=3)


def test_the_budget_is_told_in_failures() -> None:
    month = events(*[(24 * day + 1, int(day < 1), 1) for day in range(30)])
    left = budget(0.9, month)
    assert (left.total, left.bad, left.allowed, left.left) == (30, 1, 3.0, 2.0)
    assert budget(0.99, month).left == pytest.approx(-0.7)


def test_more_errors_never_burn_slower() -> None:
    rates = [burn_rate(0.99, bad, 24) for bad in range(25)]
    assert rates == sorted(rates)
