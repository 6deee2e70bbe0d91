"""A model of arrival delays: trained on one month of flights, it predicts the next.

It runs when ``flights_month`` has enriched a month, and for a month by hand:

- ``airflow dags test flights_delay_model 2013-01-01``
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pendulum
from airflow.sdk import dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from flights_data import (
    ENRICHED,
    MISSING,
    MONTH_PARAM,
    RUNS,
    Row,
    month_file,
    read_csv,
    read_month,
    read_text,
    write_csv,
    write_text,
)

from airflow_provenance import observe, promise
from airflow_provenance.sla.objectives import Completeness

# What is known of a flight before it leaves.
NAMES = ["carrier", "origin", "dest"]
NUMBERS = ["hour", "weekday", "distance"]
FLIGHT = ["time_hour", "carrier", "flight", "origin", "dest"]
LAST_TRAINED_DAY = 21  # the rest of the month is for the evaluation
DIGITS = 6  # of a coefficient: the same data gives the same file on every machine


def features_of(flight: Row) -> Row:
    """Return what the model sees of a flight."""
    weekday = date(int(flight["year"]), int(flight["month"]), int(flight["day"])).isoweekday()
    return {
        **{name: flight[name] for name in (*NAMES, "hour", "distance")},
        "weekday": f"{weekday}",
    }


def encoded(row: Row) -> dict[str, float]:
    """Return a row's features as numbers: a name is one, under ``column=name``."""
    return {f"{name}={row[name]}": 1.0 for name in NAMES} | {
        name: float(row[name]) for name in NUMBERS
    }


def predicted(model: dict[str, Any], row: Row) -> float:
    """Return the delay in minutes that the model expects; it knows nothing of new names."""
    weights = model["coefficients"]
    known = ((weights.get(name, 0.0), value) for name, value in encoded(row).items())
    return float(model["intercept"] + sum(weight * value for weight, value in known))


@task
def choose_month() -> str:
    """Return the month that was asked for, or enriched last, or that of the logical date."""
    context = get_current_context()
    if asked := context["params"]["month"]:
        return str(asked)
    if events := context["triggering_asset_events"].get(ENRICHED):
        return max(str(event.extra["month"]) for event in events)
    if logical_date := context.get("logical_date"):
        return f"{logical_date:%Y-%m}"
    raise ValueError("""there is no month: give one of 2013, as -c '{"month": "2013-07"}'""")


@task(inlets=[ENRICHED])
def features(month: str) -> int:
    """Write what the model learns from: flights that arrived; return how many there are."""
    rows = [
        {"day": flight["day"], **features_of(flight), "arr_delay": flight["arr_delay"]}
        for flight in read_csv(month_file(month, "flights_enriched.csv"))
        if flight["arr_delay"] != MISSING
    ]
    write_csv(month_file(month, "features.csv"), rows, list(rows[0]))
    return len(rows)


@task
def train(month: str) -> int:
    """Fit a linear model to the first three weeks; return of how many flights."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import Ridge

    rows = read_csv(month_file(month, "features.csv"))
    rows = [row for row in rows if int(row["day"]) <= LAST_TRAINED_DAY]
    vectorizer = DictVectorizer(sparse=False)
    ridge = Ridge(alpha=1.0, solver="cholesky").fit(
        vectorizer.fit_transform([encoded(row) for row in rows]),
        [float(row["arr_delay"]) for row in rows],
    )
    weights = zip(vectorizer.feature_names_, ridge.coef_, strict=True)
    model = {
        "intercept": round(float(ridge.intercept_), DIGITS),
        "coefficients": {name: round(float(weight), DIGITS) for name, weight in weights},
    }
    write_text(month_file(month, "model.json"), json.dumps(model, indent=1))
    return len(rows)


@task
def evaluate(month: str) -> dict[str, float]:
    """Compare the model on the rest of the month with guessing the mean of the first weeks."""
    from sklearn.metrics import root_mean_squared_error

    path = month_file(month, "model.json")
    model, rows = json.loads(read_text(path)), read_csv(month_file(month, "features.csv"))
    seen = [float(row["arr_delay"]) for row in rows if int(row["day"]) <= LAST_TRAINED_DAY]
    rest = [row for row in rows if int(row["day"]) > LAST_TRAINED_DAY]
    actual = [float(row["arr_delay"]) for row in rest]
    guesses = {
        "rmse": [predicted(model, row) for row in rest],
        "rmse_of_mean": [sum(seen) / len(seen)] * len(rest),
    }
    metrics = {
        name: round(float(root_mean_squared_error(actual, guess)), 2)
        for name, guess in guesses.items()
    }
    write_text(month_file(month, "evaluation.json"), json.dumps(metrics))
    is_better = metrics["rmse"] < metrics["rmse_of_mean"]
    observe.check(path, "better_than_mean", passed=is_better, severity="warn")
    return metrics


@task
def predict(month: str) -> int:
    """Write the delays to expect of the next month's timetable; return of how many flights."""
    if month == "2013-12":
        raise AirflowSkipException("The data ends with 2013: there is no next month")
    model = json.loads(read_text(month_file(month, "model.json")))
    flights = read_month(f"2013-{int(month[-2:]) + 1:02}")
    rows = [
        {
            **{name: flight[name] for name in FLIGHT},
            "predicted_arr_delay": f"{predicted(model, features_of(flight)):.1f}",
        }
        for flight in flights
    ]
    write_csv(month_file(month, "predictions.csv"), rows, list(rows[0]))
    return len(rows)


@dag(
    schedule=[ENRICHED],
    start_date=pendulum.datetime(2013, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    params={"month": MONTH_PARAM},
    tags=["flights", "example"],
    description="Learns delays from one month of flights, and predicts the next",
    doc_md=__doc__,
)
def flights_delay_model() -> None:
    """Train a model of delays on a month, evaluate it, and predict the next month."""
    month = choose_month()
    learned_from = features(month)
    learned_from >> train(month) >> evaluate(month) >> predict(month)
    # Flights that never arrived have no delay to learn from.
    promise(learned_from, Completeness(at_least=0.97), id="model-data", owner="ml", runs=RUNS)


flights_delay_model()
