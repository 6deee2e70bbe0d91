"""Our facets against their own schemas, which are shipped and never change."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.domain.identity import TaskRef
from airflow_provenance.formats import facets
from tests.support.facet_schemas import own_facet_problems

EXAMPLES: dict[str, dict[str, Any]] = {
    facets.TASK: facets.task_facet(TaskRef("d", "r", "t", -1, 1)),
    facets.RUN: facets.run_facet(
        started_at="2027-01-15T08:00:00.000000Z",
        ended_at="2027-01-15T08:00:01.000000Z",
        state="UP_FOR_RETRY",
        hostname="h",
        consumed_asset_events=[
            facets.asset_event("d", "r", "t", 3),
            facets.asset_event("d", "r", None, None),
        ],
    ),
    facets.MANIFEST: facets.manifest_facet(
        {
            "code": {"dagId": "d", "git": {"commit": "ab" * 20, "dirty": False}},
            "placement": {"mapIndex": -1, "tryNumber": 1, "pid": 7},
        },
        {"code.dagFile": "the DAG file is not in its bundle"},
        ["a==1"],
    ),
    facets.TRUNCATED: facets.truncated_facet(
        [{"path": "$.run.facets.x", "sizeBytes": 9, "sha256": "ab" * 32}]
    ),
    facets.REDACTION: facets.redaction_facet({"literal": 2, "field": 1}),
    facets.GRANULARITY: facets.granularity_facet(
        "run",
        "* * run",
        [{"namespace": "file", "name": "/x", "level": "dataset", "rule": "* file//x dataset"}],
        1,
    ),
    facets.SLA: facets.sla_facet(
        EvaluationChange(
            policy_id="orders-fresh",
            revision="ab" * 6,
            period="shop/r8",
            state="recovered",
            owner="ann",
            observed=7260.0,
            threshold=7200.0,
            unit="s",
            due_us=1_800_000_000_000_000,
            breached_us=1_800_000_000_000_000,
            detected_us=1_800_000_001_000_000,
            recovered_us=1_800_000_060_000_000,
            cause="failed",
            target="dataset:pg/orders",
            seq=7,
        ),
        "freshness",
        [{"namespace": "air", "name": "shop.load", "runId": str(UUID(int=7))}],
    ),
    facets.CONTENT: facets.content_facet(
        digest="ab" * 32,
        size_bytes=0,
        modified_at="2027-01-15T08:00:00Z",
        verified=False,
        reason="changed after the task began",
        format_="csv",
        column_count=10_000,
        note="the schema has the first 1000 of 10000 columns",
    ),
    facets.PARTITION: facets.partition_facet("2013-01"),
    facets.ASSET: facets.asset_facet("delays", "s3://flights/delays.csv", {"rows": 3}, ["monthly"]),
}


def test_there_is_an_example_and_a_schema_of_every_facet() -> None:
    assert set(EXAMPLES) == set(facets.FACET_NAMES)
    for name in facets.FACET_NAMES:
        schema = facets.load_schema(name)
        assert schema["$id"] == facets.schema_id(name)
        assert list(schema["properties"]) == [name]
        assert facets.schema_url(name) == f"{schema['$id']}#/$defs/{next(iter(schema['$defs']))}"


@pytest.mark.parametrize("name", facets.FACET_NAMES)
def test_what_we_build_is_valid(name: str) -> None:
    assert own_facet_problems(name, EXAMPLES[name]) == []


def test_members_that_are_not_known_are_absent() -> None:
    assert set(facets.run_facet()) == {"_producer", "_schemaURL"}
    assert own_facet_problems(facets.RUN, facets.run_facet()) == []


@pytest.mark.parametrize(
    ("name", "member", "value"),
    [
        (facets.TASK, "mapIndex", "-1"),
        (facets.TASK, "taskId", None),
        (facets.RUN, "state", "DONE"),
        (facets.RUN, "startedAt", "yesterday"),
        (facets.MANIFEST, "hash", "ABC"),
        (facets.MANIFEST, "code", None),
        (facets.CONTENT, "digest", "ABC"),
        (facets.CONTENT, "verified", None),
        (facets.CONTENT, "sizeBytes", -1),
        (facets.CONTENT, "rowCount", -1),
        (facets.CONTENT, "algorithm", "md5"),
        (facets.CONTENT, "algorithm", None),
        (facets.TASK, "ioOnTask", "yes"),
        (facets.PARTITION, "key", ""),
        (facets.SLA, "state", "late"),
        (facets.SLA, "transition", 0),
        (facets.SLA, "dueAt", "yesterday"),
        (facets.SLA, "runs", [{"runId": "r"}]),
        (facets.SLA, "policy", None),
        (facets.TRUNCATED, "facets", []),
        (facets.REDACTION, "total", 0),
        (facets.REDACTION, "byRule", {"literal": 1}),
        (facets.GRANULARITY, "level", "partition"),
        (facets.GRANULARITY, "datasets", [{"namespace": "file", "name": "/x"}]),
        (facets.TASK, "_producer", None),
    ],
)
def test_what_is_wrong_is_invalid(name: str, member: str, value: object) -> None:
    wrong = {**EXAMPLES[name], member: value}
    if value is None:
        del wrong[member]

    assert own_facet_problems(name, wrong)


def test_the_schemas_are_as_published() -> None:
    # A published schema never changes: a new one gets a new version in its URN.
    members = {
        name: sorted(
            next(iter(facets.load_schema(name)["$defs"].values()))["allOf"][1]["properties"]
        )
        for name in facets.FACET_NAMES
    }
    assert json.loads(json.dumps(members)) == {
        "airflowProvenance_task": ["dagId", "ioOnTask", "mapIndex", "runId", "taskId", "tryNumber"],
        "airflowProvenance_run": [
            "consumedAssetEvents",
            "endedAt",
            "hostname",
            "retryOf",
            "startedAt",
            "state",
            "supersedes",
        ],
        "airflowProvenance_manifest": [
            "absent",
            "code",
            "dependencies",
            "environment",
            "hash",
            "parameters",
            "placement",
            "volatile",
        ],
        "airflowProvenance_truncated": ["facets"],
        "airflowProvenance_redaction": ["byRule", "total"],
        "airflowProvenance_granularity": ["datasets", "leftOut", "level", "rule"],
        "airflowProvenance_sla": [
            *("breachedAt", "cause", "detectedAt", "dueAt", "kind", "lateBySeconds", "observed"),
            *("owner", "period", "policy", "recoveredAt", "revision", "runs", "severity", "state"),
            *("target", "threshold", "transition", "unit"),
        ],
        "airflowProvenance_content": [
            "algorithm",
            "columnCount",
            "digest",
            "format",
            "modifiedAt",
            "note",
            "reason",
            "rowCount",
            "sizeBytes",
            "verified",
        ],
        "airflowProvenance_asset": ["aliases", "extra", "name", "uri"],
        "airflowProvenance_partition": ["key"],
    }


def test_the_content_of_a_table_is_valid() -> None:
    facet = facets.content_facet(
        algorithm="sha256-rows",
        digest="ab" * 24,
        verified=True,
        format_="table",
        column_count=3,
        row_count=0,
    )
    assert own_facet_problems(facets.CONTENT, facet) == []
    assert own_facet_problems(facets.CONTENT, {**facet, "digest": "ab" * 25})
