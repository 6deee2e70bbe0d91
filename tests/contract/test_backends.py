"""What a person sees in a backend: on the stub, or on the Marquez at MARQUEZ_URL.

Everything is read by the routes of Marquez's own pages. A real server keeps what it was sent, so
each test has a namespace of its own.
"""

from __future__ import annotations

import os
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.deliver import deliver, moved, recorded_events
from tests.support.marquez_stub import MarquezStub
from tests.support.marquez_view import MarquezView

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

_STEPS = ["ingest", "validate", "enrich", "aggregate", "load"]


@pytest.fixture(scope="module")
def marquez_url() -> Iterator[str]:
    """Where a Marquez listens."""
    if url := os.environ.get("MARQUEZ_URL"):
        yield url.rstrip("/")
        return
    with MarquezStub() as stub:
        yield stub.url


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def seen(marquez_url: str, namespace: str) -> MarquezView:
    return MarquezView(marquez_url, namespace)


@pytest.fixture
def run(namespace: str) -> list[Json]:
    """The recorded run, in this test's namespace."""
    return moved(recorded_events(), namespace)


def io_of(events: list[Json]) -> dict[str, tuple[list[str], list[str]]]:
    """Return what each task's last event says that it read and wrote."""
    return {
        event["job"]["name"]: (
            sorted(one["name"] for one in event.get("inputs") or []),
            sorted(one["name"] for one in event.get("outputs") or []),
        )
        for event in events
    }


def durations_ms(events: list[Json]) -> dict[str, int]:
    """Return how long each run that has a START and an end took, by its id."""
    at: dict[tuple[str, bool], datetime] = {}
    for event in events:
        key = (event["run"]["runId"], event["eventType"] == "START")
        at[key] = datetime.fromisoformat(event["eventTime"])
    return {
        run_id: round((end - at[run_id, True]).total_seconds() * 1000)
        for (run_id, started), end in at.items()
        if not started and (run_id, True) in at
    }


def ids(events: list[Json]) -> dict[str, str]:
    """Return the run's id of each job."""
    return {event["job"]["name"]: event["run"]["runId"] for event in events}


def test_every_event_is_taken(run: list[Json], marquez_url: str) -> None:
    assert deliver(run, marquez_url) == [201] * len(run)


def test_every_job_is_seen(run: list[Json], marquez_url: str, seen: MarquezView) -> None:
    deliver(run, marquez_url)
    assert seen.jobs() == ["flights", *sorted(f"flights.{step}" for step in _STEPS)]


def test_every_edge_is_seen(run: list[Json], marquez_url: str, seen: MarquezView) -> None:
    deliver(run, marquez_url)
    said = io_of(run)
    assert said["flights.load"][1] == ["/data/flights/report.parquet"]
    assert {job: seen.edges(job) for job in said} == said
    wanted = {(name, job) for job, (inputs, _) in said.items() for name in inputs}
    wanted |= {(job, name) for job, (_, outputs) in said.items() for name in outputs}
    assert seen.graph("flights.enrich") == wanted


def test_every_run_has_ended_and_lasted(
    run: list[Json], marquez_url: str, seen: MarquezView
) -> None:
    deliver(run, marquez_url)
    lasted = durations_ms(run)
    assert len(lasted) == len(_STEPS)
    for job, run_id in ids(run).items():
        shown = seen.runs(job)
        assert list(shown) == [run_id]
        assert shown[run_id].state == "COMPLETED", job
        if run_id in lasted:  # this DAG run has no START: `dags test` sends none
            # Marquez cuts where we round
            assert shown[run_id].duration_ms == pytest.approx(lasted[run_id], abs=1), job


def test_every_write_is_a_version(
    run: list[Json], marquez_url: str, seen: MarquezView, namespace: str
) -> None:
    again = moved(recorded_events(), namespace, days=1)
    deliver([*run, *again], marquez_url)
    for job, (_, outputs) in io_of(run).items():
        for name in outputs:
            assert seen.writers(name) == [ids(again)[job], ids(run)[job]], name
            assert seen.current_version(name)


def test_a_repeat_changes_nothing_that_is_seen(
    run: list[Json], marquez_url: str, seen: MarquezView
) -> None:
    def everything() -> list[Any]:
        names = {name for _, outputs in io_of(run).values() for name in outputs}
        jobs = [(seen.edges(job), seen.runs(job)) for job in seen.jobs()]
        return [jobs, [(seen.writers(one), seen.current_version(one)) for one in sorted(names)]]

    deliver(run, marquez_url)
    before = everything()
    deliver(run, marquez_url)
    assert everything() == before


def test_run_facets_are_kept(run: list[Json], marquez_url: str, seen: MarquezView) -> None:
    deliver(run, marquez_url)
    for event in run:
        kept = seen.run_facets(event["run"]["runId"])
        assert kept["nominalTime"] == event["run"]["facets"]["nominalTime"]
        assert kept["processing_engine"] == event["run"]["facets"]["processing_engine"]


def test_quality_is_seen_and_the_tasks_run_stays_as_it_was(
    run: list[Json], marquez_url: str, seen: MarquezView, namespace: str
) -> None:
    """An SLA result as it is to be published: a run of its own, on the dataset's inputs."""
    deliver(run, marquez_url)
    rows = [
        {"assertion": "sla:freshness:flights", "success": True},
        {"assertion": "sla:volume:flights", "success": False, "column": "day"},
    ]
    report = {"namespace": namespace, "name": "/data/flights/report.parquet"}
    facet = {
        "_producer": "https://example.org",
        "_schemaURL": "https://example.org",
        "assertions": rows,
    }
    event = {
        "eventTime": run[-1]["eventTime"],
        "producer": "https://example.org",
        "schemaURL": run[-1]["schemaURL"],
        "job": {"namespace": namespace, "name": "sla.flights"},
        "run": {"runId": str(uuid.uuid4())},
        "inputs": [report | {"inputFacets": {"dataQualityAssertions": facet}}],
        "outputs": [],
    }
    states, edges = seen.runs("flights.load"), seen.edges("flights.load")
    deliver([event | {"eventType": type_} for type_ in ("START", "COMPLETE")], marquez_url)
    passed = {key.partition("-")[2]: ok for key, ok in seen.quality(report["name"]).items()}
    assert passed == {"sla:freshness:flights": True, "sla:volume:flights": False}
    assert (seen.runs("flights.load"), seen.edges("flights.load")) == (states, edges)
    assert len(seen.writers(report["name"])) == 1
