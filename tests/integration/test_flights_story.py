"""Both flights DAGs under a real scheduler, with PostgreSQL as the warehouse.

One run of ``flights_month`` for February, the run of ``flights_delay_model`` that its asset
triggers, and what the store makes of them.
"""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from sqlalchemy import create_engine, make_url, text

from airflow_provenance.formats import facets
from airflow_provenance.lineage.trace import trace
from airflow_provenance.store.sql.store import SqlStore
from tests.integration.test_everything import Cli
from tests.integration.test_flights_dag import Spooled, read_spool
from tests.support import flights_facts, postgres
from tests.support.airflow_standalone import Airflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provenance.lineage.trace import Trace

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAGS = Path(__file__).resolve().parents[2] / "dags"
MONTH = "2013-02"


class Story(NamedTuple):
    """What the scheduler ran, and what is left of it."""

    month_states: dict[str, str]
    model_run: dict[str, Any]
    model_states: dict[str, str]
    counts: dict[str, int]
    models: list[bytes]  # of two trainings
    data: Path
    warehouse: str
    store: SqlStore
    spooled: Spooled

    def rows(self, name: str) -> list[dict[str, str]]:
        with (self.data / MONTH / name).open(newline="") as file:
            return list(csv.DictReader(file))

    def upstream(self, name: str) -> Trace:
        return trace(self.store, f"dataset:file/{self.data}/{MONTH}/{name}", "upstream")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    home, data = folder / "home", folder / "data"
    home.mkdir()
    with (
        postgres.new_database(postgres_server) as metadata,
        postgres.new_database(postgres_server) as warehouse,
    ):
        server = make_url(warehouse)
        connection = {
            "conn_type": "postgres",
            "host": server.host,
            "port": server.port,
            "login": server.username,
            "password": server.password,
            "schema": server.database,
        }
        environment = {
            "AIRFLOW_CONN_FLIGHTS_WAREHOUSE": json.dumps(connection),
            "FLIGHTS_DATA_DIR": str(data),
        }
        dags = sorted(DAGS.glob("*.py"))
        with Airflow.start(home, metadata, dags=dags, environment=environment) as airflow:
            # Its schedule lies in the past, and is not caught up with.
            run_id = airflow.trigger("flights_month", conf={"month": MONTH})
            airflow.wait_for_run("flights_month", run_id)
            (model_run,) = airflow.wait_for_runs("flights_delay_model", 1)
            told = (
                states(airflow, "flights_month", run_id),
                model_run,
                states(airflow, "flights_delay_model", model_run["dag_run_id"]),
                airflow.get(
                    f"/api/v2/dags/flights_month/dagRuns/{run_id}/taskInstances/enrich"
                    "/xcomEntries/return_value?deserialize=true"
                )["value"],
            )
            model = data / MONTH / "model.json"
            first = model.read_bytes()
            airflow.clear("flights_delay_model", model_run["dag_run_id"], ["train"])
            airflow.wait_for_run("flights_delay_model", model_run["dag_run_id"])
            models = [first, model.read_bytes()]
        cli = Cli(home, f"sqlite:///{folder / 'store.db'}")
        # Read before it is drained, which empties it.
        spooled = read_spool(home / "spool", data)
        assert cli("ingest", "--spool")["quarantined"] == 0
        store = SqlStore(cli.store)
        yield Story(*told, models, data, warehouse, store, spooled)
        store.close()


def states(airflow: Airflow, dag_id: str, run_id: str) -> dict[str, str]:
    """Return the state that each task ended in, by its name and map index."""
    instances = airflow.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
    return {
        f"{one['task_id']}[{one['map_index']}]" if one["map_index"] >= 0 else one["task_id"]: (
            f"{one['state']} {one['try_number']}"
        )
        for one in instances["task_instances"]
    }


def test_every_task_of_a_month_succeeds_and_weather_with_gaps_at_its_second_try(
    story: Story,
) -> None:
    gaps = flights_facts.hours_without_weather(MONTH)
    assert gaps == {"EWR": 1, "JFK": 0, "LGA": 1}
    once = ("ingest", "validate", "positions", "enrich", "aggregate", "look_closer")
    # In February a storm cancelled many: the branch is taken.
    once += ("cancellations", "load", "summarise", "check_warehouse")

    assert story.month_states == {
        **dict.fromkeys(once, "success 1"),
        **{
            f"weather[{index}]": "success 2" if missing else "success 1"
            for index, missing in enumerate(gaps.values())
        },
    }


def test_the_enriched_month_triggers_the_model_of_that_month(story: Story) -> None:
    assert story.model_run["run_type"] == "asset_triggered"
    assert story.model_run["state"] == "success"
    tasks = ("choose_month", "features", "train", "evaluate", "predict")
    assert story.model_states == dict.fromkeys(tasks, "success 1")
    assert (story.data / MONTH / "model.json").exists()


def test_a_prediction_is_traced_through_the_model_to_the_months_raw_files(story: Story) -> None:
    answer = story.upstream("predictions.csv")

    assert {run.job[1] for run in answer.runs.values()} == {
        *(f"flights_delay_model.{one}" for one in ("predict", "train", "features")),
        *(f"flights_month.{one}" for one in ("enrich", "weather", "ingest")),
    }
    files = {
        Path(version.dataset.name).name: version.run_id
        for version in answer.versions.values()
        if version.dataset.namespace == "file"
    }
    raw = {"flights.csv.zip", "airports.csv", "planes.csv", "weather.csv"}
    assert {name for name, writer in files.items() if writer is None} == raw
    assert set(files) == raw | {
        *("predictions.csv", "model.json", "features.csv", "flights_enriched.csv", "flights.csv"),
        *(f"weather_{origin}.csv" for origin in ("EWR", "JFK", "LGA")),
    }


def test_the_counts_are_those_of_an_independent_computation(story: Story) -> None:
    assert story.counts == flights_facts.facts(MONTH)
    assert len(story.rows("flights.csv")) == story.counts["flights"]
    no_plane = sum(row["plane_model"] == "NA" for row in story.rows("flights_enriched.csv"))
    assert no_plane == story.counts["no_tailnum"] + story.counts["unknown_plane"]
    cancelled = sum(int(row["cancelled"]) for row in story.rows("cancellations.csv"))
    assert cancelled == story.counts["cancelled"]


def test_the_counts_of_all_months_are_those_of_the_year() -> None:
    months = [flights_facts.facts(month) for month in flights_facts.MONTHS]

    year = {name: sum(month[name] for month in months) for name in months[0]}
    assert year == {
        "flights": 336_776,
        "unknown_airport": 7_602,
        "unknown_plane": 50_094,
        "no_tailnum": 2_512,
        "no_weather": 1_556,
        "no_arr_delay": 9_430,
        "cancelled": 8_255,
    }


def test_every_flight_that_left_and_arrived_is_seen_twice(story: Story) -> None:
    flights = flights_facts.of_month(MONTH)
    events = story.rows("positions.csv")
    left, came = (flights[flights[name] != "NA"] for name in ("dep_time", "arr_time"))
    nowhere = came[~came["dest"].isin(flights_facts.raw("airports.csv")["faa"])]

    assert list(events[0]) == ["event_id", "tag_id", "lat", "lon", "altitude_m", "event_ts_utc"]
    assert len(events) == len({event["event_id"] for event in events}) == len(left) + len(came)
    assert sum(event["lat"] == "NA" for event in events) == len(nowhere)
    assert {e["event_ts_utc"] == "NA" for e in events if e["lat"] != "NA"} == {False}


def test_an_event_has_the_time_of_the_flight_and_the_place_of_the_airport(story: Story) -> None:
    events = {event["event_id"]: event for event in story.rows("positions.csv")}
    airports = {row.faa: row for row in flights_facts.raw("airports.csv").itertuples()}
    compared = 0
    for flight in flights_facts.of_month(MONTH).itertuples():
        key = f"{flight.carrier}{flight.flight}-{flight.time_hour}"
        if flight.air_time == "NA" or flight.dest not in airports:
            continue
        left, came = (events[f"{key}-{kind}"] for kind in ("dep", "arr"))
        left_at, came_at = (at(one["event_ts_utc"]) for one in (left, came))
        # New York is five hours behind in February.
        clock = (left_at - timedelta(hours=5)).strftime("%H%M")
        assert int(clock) == int(flight.dep_time) % 2400
        taxiing = came_at - left_at - timedelta(minutes=int(flight.air_time))
        assert timedelta(0) < taxiing < timedelta(hours=5), key
        assert (came["lat"], came["lon"]) == (airports[flight.dest].lat, airports[flight.dest].lon)
        assert float(came["altitude_m"]) == pytest.approx(
            int(airports[flight.dest].alt) * 0.3048, abs=0.05
        )
        compared += 1
    assert compared > 20_000


def at(timestamp: str) -> datetime:
    return datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def test_the_warehouse_has_what_pandas_makes_of_the_raw_files(story: Story) -> None:
    import pandas as pd

    flights = flights_facts.of_month(MONTH)
    delay = pd.to_numeric(flights["arr_delay"], errors="coerce")
    by_carrier = delay.groupby(flights["carrier"]).agg(["size", "count", "mean"])
    by_airport = delay.groupby(flights["dest"]).agg(["size", "mean"])
    engine = create_engine(make_url(story.warehouse).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        carriers = connection.execute(
            text("SELECT carrier, flights, arrived, mean_arr_delay FROM carrier_delays")
        ).all()
        airports = connection.execute(
            text("SELECT airport, flights, mean_arr_delay FROM airport_delays")
        ).all()
    engine.dispose()

    assert {one.carrier: tuple(one[1:3]) for one in carriers} == {
        carrier: (row["size"], row["count"]) for carrier, row in by_carrier.iterrows()
    }
    assert {one.airport: one.flights for one in airports} == by_airport["size"].to_dict()
    for name, found, expected in (
        *((one.carrier, one.mean_arr_delay, by_carrier["mean"]) for one in carriers),
        *((one.airport, one.mean_arr_delay, by_airport["mean"]) for one in airports),
    ):
        assert found == pytest.approx(expected[name], abs=1e-4), name


def test_the_warehouses_columns_are_traced_to_those_they_come_from(story: Story) -> None:
    event = story.spooled.of_task("summarise", "COMPLETE")
    lineage = {
        output["name"].rpartition(".")[2]: {
            column: {one["field"] for one in source["inputFields"]}
            for column, source in output["facets"]["columnLineage"]["fields"].items()
        }
        for output in event["outputs"]
    }

    assert lineage["carrier_delays"]["late_share"] == {"arr_delay"}
    assert lineage["airport_delays"]["airport"] == {"dest"}
    assert lineage["airport_delays"]["name"] == {"dest_name"}
    (read,) = event["inputs"]
    (loaded,) = story.spooled.of_task("load", "COMPLETE")["outputs"]
    assert (read["namespace"], read["name"]) == (loaded["namespace"], loaded["name"])
    assert facets.TASK in event["run"]["facets"]


def test_a_model_that_is_trained_again_is_the_same_to_the_byte(story: Story) -> None:
    first, second = story.models

    trained = [
        event["run"]["facets"][facets.TASK]["tryNumber"]
        for event in story.spooled.events
        if event["job"]["name"] == "flights_delay_model.train" and event["eventType"] == "COMPLETE"
    ]
    assert sorted(trained) == [1, 2]
    assert first == second


def test_the_model_and_what_it_predicts_are_what_scikit_learn_makes_of_the_features(
    story: Story,
) -> None:
    import pandas as pd
    from sklearn.linear_model import Ridge

    model = json.loads((story.data / MONTH / "model.json").read_text())
    features = pd.DataFrame(story.rows("features.csv"))
    features = features[features["day"].astype(int) <= 21]
    columns = pd.get_dummies(
        features[["carrier", "origin", "dest"]], prefix_sep="=", dtype=float
    ).join(features[["hour", "weekday", "distance"]].astype(float))
    ridge = Ridge(alpha=1.0, solver="cholesky").fit(columns, features["arr_delay"].astype(float))

    assert model["coefficients"] == pytest.approx(
        dict(zip(columns.columns, ridge.coef_, strict=True)), abs=1e-4
    )
    predictions = story.rows("predictions.csv")
    assert len(predictions) == flights_facts.facts("2013-03")["flights"]
    first, flight = predictions[0], next(flights_facts.of_month("2013-03").itertuples())
    expected = ridge.intercept_ + sum(
        weight * (float(getattr(flight, name)) if name in ("hour", "distance") else 5.0)
        if "=" not in name
        else weight * (getattr(flight, name.split("=")[0]) == name.split("=")[1])
        for name, weight in zip(columns.columns, ridge.coef_, strict=True)
    )
    assert float(first["predicted_arr_delay"]) == pytest.approx(expected, abs=0.06)
