"""One month of flights out of New York in 2013: ingest, check, enrich, aggregate, load.

The gaps in the data are real: four destinations are missing from ``airports.csv``, many tail
numbers from ``planes.csv``, and in some months ``weather.csv`` lacks hours in which flights left.

- ``airflow dags test flights_month 2013-01-01``
- ``airflow dags test flights_month -c '{"month": "2013-07"}'``
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import dag, get_current_context, task
from airflow.timetables.events import EventsTimetable  # airflow.sdk's cannot be serialized (3.3)
from flights_data import (
    ENRICHED,
    MISSING,
    MONTH_PARAM,
    RUNS,
    Row,
    month_file,
    raw_file,
    read_csv,
    read_month,
    warehouse,
    warehouse_hook,
    write_csv,
)

from airflow_provenance import observe, promise
from airflow_provenance.checks import (
    AcceptedValues,
    Expression,
    ForeignKey,
    NotNull,
    RowCount,
    Unique,
)
from airflow_provenance.operators.dataset_check import DatasetCheckOperator
from airflow_provenance.sla.objectives import DataQuality, Duration

if TYPE_CHECKING:
    from collections.abc import Iterator

# Whoever triggers a run need not give it a date; `read_month` says what to do without a month.
MONTH = "{{ params.month or (logical_date.strftime('%Y-%m') if logical_date is defined else '') }}"
ORIGINS = ["EWR", "JFK", "LGA"]
POSITION = ["event_id", "tag_id", "lat", "lon", "altitude_m", "event_ts_utc"]
MONTHS = [pendulum.datetime(2013, number, 1, tz="UTC") for number in range(1, 13)]
WEATHER = ["temp", "wind_speed", "precip", "visib"]
LOADED = ["month", "carrier", "flight", "tailnum", "origin", "dest", "dest_name", "arr_delay"]
METRES_PER_FOOT = 0.3048
MANY_CANCELLED = 0.04  # of a month's flights; over the year it is one in forty

FLIGHTS_TABLE = """
    CREATE TABLE IF NOT EXISTS flights (
        month VARCHAR(7), carrier VARCHAR(2), flight INTEGER, tailnum VARCHAR(6),
        origin VARCHAR(3), dest VARCHAR(3), dest_name VARCHAR(80), arr_delay INTEGER)"""
SUMMARIES = f"""
    CREATE TABLE IF NOT EXISTS carrier_delays (
        month VARCHAR(7), carrier VARCHAR(2), flights INTEGER, arrived INTEGER,
        mean_arr_delay REAL, late_share REAL);
    DELETE FROM carrier_delays WHERE month = '{MONTH}';
    INSERT INTO carrier_delays (month, carrier, flights, arrived, mean_arr_delay, late_share)
    SELECT f.month AS month, f.carrier AS carrier,
           COUNT(*) AS flights, COUNT(f.arr_delay) AS arrived,
           AVG(f.arr_delay) AS mean_arr_delay,
           AVG(CASE WHEN f.arr_delay > 15 THEN 1.0 ELSE 0.0 END) AS late_share
    FROM flights AS f WHERE f.month = '{MONTH}'
    GROUP BY f.month, f.carrier;

    CREATE TABLE IF NOT EXISTS airport_delays (
        month VARCHAR(7), airport VARCHAR(3), name VARCHAR(80), flights INTEGER,
        mean_arr_delay REAL);
    DELETE FROM airport_delays WHERE month = '{MONTH}';
    INSERT INTO airport_delays (month, airport, name, flights, mean_arr_delay)
    SELECT f.month AS month, f.dest AS airport, MAX(f.dest_name) AS name,
           COUNT(*) AS flights, AVG(f.arr_delay) AS mean_arr_delay
    FROM flights AS f WHERE f.month = '{MONTH}'
    GROUP BY f.month, f.dest;
"""  # noqa: S608 - a template, of which Airflow makes a month


def position_events(flight: Row, airports: dict[str, Row]) -> Iterator[Row]:
    """Yield where the plane was seen: when it left its origin, and when it came to its destination.

    Place and time zone are the airport's: where ``airports.csv`` lacks it, they are missing.
    """
    if flight["dep_time"] == MISSING:
        return
    left = datetime.fromisoformat(flight["time_hour"]) + timedelta(
        minutes=int(flight["minute"]) + int(flight["dep_delay"])
    )
    yield position_event(flight, "dep", airports.get(flight["origin"]), left)
    if flight["arr_time"] == MISSING:
        return
    came, airport = None, airports.get(flight["dest"])
    if airport:
        # The next time that clocks there show it; midnight is written as 2400.
        hour, minute = divmod(int(flight["arr_time"]), 100)
        came = left.astimezone(ZoneInfo(airport["tzone"])).replace(hour=hour % 24, minute=minute)
        came += timedelta(days=came < left)
    yield position_event(flight, "arr", airport, came)


def position_event(flight: Row, kind: str, airport: Row | None, at: datetime | None) -> Row:
    """Return one position event; altitudes of airports are in feet."""
    return {
        "event_id": f"{flight['carrier']}{flight['flight']}-{flight['time_hour']}-{kind}",
        "tag_id": flight["tailnum"],
        "lat": airport["lat"] if airport else MISSING,
        "lon": airport["lon"] if airport else MISSING,
        "altitude_m": f"{int(airport['alt']) * METRES_PER_FOOT:.1f}" if airport else MISSING,
        "event_ts_utc": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if at else MISSING,
    }


@task
def ingest(month: str) -> int:
    """Extract the month's flights, and return how many there are."""
    flights = read_month(month)
    write_csv(month_file(month, "flights.csv"), flights, list(flights[0]))
    return len(flights)


@task.dataset_check(
    checks=[
        RowCount(min=1),
        Unique(["time_hour", "carrier", "flight"]),
        AcceptedValues("origin", ORIGINS),
        NotNull("dest"),
        NotNull("tailnum", severity="warn"),
        NotNull("arr_delay", severity="warn"),
        ForeignKey("tailnum", to=raw_file("planes.csv"), severity="warn"),
        ForeignKey("dest", to=raw_file("airports.csv"), to_column="faa", severity="warn"),
    ],
    null_values=[MISSING],
)
def validate(month: str) -> Any:
    """Stop a month that is no list of flights; warn of gaps in it."""
    return month_file(month, "flights.csv")


@task
def positions(month: str) -> int:
    """Write two position events for each flight, and return how many there are."""
    airports = {row["faa"]: row for row in read_csv(raw_file("airports.csv"))}
    flights = read_csv(month_file(month, "flights.csv"))
    events = [event for flight in flights for event in position_events(flight, airports)]
    nowhere = sum(event["lat"] == MISSING for event in events)
    path = month_file(month, "positions.csv")
    write_csv(path, events, POSITION)
    observe.check(
        path,
        "has_position",
        passed=not nowhere,
        column="lat",
        failed_rows=nowhere,
        severity="warn",
    )
    return len(events)


# An example does not wait; the weather of today would be given an hour.
@task(retries=1, retry_delay=timedelta(0), map_index_template="{{ origin }}")
def weather(month: str, origin: str) -> int:
    """Write the weather at an airport, for each hour in which flights left; return how many.

    Hours that are missing may be late: a retry gives them time, and the last try goes without.
    """
    context = get_current_context()
    context["origin"] = origin
    flights = read_csv(month_file(month, "flights.csv"))
    hours = {flight["time_hour"] for flight in flights if flight["origin"] == origin}
    rows = [
        row
        for row in read_csv(raw_file("weather.csv"))
        if row["origin"] == origin and row["time_hour"] in hours
    ]
    missing = len(hours) - len(rows)
    if missing and context["ti"].try_number <= context["ti"].max_tries:
        raise RuntimeError(f"The weather of {month} at {origin} lacks {missing} hours as yet")
    path = month_file(month, f"weather_{origin}.csv")
    write_csv(path, rows, list(rows[0]))
    observe.check(path, "every_hour", passed=not missing, failed_rows=missing, severity="warn")
    return len(rows)


@task(outlets=[ENRICHED])
def enrich(month: str) -> dict[str, int]:
    """Add airport, plane and weather to each flight; return how many could not be matched."""
    flights = read_csv(month_file(month, "flights.csv"))
    airports = {row["faa"]: row for row in read_csv(raw_file("airports.csv"))}
    planes = {row["tailnum"]: row for row in read_csv(raw_file("planes.csv"))}
    hours = {
        (origin, row["time_hour"]): row
        for origin in ORIGINS
        for row in read_csv(month_file(month, f"weather_{origin}.csv"))
    }
    counts = Counter(flights=len(flights))
    for flight in flights:
        airport, plane = airports.get(flight["dest"]), planes.get(flight["tailnum"])
        hour = hours.get((flight["origin"], flight["time_hour"]))
        counts["unknown_airport"] += airport is None
        counts["no_tailnum"] += flight["tailnum"] == MISSING
        counts["unknown_plane"] += plane is None and flight["tailnum"] != MISSING
        counts["no_weather"] += hour is None
        counts["no_arr_delay"] += flight["arr_delay"] == MISSING
        counts["cancelled"] += flight["dep_time"] == MISSING
        flight["dest_name"] = airport["name"] if airport else MISSING
        flight["plane_model"] = plane["model"] if plane else MISSING
        flight["plane_year"] = plane["year"] if plane else MISSING
        for name in WEATHER:
            flight[name] = hour[name] if hour else MISSING
    enriched = month_file(month, "flights_enriched.csv")
    write_csv(enriched, flights, list(flights[0]))
    observe.check(
        enriched,
        "dest_has_airport",
        passed=not counts["unknown_airport"],
        column="dest",
        failed_rows=counts["unknown_airport"],
        severity="warn",
    )
    get_current_context()["outlet_events"][ENRICHED].extra = {"month": month}
    return dict(counts)


@task
def aggregate(month: str) -> int:
    """Write the mean arrival delay per carrier and destination; return how many there are."""
    flown: Counter[tuple[str, str]] = Counter()
    delays: dict[tuple[str, str], list[float]] = defaultdict(list)
    for flight in read_csv(month_file(month, "flights_enriched.csv")):
        key = flight["carrier"], flight["dest"]
        flown[key] += 1
        if flight["arr_delay"] != MISSING:
            delays[key].append(float(flight["arr_delay"]))
    rows = [
        {
            "carrier": carrier,
            "dest": dest,
            "flights": str(flown[carrier, dest]),
            "arrived": str(len(arrived := delays[carrier, dest])),
            "mean_arr_delay": f"{sum(arrived) / len(arrived):.2f}" if arrived else MISSING,
        }
        for carrier, dest in sorted(flown)
    ]
    write_csv(month_file(month, "delays.csv"), rows, list(rows[0]))
    return len(rows)


@task.branch
def look_closer(counts: dict[str, int]) -> str | None:
    """Choose the report on cancellations for a month that had many of them, else nothing."""
    had_many = counts["cancelled"] > MANY_CANCELLED * counts["flights"]
    return "cancellations" if had_many else None


@task
def cancellations(month: str) -> int:
    """Write how many flights were cancelled on each day, the worst day first."""
    cancelled = Counter(
        f"{month}-{int(flight['day']):02}"
        for flight in read_csv(month_file(month, "flights.csv"))
        if flight["dep_time"] == MISSING
    )
    rows = [{"day": day, "cancelled": str(many)} for day, many in cancelled.most_common()]
    write_csv(month_file(month, "cancellations.csv"), rows, ["day", "cancelled"])
    return len(rows)


@task
def load(month: str) -> int:
    """Load the month's flights into the warehouse, in place of those it has."""
    flights = read_csv(month_file(month, "flights_enriched.csv"))
    rows = [
        [None if value == MISSING else value for value in map(flight.get, LOADED[1:])]
        for flight in flights
    ]
    hook = warehouse_hook()
    hook.run([FLIGHTS_TABLE, f"DELETE FROM flights WHERE month = '{month}'"])  # noqa: S608 - by its pattern
    hook.insert_rows("flights", [[month, *row] for row in rows], LOADED, executemany=True)
    return len(rows)


@dag(
    # No end_date: a run that somebody starts in Airflow's page, today, would have no tasks.
    schedule=EventsTimetable(MONTHS, presorted=True, description="Each month of 2013"),
    start_date=MONTHS[0],
    catchup=False,
    max_active_runs=1,  # SQLite has one writer at a time
    params={"month": MONTH_PARAM},
    user_defined_macros={"warehouse": warehouse},
    tags=["flights", "example"],
    description="Checks and enriches one month of flights, and loads the warehouse",
    doc_md=__doc__,
)
def flights_month() -> None:
    """Make position events, enriched flights and delays of one month, and load the warehouse."""
    summarise = SQLExecuteQueryOperator(
        task_id="summarise", conn_id="{{ warehouse() }}", sql=SUMMARIES, split_statements=True
    )
    check_warehouse = DatasetCheckOperator(
        task_id="check_warehouse",
        table="carrier_delays",
        conn_id="{{ warehouse() }}",
        checks=[Unique(["month", "carrier"]), Expression("arrived <= flights")],
    )

    ingested, counts = ingest(MONTH), enrich(MONTH)
    ingested >> [validate(MONTH), weather.partial(month=MONTH).expand(origin=ORIGINS)] >> counts
    ingested >> positions(MONTH)
    counts >> aggregate(MONTH)
    look_closer(counts) >> cancellations(MONTH)
    counts >> load(MONTH) >> summarise >> check_warehouse

    # Files have another name each month, so what is promised of them is promised of their task.
    known = DataQuality(at_least=0.99, of="rows", assertions=("dest_has_airport",), severity="warn")
    promise(counts, known, id="destinations-known", owner="airports", runs=RUNS)


promise(flights_month(), Duration(at_most=timedelta(minutes=30)), owner="flights", runs=RUNS)
