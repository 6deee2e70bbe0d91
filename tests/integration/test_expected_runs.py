"""A real scheduler: what is late, fails, is paused, cannot be imported, or never comes (A3, A4)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest

from airflow_provenance.domain.clock import to_us
from airflow_provenance.store.sql.store import SqlStore
from tests.support import postgres
from tests.support.airflow_standalone import Airflow
from tests.support.service_host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provenance.domain.evaluation_change import EvaluationChange

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]
SECONDS = 150
DAG = """
import time
from datetime import datetime, timedelta, UTC
from airflow.sdk import DAG, task
from airflow_provenance.sla.declare import promise
from airflow_provenance.sla.objectives import Deadline, MissingRun

with DAG("{name}", schedule="{minute} * * * *", start_date=datetime({start}, tzinfo=UTC),
         catchup=False) as dag:
    @task
    def work():
        {work}
    work()
promise(dag, {promise})
"""


class Happened(NamedTuple):
    """What the store has at the end."""

    due: datetime
    due_of_never: datetime
    changes: list[EvaluationChange]
    after_restart: list[EvaluationChange]
    log: str

    def of(self, policy: str) -> list[EvaluationChange]:
        return [one for one in self.changes if one.policy_id == policy]


def write_dags(folder: Path, due: datetime, due_of_never: datetime) -> list[Path]:
    start = f"{due - timedelta(minutes=30):%Y, %-m, %-d, %-H, %-M}"
    at = f"{due + timedelta(seconds=20):%H:%M:%S}"
    missing = "MissingRun(grace=timedelta(seconds=15))"
    dags = {
        "late": (due, "time.sleep(30)", f'Deadline(at="{at}")'),
        "fails": (due, "raise ValueError", f'Deadline(at="{at}"), on_failure="breach_now"'),
        "halted": (due, "pass", missing),
        "broken": (due, "pass", missing),
        "works": (due, "pass", missing),
        "never": (due_of_never, "pass", missing),
    }
    paths = []
    for name, (at_, work, promised) in dags.items():
        text = DAG.format(name=name, minute=at_.minute, start=start, work=work, promise=promised)
        paths.append(folder / f"{name}.py")
        paths[-1].write_text(text)
    return paths


class Service:
    """The service as a process of its own, started again and again."""

    def __init__(self, airflow: Airflow, store: str) -> None:
        self.environment = {**airflow.environment, "AIRFLOW__PROVENANCE__STORE": store}
        self.path = airflow.home / "provenance-service.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "airflow_provenance.cli"),
                    *("service", "--roles=drain,reconcile,evaluate"),
                ],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def told_of(store: SqlStore) -> list[EvaluationChange]:
    """Return what was told; before Airflow is asked nobody knows what is expected."""
    return [one for one in store.evaluation_changes() if one.state != "no_data"]


def wait_for(moment: datetime) -> None:
    time.sleep(max(moment.timestamp() - time.time(), 0))


@pytest.fixture(scope="module")
def happened(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Happened]:
    folder = tmp_path_factory.mktemp("expected")
    home = folder / "airflow"
    home.mkdir()
    url = f"sqlite:///{folder}/provenance.db"
    store = SqlStore(url, create=True)
    # Airflow takes a while to start, and a while until all promises are in force.
    begun = datetime.now(UTC)  # noqa: TID251 - a real scheduler goes by the real time
    due = (begun + timedelta(seconds=190)).replace(second=0, microsecond=0)
    due_of_never = due + timedelta(minutes=1)
    environment = {
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "8",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3",
    }
    with (
        postgres.new_database(postgres_server) as metadata,
        Airflow.start(
            home,
            metadata,
            dags=write_dags(folder, due, due_of_never),
            components=("scheduler", "api-server", "dag-processor"),
            environment=environment,
        ) as airflow,
    ):
        service = Service(airflow, url)
        try:
            service.start()
            wait_until(lambda: len(store.policies()) == 6, "all are in force", SECONDS)
            airflow.patch("/api/v2/dags/halted", {"is_paused": True})
            (home / "dags" / "broken.py").write_text(
                "import nowhere\nfrom airflow.sdk import DAG\n"  # without these words: no DAG file
            )
            assert datetime.now(UTC) < due - timedelta(seconds=10)  # noqa: TID251 - as above
            wait_for(due + timedelta(seconds=20))
            told = {"late", "fails", "halted", "broken", "works"}
            wait_until(
                lambda: told <= {one.target[4:] for one in told_of(store)},
                "all are told",
                SECONDS,
            )
            scheduler = airflow.processes.pop("scheduler")
            os.killpg(scheduler.pid, signal.SIGKILL)
            scheduler.wait()
            wait_for(due_of_never + timedelta(seconds=15))
            wait_until(
                lambda: "never" in {one.target[4:] for one in told_of(store)},
                "the last is told",
                SECONDS,
            )
            changes = told_of(store)
            service.kill()
            service.start()
            time.sleep(25)
        finally:
            service.kill()
        log = service.path.read_text()
        yield Happened(due, due_of_never, changes, told_of(store), log)
    store.close()


def test_a_dag_that_is_late_is_told_once_and_it_still_runs(happened: Happened) -> None:
    late = happened.of("late.deadline")
    assert [one.state for one in late][:1] == ["breached"]
    assert [one.state for one in late][1:] in ([], ["recovered"])
    assert late[0].cause == "still_running"
    assert late[0].breached_us == to_us(happened.due) + 20_000_000
    assert late[0].breached_us < (late[0].detected_us or 0)


def test_a_dag_that_fails_is_told_once(happened: Happened) -> None:
    (failed,) = happened.of("fails.deadline")
    assert (failed.state, failed.cause) == ("breached", "failed")
    assert failed.runs


def test_a_paused_dag_is_suspended_and_breaks_nothing(happened: Happened) -> None:
    (halted,) = happened.of("halted.missing_run")
    assert (halted.state, halted.cause, halted.breached_us) == ("suspended", "paused", None)


@pytest.mark.parametrize(
    ("dag", "cause"), [("broken", "import_error"), ("never", "scheduler_down")]
)
def test_a_run_that_never_came_is_told_once_with_its_cause(
    happened: Happened, dag: str, cause: str
) -> None:
    (missing,) = happened.of(f"{dag}.missing_run")
    due = happened.due_of_never if dag == "never" else happened.due
    assert (missing.state, missing.cause) == ("breached", cause)
    assert missing.period == f"{due:%Y-%m-%dT%H:%M:%S}.000000Z"
    assert missing.breached_us == to_us(due) + 15_000_000
    assert missing.breached_us < (missing.detected_us or 0)


def test_a_run_that_came_is_well(happened: Happened) -> None:
    assert [one.state for one in happened.of("works.missing_run")] == ["ok"]


def test_a_restart_tells_nothing_again(happened: Happened) -> None:
    assert happened.after_restart == happened.changes
