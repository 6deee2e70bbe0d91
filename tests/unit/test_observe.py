"""What a task says of its data, where it stands in the event, and that it never harms the task."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import airflow_provenance
from airflow_provenance import observe
from airflow_provenance.capture import asset_names
from airflow_provenance.capture.asset_names import name_asset
from airflow_provenance.domain.identity import DatasetRef, TaskRef
from airflow_provenance.emit import notes
from airflow_provenance.emit.enrich import enrich
from airflow_provenance.emit.notes import Content, TaskRunNotes
from airflow_provenance.emit.observed import Column, Structure
from airflow_provenance.formats import facets
from airflow_provenance.formats.facets import standard
from airflow_provenance.formats.openlineage import read_entry
from tests.support.facet_schemas import openlineage_validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLIGHTS, DELAYS = "s3://raw/flights", "s3://out/delays"


@pytest.fixture(autouse=True)
def no_converters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asset_names, "_converted", lambda _: None)


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskRunNotes]:
    noted = TaskRunNotes(TaskRef("flights_month", "manual__1", "ingest", -1, 1))
    monkeypatch.setattr(notes, "_current", noted)
    return noted


def event(job: str = "flights_month.ingest", **sides: Any) -> dict[str, Any]:
    return {
        "eventType": "COMPLETE",
        "eventTime": "2027-01-15T08:00:00Z",
        "producer": "https://example.org",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": "01890000-0000-7000-8000-000000000000"},
        "job": {"namespace": "default", "name": job},
        **sides,
    }


def plain(facet: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facet.items() if not key.startswith("_")}


def enriched(noted: TaskRunNotes, **sides: Any) -> dict[str, Any]:
    """The event with what was said, which is valid and changes no more when it passes again."""
    found = enrich(event(**sides), noted)
    validate = openlineage_validator()
    assert validate is None or validate(found) == []
    assert enrich(found, noted) == found
    return found


def test_it_is_a_public_name_that_is_loaded_when_asked_for() -> None:
    code = (
        "import sys, airflow_provenance as a; m = 'airflow_provenance.capture.observe'\n"
        "assert m not in sys.modules; a.observe.output('x'); assert m in sys.modules\n"
        "assert not {'airflow', 'sqlalchemy', 'narwhals', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "observe" in airflow_provenance.__all__
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = airflow_provenance.nothing_like_it  # type: ignore[attr-defined]


def test_outside_a_task_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notes, "_current", None)

    observe.input(FLIGHTS, data=object())
    observe.output(object())
    observe.check(FLIGHTS, "any", passed="bad")  # type: ignore[arg-type]

    assert caplog.records == []


def test_what_is_only_said_is_added_to_the_tasks_own_event(noted: TaskRunNotes) -> None:
    observe.input(FLIGHTS, version="etag-1", rows=336_776)
    observe.output(DELAYS, rows=12, replaces=True)

    found = enriched(noted)

    (read,), (written,) = found["inputs"], found["outputs"]
    assert (read["namespace"], read["name"]) == ("s3://raw", "flights")
    assert plain(read["facets"]["version"]) == {"datasetVersion": "etag-1"}
    assert plain(read["inputFacets"]["inputStatistics"]) == {"rowCount": 336_776}
    assert (written["namespace"], written["name"]) == ("s3://out", "delays")
    assert plain(written["facets"][standard.LIFECYCLE]) == {"lifecycleStateChange": "OVERWRITE"}
    assert plain(written["outputFacets"]["outputStatistics"]) == {"rowCount": 12}
    assert "inputs" not in enrich(event("flights_month.ingest.query.1"), noted)


def test_what_the_producer_said_stays(noted: TaskRunNotes) -> None:
    said = {"_producer": "https://example.org", "_schemaURL": "https://example.org/x.json"}
    theirs = {
        "namespace": "s3://out",
        "name": "delays",
        "facets": {
            "version": {**said, "datasetVersion": "snapshot-7"},
            "schema": {**said, "fields": [{"name": "theirs"}]},
        },
        "outputFacets": {"outputStatistics": {**said, "rowCount": 7}},
    }
    observe.output(DELAYS, data=[{"ours": 1}], version="ours", rows=1, replaces=True)

    (written,) = enriched(noted, outputs=[theirs])["outputs"]

    assert written["facets"] == {
        **theirs["facets"],
        standard.LIFECYCLE: written["facets"][standard.LIFECYCLE],
    }
    assert written["outputFacets"] == theirs["outputFacets"]


def test_each_partition_is_an_output_of_its_own(noted: TaskRunNotes) -> None:
    observe.output(DELAYS, partition="2013-01", rows=1)
    observe.output(DELAYS, partition="2013-02", rows=2)
    observe.output(DELAYS, partition="2013-02", version="later")

    outputs = enriched(noted)["outputs"]

    assert [
        (
            one["facets"][facets.PARTITION]["key"],
            one["outputFacets"]["outputStatistics"]["rowCount"],
            (one["facets"].get("version") or {}).get("datasetVersion"),
        )
        for one in outputs
    ] == [("2013-01", 1, None), ("2013-02", 2, "later")]


def test_it_reaches_what_the_store_is_told(noted: TaskRunNotes) -> None:
    import msgspec

    observe.output(DELAYS, replaces=True, partition="2013-01", version="v1")

    entry = read_entry("E", msgspec.json.encode(enriched(noted)), 1 << 20)

    assert entry.warnings == []
    assert entry.doc is not None
    (io,) = entry.doc.outputs.values()
    assert (io.partition, io.content_id[2], io.replaces[2]) == ("2013-01", "v1", True)  # type: ignore[index]


def test_what_a_file_holds_is_told_unless_the_task_says_otherwise(noted: TaskRunNotes) -> None:
    path = "/data/flights.csv"
    columns = (Column("carrier"), Column("dest", "int64"))
    structure = Structure("csv", columns, 2, 12, note="a note")
    noted.outputs[DatasetRef("file", path)] = Content(True, "ab" * 32, 99, 1, None, structure)
    observe.output(path)

    (written,) = enriched(noted)["outputs"]
    assert plain(written["outputFacets"]["outputStatistics"]) == {"rowCount": 12, "size": 99}
    assert plain(written["facets"]["schema"]) == {
        "fields": [{"name": "carrier"}, {"name": "dest", "type": "int64"}]
    }
    content = plain(written["facets"][facets.CONTENT])
    assert (content["format"], content["columnCount"], content["note"]) == ("csv", 2, "a note")
    assert written["facets"]["version"]["datasetVersion"] == f"sha256:{'ab' * 32}"

    observe.output(path, rows=5, version="mine", data=[{"mine": 1}])
    (written,) = enriched(noted)["outputs"]
    assert plain(written["outputFacets"]["outputStatistics"]) == {"rowCount": 5, "size": 99}
    assert written["facets"]["version"]["datasetVersion"] == "mine"
    assert written["facets"]["schema"]["fields"] == [{"name": "mine"}]


def test_a_content_that_may_be_anothers_says_nothing_of_how_much_was_read(
    noted: TaskRunNotes,
) -> None:
    noted.inputs[DatasetRef("file", "/data/x")] = Content(False, "ab" * 32, 99, 1, "changed")
    observe.input("/data/x")

    (read,) = enriched(noted)["inputs"]

    assert "inputFacets" not in read


def test_a_check_stands_where_the_task_wrote_else_where_it_read(noted: TaskRunNotes) -> None:
    observe.check(FLIGHTS, "is_fresh", passed=True)
    observe.check(DELAYS, "no_nulls", passed=True, column="carrier")
    observe.check(DELAYS, "no_nulls", passed=False, column="carrier", failed_rows=3)
    observe.output(DELAYS)

    found = enriched(noted)

    (read,), (written,) = found["inputs"], found["outputs"]
    assert read["inputFacets"][standard.ASSERTIONS]["assertions"] == [
        {"assertion": "is_fresh", "success": True, "severity": "error"}
    ]
    assert written["facets"][standard.ASSERTIONS]["assertions"] == [
        {
            "assertion": "no_nulls",
            "success": False,
            "column": "carrier",
            "severity": "error",
            "params": {"failedRows": 3},
        }
    ]


def test_checks_of_the_producer_are_kept_beside_ours(noted: TaskRunNotes) -> None:
    theirs = {"assertion": "theirs", "success": True}
    facet = standard.assertions_facet([theirs])
    dataset = {
        "namespace": "s3://raw",
        "name": "flights",
        "inputFacets": {"dataQualityAssertions": facet},
    }
    observe.check(FLIGHTS, "ours", passed=True)

    (read,) = enriched(noted, inputs=[dataset])["inputs"]

    kept, ours = read["inputFacets"][standard.ASSERTIONS]["assertions"]
    assert (kept, ours["assertion"]) == (theirs, "ours")


def frame_of(library: str) -> Any:
    values = {"carrier": ["UA", "AA"], "flights": [1, 2]}
    if library == "records":
        return [{"carrier": "UA", "flights": 1}, {"carrier": "AA", "flights": 2}]
    if library == "pyarrow":
        return pa.table(values)
    frame = pl.DataFrame(values)
    return frame.lazy() if library == "lazy" else frame


@pytest.mark.parametrize(
    ("library", "rows", "types"),
    [
        ("polars", 2, ["String", "Int64"]),
        ("pyarrow", 2, ["String", "Int64"]),
        ("lazy", None, ["String", "Int64"]),
        ("records", 2, [None, None]),
    ],
)
def test_data_tells_columns_and_rows(
    library: str, rows: int | None, types: list[str | None], noted: TaskRunNotes
) -> None:
    observe.input(FLIGHTS, data=frame_of(library))

    (read,) = enriched(noted)["inputs"]

    fields = [(one["name"], one.get("type")) for one in read["facets"]["schema"]["fields"]]
    assert fields == list(zip(["carrier", "flights"], types, strict=True))
    statistics = read.get("inputFacets", {}).get("inputStatistics", {})
    assert statistics.get("rowCount") == rows


def test_without_narwhals_a_dataframe_is_left_out_with_advice(
    noted: TaskRunNotes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "narwhals", None)

    observe.input(FLIGHTS, data=SimpleNamespace(), rows=3)

    (line,) = caplog.messages
    assert "airflow-provenance[dataframes]" in line
    (read,) = enriched(noted)["inputs"]
    assert read["inputFacets"]["inputStatistics"]["rowCount"] == 3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: observe.output(5), "a int is no asset"),
        (lambda: observe.output(None), "a NoneType is no asset"),
        (lambda: observe.input("flights"), "'flights' is no URI and no absolute path: give /data"),
        (lambda: observe.input("file://["), "no URI|Invalid IPv6"),
        (lambda: observe.input(), "asset"),  # type: ignore[call-arg]
        (lambda: observe.output(DELAYS, row=1), "it takes asset, data, version, rows"),  # type: ignore[call-arg]
        (
            lambda: observe.output(DELAYS, rows=-1),
            "rows is left out: -1 is no number of rows: give a whole number, 0",
        ),
        (
            lambda: observe.output(DELAYS, rows="many"),
            "rows is left out: 'many' is no number of rows",
        ),  # type: ignore[arg-type]
        (lambda: observe.output(DELAYS, version=1.5), "version is left out: 1.5"),  # type: ignore[arg-type]
        (lambda: observe.output(DELAYS, partition=""), "partition is left out: .* give one"),
        (
            lambda: observe.output(DELAYS, replaces="no"),
            "replaces is left out: 'no' is neither True nor False",
        ),  # type: ignore[arg-type]
        (
            lambda: observe.output(DELAYS, data=object()),
            "data is left out: .* no dataframe|narwhals",
        ),
        (lambda: observe.check(DELAYS, "x", passed="yes"), "left out: passed: 'yes' is neither"),  # type: ignore[arg-type]
        (lambda: observe.check(DELAYS, "", passed=True), "left out: name: '' is no text"),
        (lambda: observe.check(DELAYS, "x", passed=True, severity="fatal"), "no severity"),
    ],
)
def test_a_bad_argument_is_one_warning_however_often_it_is_given(
    call: Callable[[], None], words: str, noted: TaskRunNotes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        call()

    (line,) = caplog.messages
    assert line.startswith("Provenance: ")
    assert line.endswith("The task is not affected.")
    assert any(re.search(one, line) for one in words.split("|")), line
    enriched(noted)


def test_truth_and_numbers_of_numpy_are_understood(noted: TaskRunNotes) -> None:

    observe.check(FLIGHTS, "x", passed=np.bool_(False), failed_rows=np.int64(3))

    (read,) = enriched(noted)["inputs"]
    (outcome,) = read["inputFacets"][standard.ASSERTIONS]["assertions"]
    assert (outcome["success"], outcome["params"]) == (False, {"failedRows": 3})


@pytest.mark.parametrize(
    ("asset", "ref", "path"),
    [
        ("file:///data/x.csv", DatasetRef("file", "/data/x.csv"), Path("/data/x.csv")),
        ("/data/x.csv", DatasetRef("file", "/data/x.csv"), Path("/data/x.csv")),
        (PurePosixPath("/data/../x y.csv"), DatasetRef("file", "/x y.csv"), Path("/x y.csv")),
        (SimpleNamespace(uri="file:///x"), DatasetRef("file", "/x"), Path("/x")),
        ("s3://bucket/a/b.csv", DatasetRef("s3://bucket", "a/b.csv"), None),
        ("s3://conn@bucket/a", DatasetRef("s3://bucket", "a"), None),
        ("postgres://u:p@h:5/db/s/t?x=1", DatasetRef("postgres://h:5", "db/s/t"), None),
    ],
)
def test_an_asset_is_named_as_the_official_provider_names_it(
    asset: object, ref: DatasetRef, path: Path | None
) -> None:
    assert name_asset(asset) == (ref, path)


def test_an_object_storage_path_is_its_uri(tmp_path: Path) -> None:
    from airflow.sdk import ObjectStoragePath

    path = tmp_path / "x.csv"

    assert name_asset(ObjectStoragePath(f"file://{path}")) == (DatasetRef("file", str(path)), path)


def test_a_local_file_that_was_named_is_looked_at_when_the_task_ends(noted: TaskRunNotes) -> None:
    observe.input("/data/read.csv")
    observe.output("/data/written.csv")
    observe.check("/data/checked.csv", "x", passed=True)

    assert list(noted.observed.input_files.values()) == [Path("/data/read.csv")]
    assert list(noted.observed.output_files.values()) == [Path("/data/written.csv")]
