"""Which datasets a task declared or touched, with Airflow's own assets and events."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.api.datamodels._generated import AssetEventDagRunReference
from airflow.sdk.execution_time.comms import AssetEventDagRunReferenceResult
from airflow.sdk.execution_time.context import OutletEventAccessors, TriggeringAssetEventsAccessor
from openlineage.client.event_v2 import Dataset

from airflow_provenance.capture import assets, hook_lineage
from airflow_provenance.domain.identity import DatasetRef, TaskRef
from airflow_provenance.emit.notes import AssetNotes, TaskRunNotes
from airflow_provenance.emit.observed import Observation

S3 = Asset(uri="s3://lake/delays.csv", name="delays")
DELAYS = DatasetRef("s3://lake", "delays.csv")
ORDERS = DatasetRef("airflow://flights", "orders")


@pytest.fixture(autouse=True)
def nothing_collected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What hooks collected: the test adds to it."""
    collected = hook_lineage.Collected([], [], [])
    monkeypatch.setattr(hook_lineage, "collected", lambda: collected)
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__NAMESPACE", "flights")
    return [collected]


@pytest.fixture
def noted() -> TaskRunNotes:
    return TaskRunNotes(TaskRef("flights", "manual__1", "load", -1, 1))


def task_instance(inlets: Any = (), outlets: Any = (), **context: Any) -> SimpleNamespace:
    known = {"outlet_events": OutletEventAccessors(), "triggering_asset_events": {}, **context}
    return SimpleNamespace(
        task=SimpleNamespace(inlets=[*inlets], outlets=[*outlets]),
        get_template_context=lambda: known,
    )


def triggered_by(asset: Asset, *events: tuple[str | None, dict[str, Any]]) -> Any:
    return TriggeringAssetEventsAccessor.build(
        AssetEventDagRunReferenceResult.from_asset_event_dag_run_reference(
            AssetEventDagRunReference.model_validate(
                {
                    "asset": {"name": asset.name, "uri": asset.uri, "extra": {}},
                    "extra": extra,
                    "source_task_id": "write",
                    "source_dag_id": "up",
                    "source_run_id": "r1",
                    "source_map_index": -1,
                    "source_aliases": [],
                    "timestamp": datetime(2027, 1, 15, tzinfo=UTC),
                    "partition_key": key,
                }
            )
        )
        for key, extra in events
    )


def test_what_is_declared_is_known_when_the_task_begins(noted: TaskRunNotes) -> None:
    declared = task_instance([Asset("orders")], [S3, Asset(uri="file:///data/x.csv", name="x")])

    files = assets.note_declared(noted, declared)

    assert noted.asset_inputs == {ORDERS: AssetNotes("orders", "orders")}
    assert noted.asset_outputs == {
        DELAYS: AssetNotes("delays", "s3://lake/delays.csv"),
        DatasetRef("file", "/data/x.csv"): AssetNotes("x", "file:///data/x.csv"),
    }
    assert files.outputs == {DatasetRef("file", "/data/x.csv"): Path("/data/x.csv")}
    assert files.inputs == {}


def test_what_hooks_collected_does_not_replace_what_is_declared(
    noted: TaskRunNotes, nothing_collected: list[Any]
) -> None:
    nothing_collected[0].outputs.append(Asset("file:///data/touched.csv"))

    files = assets.note_touched(noted, task_instance(outlets=[S3]))

    touched = DatasetRef("file", "/data/touched.csv")
    # A file that was touched is no asset that Airflow knows.
    assert noted.asset_outputs == {DELAYS: AssetNotes("delays", S3.uri), touched: None}
    assert set(files.outputs) == {touched}


def test_a_combination_of_assets_is_all_of_them(noted: TaskRunNotes) -> None:
    assets.note_declared(noted, task_instance([Asset("orders") | (S3 & Asset("s3://lake/b"))]))

    assert set(noted.asset_inputs) == {ORDERS, DELAYS, DatasetRef("s3://lake", "b")}


def test_a_dataset_of_openlineage_keeps_its_name_and_what_is_none_costs_nothing(
    noted: TaskRunNotes,
) -> None:
    nothing = [object(), SimpleNamespace(name="no uri"), Asset.ref(name="unknown")]

    assets.note_declared(noted, task_instance([Dataset("db://host", "a.b"), *nothing, S3]))

    assert noted.asset_inputs == {
        DatasetRef("db://host", "a.b"): None,
        DELAYS: AssetNotes("delays", S3.uri),
    }


def test_the_extra_of_an_assets_event_is_kept(noted: TaskRunNotes) -> None:
    events = OutletEventAccessors()
    events[S3].extra = {"rows": 3}

    assets.note_touched(noted, task_instance(outlets=[S3], outlet_events=events))

    assert noted.asset_outputs == {DELAYS: AssetNotes("delays", S3.uri, {"rows": 3})}


def test_what_is_written_through_an_alias_is_an_output(noted: TaskRunNotes) -> None:
    events = OutletEventAccessors()
    events[AssetAlias("monthly")].add(S3, extra={"month": "2013-01"})

    assets.note_touched(noted, task_instance(outlets=[AssetAlias("monthly")], outlet_events=events))

    assert noted.asset_outputs == {
        DELAYS: AssetNotes("delays", S3.uri, {"month": "2013-01"}, ["monthly"])
    }


@pytest.mark.parametrize(
    ("own_keys", "run_key", "expected"),
    [
        ([], None, []),
        ([], "2013-01", ["2013-01"]),
        (["a", "b"], None, ["a", "b"]),
        (["a"], "2013-01", ["a"]),
    ],
)
def test_the_partitions_of_an_output_are_those_of_its_event_else_of_the_dag_run(
    noted: TaskRunNotes, own_keys: list[str], run_key: str | None, expected: list[str]
) -> None:
    events = OutletEventAccessors()
    events[S3].add_partitions(own_keys)
    run = SimpleNamespace(partition_key=run_key)

    assets.note_touched(noted, task_instance(outlets=[S3], outlet_events=events, dag_run=run))

    assert [key for _, key in noted.observed.outputs] == expected


def test_a_file_that_was_merely_touched_has_no_partition(
    noted: TaskRunNotes, nothing_collected: list[Any]
) -> None:
    nothing_collected[0].outputs.append(Asset("file:///data/touched.csv"))

    assets.note_touched(noted, task_instance(dag_run=SimpleNamespace(partition_key="2013-01")))

    assert noted.observed.outputs == {}


def test_what_the_task_says_of_the_whole_holds_for_its_one_partition(noted: TaskRunNotes) -> None:
    noted.observed.outputs[DELAYS, None] = Observation(rows=5, replaces=True)
    run = SimpleNamespace(partition_key="2013-01")

    assets.note_touched(noted, task_instance(outlets=[S3], dag_run=run))

    assert noted.observed.outputs == {
        (DELAYS, "2013-01"): Observation("2013-01", rows=5, replaces=True)
    }


def test_what_the_task_says_of_partitions_comes_first(noted: TaskRunNotes) -> None:
    noted.observed.outputs[DELAYS, "mine"] = Observation("mine", rows=5)
    run = SimpleNamespace(partition_key="2013-01")

    assets.note_touched(noted, task_instance(outlets=[S3], dag_run=run))

    assert [key for _, key in noted.observed.outputs] == ["mine"]


def test_an_inlet_that_triggered_the_run_has_the_partitions_and_extra_of_those_events(
    noted: TaskRunNotes,
) -> None:
    events = triggered_by(S3, ("2013-01", {"rows": 3}), ("2013-02", {"rows": 4}))

    assets.note_touched(noted, task_instance([S3], triggering_asset_events=events))

    assert [key for _, key in noted.observed.inputs] == ["2013-01", "2013-02"]
    assert noted.asset_inputs == {DELAYS: AssetNotes("delays", S3.uri, {"rows": 4})}


def test_what_triggered_the_run_is_no_input_of_a_task_that_does_not_say_so(
    noted: TaskRunNotes,
) -> None:
    assets.note_touched(
        noted, task_instance(triggering_asset_events=triggered_by(S3, ("2013-01", {})))
    )

    assert (noted.asset_inputs, noted.observed.inputs) == ({}, {})
