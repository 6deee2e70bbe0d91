"""The stub of DataHub does what its OpenLineage endpoint does: one test for each rule."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.datahub_stub import OPENLINEAGE_PATH, DataHubStub, dataset_urn
from tests.support.deliver import call, deliver, recorded_events

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
RUN = str(uuid.UUID(int=1))
FLOW = "urn:li:dataFlow:(airflow,dag,demo)"
TASK = f"urn:li:dataJob:({FLOW},dag.task)"
INSTANCE = f"urn:li:dataProcessInstance:{RUN}"
X, Y = (f"urn:li:dataset:(urn:li:dataPlatform:postgres,db.{name},PROD)" for name in "xy")


@pytest.fixture
def stub() -> Iterator[DataHubStub]:
    with DataHubStub() as server:
        yield server


def send(stub: DataHubStub, *events: Any, token: str = "") -> list[int]:
    return deliver(events, stub.url, path=OPENLINEAGE_PATH, token=token)


def run_event(type_: str | None = "COMPLETE", **more: Any) -> Json:
    facets = {"processing_engine": {"name": "Airflow"}} | more.pop("facets", {})
    for side in {"inputs", "outputs"} & set(more):
        more[side] = [dataset(one) if isinstance(one, str) else one for one in more[side]]
    return {
        "eventType": type_,
        "eventTime": "2026-03-01T00:00:00+00:00",
        "producer": "https://example.org",
        "job": {"namespace": "demo", "name": more.pop("job", "dag.task")},
        "run": {"runId": RUN, "facets": facets},
        **more,
    }


def dataset(name: str, **facets: Any) -> Json:
    return {"namespace": "postgres://host:5432", "name": f"db.{name}", "facets": facets}


def test_a_task_is_a_data_job_of_its_dags_flow(stub: DataHubStub) -> None:
    assert send(stub, run_event()) == [200]
    assert {FLOW, TASK, INSTANCE} == set(stub.aspects)


def test_a_dag_run_makes_a_spurious_data_job(stub: DataHubStub) -> None:
    send(stub, run_event(job="dag"))
    assert f"urn:li:dataJob:({FLOW},dag)" in stub.aspects


@pytest.mark.parametrize(
    ("setting", "engine", "producer", "orchestrator"),
    [
        ("prefect", "Airflow", "", "prefect"),
        (None, "Airflow", "https://github.com/OpenLineage/OpenLineage/tree/1/spark", "airflow"),
        (None, None, "https://github.com/OpenLineage/OpenLineage/tree/1/spark", "spark"),
        (None, None, "https://github.com/apache/airflow/tree/1", "airflow"),
        (None, None, "https://example.org", None),
    ],
)
def test_the_orchestrator_is_the_first_that_is_known(
    setting: str | None, engine: str | None, producer: str, orchestrator: str | None
) -> None:
    event = run_event(facets={"processing_engine": {"name": engine}}) | {"producer": producer}
    with DataHubStub(orchestrator=setting) as stub:
        assert send(stub, event) == [200 if orchestrator else 500]
        flows = [urn for urn in stub.aspects if urn.startswith("urn:li:dataFlow")]
    assert flows == ([f"urn:li:dataFlow:({orchestrator},dag,demo)"] if orchestrator else [])


def test_a_run_is_an_instance_and_abort_is_a_failure(stub: DataHubStub) -> None:
    send(stub, *(run_event(one) for one in ("START", "COMPLETE", "FAIL", "ABORT")))
    results = [event.get("result") for event in stub.run_events[INSTANCE]]
    assert results == [None, "SUCCESS", "FAILURE", "FAILURE"]


def test_other_is_answered_200_but_is_invalid(stub: DataHubStub) -> None:
    assert send(stub, run_event("OTHER")) == [200]
    assert stub.run_events[INSTANCE] == [{"status": "STARTED", "result": "INVALID"}]


def test_of_the_airflow_facet_dag_and_task_and_tags_stay(stub: DataHubStub) -> None:
    airflow = {"dag": {"owner": "me", "tags": "['a', 'b']"}, "task": {"queue": "q"}}
    airflow["taskInstance"] = {"try_number": 2}
    send(stub, run_event(facets={"airflow": airflow}))
    shown = stub.aspects[TASK]["dataJobInfo"]["customProperties"]
    assert shown == {"dag.owner": "me", "dag.tags": "['a', 'b']", "task.queue": "q"}
    assert stub.aspects[FLOW]["globalTags"] == ["urn:li:tag:a", "urn:li:tag:b"]


def test_a_scheme_is_the_platform_and_the_host_is_dropped(stub: DataHubStub) -> None:
    send(stub, run_event(inputs=["x"], outputs=["y"]))
    relations = stub.aspects[TASK]["dataJobInputOutput"]
    assert (relations["inputDatasets"], relations["outputDatasets"]) == ([X], [Y])


@pytest.mark.parametrize("name", ["a b", "a{b}", "100%", "a|b"])
def test_an_invalid_uri_is_dropped_silently(stub: DataHubStub, name: str) -> None:
    assert send(stub, run_event(inputs=[name, "x"])) == [200]
    assert stub.aspects[TASK]["dataJobInputOutput"]["inputDatasets"] == [X]
    assert dataset_urn("file", "/no scheme") is not None


def test_few_types_are_known(stub: DataHubStub) -> None:
    fields = [{"name": one, "type": one} for one in ("long", "int4")]
    send(stub, run_event(outputs=[dataset("y", schema={"fields": fields})]))
    shown = stub.aspects[Y]["schemaMetadata"]["fields"]
    assert [field["type"] for field in shown] == ["NumberType", "NullType"]


def test_column_lineage_becomes_fine_grained(stub: DataHubStub) -> None:
    source = {"namespace": "postgres://host:5432", "name": "db.x", "field": "a"}
    lineage = {"fields": {"b": {"inputFields": [source]}}}
    send(stub, run_event(inputs=["x"], outputs=[dataset("y", columnLineage=lineage)]))
    assert stub.aspects[TASK]["dataJobInputOutput"]["fineGrainedLineages"] == [
        {
            "upstreams": [f"urn:li:schemaField:({X},a)"],
            "downstreams": [f"urn:li:schemaField:({Y},b)"],
        }
    ]


def test_each_event_overwrites_the_jobs_io(stub: DataHubStub) -> None:
    send(stub, run_event("START", inputs=["x"], outputs=["y"]), run_event("COMPLETE"))
    relations = stub.aspects[TASK]["dataJobInputOutput"]
    assert (relations["inputDatasets"], relations["outputDatasets"]) == ([], [])


def test_other_facets_are_dropped(stub: DataHubStub) -> None:
    dropped = ["errorMessage", "nominalTime", "parent", "jobDependencies", "airflowProvenance_run"]
    send(stub, run_event(outputs=["y"]))
    before = json.dumps(stub.aspects)
    job = run_event()["job"] | {
        "facets": {name: {} for name in ("sourceCode", "tags", "ownership")}
    }
    written = dataset("y", version={"datasetVersion": "1"}, dataQualityAssertions={})
    written["outputFacets"] = {"outputStatistics": {"rowCount": 1}, "dataQualityMetrics": {}}
    event = run_event(outputs=[written], facets={name: {"a": 1} for name in dropped}) | {"job": job}
    assert send(stub, event) == [200]
    assert json.dumps(stub.aspects) == before


def test_what_is_no_single_run_event_is_an_error_without_a_body(stub: DataHubStub) -> None:
    job_event = {name: part for name, part in run_event().items() if name != "run"}
    for bad in (run_event(None), job_event, [run_event()], {}, "text"):
        answer = call("POST", stub.url + OPENLINEAGE_PATH, json.dumps(bad).encode())
        assert answer == (500, b""), bad
    assert stub.aspects == {}


def test_a_token_is_asked_for() -> None:
    with DataHubStub(token="secret") as stub:  # noqa: S106 - the stub's own
        codes = [send(stub, run_event(), token=one)[0] for one in ("", "wrong", "secret")]
        assert codes == [401, 401, 200]
        assert call("GET", f"{stub.url}/config")[0] == 200


def test_proposals_of_the_sdk_are_kept(stub: DataHubStub) -> None:
    config = call("GET", f"{stub.url}/config")[1]
    assert config["versions"]["acryldata/datahub"]["version"] == "v1.4.0"
    aspect = {"contentType": "application/json", "value": json.dumps({"removed": False})}
    proposal = {"entityUrn": X, "aspectName": "status", "changeType": "UPSERT", "aspect": aspect}
    url = f"{stub.url}/aspects?action=ingestProposal"
    assert call("POST", url, json.dumps({"proposal": proposal}).encode())[0] == 200
    assert stub.proposals == [proposal]
    assert stub.aspects[X] == {"status": {"removed": False}}


def test_a_recorded_run_is_seen(stub: DataHubStub) -> None:
    events = recorded_events()
    assert send(stub, *events) == [200] * len(events)
    flow = "urn:li:dataFlow:(airflow,flights,demo)"
    load = stub.aspects[f"urn:li:dataJob:({flow},flights.load)"]["dataJobInputOutput"]
    report = "urn:li:dataset:(urn:li:dataPlatform:file,/data/flights/report.parquet,PROD)"
    assert load["outputDatasets"] == [report]
    assert {runs[-1].get("result") for runs in stub.run_events.values()} == {"SUCCESS"}
