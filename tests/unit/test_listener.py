"""What the listener notes in each of Airflow's processes, and that it never fails its host."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance import settings
from airflow_provenance.capture import hook_lineage, listener, note_lines, task_notes
from airflow_provenance.domain.clock import FixedClock
from airflow_provenance.domain.identity import DatasetRef, TaskRef
from airflow_provenance.emit import failure, notes, spool
from airflow_provenance.emit.redact import Redactor
from airflow_provenance.formats.notes import (
    DagRunNote,
    Note,
    StateOverrideNote,
    TaskRunNote,
    decode_note,
)
from airflow_provenance.formats.spool_line import decode_line

if TYPE_CHECKING:
    from pathlib import Path

NOW_US = 1_800_000_000_000_000
SCHEDULED = datetime(2027, 1, 15, 7, 58, 50, tzinfo=UTC)
QUEUED = datetime(2027, 1, 15, 7, 58, 55, tzinfo=UTC)
STARTED = datetime(2027, 1, 15, 7, 59, tzinfo=UTC)
ENDED = datetime(2027, 1, 15, 7, 59, 30, tzinfo=UTC)
REF = TaskRef("flights_month", "manual__1", "ingest", -1, 1)


@pytest.fixture(autouse=True)
def spool_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(spool, "_current", None)
    monkeypatch.setattr(notes, "_current", None)
    monkeypatch.setattr(failure, "_last_line", None)
    monkeypatch.setattr(task_notes, "_clock", FixedClock(NOW_US))
    monkeypatch.setattr(note_lines, "_clock", FixedClock(NOW_US))
    monkeypatch.setattr(hook_lineage, "_collector", lambda: None)
    monkeypatch.setenv("AIRFLOW__PROVENANCE__SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("AIRFLOW__PROVENANCE__HASH_TIMEOUT_SECONDS", "60")
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__NAMESPACE", "flights")
    return tmp_path / "spool"


def running_task(**members: Any) -> SimpleNamespace:
    """A task instance as it is in the task's own process."""
    known = {
        **REF._asdict(),
        "start_date": STARTED,
        "end_date": ENDED,
        "state": "running",
        "hostname": "worker-1",
        "task": SimpleNamespace(inlets=[], outlets=[]),
        "get_template_context": lambda: {"triggering_asset_events": {}},
    }
    return SimpleNamespace(**{**known, **members})


def database_row(**members: Any) -> SimpleNamespace:
    """A task instance as it is in the scheduler and the API server."""
    return running_task(_sa_instance_state=object(), **members)


def dag_run(**members: Any) -> SimpleNamespace:
    known = {
        "dag_id": REF.dag_id,
        "run_id": REF.run_id,
        "start_date": STARTED,
        "end_date": ENDED,
        "logical_date": None,
    }
    return SimpleNamespace(**{**known, **members})


def spooled(directory: Path) -> list[Note]:
    return [
        decode_note(decode_line(line)[1])
        for path in directory.glob("*.spool")
        for line in path.read_bytes().splitlines()
    ]


def test_a_task_that_begins_is_noted_and_its_spool_is_open_for_forks(spool_dir: Path) -> None:
    listener.on_task_instance_running(None, running_task())

    assert notes.current() == notes.TaskRunNotes(
        ref=REF,
        started_at_us=NOW_US - 60_000_000,
        hostname="worker-1",
        policy=settings.granularity(),
    )
    assert len(list(spool_dir.iterdir())) == 1
    assert spooled(spool_dir) == []


def test_what_triggered_the_dag_run_is_noted_once_per_writer() -> None:
    def event(**source: Any) -> SimpleNamespace:
        known = {"dag_id": "up", "run_id": "r1", "task_id": "write", "map_index": -1, **source}
        return SimpleNamespace(**{f"source_{name}": value for name, value in known.items()})

    accessor = {
        "asset": [event(), event(map_index=2)],
        "alias": [event()],
        "posted by hand": [event(dag_id=None, run_id=None, task_id=None, map_index=None)],
    }
    context = {"triggering_asset_events": accessor}

    listener.on_task_instance_running(None, running_task(get_template_context=lambda: context))

    noted = notes.current()
    assert noted is not None
    assert noted.consumed_asset_events == [
        {"dagId": "up", "runId": "r1", "taskId": "write", "mapIndex": -1},
        {"dagId": "up", "runId": "r1", "taskId": "write", "mapIndex": 2},
    ]


@pytest.mark.parametrize(
    ("hook", "ti_state", "expected"),
    [
        ("success", "success", "COMPLETE"),
        ("skipped", "skipped", "SKIPPED"),
        ("failed", "failed", "FAIL"),
        ("failed", "up_for_retry", "UP_FOR_RETRY"),
    ],
)
def test_how_a_task_ended_is_noted(hook: str, ti_state: str, expected: str) -> None:
    task_instance = running_task(state=ti_state)
    listener.on_task_instance_running(None, task_instance)

    arguments = [None] if hook == "failed" else []
    getattr(listener, f"on_task_instance_{hook}")("running", task_instance, *arguments)

    noted = notes.current()
    assert noted is not None
    assert (noted.state, noted.ended_at_us) == (expected, NOW_US - 30_000_000)


def test_a_task_without_an_end_ended_now() -> None:
    listener.on_task_instance_success("running", running_task(end_date=None))

    noted = notes.current()
    assert noted is not None
    assert noted.ended_at_us == NOW_US


def test_files_that_were_declared_are_looked_at(tmp_path: Path) -> None:
    read, written, both = (tmp_path / name for name in ("read", "written", "both"))
    for path in (read, written, both):
        path.write_bytes(b"x")

    def assets(*paths: Path) -> list[SimpleNamespace]:
        return [SimpleNamespace(uri=f"file://{path}") for path in paths]

    task = SimpleNamespace(
        inlets=[*assets(read, both), SimpleNamespace(name="no uri")], outlets=assets(written, both)
    )

    listener.on_task_instance_success("running", running_task(task=task))

    noted = notes.current()
    assert noted is not None
    refs = {path.name: DatasetRef("file", str(path)) for path in (read, written, both)}
    assert set(noted.inputs) == {refs["read"], refs["both"]}
    assert set(noted.outputs) == {refs["written"], refs["both"]}
    assert noted.inputs[refs["read"]].digest == noted.outputs[refs["both"]].digest
    # What the task read there is gone; the content now is what it wrote.
    assert noted.inputs[refs["both"]].digest is None
    assert noted.inputs[refs["both"]].reason == "the task wrote it too"


@pytest.mark.parametrize(
    ("hook", "state"), [("running", "RUNNING"), ("success", "COMPLETE"), ("failed", "FAIL")]
)
def test_a_dag_run_is_a_note_line(hook: str, state: str, spool_dir: Path) -> None:
    getattr(listener, f"on_dag_run_{hook}")(dag_run(), "")

    assert spooled(spool_dir) == [
        DagRunNote(
            namespace="flights",
            dag_id="flights_month",
            run_id="manual__1",
            at_us=NOW_US,
            state=state,
            started_at_us=NOW_US - 60_000_000,
            ended_at_us=None if state == "RUNNING" else NOW_US - 30_000_000,
        )
    ]


def test_when_a_dag_run_is_over_the_process_runs_no_task() -> None:
    listener.on_task_instance_running(None, running_task())

    listener.on_dag_run_success(dag_run(), "")

    assert notes.current() is None


def test_a_task_that_the_scheduler_lost_is_a_note_line(spool_dir: Path) -> None:
    row = database_row(
        state="up_for_retry", hostname="", scheduled_dttm=SCHEDULED, queued_dttm=QUEUED
    )

    listener.on_task_instance_failed("running", row, "killed")

    assert spooled(spool_dir) == [
        TaskRunNote(
            namespace="flights",
            **REF._asdict(),
            at_us=NOW_US,
            state="UP_FOR_RETRY",
            started_at_us=NOW_US - 60_000_000,
            ended_at_us=NOW_US - 30_000_000,
            scheduled_at_us=NOW_US - 70_000_000,
            queued_at_us=NOW_US - 65_000_000,
        )
    ]
    assert notes.current() is None


def test_since_when_a_task_had_waited_is_noted_when_a_user_sets_its_state(spool_dir: Path) -> None:
    listener.on_task_instance_success(None, database_row(queued_dttm=QUEUED))

    assert spooled(spool_dir)[1:] == [
        TaskRunNote(
            namespace="flights",
            **REF._asdict(),
            at_us=NOW_US,
            queued_at_us=NOW_US - 65_000_000,
        )
    ]


class User:
    def get_name(self) -> str:
        return "ann"


@pytest.mark.parametrize(
    ("hook", "state"), [("success", "COMPLETE"), ("skipped", "SKIPPED"), ("failed", "FAIL")]
)
def test_a_task_that_a_user_set_is_an_override_with_the_users_name(
    hook: str, state: str, spool_dir: Path
) -> None:
    def route(user: User) -> None:
        arguments = ["set by hand"] if hook == "failed" else []
        getattr(listener, f"on_task_instance_{hook}")(None, database_row(), *arguments)

    route(User())

    assert spooled(spool_dir) == [
        StateOverrideNote(
            namespace="flights", **REF._asdict(), at_us=NOW_US, state=state, who="ann"
        )
    ]


def test_a_note_is_redacted_as_events_are_so_that_both_join(spool_dir: Path) -> None:
    row = dag_run(run_id="of https://u:hunter2@host/x")

    listener.on_dag_run_success(row, "")

    (path,) = spool_dir.glob("*.spool")
    assert b"hunter2" not in path.read_bytes()
    (note,) = spooled(spool_dir)
    event = {"run": {"facets": {"x": {"runId": row.run_id}}}}
    assert note.run_id == Redactor().redact(event).event["run"]["facets"]["x"]["runId"]


def test_a_dag_run_that_a_user_set_is_an_override(spool_dir: Path) -> None:
    listener.on_dag_run_failed(dag_run(), "Dag Run's state was manually set to `failed`.")

    (note,) = spooled(spool_dir)
    assert note == StateOverrideNote(
        namespace="flights",
        dag_id="flights_month",
        run_id="manual__1",
        at_us=NOW_US,
        state="FAIL",
    )


def test_airflow_still_says_so_when_a_user_sets_a_dag_run() -> None:
    from airflow.api_fastapi.core_api.services.public import dag_run as airflows

    with open(airflows.__file__) as file:  # noqa: PTH123 - read once
        assert f'msg=f"{note_lines.SET_BY_HAND}' in file.read()


def test_a_hook_that_goes_wrong_is_one_line_in_the_log(
    spool_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool_dir.write_text("a file in its place")

    listener.on_dag_run_running(dag_run(), "")
    listener.on_dag_run_success(SimpleNamespace(), "")
    listener.on_task_instance_running(None, SimpleNamespace())
    listener.on_task_instance_failed(None, None, None)

    (line,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert "[provenance] spool_dir" in line


def test_the_hooks_are_named_as_airflow_calls_them_and_come_first() -> None:
    from airflow.listeners.listener import get_listener_manager

    manager = get_listener_manager()
    manager.add_listener(listener)
    plugin = manager.pm.get_name(listener)

    hooks = {hook.name: hook for hook in manager.pm.get_hookcallers(listener) or []}

    assert plugin
    assert set(hooks) == {
        *(f"on_task_instance_{end}" for end in ("running", "success", "skipped", "failed")),
        *(f"on_dag_run_{end}" for end in ("running", "success", "failed")),
        *("on_starting", "before_stopping"),
    }
    for hook in hooks.values():
        assert all(
            implementation.opts["tryfirst"]
            for implementation in hook.get_hookimpls()
            if implementation.plugin is listener
        )


def test_a_manifest_that_cannot_be_made_costs_nothing_else(
    monkeypatch: pytest.MonkeyPatch, spool_dir: Path
) -> None:
    def fail(task_instance: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(task_notes, "manifest_of", fail)

    listener.on_task_instance_running(None, running_task())

    noted = notes.current()
    assert noted is not None
    assert (noted.ref, noted.hostname, noted.manifest) == (REF, "worker-1", None)
    assert list(spool_dir.glob("*.spool"))
