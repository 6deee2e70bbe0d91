"""What is added to an event, and what is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from airflow_provenance.domain.identity import DatasetRef, TaskRef
from airflow_provenance.emit.enrich import enrich
from airflow_provenance.emit.notes import Content, TaskRunNotes, Written
from airflow_provenance.emit.observed import Column, Structure
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
        outputs={MONTH: Content(False, reason="no such file")},
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
    assert own(dataset["facets"][facets.CONTENT]) == {"verified": False, "reason": "no such file"}


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


PG = "postgres://db:5432"
TOTALS, ORDERS = DatasetRef(PG, "shop.public.totals"), DatasetRef(PG, "shop.public.orders")


def query(inputs: list[DatasetRef], outputs: list[DatasetRef]) -> dict[str, Any]:
    body = event("flights_month.ingest.query.1")
    body["inputs"] = [{**ref._asdict(), "facets": {}} for ref in inputs]
    body["outputs"] = [{**ref._asdict(), "facets": {}} for ref in outputs]
    return body


@pytest.fixture
def with_tables(notes: TaskRunNotes) -> TaskRunNotes:
    rows = Structure("table", (Column("day", "text"),), 1, 9)
    notes.inputs = {ORDERS: Content(False, reason="later", structure=rows)}
    notes.outputs = {
        TOTALS: Content(True, "ab" * 24, 8192, structure=rows, algorithm="sha256-rows")
    }
    lineage = {"fields": {"day": {"inputFields": []}}}
    notes.written = {TOTALS: Written(2, "TRUNCATE", lineage)}
    notes.not_datasets = {DatasetRef(PG, "shop.public.a_temporary_table")}
    return notes


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        ([ORDERS], [TOTALS], True),
        ([], [TOTALS], True),
        ([DatasetRef(PG, "shop.public.a_temporary_table")], [TOTALS], True),
        ([], [], None),
        ([ORDERS], [ORDERS], None),
        ([RAW], [TOTALS], None),
    ],
)
def test_a_query_says_whether_its_task_has_all_its_datasets(
    with_tables: TaskRunNotes,
    inputs: list[DatasetRef],
    outputs: list[DatasetRef],
    expected: bool | None,
) -> None:
    facet = enrich(query(inputs, outputs), with_tables)["run"]["facets"][facets.TASK]

    assert facet.get("ioOnTask") is expected


def test_the_task_itself_does_not_say_so(with_tables: TaskRunNotes) -> None:
    own_event = {**query([ORDERS], [TOTALS]), "job": {"name": "flights_month.ingest"}}

    assert "ioOnTask" not in enrich(own_event, with_tables)["run"]["facets"][facets.TASK]


def test_what_was_written_to_a_table_is_told_by_the_task_alone(with_tables: TaskRunNotes) -> None:
    own_event = {**query([ORDERS], [TOTALS]), "job": {"name": "flights_month.ingest"}}
    (table,) = enrich(own_event, with_tables)["outputs"]
    (of_query,) = enrich(query([ORDERS], [TOTALS]), with_tables)["outputs"]

    assert own(table["outputFacets"]["outputStatistics"]) == {"rowCount": 2}
    assert own(table["facets"]["lifecycleStateChange"]) == {"lifecycleStateChange": "TRUNCATE"}
    assert table["facets"]["columnLineage"] == {"fields": {"day": {"inputFields": []}}}
    assert table["facets"]["version"]["datasetVersion"] == "sha256-rows:" + "ab" * 24
    assert own(table["facets"][facets.CONTENT])["rowCount"] == 9
    assert "outputFacets" not in of_query
    assert not {"lifecycleStateChange", "columnLineage"} & set(of_query["facets"])


def test_what_the_producer_made_of_the_sql_gives_way(with_tables: TaskRunNotes) -> None:
    own_event = {**query([], [TOTALS]), "job": {"name": "flights_month.ingest"}}
    own_event["outputs"][0]["facets"]["columnLineage"] = {"fields": {"_0": {"inputFields": []}}}
    (table,) = enrich(own_event, with_tables)["outputs"]

    assert list(table["facets"]["columnLineage"]["fields"]) == ["day"]
