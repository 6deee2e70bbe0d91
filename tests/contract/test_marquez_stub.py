"""The stub of Marquez does what Marquez was observed to do: one test for each rule.

Those marked "source" in their comment were read in Marquez's source, not observed.
"""

from __future__ import annotations

import json
import urllib.error
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.support.deliver import call, deliver, post
from tests.support.marquez_stub import MarquezStub
from tests.support.marquez_view import MarquezView, SeenRun

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
NS = "demo"
A, B, C = (str(uuid.UUID(int=number)) for number in (1, 2, 3))


@pytest.fixture
def stub() -> Iterator[MarquezStub]:
    with MarquezStub() as server:
        yield server


@pytest.fixture
def seen(stub: MarquezStub) -> MarquezView:
    return MarquezView(stub.url, NS)


def run_event(
    type_: str | None, run: str = A, *, at: int = 0, job: str = "dag.task", **more: Any
) -> Json:
    """Return an event at `at` seconds; `inputs` and `outputs` are names or whole datasets."""
    for side in {"inputs", "outputs"} & set(more):
        more[side] = [
            {"namespace": NS, "name": one} if isinstance(one, str) else one for one in more[side]
        ]
    facets = more.pop("facets", {})
    return {
        "eventType": type_,
        "eventTime": f"2026-03-01T00:00:{at:02d}+00:00",
        "producer": "https://example.org",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "job": {"namespace": NS, "name": job},
        "run": {"runId": run, "facets": facets},
        **more,
    }


def dataset(name: str, kind: str = "facets", **facets: Any) -> Json:
    return {"namespace": NS, "name": name, kind: facets}


def assertions(**success: bool) -> Json:
    rows = [{"column": "id", "assertion": name, "success": ok} for name, ok in success.items()]
    return {"dataQualityAssertions": {"assertions": rows}}


def parent(run: str, job: str = "dag") -> Json:
    return {"parent": {"run": {"runId": run}, "job": {"namespace": NS, "name": job}}}


# Runs


@pytest.mark.parametrize(
    ("types", "state"),
    [
        (["START", "COMPLETE"], "COMPLETED"),
        (["START", "FAIL"], "FAILED"),
        (["START", "ABORT"], "ABORTED"),
        (["START", "COMPLETE", "FAIL"], "FAILED"),
        (["COMPLETE", "START"], "RUNNING"),
        (["START", "COMPLETE", "OTHER"], "RUNNING"),
        (["START", "COMPLETE", "RUNNING"], "RUNNING"),
        (["BANANA"], "RUNNING"),
    ],
)
def test_the_last_type_received_is_the_state(
    stub: MarquezStub, seen: MarquezView, types: list[str], state: str
) -> None:
    deliver([run_event(one, at=60 - 9 * n) for n, one in enumerate(types, 1)], stub.url)
    assert seen.runs("dag.task")[A].state == state


def test_a_duration_is_from_the_first_start_to_the_last_end(
    stub: MarquezStub, seen: MarquezView
) -> None:
    events = [run_event(t, at=at) for t, at in [("START", 1), ("RUNNING", 3), ("COMPLETE", 6)]]
    deliver(events[:2], stub.url)
    assert seen.runs("dag.task")[A] == SeenRun("RUNNING", None)
    deliver(events[2:], stub.url)
    assert seen.runs("dag.task")[A] == SeenRun("COMPLETED", 5000)


def test_a_child_is_named_after_its_parent(stub: MarquezStub, seen: MarquezView) -> None:
    facets = parent(B)
    deliver([run_event("START", B, job="dag")], stub.url)
    deliver([run_event("START", A, job="dag.task", facets=facets)], stub.url)
    deliver([run_event("START", C, job="sla.fresh", facets=facets)], stub.url)
    assert seen.jobs() == ["dag", "dag.sla.fresh", "dag.task"]
    page = seen.job("dag.task")
    assert (page["simpleName"], page["parentJobName"]) == ("task", "dag")


def test_a_parent_that_nobody_announced_takes_its_childs_state(
    stub: MarquezStub, seen: MarquezView
) -> None:  # source
    deliver([run_event("COMPLETE", A, facets=parent(B))], stub.url)
    assert seen.runs("dag")[B].state == "COMPLETED"


def test_run_facets_stay_verbatim(stub: MarquezStub, seen: MarquezView) -> None:
    custom = {"_producer": "x", "deep": [{"ü": None}], "n": 1.50}
    deliver([run_event("START", facets={"airflowProvenance_sla": custom})], stub.url)
    assert seen.run_facets(A) == {"airflowProvenance_sla": custom}


# Edges


def test_a_terminal_event_makes_the_edges(stub: MarquezStub, seen: MarquezView) -> None:
    start = run_event("START", inputs=["x"], outputs=["y"])
    deliver([start], stub.url)
    assert seen.edges("dag.task") == ([], [])
    deliver([start | {"eventType": "COMPLETE"}], stub.url)
    assert seen.edges("dag.task") == (["x"], ["y"])
    assert seen.graph("dag.task") == {("x", "dag.task"), ("dag.task", "y")}


@pytest.mark.parametrize("type_", ["START", "RUNNING", "OTHER"])
def test_an_empty_side_retires_the_edges_of_that_side(
    stub: MarquezStub, seen: MarquezView, type_: str
) -> None:
    deliver([run_event("COMPLETE", inputs=["x"], outputs=["y"])], stub.url)
    deliver([run_event(type_, B, at=1, inputs=["x"], outputs=[])], stub.url)
    assert seen.edges("dag.task") == (["x"], [])
    deliver([run_event(type_, B, at=1)], stub.url)
    assert seen.edges("dag.task") == ([], [])


def test_a_terminal_event_rebuilds_edges_from_all_io_of_its_run(
    stub: MarquezStub, seen: MarquezView
) -> None:
    deliver([run_event("START", inputs=["x"]), run_event("COMPLETE", outputs=["w"])], stub.url)
    assert seen.edges("dag.task") == (["x"], ["w"])


# Versions


def test_a_writing_run_makes_one_version(stub: MarquezStub, seen: MarquezView) -> None:
    for run in (A, B):
        types = ("START", "RUNNING", "COMPLETE", "COMPLETE")
        deliver([run_event(one, run, outputs=["y"]) for one in types], stub.url)
    assert seen.writers("y") == [B, A]


def test_an_input_makes_a_version_only_where_there_is_none(
    stub: MarquezStub, seen: MarquezView
) -> None:
    deliver([run_event("COMPLETE", run, inputs=["x"]) for run in (A, B)], stub.url)
    assert seen.writers("x") == [None]


def test_the_version_facet_does_not_link(stub: MarquezStub, seen: MarquezView) -> None:
    def named(number: str) -> Json:
        return dataset("y", version={"datasetVersion": number})

    deliver([run_event("COMPLETE", A, at=1, outputs=[named("v1")])], stub.url)
    deliver([run_event("COMPLETE", B, at=2, outputs=[named("v2")])], stub.url)
    second = seen.current_version("y")
    deliver([run_event("COMPLETE", C, at=3, job="reader", inputs=[named("v1")])], stub.url)
    assert seen.current_version("y") == second
    assert seen.dataset("y")["facets"]["version"] == {"datasetVersion": "v1"}
    both = [call("GET", f"{stub.url}/api/v1/jobs/runs/{run}")[1] for run in (B, C)]
    (written,), (read,) = both[0]["outputDatasetVersions"], both[1]["inputDatasetVersions"]
    assert read["datasetVersionId"] == written["datasetVersionId"]


@pytest.mark.parametrize("type_", ["FAIL", "ABORT"])
def test_what_failed_leaves_no_current_version(
    stub: MarquezStub, seen: MarquezView, type_: str
) -> None:
    deliver([run_event(type_, outputs=["y"])], stub.url)
    assert (seen.current_version("y"), seen.writers("y")) == (None, [A])


def test_a_version_id_seen_in_a_run_is_unknown_to_the_versions_api(
    stub: MarquezStub, seen: MarquezView
) -> None:
    deliver([run_event("COMPLETE", outputs=["y"])], stub.url)
    (written,) = call("GET", f"{stub.url}/api/v1/jobs/runs/{A}")[1]["outputDatasetVersions"]
    versions = f"/namespaces/{NS}/datasets/y/versions"
    assert seen.status(f"{versions}/{written['datasetVersionId']['version']}") == 404
    assert seen.status(f"{versions}/{seen.current_version('y')}") == 200


# Quality


@pytest.mark.parametrize("kind", ["facets", "inputFacets"])
def test_the_quality_panel_reads_facets_and_input_facets(
    stub: MarquezStub, seen: MarquezView, kind: str
) -> None:
    deliver(
        [run_event("COMPLETE", inputs=[dataset("x", kind, **assertions(fresh=True))])], stub.url
    )
    assert seen.quality("x") == {"id-fresh": True}


def test_the_quality_panel_does_not_read_output_facets(
    stub: MarquezStub, seen: MarquezView
) -> None:
    written = dataset("y", "outputFacets", **assertions(fresh=True))
    deliver([run_event("COMPLETE", outputs=[written])], stub.url)
    assert seen.quality("y") == {}


def test_the_newest_assertions_replace_the_older_whole(
    stub: MarquezStub, seen: MarquezView
) -> None:
    for at, rows in ((1, {"a": True, "b": True}), (2, {"b": False})):
        read = dataset("x", "inputFacets", **assertions(**rows))
        deliver([run_event("COMPLETE", at=at, inputs=[read])], stub.url)
    assert seen.quality("x") == {"id-b": False}


def test_rows_of_one_column_and_text_are_one_row(stub: MarquezStub, seen: MarquezView) -> None:
    rows = [{"column": "id", "assertion": "a", "success": ok} for ok in (False, True)]
    read = dataset("x", "inputFacets", dataQualityAssertions={"assertions": rows})
    deliver([run_event("COMPLETE", inputs=[read])], stub.url)
    assert seen.quality("x") == {"id-a": True}


def test_a_new_version_starts_with_an_empty_panel(stub: MarquezStub, seen: MarquezView) -> None:
    read = dataset("y", "inputFacets", **assertions(a=True))
    deliver([run_event("COMPLETE", A, job="check", inputs=[read])], stub.url)
    deliver([run_event("COMPLETE", B, outputs=["y"])], stub.url)
    assert seen.quality("y") == {}


# What is taken, and with which code


@pytest.mark.parametrize(
    "change",
    [
        {"eventType": "BANANA"},
        {"schemaURL": None},
        {"run": {"runId": "not a uuid"}},
        {"eventType": None},
        {"inputs": None, "outputs": None},
    ],
)
def test_validation_is_loose(stub: MarquezStub, change: Json) -> None:
    body = json.dumps(run_event("START") | change).encode()
    assert call("POST", f"{stub.url}/api/v1/lineage", body) == (201, b"")


@pytest.mark.parametrize("name", ["producer", "eventTime", "job", "run"])
def test_four_fields_must_not_be_null(stub: MarquezStub, name: str) -> None:
    assert post(run_event("START") | {name: None}, stub.url) == 422


def test_an_array_is_an_error_of_the_server(stub: MarquezStub) -> None:
    assert post([run_event("START")], stub.url) == 500


def test_job_and_dataset_events_are_taken(stub: MarquezStub, seen: MarquezView) -> None:
    job = run_event(None, inputs=["x"]) | {"schemaURL": "https://x/#/$defs/JobEvent", "run": None}
    about = {"schemaURL": "https://x/#/$defs/DatasetEvent", "dataset": dataset("z")}
    assert (
        deliver([job, run_event(None) | about | {"job": None, "run": None}], stub.url) == [201] * 2
    )
    assert seen.edges("dag.task") == (["x"], [])
    assert seen.current_version("z")
    assert seen.runs("dag.task") == {}


# Routes


def test_names_are_url_encoded(stub: MarquezStub) -> None:
    name, namespace = "/data/a b+ü%.csv", "s3://bucket:1"
    one = {"namespace": namespace, "name": name}
    deliver([run_event("COMPLETE", inputs=[one])], stub.url)
    at = f"{stub.url}/api/v1/namespaces/{quote(namespace, safe='')}/datasets"
    assert call("GET", f"{at}/{quote(name, safe='')}")[1]["name"] == name
    assert call("GET", f"{at}/{quote(name)}")[0] == 404  # slashes left as they are


def test_the_codes_of_the_routes(stub: MarquezStub, seen: MarquezView) -> None:
    linked = dataset("linked", symlinks={"identifiers": []})
    deliver([run_event("COMPLETE", facets=parent(B), inputs=["x"], outputs=[linked])], stub.url)
    version = seen.current_version("linked")
    codes = {
        f"/namespaces/{NS}/jobs/none": 404,
        f"/namespaces/{NS}/datasets/none": 404,
        f"/jobs/runs/{C}": 404,
        f"/lineage?nodeId=run:{A}": 404,
        "/lineage?nodeId=job:demo:none": 404,
        "/lineage?nodeId=dataset:demo:x": 200,
        f"/namespaces/{NS}/datasets/linked/versions": 200,
        f"/namespaces/{NS}/datasets/linked/versions/{version}": 500,
        "/sources": 500,
        f"/runlineage/upstream?runId={A}": 500,
    }
    assert {path: seen.status(path) for path in codes} == codes
    tags = f"{stub.url}/api/v1/namespaces/{NS}/jobs/%s/tags/red"
    assert [call("POST", tags % name)[0] for name in ("dag", "dag.task")] == [200, 500]


def test_the_graph_goes_as_far_as_asked(stub: MarquezStub, seen: MarquezView) -> None:
    deliver([run_event("COMPLETE", A, job="one", inputs=["x"], outputs=["y"])], stub.url)
    deliver([run_event("COMPLETE", B, job="two", inputs=["y"], outputs=["z"])], stub.url)
    assert ("two", "z") in seen.graph("one")
    nodes = call("GET", f"{stub.url}/api/v1/lineage?nodeId=job:demo:one&depth=1")[1]["graph"]
    assert [node["id"] for node in nodes] == ["dataset:demo:x", "dataset:demo:y", "job:demo:one"]


def test_delete_only_hides(stub: MarquezStub, seen: MarquezView) -> None:
    deliver([run_event("COMPLETE", A)], stub.url)
    assert call("DELETE", f"{stub.url}/api/v1/namespaces/{NS}/jobs/dag.task")[0] == 200
    assert seen.jobs() == []
    deliver([run_event("START", B)], stub.url)
    assert set(seen.runs("dag.task")) == {A, B}


# The switches


def test_everything_received_is_kept_in_order(stub: MarquezStub) -> None:
    stub.fail(503, times=1)
    stub.garble(times=1)
    stub.hang_up(times=1, stored=True)
    sent = [run_event("START", at=at) for at in range(5)]
    assert deliver(sent[:2], stub.url) == [503, 200]
    with pytest.raises(OSError, match="closed"):
        deliver(sent[2:3], stub.url)
    assert deliver(sent[3:], stub.url) == [201, 201]
    assert [one.request.json() for one in stub.received] == sent
    assert [one.status for one in stub.received] == [503, 200, None, 201, 201]
    assert stub.events == sent[2:]


def test_a_stopped_server_refuses_until_it_starts_again(stub: MarquezStub) -> None:
    url = stub.url
    stub.stop()
    with pytest.raises(urllib.error.URLError, match="refused"):
        post(run_event("START"), url)
    stub.start()
    assert (stub.url, post(run_event("START"), url)) == (url, 201)


def test_a_failure_can_last_for_a_time_and_answers_can_be_late(stub: MarquezStub) -> None:
    stub.fail(seconds=0.2)
    stub.delay_seconds = 0.25
    assert post(run_event("START"), stub.url) == 201  # looked at after the delay
    stub.fail()
    stub.delay_seconds = 0
    assert post(run_event("START"), stub.url) == 500
    stub.heal()
    assert post(run_event("START"), stub.url) == 201
