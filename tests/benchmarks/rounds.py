"""Rounds of rivals, and what a figure needs to be believed: see the rules of PERFORMANCE.md."""

from __future__ import annotations

import contextlib
import os
import platform
import sqlite3
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.store.sql.store import SqlStore
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What tells a durable server from one that only tests use; see `tests.support.postgres`.
_SETTINGS = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "autovacuum")


class Spent(NamedTuple):
    """Seconds that passed, and that this process computed: a server may use another core."""

    wall: float
    cpu: float


class Timer:
    """Measures what its ``with`` block takes."""

    spent = Spent(0.0, 0.0)

    def __enter__(self) -> Timer:
        self._start = Spent(time.perf_counter(), time.process_time())
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._start
        self.spent = Spent(time.perf_counter() - wall, time.process_time() - cpu)


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    packages = ("sqlalchemy", "msgspec", "psycopg")
    return {
        "cores": os.cpu_count(),
        "load_average": [round(one, 2) for one in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in packages},
    }


@contextlib.contextmanager
def postgres_server() -> Iterator[str | None]:
    """Give the URL of a PostgreSQL server of our own, or the user's; None where there is none."""
    with postgres.Run.open() as run:
        given = os.environ.get(postgres.ADMIN_URL)
        try:
            url: str | None = given or run.start()
        except postgres.PostgresError:
            url = None
        yield url


def server_settings(url: str) -> dict[str, str]:
    """Return what of a server's settings decides how fast it writes."""
    with postgres.new_database(url) as database:
        store = SqlStore(database, create=True)
        with store._engine.connect() as connection:
            found = {
                name: str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())
                for name in _SETTINGS
            }
        store.close()
    return found


@contextlib.contextmanager
def empty_store(rival: str, server: str | None) -> Iterator[SqlStore]:
    """Give an empty store on ``sqlite`` (a file) or ``postgres``, as the product opens it."""
    with contextlib.ExitStack() as stack:
        if rival == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="provenance-bench-"))
            url = f"sqlite:///{Path(folder) / 'provenance.db'}"
        else:
            url = stack.enter_context(postgres.new_database(str(server)))
        store = SqlStore(url, create=True)
        stack.callback(store.close)
        yield store


def rivals(server: str | None) -> list[str]:
    """Return the stores that can be measured here."""
    return ["sqlite"] if server is None else ["sqlite", "postgres"]


def summary(values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """Return the median and the minimum of several rounds, and every round."""
    return {
        "median": round(median(values), digits),
        "min": round(min(values), digits),
        "rounds": [round(one, digits) for one in values],
    }


def quantile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank quantile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows under a header, the first column to the left, the others to the right."""
    texts = [list(header), *([str(one) for one in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    lines = [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in texts
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
