"""Airflow's own record and the store agree try by try, whatever hooks and events told.

A real scheduler starts the service as its child; tasks end in every way, one is killed, one is set
failed by a user, one runs again. The service alone brings it all to the store.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import sqlalchemy as sa

from airflow_provenance.domain.clock import format_time, to_us
from airflow_provenance.store.sql.store import SqlStore
from tests.support import postgres
from tests.support.airflow_standalone import Airflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provenance.formats.spool_line import Kind

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

HERE = Path(__file__).resolve().parent
SECONDS = 120
STATES = {
    "success": "COMPLETE",
    "failed": "FAIL",
    "skipped": "SKIPPED",
    "upstream_failed": "UPSTREAM_FAILED",
}
Json = dict[str, Any]
Try = tuple[str, int, int]


class Ran(NamedTuple):
    """What is left of the run."""

    airflow: dict[Try, Json]
    store: str
    metadata: str
    environment: dict[str, str]

    def cli(
        self, *arguments: str, store: str | None = None, code: int = 0, **environment: str
    ) -> Any:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "airflow_provenance.cli", *arguments),
                *("--json", "--store", store or self.store),
            ],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("reconcile")
    home = folder / "home"
    home.mkdir()
    store = f"sqlite:///{folder}/store.db"
    own = {
        "AIRFLOW__PROVENANCE__START_SERVICE": "True",
        "AIRFLOW__PROVENANCE__STORE": store,
        "AIRFLOW__PROVENANCE__RECONCILE_GRACE_SECONDS": "5",
        "AIRFLOW__CORE__PARALLELISM": "8",
    }
    with postgres.new_database(postgres_server) as metadata:
        dags = [HERE / "dags" / "ends.py"]
        with Airflow.start(home, metadata, dags=dags, environment=own) as airflow:
            run_id = airflow.trigger("ends")
            path = f"/api/v2/dags/ends/dagRuns/{run_id}/taskInstances"
            wait_until(lambda: state_of(airflow, path, "waits") == "running", "one task waits")
            wait_until(lambda: state_of(airflow, path, "killed") == "failed", "one is killed")
            airflow.patch(f"{path}/waits", {"new_state": "failed"})
            assert airflow.wait_for_run("ends", run_id) == "failed"
            airflow.clear("ends", run_id, ["cleared"])
            assert airflow.wait_for_run("ends", run_id) == "failed"
            wait_until(lambda: not pending(home / "spool"), "the service has drained")
            environment = airflow.environment
            ran = Ran(tries_of(metadata), store, metadata, environment)
            # Of some no hook is told: the service itself fills them in, by Airflow's record.
            wait_until(lambda: stored(ran).keys() == ran.airflow.keys(), "every try is known")
            wait_until(
                lambda: not ran.cli("coverage", "--grace=5")["gaps"], "nothing lacks any more"
            )
            assert "serves: " in (home / "spool" / "service.log").read_text()
            yield ran
        wait_until(
            lambda: (home / "spool" / "service.log").read_text().rstrip().endswith("stopped"),
            "the service has ended with its parent",
        )


def wait_until(is_true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.3)


def state_of(airflow: Airflow, path: str, task_id: str) -> str | None:
    return airflow.get(f"{path}/{task_id}")["state"]


def pending(spool_dir: Path) -> list[Path]:
    """Return the spool files of tasks, which are dead once the DAG run has ended."""
    time.sleep(2)
    return [one for one in spool_dir.glob("*.spool") if time.time() - one.stat().st_mtime < 1.5]


def tries_of(metadata: str) -> dict[Try, Json]:
    """Return what Airflow's database has of every try, read without Airflow or code of ours."""
    engine = sa.create_engine(sa.make_url(metadata).set(drivername="postgresql+psycopg"))
    found: dict[Try, Json] = {}
    with engine.connect() as connection:
        for table in ("task_instance", "task_instance_history"):
            rows = connection.exec_driver_sql(
                "SELECT task_id, map_index, try_number, state, start_date, end_date, queued_dttm, "
                f"hostname FROM {table} WHERE dag_id = 'ends'"
            )
            for task_id, map_index, number, state, *times, hostname in rows:
                assert (task_id, map_index, number) not in found
                started, ended, queued = (one and format_time(to_us(one)) for one in times)
                found[task_id, map_index, number] = {
                    "state": STATES[state],
                    "started_at": started,
                    "ended_at": ended,
                    "queued_at": queued,
                    "hostname": hostname or None,
                }
    engine.dispose()
    return found


def stored(ran: Ran, store: str | None = None) -> dict[Try, Json]:
    runs = ran.cli("runs", "--dag=ends", "--limit=500", store=store)
    return {tuple(run["key"][4:7]): run for run in runs if run["key"][0] == "task"}


def test_what_is_stored_equals_airflows_own_database_try_by_try(ran: Ran) -> None:
    runs = stored(ran)

    assert runs.keys() == ran.airflow.keys()
    assert len(runs) == 15
    for key, expected in ran.airflow.items():
        run = runs[key]
        if run["state"] == "UP_FOR_RETRY":  # Airflow's history does not tell it from a failure
            assert key == ("retried", -1, 1)
            run["state"] = "FAIL"
        assert {name: run[name] for name in expected} == expected, key
    told_by_record = {key[0]: set(run["synthesised"]) for key, run in runs.items()}
    assert told_by_record["works"] == {"started_at", "scheduled_at", "queued_at"}
    assert "state" in told_by_record["not_chosen"] & told_by_record["after_failure"]
    assert "state" in told_by_record["killed"]
    assert "state" not in told_by_record["waits"]


def test_coverage_finds_exactly_the_events_that_were_deleted_and_repairs_them(
    ran: Ran, tmp_path: Path
) -> None:
    log = SqlStore(ran.store)
    entries = log.entries(limit=10_000, with_raw=True)
    log.close()
    bodies = {one.id: json.loads(one.raw or b"") for one in entries}
    once = [
        one
        for one in entries
        if one.event_type in ("START", "COMPLETE", "FAIL")
        and bodies[one.id]["job"]["name"] not in ("ends", "ends.waits", "ends.killed")
    ]
    deleted = random.Random(5).sample(once, 5)
    url = f"sqlite:///{tmp_path}/store.db"
    rebuilt(url, entries, {one.id for one in deleted})
    assert ran.cli("coverage", "--grace=0")["missing"] == 0

    found = ran.cli("coverage", "--grace=0", store=url, code=1)

    new = {(tuple(gap["key"]), one) for gap in found["gaps"] for one in gap["missing"]}
    facets = [bodies[one.id]["run"]["facets"]["airflow"] for one in deleted]
    assert new == {
        (
            (
                *("task", "flights", facet["dag"]["dag_id"], facet["dagRun"]["run_id"]),
                facet["task"]["task_id"],
                facet["taskInstance"].get("map_index", -1),
                facet["taskInstance"]["try_number"],
            ),
            "start" if one.event_type == "START" else "end",
        )
        for one, facet in zip(deleted, facets, strict=True)
    }
    assert found["missing"] == 5
    ran.cli("coverage", "--repair", "--grace=0", store=url)
    assert ran.cli("coverage", "--grace=0", store=url)["gaps"] == []
    repaired = stored(ran, url)
    for key, run in stored(ran).items():
        for name in ("started_at", "ended_at", "queued_at", "hostname"):
            assert repaired[key][name] == run[name]


def test_who_may_only_read_three_tables_of_airflows_can_be_the_reconciler(ran: Ran) -> None:
    engine = sa.create_engine(sa.make_url(ran.metadata).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE reconciles LOGIN PASSWORD 'reconciles'")
        for table in ("task_instance", "task_instance_history", "dag_run"):
            connection.exec_driver_sql(f"GRANT SELECT ON {table} TO reconciles")
    url = sa.make_url(ran.metadata).set(username="reconciles", password="reconciles")  # noqa: S106 - its own
    try:
        found = ran.cli(
            "coverage",
            "--grace=0",
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=url.render_as_string(hide_password=False),
        )
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP OWNED BY reconciles")
            connection.exec_driver_sql("DROP ROLE reconciles")
        engine.dispose()

    assert (found["missing"], found["gaps"]) == (0, [])
    assert found["runs"] == 15 + 1  # tries and the DAG run


def rebuilt(url: str, entries: list[Any], left_out: set[bytes]) -> str:
    store = SqlStore(url, create=True)
    kept: list[tuple[Kind, bytes]] = [
        ("N" if one.kind == "note" else "E", one.raw) for one in entries if one.id not in left_out
    ]
    store.ingest(kept, received_us=entries[0].received_us)
    store.close()
    return url
