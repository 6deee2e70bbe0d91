"""What is added to an event, and what is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from airflow_provenance.domain.identity import DatasetRef, TaskRef
from airflow_provenance.emit.enrich import enrich
from airflow_provenance.emit.notes import Content, TaskRunNotes
from airflow_provenance.formats import facets

REF = TaskRef("flights_month", "manual__1", "ingest", -1, 1)
RAW = DatasetRef("file", "/data/flights.csv.zip")
MONTH = DatasetRef("file", "/data/2013-01/flights.csv")
DIGEST = "ab" * 32
STARTED_US = 1_800_000_000_000_000


@pytest.fixture
def notes() -> TaskRunNotes:
    return TaskRunNotes(
        ref=REF,
        started_at_us=STARTED_US,
        ended_at_us=STARTED_US + 1_500_000,
        state="COMPLETE",
        hostname="worker-1",
        inputs={RAW: Content(True, DIGEST, 7, STARTED_US - 1)},
        outputs={MONTH: Content(False, reason="missing")},
    )


def event(job: str = "flights_month.ingest", **run_facets: Any) -> dict[str, Any]:
    return {
        "eventType": "COMPLETE",
        "run": {"runId": "r", "facets": run_facets},
        "job": {"namespace": "default", "name": job},
        "inputs": [{"namespace": "file", "name": RAW.name}],
        "outputs": [
            {"namespace": "file", "name": MONTH.name, "facets": {"schema": {"fields": []}}}
        ],
    }


def own(facet: dict[str, Any]) -> dict[str, Any]:
    assert facet["_producer"] == facets.PRODUCER
    assert facet["_schemaURL"]
    return {key: value for key, value in facet.items() if not key.startswith("_")}


def test_the_tasks_own_event_names_the_try_and_says_when_where_and_how(
    notes: TaskRunNotes,
) -> None:
    added = enrich(event(parent={"run": {}}), notes)["run"]["facets"]

    assert list(added) == ["parent", facets.TASK, facets.RUN, facets.GRANULARITY]
    assert own(added[facets.TASK]) == {
        "dagId": "flights_month",
        "runId": "manual__1",
        "taskId": "ingest",
        "mapIndex": -1,
        "tryNumber": 1,
    }
    assert own(added[facets.RUN]) == {
        "startedAt": "2027-01-15T08:00:00.000000Z",
        "endedAt": "2027-01-15T08:00:01.500000Z",
        "state": "COMPLETE",
        "hostname": "worker-1",
    }


def test_the_trigger_is_told_when_there_was_one(notes: TaskRunNotes) -> None:
    notes.consumed_asset_events = [facets.asset_event("upstream", "run_1", "write", -1)]

    added = enrich(event(), notes)["run"]["facets"][facets.RUN]

    assert added["consumedAssetEvents"] == [
        {"dagId": "upstream", "runId": "run_1", "taskId": "write", "mapIndex": -1}
    ]


def test_another_jobs_event_from_the_same_process_names_the_task_only(
    notes: TaskRunNotes,
) -> None:
    added = enrich(event("flights_month.ingest.query.1"), notes)["run"]["facets"]

    assert list(added) == [facets.TASK]


def test_a_content_that_was_seen_is_told_and_is_the_version(notes: TaskRunNotes) -> None:
    (dataset,) = enrich(event(), notes)["inputs"]

    assert own(dataset["facets"][facets.CONTENT]) == {
        "algorithm": "sha256",
        "digest": DIGEST,
        "sizeBytes": 7,
        "modifiedAt": "2027-01-15T07:59:59.999999Z",
        "verified": True,
    }
    assert own(dataset["facets"]["version"]) == {"datasetVersion": f"sha256:{DIGEST}"}


def test_a_content_that_could_not_be_seen_has_a_reason_and_no_version(
    notes: TaskRunNotes,
) -> None:
    (dataset,) = enrich(event(), notes)["outputs"]

    assert list(dataset["facets"]) == ["schema", facets.CONTENT]
    assert own(dataset["facets"][facets.CONTENT]) == {"verified": False, "reason": "missing"}


def test_a_version_that_is_there_stays(notes: TaskRunNotes) -> None:
    with_version = event()
    with_version["inputs"][0]["facets"] = {"version": {"datasetVersion": "snapshot-7"}}

    (dataset,) = enrich(with_version, notes)["inputs"]

    assert dataset["facets"]["version"] == {"datasetVersion": "snapshot-7"}
    assert dataset["facets"][facets.CONTENT]["digest"] == DIGEST


def test_a_version_that_is_null_is_no_version(notes: TaskRunNotes) -> None:
    with_null = event()
    with_null["inputs"][0]["facets"] = {"version": None}

    (dataset,) = enrich(with_null, notes)["inputs"]

    assert dataset["facets"]["version"]["datasetVersion"] == f"sha256:{DIGEST}"


def test_a_content_goes_to_the_side_it_was_seen_on(notes: TaskRunNotes) -> None:
    swapped = event()
    swapped["inputs"], swapped["outputs"] = swapped["outputs"], swapped["inputs"]

    enriched = enrich(swapped, notes)

    # What was named on the other side stays bare, and what was looked at is named beside it.
    assert enriched["inputs"][0] == swapped["inputs"][0]
    assert enriched["outputs"][0] == swapped["outputs"][0]
    assert [facets.CONTENT in one["facets"] for one in enriched["inputs"][1:]] == [True]
    assert [facets.CONTENT in one["facets"] for one in enriched["outputs"][1:]] == [True]


@pytest.mark.parametrize(
    "other",
    [
        event("flights_month", airflowDagRun={"dag": {}}),
        {"job": {"namespace": "default", "name": "flights_month.ingest"}},
        {"dataset": {"namespace": "file", "name": RAW.name}},
    ],
    ids=["a DAG run", "a job", "a dataset"],
)
def test_an_event_that_is_not_of_a_task_is_left_as_it_is(
    other: dict[str, Any], notes: TaskRunNotes
) -> None:
    assert enrich(other, notes) == other


def test_outside_a_task_an_event_is_left_as_it_is() -> None:
    assert enrich(event(), None) == event()


def test_the_event_that_was_given_is_not_changed(notes: TaskRunNotes) -> None:
    given = event()
    before = copy.deepcopy(given)

    enrich(given, notes)

    assert given == before


def test_enriching_twice_changes_nothing_more(notes: TaskRunNotes) -> None:
    once = enrich(event(), notes)

    assert enrich(once, notes) == once
