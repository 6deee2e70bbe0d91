"""A stream of events as Airflow emits them: one recorded DAG run, multiplied over DAGs and days.

Thirty DAGs run daily, a minute apart, each for some seven minutes, so that runs of several DAGs mix
in every batch. A DAG reads files that nobody here writes, its own datasets, and the report of the
DAG before it, as it was when it started: read links of several rules and append edges follow.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote
from uuid import UUID

from tests.benchmarks.record import DAG_ID, RECORDED

if TYPE_CHECKING:
    from collections.abc import Iterator

DAGS = 30
_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_APART = timedelta(minutes=1)
# The recorded tasks did nothing, which took 3.4 s; so much longer takes what does something.
_STRETCH = 120
_PLACE = re.compile(rb"\x00(\w+)\x00")


class Template(NamedTuple):
    """A recorded event with places in it: constant bytes and names of places, alternating."""

    after: timedelta
    parts: list[bytes]

    def render(self, values: dict[bytes, bytes]) -> bytes:
        """Return the event with its places filled."""
        parts = list(self.parts)
        parts[1::2] = [values[name] for name in parts[1::2]]
        return b"".join(parts)


def templates() -> list[Template]:
    """Return the recorded events, oldest first."""
    lines = [line for line in gzip.decompress(RECORDED.read_bytes()).splitlines() if line]
    events = [json.loads(line) for line in lines]
    dag_run = events[-1]["run"]["facets"]["airflowDagRun"]["dagRun"]
    run_ids = sorted({event["run"]["runId"] for event in events})
    places = {
        # "flights" is the DAG's name, too.
        "/shared/flights.csv": "/shared/raw.csv",
        "/data/before/": "/data/\0before\0/",
        quote(dag_run["run_id"]): "\0quoted_run_id\0",
        dag_run["run_id"]: "\0run_id\0",
        dag_run["run_after"]: "\0run_after\0",
        dag_run["logical_date"]: "\0logical_date\0",
        **{one: f"\0uuid{number}\0" for number, one in enumerate(run_ids)},
        DAG_ID: "\0dag\0",
    }
    first = datetime.fromisoformat(events[0]["eventTime"])
    found = []
    for event, line in zip(events, lines, strict=True):
        text = line.decode()
        for known, place in {event["eventTime"]: "\0now\0", **places}.items():
            text = text.replace(known, place)
        after = datetime.fromisoformat(event["eventTime"]) - first
        found.append(Template(after * _STRETCH, _PLACE.split(text.encode())))
    return sorted(found, key=lambda one: one.after)


def _uuid(at: datetime, name: str) -> bytes:
    """Return a UUID of version 7, as Airflow gives its task instances."""
    random = int.from_bytes(hashlib.sha256(name.encode()).digest()[:10], "big")
    number = int(at.timestamp() * 1000) << 80 | random
    number = number & ~(0xF << 76 | 0b11 << 62) | 7 << 76 | 0b10 << 62
    return str(UUID(int=number)).encode()


def _dag_run(number: int, day: datetime) -> dict[bytes, bytes]:
    """Return what fills the places of one DAG run's events."""
    dag = f"{DAG_ID}_{number:02}"
    started = day + number * _APART
    run_id = f"scheduled__{day.isoformat()}"
    texts = {
        b"dag": dag,
        b"before": f"{DAG_ID}_{number - 1:02}" if number else "elsewhere",
        b"run_id": run_id,
        b"quoted_run_id": quote(run_id),
        b"run_after": day.isoformat(),
        b"logical_date": day.isoformat(),
    }
    values = {name: text.encode() for name, text in texts.items()}
    for index in range(len(_TEMPLATES)):
        values[f"uuid{index}".encode()] = _uuid(started, f"{dag} {run_id} {index}")
    return values


_TEMPLATES = templates()


def corpus(count: int) -> Iterator[bytes]:
    """Give events in the order of their time; the same ones whenever it is called."""
    day = _FIRST_DAY
    while count > 0:
        runs = [(day + number * _APART, _dag_run(number, day)) for number in range(DAGS)]
        stream = sorted(
            (
                (started + template.after, template, values)
                for started, values in runs
                for template in _TEMPLATES
            ),
            key=lambda one: one[0],
        )
        for at, template, values in stream[:count]:
            yield template.render(values | {b"now": at.isoformat().encode()})
        count -= len(stream)
        day += timedelta(days=1)
