"""Where the official provider never tells how a task ended, the store knows all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provenance import wiring
from airflow_provenance.domain.identity import TaskRunKey
from airflow_provenance.store.base import RunQuery
from tests.integration.test_flights_dag import Airflow, read_spool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
SAID = "Only the task's state and times are recorded, not what it wrote"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    airflow = Airflow(tmp_path_factory.mktemp("airflow"))
    assert airflow.run("db", "migrate").returncode == 0
    return airflow


@pytest.mark.parametrize("in_thread", [False, True])
def test_the_end_of_a_task_is_known_though_no_event_tells_it(
    airflow: Airflow, tmp_path: Path, in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__SPOOL_DIR", str(tmp_path / "spool"))

    done = airflow.run(
        *("dags", "test", "silent_ends"),
        AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT="1",
        AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD=str(in_thread),
    )

    spooled = read_spool(tmp_path / "spool", tmp_path)
    told = {(e["job"]["name"], e["eventType"]) for e in spooled.events if "." in e["job"]["name"]}
    assert told == {(f"silent_ends.{one}", "START") for one in ("works", "fails", "skips")}
    assert SAID in done.stdout + done.stderr
    store = wiring.open_store(f"sqlite:///{tmp_path / 'provenance.db'}", create=True)
    wiring.open_drain(store).run_once()
    runs = {
        run.key.task_id: run for run in store.runs(RunQuery()) if isinstance(run.key, TaskRunKey)
    }
    states = {name: run.state.name for name, run in runs.items()}
    assert states == {"works": "COMPLETE", "fails": "FAIL", "skips": "SKIPPED"}
    for run in runs.values():
        assert run.started_us is not None
        assert run.ended_us is not None
        assert 0 <= run.ended_us - run.started_us < 60_000_000
    store.close()
