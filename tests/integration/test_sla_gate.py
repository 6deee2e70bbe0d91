"""Gates and freshness sensors in real runs: against this host's store, and over HTTP (A13)."""

from __future__ import annotations

import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.collect.evaluator import Evaluator
from airflow_provenance.collect.promise_sources import PromiseSources
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.formats.spool_line import decode_line
from airflow_provenance.store.base import RunQuery
from airflow_provenance.store.sql.store import SqlStore
from tests.integration.test_flights_dag import Airflow, airflow
from tests.support.service_host import Host, wait_until
from tests.support.serving import serving
from tests.support.sla_events import dataset, task_run

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
__all__ = ["airflow"]


def written(name: str, rows: int) -> list[tuple[str, bytes]]:
    """What a task says that has just written a dataset."""
    now = datetime.now(UTC)  # noqa: TID251 - real tasks go by the real time
    due, start, end = (
        f"{now - timedelta(minutes=back):%Y-%m-%dT%H:%M:%S.%f}" for back in (2, 1, 0)
    )
    outputs = [dataset(name, rows=rows)]
    events = task_run("shop", "load", f"r-{name}", due, start=start, end=end, outputs=outputs)
    return [("E", json.dumps(one).encode()) for one in events]


def ingest(url: str, entries: Any) -> None:
    store = SqlStore(url, create=True)
    store.ingest(entries, received_us=SystemClock().now_us())
    store.close()


def states(spool: Path) -> dict[str, str]:
    """How tasks ended, by their own events."""
    found = {}
    for file in spool.glob("*.spool"):
        for line in file.read_bytes().split(b"\n"):
            if not line:
                continue
            kind, raw = decode_line(line)
            event = json.loads(raw) if kind == "E" else {}
            if event.get("eventType") in ("COMPLETE", "FAIL") and "." in event["job"]["name"]:
                run = event["run"]["facets"].get("airflowProvenance_run", {})
                found[event["job"]["name"].partition(".")[2]] = run.get("state")
    return found


def began(spool: Path) -> set[str]:
    """The jobs that an event was spooled of."""
    found = set()
    for file in spool.glob("*.spool"):
        for line in file.read_bytes().split(b"\n")[:-1]:
            kind, raw = decode_line(line)
            if kind == "E":
                found.add(json.loads(raw)["job"]["name"])
    return found


@pytest.fixture(scope="module")
def store_url(airflow: Airflow) -> str:
    url = f"sqlite:///{airflow.home}/gate.db"
    ingest(url, written("pg/orders", 1000))
    return url


def test_a_gate_does_what_its_author_said_when_a_promise_is_broken(
    airflow: Airflow, store_url: str
) -> None:
    spool = airflow.home / "spool-gates"
    env = {"AIRFLOW__PROVENANCE__STORE": store_url, "AIRFLOW__PROVENANCE__SPOOL_DIR": str(spool)}
    done = airflow.run("dags", "test", "gates", "2013-01-02", **env)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    ended = states(spool)
    assert ended["fails"] == "FAIL"  # not up for a retry, though it has three
    assert ended["skips"] == "SKIPPED"
    assert ended["warns"] == ended["kept"] == "COMPLETE"
    assert ended["needs"] == ended["nobody"] == "FAIL"
    assert {one for one in ended if one.startswith("after")} == {"after_warns", "after_kept"}
    assert "Broken: huge (volume of dataset:pg/orders) is breached" in said
    assert "1000 against 100000 rows" in said
    assert "Nobody can say whether it is kept: unknown" in said
    assert "no promise 'no-such-promise' is in force" in said


def test_a_sensor_waits_in_the_triggerer_until_the_dataset_is_written(
    airflow: Airflow, store_url: str
) -> None:
    spool = airflow.home / "spool-waits"
    env = {"AIRFLOW__PROVENANCE__STORE": store_url, "AIRFLOW__PROVENANCE__SPOOL_DIR": str(spool)}
    done: list[CompletedProcess[str]] = []
    run = threading.Thread(
        target=lambda: done.append(airflow.run("dags", "test", "waits", "2013-01-02", **env))
    )
    run.start()
    wait_until(lambda: "waits.deferred" in began(spool), "the sensor has begun", seconds=120)
    time.sleep(3)  # by then it has looked in vain
    assert run.is_alive()
    ingest(store_url, written("s3://lake/orders", 5))
    run.join(120)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done[0].stdout + done[0].stderr)
    assert "Trigger completed" in said
    ended = states(spool)
    assert {one: ended[one] for one in ("there", "deferred", "pokes", "in_vain")} == {
        **dict.fromkeys(("there", "deferred", "pokes"), "COMPLETE"),
        "in_vain": "SKIPPED",
    }


def test_a_gate_waits_until_what_ran_before_it_is_recorded(
    airflow: Airflow, tmp_path: Path
) -> None:
    host = Host(tmp_path / "host")
    env = {
        "AIRFLOW__PROVENANCE__STORE": host.url,
        "AIRFLOW__PROVENANCE__SPOOL_DIR": str(host.spool_dir),
    }
    done: list[CompletedProcess[str]] = []
    run = threading.Thread(
        target=lambda: done.append(airflow.run("dags", "test", "settles", "2013-01-02", **env))
    )
    run.start()
    try:
        wait_until(lambda: "settles.asks" in began(host.spool_dir), "the gate asks", seconds=120)
        time.sleep(2)  # nobody has drained what was written before
        assert run.is_alive()
        host.start(roles="drain")
        run.join(120)
    finally:
        host.close()
    store = SqlStore(host.url)
    ended = {one.job[1]: one.state.name for one in store.runs(RunQuery(dag_id="settles"))}
    store.close()
    said = done[0].stdout + done[0].stderr
    assert "Not broken: settled" in said
    assert "is not recorded after" not in said
    assert ended["settles.writes"] == "COMPLETE"


def test_tasks_ask_over_http_where_they_see_no_store(airflow: Airflow, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/served.db"
    ingest(url, written("pg/orders", 1000))
    (tmp_path / "promises.yaml").write_text(
        json.dumps(
            {
                "promises": [
                    {
                        "id": "orders-huge",
                        "target": {"dataset": "pg/orders"},
                        "objective": {"kind": "volume", "at_least": 100_000},
                    }
                ]
            }
        )
    )
    store = SqlStore(url)
    Evaluator(
        store, PromiseSources(str(tmp_path / "promises.yaml"), None), None, SystemClock()
    ).run_once()
    store.close()
    spool = airflow.home / "spool-http"
    with serving(tmp_path, store=url) as served:
        env = {
            "AIRFLOW__PROVENANCE__API_URL": served.url,
            "AIRFLOW__PROVENANCE__API_TOKEN": served.token,
            "AIRFLOW__PROVENANCE__API_TIMEOUT_SECONDS": "0",  # so that the spool stays here
            "AIRFLOW__PROVENANCE__STORE": "postgresql://nobody@127.0.0.1:1/none",
            "AIRFLOW__PROVENANCE__SPOOL_DIR": str(spool),
        }
        airflow.run("dags", "test", "in_force", "2013-01-02", **env)
    assert states(spool) == {"by_id": "SKIPPED", "by_target": "SKIPPED"}
