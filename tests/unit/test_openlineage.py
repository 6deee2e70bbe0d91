"""Events of every producer, as the standard allows them, become entries; the rest is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provenance.domain.clock import format_time, parse_time
from airflow_provenance.domain.identity import DagRunKey, DatasetRef, TaskRunKey, WireKey
from airflow_provenance.errors import EventError
from airflow_provenance.formats.openlineage import Entry, read_entry

Json = dict[str, Any]
UUID = "0194abcd-0000-7000-8000-00000000abcd"
SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"


def raw(job_name: str = "j", facets: Json | None = None, **members: Any) -> bytes:
    event = {
        "eventType": "COMPLETE",
        "eventTime": "2026-01-05T06:00:00Z",
        "run": {"runId": UUID, "facets": facets or {}},
        "job": {"namespace": "air", "name": job_name},
        "producer": "https://p",
        "schemaURL": SPEC,
    }
    return json.dumps(event | members).encode()


def entry(*arguments: Any, max_facet_bytes: int = 1 << 20, **members: Any) -> Entry:
    return read_entry("E", raw(*arguments, **members), max_facet_bytes)


def refusal(**members: Any) -> EventError:
    with pytest.raises(EventError) as caught:
        entry(**members)
    return caught.value


# ---- Times --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-05T06:00:00Z", "2026-01-05T06:00:00.000000Z"),
        ("2026-01-05T06:00:00.1Z", "2026-01-05T06:00:00.100000Z"),
        ("2026-01-05T06:00:00.123456789Z", "2026-01-05T06:00:00.123456Z"),
        ("2026-01-05T06:00:00.999999999+00:00", "2026-01-05T06:00:00.999999Z"),
        ("2026-01-05T11:45:00+05:45", "2026-01-05T06:00:00.000000Z"),
        ("2026-01-04T23:00:00-07:00", "2026-01-05T06:00:00.000000Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
    ],
)
def test_times_are_read_to_the_microsecond_whatever_their_zone(text: str, same: str) -> None:
    assert format_time(parse_time(text)) == same
    assert entry(eventTime=text).event_us == parse_time(same)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-01-05T06:00:00", "no_time_zone"),
        ("2026-01-05", "no_time_zone"),
        ("soon", "invalid_event"),
        ("1969-12-31T23:59:59Z", "invalid_event"),
        ("", "invalid_event"),
    ],
)
def test_a_time_that_says_no_instant_is_refused(text: str, reason: str) -> None:
    assert refusal(eventTime=text).reason == reason
    noted = {"airflowProvenance_run": {"endedAt": text or "-"}}
    assert refusal(facets=noted).reason == reason


# ---- Whose run it is ----------------------------------------------------------------------------


def airflow(**task_instance: Any) -> Json:
    return {
        "dag": {"dag_id": "d", "schedule_interval": "@daily"},
        "dagRun": {"run_id": "manual__1", "conf": {"a": [1]}},
        "task": {"task_id": "t", "upstream_task_ids": "['a', 'b']"},
        "taskInstance": {"try_number": 2, **task_instance},
    }


def test_an_event_of_a_task_is_keyed_by_its_try() -> None:
    one = entry("d.t", {"airflow": airflow()})

    assert one.key == TaskRunKey("air", "d", "manual__1", "t", -1, 2)
    assert one.doc is not None
    assert one.doc.upstream is not None
    assert one.doc.upstream[2] == ["a", "b"]
    assert entry("d.t", {"airflow": airflow(map_index=3)}).key == (
        TaskRunKey("air", "d", "manual__1", "t", 3, 2)
    )


def test_an_event_of_a_dag_run_is_keyed_by_airflows_run_id() -> None:
    facet = {"dag": {"dag_id": "d"}, "dagRun": {"run_id": "manual__1"}}

    assert entry("d", {"airflowDagRun": facet}).key == DagRunKey("air", "d", "manual__1")


def test_an_event_of_another_job_is_not_the_tasks_that_it_tells_of() -> None:
    assert entry("d.t.query.1", {"airflow": airflow()}).key == WireKey("air", "d.t.query.1", UUID)
    upper = entry("j", run={"runId": UUID.upper()})
    assert upper.key == WireKey("air", "j", UUID)


def test_an_event_of_spark_names_its_parent_and_its_datasets() -> None:
    parent = {
        "run": {"runId": UUID.upper()},
        "job": {"namespace": "air", "name": "d.t"},
        "root": {"run": {"runId": UUID}, "job": {"namespace": "air", "name": "d"}},
    }
    inputs = [
        {
            "namespace": "s3://lake",
            "name": "orders",
            "facets": {"version": {"datasetVersion": "8421"}, "schema": {"fields": []}},
            "inputFacets": {"dataQualityMetrics": {"rowCount": 3}},
        }
    ]
    outputs = [
        {
            "namespace": "s3://lake",
            "name": "totals",
            "facets": {"lifecycleStateChange": {"lifecycleStateChange": "OVERWRITE"}},
            "outputFacets": {"outputStatistics": {"rowCount": 3}},
        }
    ]

    one = entry("app", {"parent": parent}, inputs=inputs, outputs=outputs)

    assert one.doc is not None
    assert one.doc.parent is not None
    assert one.doc.parent[2] == ("air", "d.t", UUID)
    [read], [written] = one.doc.inputs.values(), one.doc.outputs.values()
    assert read.content_id is not None
    assert read.content_id[2] == "8421"
    assert read.role_facets.keys() == {"dataQualityMetrics"}
    assert written.replaces is not None
    assert written.replaces[2]
    assert set(one.datasets) == {DatasetRef("s3://lake", n) for n in ("orders", "totals")}
    assert one.warnings == []


def test_an_event_of_dbt_keeps_facets_that_nobody_here_knows() -> None:
    facets = {"dbt_version": {"version": "1.10"}, "dbt_node": {"unique_id": "model.shop.totals"}}

    one = entry("shop.totals.build.run", facets, inputs=None, outputs=None)

    assert one.doc is not None
    assert one.doc.run_facets.keys() == facets.keys()
    assert one.warnings == []


def test_flinks_running_events_are_no_end() -> None:
    checkpoint = {"checkpoints": {"completed": 4}}

    one = entry("stream", checkpoint, eventType="RUNNING")

    assert one.doc is not None
    assert (one.event_type, one.doc.terminal, one.doc.first_start_us) == ("RUNNING", None, None)


# ---- Refusals and warnings ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {"job": {"namespace": "air", "name": "a\0b"}},
        {"job": {"namespace": "\0", "name": "a"}},
        {"inputs": [{"namespace": "pg", "name": "a\0b"}]},
        {"facets": {"airflow": {**airflow(), "dagRun": {"run_id": "a\0b"}}}},
        {"facets": {"parent": {"run": {"runId": UUID}, "job": {"namespace": "a", "name": "\0"}}}},
    ],
)
def test_a_name_with_nul_is_refused(members: Json) -> None:
    error = refusal(**members)

    assert error.reason == "invalid_event"
    assert "NUL" in str(error)


def test_a_facet_that_is_null_is_as_if_it_were_not_there() -> None:
    one = entry(facets={"parent": None, "mine": None})

    assert one.doc is not None
    assert (one.doc.run_facets, one.warnings) == ({}, [])


def test_a_facet_over_the_limit_is_left_out_with_a_warning_and_the_raw_event_is_whole() -> None:
    facets = {"mine": {"text": "x" * 100}, "small": {"text": "x"}}

    one = entry(facets=facets, max_facet_bytes=100)

    assert one.doc is not None
    assert one.doc.run_facets.keys() == {"small"}
    assert one.warnings == ["run facet mine left out: 112 bytes"]
    assert json.loads(one.raw)["run"]["facets"] == facets


def test_a_known_facet_of_a_wrong_shape_is_kept_but_not_read() -> None:
    one = entry("d.t", {"airflow": {"dag": "d"}})

    assert isinstance(one.key, WireKey)
    assert one.doc is not None
    assert json.loads(one.doc.run_facets["airflow"][2]) == {"dag": "d"}
    [warning] = one.warnings
    assert "airflow not read" in warning
