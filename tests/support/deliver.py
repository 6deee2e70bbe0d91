"""Events to send to a backend, and the plainest way to send them: one after the other.

A feed of the product can take the place of `deliver`: the suites only pass it events and a URL.
"""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.benchmarks.record import RECORDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Json = dict[str, Any]
_PATH = "/api/v1/lineage"


def deliver(events: Iterable[Json], url: str, *, path: str = _PATH, token: str = "") -> list[int]:
    """Send each event and return the status that each was answered with."""
    return [post(event, url, path=path, token=token) for event in events]


def post(event: Any, url: str, *, path: str = _PATH, token: str = "") -> int:
    """Send one event, or any other value, and return the status."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return call("POST", url + path, json.dumps(event).encode(), headers)[0]


def call(
    method: str, url: str, body: bytes | None = None, headers: Json | None = None
) -> tuple[int, Any]:
    """Return the status and what the answer holds: JSON, or else the bytes as they came."""
    request = urllib.request.Request(url, body, headers or {}, method=method)  # noqa: S310 - http
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http
            status, payload = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, payload = error.code, error.read()
    try:
        return status, json.loads(payload)
    except ValueError:
        return status, payload


def recorded_events() -> list[Json]:
    """Return one run of a five-task DAG, as Airflow emitted it."""
    with gzip.open(RECORDED) as file:
        return [json.loads(line) for line in file]


def moved(events: Sequence[Json], namespace: str, *, days: int = 0) -> list[Json]:
    """Return the events as another run of the same DAG elsewhere: own ids, names and day.

    A real server keeps what earlier runs of a suite sent; jobs and datasets get the namespace.
    """
    text = json.dumps(events)
    for run_id in {event["run"]["runId"] for event in events}:
        text = text.replace(run_id, str(uuid.uuid5(uuid.UUID(run_id), f"{namespace} {days}")))
    renamed: list[Json] = json.loads(text)
    for event in renamed:
        at = datetime.fromisoformat(event["eventTime"]) + timedelta(days=days)
        event["eventTime"] = at.isoformat()
        parent = event["run"]["facets"].get("parent") or {}
        for job in (event, parent, parent.get("root") or {}):
            if "job" in job:
                job["job"]["namespace"] = namespace
        for dataset in [*(event.get("inputs") or []), *(event.get("outputs") or [])]:
            dataset["namespace"] = namespace
    return renamed
