"""Predictions on simulated days, scored on seeds that the predictor was not built with (A8)."""

from __future__ import annotations

import random

import pytest

from airflow_provenance.sla.facts import AsOf
from airflow_provenance.sla.likely import Length, Lengths
from airflow_provenance.sla.prediction import Goal, Known, predict
from tests.support.sla_scoring import score, score_seed
from tests.support.sla_simulator import (
    DAY,
    FIRST_DAY,
    SCORING_SEEDS,
    SECOND,
    Slow,
    simulate,
)


@pytest.mark.slow
def test_warnings_come_early_and_are_mostly_right() -> None:
    found = score(score_seed(SCORING_SEEDS[0]))
    print(found)  # noqa: T201 - the figures and the calibration, with -s
    assert found.warned >= 0.9
    assert found.false_of_kept <= 0.1
    assert found.lead >= 0.25
    assert found.brier < found.base_brier


def at(minute: float, *, days: int = 31, slow: Slow | None = None, seed: int = 11) -> Known:
    """What is known so many minutes after the last day's ingest was due."""
    whole = simulate(seed, days, slow={} if slow is None else {slow.day: slow})
    now = FIRST_DAY + (days - 1) * DAY + int((120 + minute) * 60) * SECOND
    return Known(AsOf(whole.provenance, now), now)


def report(known: Known, days: int = 31) -> Goal:
    due = FIRST_DAY + (days - 1) * DAY + int(4.25 * 3600) * SECOND
    going = [one.run_id for one in known.lived("report") if one.ended_us is None]
    return Goal(dag="report", run_ids=tuple(going), due_us=due, after_us=due - DAY)


def test_the_same_question_has_the_same_answer() -> None:
    one, other = at(30), at(30)
    assert predict(one, report(one), "p") == predict(other, report(other), "p")
    assert predict(one, report(one), "p") != predict(one, report(one), "q")


def test_a_dag_that_has_yet_to_begin_waits_for_the_one_upstream_of_it() -> None:
    usual = at(45)
    slow = at(80, slow=Slow(30, "ingest", "clean", 6.0))
    assert slow.lived("report")[-1].ended_us is not None  # yesterday's: today's has not begun
    early, late = predict(usual, report(usual), "p"), predict(slow, report(slow), "p")
    assert early.probability is not None
    assert late.probability is not None
    assert early.probability < 0.2 < 0.5 < late.probability
    assert late.deciding == "ingest.clean"
    assert (late.slack_us or 0) < 0 < (early.slack_us or 0)


def test_a_run_that_should_have_begun_and_has_not_gets_less_likely_to_be_in_time() -> None:
    said = []
    for minute in (-10, 20, 40, 60, 90):
        known = at(minute)
        cut = known.now_us - 8 * 3600 * SECOND
        plain = simulate(11, 31, slow={}).provenance
        plain.dag_runs[:] = [run for run in plain.dag_runs if (run.started_us or 0) < cut]
        plain.tasks[:] = [run for run in plain.tasks if (run.started_us or 0) < cut]
        missing = Known(AsOf(plain, known.now_us), known.now_us)
        said.append(predict(missing, report(missing), "p").probability or 0)
    assert said == sorted(said)
    assert said[0] < 0.2
    assert said[-1] > 0.9


@pytest.mark.parametrize(("days", "told"), [(5, False), (6, True)])
def test_fewer_than_five_past_runs_give_no_prediction(days: int, told: bool) -> None:
    known = at(30, days=days)
    found = predict(known, report(known, days), "p")
    assert (found.probability is not None) == told
    assert found.history == days - 1
    assert (found.p50_us is not None) == told


def test_what_was_shorter_than_what_has_passed_drops_out() -> None:
    lengths = Lengths([Length(seconds) for seconds in (100, 110, 90, 105, 95, 1000, 1100)])
    free = sorted(one.seconds for one in lengths.draw(random.Random(1), 200))
    late = sorted(one.seconds for one in lengths.draw(random.Random(1), 200, 300))
    assert 80 < free[100] < 130
    assert late[0] >= 300
    assert 800 < late[100] < 1300


def test_what_takes_longer_than_ever_may_take_as_long_again() -> None:
    lengths = Lengths([Length(100.0 + k) for k in range(30)])
    drawn = sorted(one.seconds for one in lengths.draw(random.Random(1), 300, 1000))
    assert drawn[0] >= 1000
    assert 1300 < drawn[150] < 2000
