"""Data that is empty, huge, changing, missing, forbidden, of a wrong encoding or very wide.

However a task told of it, declared or by `observe`, as what it read or wrote: the task's events
have a reason, and nothing fails.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from airflow_provenance import observe
from airflow_provenance.capture import hook_lineage, listener
from airflow_provenance.emit import failure, notes, spool
from airflow_provenance.emit.observed import MOST_COLUMNS
from airflow_provenance.emit.transport import prepare
from airflow_provenance.formats import facets
from tests.support.facet_schemas import openlineage_validator, own_facet_problems, own_facets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Json = dict[str, Any]

GIGABYTE = 1 << 30
# Not `..._SECONDS` of a test machine that is busy: long enough to hash what is small.
LONG, SHORT = "60", "0.2"
WAYS = ("declared", "observed")
SIDES = ("inputs", "outputs")


@pytest.fixture(autouse=True)
def task_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Any:
    monkeypatch.setattr(spool, "_current", None)
    monkeypatch.setattr(notes, "_current", None)
    monkeypatch.setattr(failure, "_last_line", None)
    monkeypatch.setattr(hook_lineage, "_collector", lambda: None)
    monkeypatch.setenv("AIRFLOW__PROVENANCE__SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("AIRFLOW__PROVENANCE__HASH_TIMEOUT_SECONDS", LONG)
    yield
    assert not [line for line in caplog.messages if "Provenance is not recorded" in line]


def task(way: str, side: str, path: Path) -> SimpleNamespace:
    """A task instance in its own process; one that declares the file, or none."""
    declared = [SimpleNamespace(uri=f"file://{path}")] if way == "declared" else []
    # Inputs are older than the task; outputs are written by it.
    began_at = time.time() + (60 if side == "inputs" else -60)
    return SimpleNamespace(
        dag_id="flights",
        run_id="manual__1",
        task_id="ingest",
        map_index=-1,
        try_number=1,
        hostname="worker-1",
        state="running",
        start_date=datetime.fromtimestamp(began_at, UTC),
        end_date=datetime.fromtimestamp(began_at + 120, UTC),
        task=SimpleNamespace(
            inlets=declared if side == "inputs" else [],
            outlets=declared if side == "outputs" else [],
        ),
        get_template_context=lambda: {"triggering_asset_events": {}},
    )


def seen(
    way: str, side: str, path: Path, *, before_end: Callable[[], object] = lambda: None, **said: Any
) -> Json:
    """Run a task that reads or writes the file; return the dataset in its last event."""
    instance = task(way, side, path)
    listener.on_task_instance_running(None, instance)
    if way == "observed":
        (observe.input if side == "inputs" else observe.output)(path, **said)
    before_end()
    listener.on_task_instance_success("running", instance)
    event: Json = json.loads(prepare(official_event(side, path)))
    validate = openlineage_validator()
    assert validate is None or validate(event) == []
    ours = [*own_facets(event)]
    assert [problem for name, facet in ours for problem in own_facet_problems(name, facet)] == []
    (dataset,) = event[side]
    return dict(dataset)


def official_event(side: str, path: Path) -> Json:
    return {
        "eventType": "COMPLETE",
        "eventTime": "2027-01-15T08:00:00Z",
        "producer": "https://example.org",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": "01890000-0000-7000-8000-000000000000", "facets": {}},
        "job": {"namespace": "default", "name": "flights.ingest"},
        "inputs": [],
        "outputs": [],
        side: [{"namespace": "file", "name": str(path)}],
    }


def content(dataset: Json) -> Json:
    return dict(dataset["facets"][facets.CONTENT])


def rows(dataset: Json, side: str) -> int | None:
    slot = side.removesuffix("s")
    statistics = (dataset.get(f"{slot}Facets") or {}).get(f"{slot}Statistics") or {}
    return statistics.get("rowCount")


both = pytest.mark.parametrize("way", WAYS)
sides = pytest.mark.parametrize("side", SIDES)


@both
@sides
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet", "x.bin"])
def test_an_empty_file_has_a_version_and_no_columns(
    name: str, way: str, side: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.touch()

    dataset = seen(way, side, path)

    digest = hashlib.sha256(b"").hexdigest()
    assert dataset["facets"]["version"]["datasetVersion"] == f"sha256:{digest}"
    assert content(dataset)["verified"], content(dataset)
    assert "schema" not in dataset["facets"]
    assert content(dataset).get("note") or name == "x.bin"


@both
@sides
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet", "x.bin"])
def test_a_gigabyte_is_hashed_or_the_reason_is_the_time_and_the_task_is_not_held(
    name: str, way: str, side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__HASH_TIMEOUT_SECONDS", SHORT)
    path = tmp_path / name
    path.touch()
    os.truncate(path, GIGABYTE)
    began = time.monotonic()

    found = content(seen(way, side, path))

    assert time.monotonic() - began < 20
    assert found.get("digest") or "hash_timeout_seconds" in found["reason"]


@both
@sides
def test_a_file_that_changes_while_it_is_looked_at_has_no_version(
    way: str, side: str, tmp_path: Path
) -> None:
    path, stop = tmp_path / "x.csv", threading.Event()
    path.write_bytes(b"a,b\n" + b"1,2\n" * 4_000_000)

    def change() -> None:
        with path.open("ab") as file:
            while not stop.is_set():
                file.write(b"3,4\n")
                file.flush()

    writer = threading.Thread(target=change)
    writer.start()
    try:
        dataset = seen(way, side, path)
    finally:
        stop.set()
        writer.join()

    assert content(dataset)["reason"] == "changed while it was hashed"
    assert not content(dataset)["verified"]
    assert "version" not in dataset["facets"]
    assert rows(dataset, side) is None


@both
@sides
def test_a_missing_file_is_missing(way: str, side: str, tmp_path: Path) -> None:
    dataset = seen(way, side, tmp_path / "none.csv")

    assert content(dataset)["reason"] == "no such file"
    assert "version" not in dataset["facets"]


@both
@sides
def test_only_an_output_that_the_task_told_of_and_that_is_no_file_is_warned_of(
    way: str, side: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen(way, side, tmp_path / "none.csv")

    said = [line for line in caplog.messages if "no such file" in line]
    path = f"{tmp_path}/none.csv"
    line = f"Provenance: observe.output: no such file at the end of the task: {path}. "
    is_told = (way, side) == ("observed", "outputs")
    assert said == ([f"{line}The task is not affected."] if is_told else [])


@both
@sides
def test_a_file_that_is_gone_before_the_task_ends_is_missing(
    way: str, side: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a\n1\n")

    assert content(seen(way, side, path, before_end=path.unlink))["reason"] == "no such file"


@both
@sides
def test_a_file_without_rights_is_not_readable(way: str, side: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a\n1\n")
    path.chmod(0)

    def look() -> str:
        return str(content(seen(way, side, path, before_end=become_nobody))["reason"])

    assert in_a_child(look) == "not readable"


def become_nobody() -> None:
    """Give up root's rights, which no mode of a file limits; the spool is open by now."""
    if os.geteuid() == 0:
        os.seteuid(65534)


def in_a_child(ask: Callable[[], str]) -> str:
    """Return what a process of its own answers: rights that are given up do not come back."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = ask()
        except BaseException as error:  # noqa: BLE001 - told to the parent, which fails
            answer = repr(error)
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as told:
        return told.read()


@both
@sides
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp037"])
def test_a_wrong_encoding_is_a_note_beside_the_version(
    encoding: str, name: str, way: str, side: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    raw = '{"größe": "Zürich"}\n'.encode(encoding)
    path.write_bytes(raw)

    dataset = seen(way, side, path)

    assert content(dataset)["digest"] == hashlib.sha256(raw).hexdigest()
    assert "UTF-" in content(dataset)["note"]
    assert "schema" not in dataset["facets"]
    assert rows(dataset, side) is None
    assert "rich" not in json.dumps(dataset)


def wide_csv(path: Path, names: list[str]) -> None:
    path.write_text(f"{','.join(names)}\n{',' * (len(names) - 1)}\n")


def wide_jsonl(path: Path, names: list[str]) -> None:
    path.write_text(f"{json.dumps(dict.fromkeys(names))}\n")


def wide_parquet(path: Path, names: list[str]) -> None:
    pl.DataFrame({name: [1] for name in names}).write_parquet(path)


@both
@sides
@pytest.mark.parametrize(
    ("name", "write"),
    [("x.csv", wide_csv), ("x.jsonl", wide_jsonl), ("x.parquet", wide_parquet)],
)
def test_of_ten_thousand_columns_the_first_are_told_and_how_many_there_are(
    name: str, write: Callable[[Path, list[str]], None], way: str, side: str, tmp_path: Path
) -> None:
    path, names = tmp_path / name, [f"column_{number:05}" for number in range(10_000)]
    write(path, names)

    dataset = seen(way, side, path)

    fields = [one["name"] for one in dataset["facets"]["schema"]["fields"]]
    assert fields == names[:MOST_COLUMNS]
    assert content(dataset)["columnCount"] == 10_000
    assert "1000 of 10000" in content(dataset)["note"]
    assert rows(dataset, side) == 1


@sides
def test_of_a_data_frame_of_ten_thousand_columns_the_first_are_told(
    side: str, tmp_path: Path
) -> None:
    names = [f"column_{number:05}" for number in range(10_000)]
    df = pl.DataFrame({name: [1, 2] for name in names})

    dataset = seen("observed", side, tmp_path / "none.csv", data=df)

    fields = [one["name"] for one in dataset["facets"]["schema"]["fields"]]
    assert fields == names[:MOST_COLUMNS]
    assert rows(dataset, side) == 2
