"""Error budgets: the oracle of REQUIREMENTS A7."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provenance.domain.run import RunState
from airflow_provenance.sla.burn_rate import (
    WORKBOOK,
    Event,
    budget,
    budget_used,
    burn_rate,
    burns,
    scaled,
)
from airflow_provenance.sla.evaluate import evaluate
from airflow_provenance.sla.evaluation import Evaluation, State, evaluation_json
from airflow_provenance.sla.facts import RunFact
from airflow_provenance.sla.plain import PlainProvenance
from airflow_provenance.sla.policy import from_plain

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


def daily(*good: bool, **objective: object) -> list[Evaluation]:
    """How a promise of 99 % stands just after the last of so many daily runs."""
    plain = {"kind": "success_ratio", "at_least": 0.99, **objective}
    policy = from_plain({"id": "p", "target": {"dag": "d"}, "severity": "page", "objective": plain})
    runs = [
        RunFact(
            id=number,
            job="d",
            run_id=f"r{number}",
            state=RunState.COMPLETE if one else RunState.FAIL,
            run_type="scheduled",
            run_after_us=NOW + number * 24 * HOUR,
            started_us=NOW + number * 24 * HOUR,
            ended_us=NOW + number * 24 * HOUR + HOUR,
        )
        for number, one in enumerate(good)
    ]
    last_us = runs[-1].ended_us or 0
    return evaluate(policy, PlainProvenance(dag_runs=runs), last_us + HOUR)


def burning(found: list[Evaluation]) -> dict[str, tuple[str, float | None, str | None]]:
    burns = [one for one in found if one.period.startswith("burn/")]
    return {one.period[5:]: (one.state.value, one.observed, one.severity) for one in burns}


def test_a_verdict_tells_the_budget_and_how_each_window_burns() -> None:
    told = evaluation_json(daily(*[True] * 18, *[False] * 6)[0])["error_budget"]
    assert (told["events"], told["failures"], told["failures_allowed"]) == (24, 6, 0.24)
    assert told["failures_left"] == -5.76
    rates = {one["factor"]: one for one in told["burn_rates"]}
    assert rates[14.4]["long_rate"] == rates[14.4]["short_rate"] == 100.0
    assert rates[14.4]["fires"] is True


def test_failures_one_after_the_other_page_and_one_alone_does_not() -> None:
    assert burning(daily(*[True] * 20, False))["page"][0] == "ok"
    assert burning(daily(*[True] * 20, False, False)) == {
        "page": ("at_risk", 50.0, "page"),  # 2 of 4
        "ticket": ("at_risk", 50.0, "ticket"),
    }
    alone = daily(*[True] * 20, False)[0]
    assert (alone.state, alone.severity) == (State.BREACHED, "ticket")
    asked = daily(*[True] * 20, False, page_on_one=True)
    assert burning(asked)["page"][0] == "at_risk"
    assert asked[0].severity is None  # the promise's own: page


def test_a_good_run_ends_the_page_while_the_budget_stays_used_up() -> None:
    found = daily(*[True] * 20, False, False, True)
    assert burning(found)["page"][0] == "ok"
    assert found[0].state is State.BREACHED
    assert found[0].reason == "budget left: -1.77 failures"


def test_fewer_than_min_events_page_nobody() -> None:
    assert burning(daily(True, False)) == {
        "page": ("ok", 50.0, "page"),
        "ticket": ("ok", 50.0, "ticket"),
    }
    assert burning(daily(False, False, min_events=10))["page"][0] == "ok"


def test_a_promise_told_by_its_ratio_alone_has_no_burn_rates() -> None:
    assert len(daily(*[False] * 5, alert_on="ratio")) == 1
