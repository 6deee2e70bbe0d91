"""The flights DAGs' own arithmetic, and that parsing them stays cheap."""

from __future__ import annotations

import importlib
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

if TYPE_CHECKING:
    from types import ModuleType

DAGS = Path(__file__).resolve().parents[2] / "dags"
AIRPORTS = {
    "JFK": {"lat": "40.6", "lon": "-73.8", "alt": "13", "tzone": "America/New_York"},
    "LAX": {"lat": "33.9", "lon": "-118.4", "alt": "126", "tzone": "America/Los_Angeles"},
}
FLIGHT = {
    "carrier": "AA",
    "flight": "1",
    "tailnum": "N1",
    "origin": "JFK",
    "dest": "LAX",
    "time_hour": "2013-03-10T02:00:00Z",
    "minute": "30",
    "dep_time": "2125",
    "dep_delay": "-5",
    "arr_time": "2400",
}


@pytest.fixture
def flights_month(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DAGS)
    return importlib.import_module("flights_month")


def positions(module: ModuleType, **members: str) -> list[dict[str, Any]]:
    return list(module.position_events({**FLIGHT, **members}, AIRPORTS))


def test_an_event_has_the_missions_shape_in_utc_and_metres(flights_month: ModuleType) -> None:
    left, came = positions(flights_month)

    assert left == {
        "event_id": "AA1-2013-03-10T02:00:00Z-dep",
        "tag_id": "N1",
        "lat": "40.6",
        "lon": "-73.8",
        "altitude_m": "4.0",
        "event_ts_utc": "2013-03-10T02:25:00Z",
    }
    # Midnight in Los Angeles, in the night in which its clocks change.
    assert came["event_ts_utc"] == "2013-03-10T08:00:00Z"
    assert came["altitude_m"] == "38.4"


def test_an_arrival_past_midnight_is_of_the_next_day(flights_month: ModuleType) -> None:
    # Clocks have gone forward at two: five o'clock is seven hours behind UTC.
    _, came = positions(flights_month, arr_time="500")

    assert came["event_ts_utc"] == "2013-03-10T12:00:00Z"


def test_an_arrival_at_an_unknown_airport_lacks_place_and_time(flights_month: ModuleType) -> None:
    _, came = positions(flights_month, dest="SJU")

    assert {name for name, value in came.items() if value == "NA"} == {
        *("lat", "lon", "altitude_m", "event_ts_utc")
    }


def test_a_flight_that_never_left_or_never_came_has_no_event_of_it(
    flights_month: ModuleType,
) -> None:
    assert positions(flights_month, dep_time="NA", arr_time="NA") == []
    assert len(positions(flights_month, arr_time="NA")) == 1


def test_few_cancelled_flights_choose_no_report(flights_month: ModuleType) -> None:
    choose = flights_month.look_closer.function

    assert choose({"flights": 1000, "cancelled": 40}) is None
    assert choose({"flights": 1000, "cancelled": 41}) == "cancellations"


def test_a_model_of_december_predicts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DAGS)
    module = importlib.import_module("flights_delay_model")

    with pytest.raises(AirflowSkipException, match="there is no next month"):
        module.predict.function("2013-12")


def test_parsing_the_dags_loads_nothing_heavy() -> None:
    code = (
        "import sys, flights_month, flights_delay_model\n"
        "print({'sklearn', 'pandas', 'numpy', 'duckdb', 'sqlglot'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=DAGS, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("month", ["", "2026-11"])
def test_a_run_without_a_month_of_2013_says_in_one_line_what_to_give(
    flights_month: ModuleType, month: str
) -> None:
    with pytest.raises(
        ValueError, match=r"no flights of .*: give a month of 2013, as -c ."
    ) as said:
        flights_month.read_month(month)

    assert """-c '{"month": "2013-07"}'""" in str(said.value)
    assert "\n" not in str(said.value)


def test_a_run_that_was_triggered_without_a_date_has_no_month(flights_month: ModuleType) -> None:
    import jinja2

    # As Airflow renders.
    strict = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True)
    template = strict.from_string(flights_month.MONTH)

    assert template.render(params={"month": None}) == ""
    assert template.render(params={"month": "2013-07"}) == "2013-07"
    at = datetime(2013, 2, 1, tzinfo=UTC)
    assert template.render(params={"month": None}, logical_date=at) == "2013-02"
