"""A host without a store: its tasks, and its drain, send what they spooled over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.domain.identity import TaskRunKey
from airflow_provenance.store.sql.store import SqlStore
from tests.support.loopback import Answer, LoopbackServer, Request
from tests.support.serving import CLI, free_port, new_token, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
DAGS = Path(__file__).parent / "dags"
TRANSPORT = {"type": "airflow_provenance.emit.transport.ProvenanceTransport"}
WAITS = "Provenance waits in the spool"
SECONDS = 60


class Worker:
    """A host that has an Airflow, a spool, and where to send it; and no store."""

    def __init__(self, home: Path) -> None:
        self.home, self.spool = home, home / "spool"

    def env(self, url: str, token: str, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(TRANSPORT),
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "flights",
            "AIRFLOW__PROVENANCE__SPOOL_DIR": str(self.spool),
            "AIRFLOW__PROVENANCE__API_URL": url,
            "AIRFLOW__PROVENANCE__API_TOKEN": token,
            # Where nothing could be made, should anything open it.
            "AIRFLOW__PROVENANCE__STORE": "sqlite:////nowhere/at/all/provenance.db",
            **more,
        }

    def run_dag(self, dag_id: str, url: str, token: str, **more: str) -> str:
        """Run a DAG; return what was logged."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "dags", "test", dag_id],
            env=self.env(url, token, **more),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = done.stdout + done.stderr
        assert token not in said
        assert "Traceback" not in said or dag_id == "outcomes", said
        return said

    def files(self) -> list[Path]:
        return sorted(self.spool.glob("*.spool"))

    @contextmanager
    def draining(self, url: str, token: str) -> Iterator[Path]:
        """Run ``service --roles drain``; give its log."""
        path = self.home / f"service-{time.monotonic_ns()}.log"
        with path.open("wb") as log:
            service = subprocess.Popen(
                [*CLI, "service", "--roles", "drain"],
                env=self.env(url, token),
                stdout=log,
                stderr=log,
            )
        try:
            yield path
        finally:
            service.terminate()
            assert service.wait(30) == 0, path.read_text()
            assert token not in path.read_text()

    def drain(self, url: str, token: str) -> str:
        """Let the service of this host send all that is left; return its log."""
        with self.draining(url, token) as log:
            wait_until(lambda: not self.files(), "the spool is empty")
        assert not list(self.spool.glob("*.sent*"))
        return log.read_text()


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("airflow")
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=Worker(home).env("", ""),
        cwd=home,
        capture_output=True,
        check=True,
    )
    return home


@pytest.fixture
def worker(airflow_home: Path) -> Iterator[Worker]:
    worker = Worker(airflow_home)
    yield worker
    shutil.rmtree(worker.spool, ignore_errors=True)


def wait_until(is_true: Any, what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def facts(url: str) -> dict[str, Any]:
    store = SqlStore(url)
    found = store.dump_facts()
    store.close()
    return found


def states(url: str) -> dict[tuple[str, int, int], str]:
    """Return the state of every try: (task, map index, try number)."""
    store = SqlStore(url)
    found = {
        (run.key.task_id, run.key.map_index, run.key.try_number): run.state.name
        for run, _ in store.scan_runs()
        if isinstance(run.key, TaskRunKey)
    }
    store.close()
    return found


def drained_here(worker: Worker, spool: Path, store: str) -> None:
    """Drain a spool into a store of this host, as if there were no ``api_url``."""
    env = worker.env("", "", AIRFLOW__PROVENANCE__SPOOL_DIR=str(spool))
    subprocess.run([*CLI, "ingest", "--spool", "--store", store], env=env, check=True)


@pytest.mark.parametrize("mode", ["fork", "thread"])
def test_what_tasks_send_when_they_end_makes_the_facts_that_a_local_drain_makes(
    worker: Worker, tmp_path: Path, mode: str
) -> None:
    in_thread = str(mode == "thread")
    (tmp_path / "from.csv").write_text("carrier,dest\nUA,IAH\n")
    data = {"COPIES_FROM": f"{tmp_path}/from.csv", "COPIES_TO": f"{tmp_path}/to.csv"}
    with serving(tmp_path, namespaces=["flights"]) as server:
        for dag_id in ("outcomes", "copies"):
            said = worker.run_dag(
                dag_id,
                server.url,
                server.token,
                AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD=in_thread,
                **data,
            )
            assert WAITS not in said
            # Now: the next run finds what is left of this one, and sends it.
            shutil.copytree(worker.spool, tmp_path / "copy", dirs_exist_ok=True)
        # Every task of both is there, whole, before anything else sends or drains.
        assert states(server.store) == {
            ("skips", -1, 1): "SKIPPED",
            ("works_at_second_try", -1, 1): "UP_FOR_RETRY",
            ("works_at_second_try", -1, 2): "COMPLETE",
            ("fails", -1, 1): "FAIL",
            ("mapped", 0, 1): "COMPLETE",
            ("mapped", 1, 1): "COMPLETE",
            ("copy", -1, 1): "COMPLETE",
        }
        # What came after the last task of a run, its DAG's end, is the drain's.
        worker.drain(server.url, server.token)
        assert not (tmp_path / "nowhere").exists()
    local = f"sqlite:///{tmp_path}/local.db"
    drained_here(worker, tmp_path / "copy", local)
    assert facts(server.store) == facts(local)
    found = facts(local)
    assert found["versions"]
    assert "sha256:" in json.dumps(found["versions"], default=str)


def test_what_is_sent_and_drained_and_sent_again_is_there_once(
    worker: Worker, tmp_path: Path
) -> None:
    with serving(tmp_path, namespaces=["flights"]) as server:
        worker.run_dag("one_task", server.url, server.token)
        spooled = shutil.copytree(worker.spool, tmp_path / "copy")
        worker.drain(server.url, server.token)
        once = facts(server.store)
        # As if no answer had ever come: all of it, from the beginning.
        shutil.copytree(spooled, worker.spool, dirs_exist_ok=True)
        for path in worker.spool.glob("*.sent"):
            path.unlink()
        said = worker.drain(server.url, server.token)
    assert "0 ingested" in said
    drained_here(worker, spooled, server.store)
    assert facts(server.store) == once
    assert once["runs"]


class Broken(LoopbackServer):
    def answer(self, request: Request) -> Answer:
        return Answer(200, {"path": request.path, "hello": "not ours"})


@contextmanager
def broken(how: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Give url and token of a server that is no use."""
    if how == "dead":
        yield f"http://127.0.0.1:{free_port()}", "a-token-of-nobody"
    elif how in ("hanging", "wrong token"):
        with serving(folder, store=f"sqlite:///{folder}/broken.db") as server:
            if how == "hanging":
                server.process.send_signal(signal.SIGSTOP)
            yield server.url, server.token if how == "hanging" else "a-token-of-nobody"
    else:
        with Broken() as stub:
            if how == "answers 500":
                stub.fail(500)
            elif how == "killed in the middle":
                stub.hang_up(stored=False)
            yield stub.url, "a-token-of-nobody"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("dead", "does not answer (ConnectError"),
        ("hanging", "does not answer"),
        ("wrong token", "answers 401"),
        ("answers 500", "answers 500"),
        ("killed in the middle", "does not answer (RemoteProtocolError"),
        ("somebody else's", "answers 200, but not as our HTTP interface does"),
    ],
)
def test_a_task_is_unharmed_where_nothing_can_be_sent_and_the_drain_sends_it_later(
    worker: Worker, tmp_path: Path, how: str, said: str
) -> None:
    (tmp_path / "broken").mkdir()
    with broken(how, tmp_path / "broken") as (url, token):
        began = time.monotonic()
        log = worker.run_dag("one_task", url, token, AIRFLOW__PROVENANCE__API_TIMEOUT_SECONDS="2")
        assert time.monotonic() - began < SECONDS
    (line,) = [one for one in log.splitlines() if WAITS in one]
    assert said in line
    assert "The task is not affected" in line
    assert "DagRun Finished" in log
    assert "state=success" in log
    (path,) = worker.files()
    before = path.read_bytes()
    assert b'"eventType":"COMPLETE"' in before
    assert not path.with_name(f"{path.name}.sent").exists()
    with serving(tmp_path, namespaces=["flights"]) as server:
        worker.drain(server.url, server.token)
        assert states(server.store) == {("works", -1, 1): "COMPLETE"}


def test_the_next_task_of_the_host_sends_what_the_last_one_could_not(
    worker: Worker, tmp_path: Path
) -> None:
    worker.run_dag("one_task", f"http://127.0.0.1:{free_port()}", "nobodys-token")
    (left,) = worker.files()
    with serving(tmp_path, namespaces=["flights"]) as server:
        worker.run_dag("outcomes", server.url, server.token)
        assert states(server.store)["works", -1, 1] == "COMPLETE"
        assert left not in worker.files()
        assert len(worker.files()) == 1


def test_a_drain_backs_off_while_the_server_is_away_and_goes_on_when_it_is_back(
    worker: Worker, tmp_path: Path
) -> None:
    port, token = free_port(), new_token(tmp_path, ["flights"])
    url = f"http://127.0.0.1:{port}"
    worker.run_dag("one_task", url, token[0])
    with worker.draining(url, token[0]) as log:
        wait_until(lambda: "trying again in 2 s" in log.read_text(), "it has backed off twice")
        assert worker.files()
        with serving(tmp_path, port=port, token=token) as server:
            wait_until(lambda: not worker.files(), "the spool is empty")
            assert states(server.store) == {("works", -1, 1): "COMPLETE"}
    assert "does not answer (ConnectError" in log.read_text()
    assert "works again" in log.read_text()


def test_what_the_token_is_not_for_is_set_aside_and_the_rest_is_sent(
    worker: Worker, tmp_path: Path
) -> None:
    with serving(tmp_path, namespaces=["flights"]) as server:
        other = {"AIRFLOW__OPENLINEAGE__NAMESPACE": "elsewhere"}
        log = worker.run_dag("one_task", server.url, server.token, **other)
        assert sum("Provenance was set aside" in one for one in log.splitlines()) == 1
        worker.run_dag("outcomes", server.url, server.token)
        assert ("works", -1, 1) not in states(server.store)
        assert states(server.store)["mapped", 1, 1] == "COMPLETE"
        worker.drain(server.url, server.token)
    (tmp_path / "mended").mkdir()
    (aside,) = (worker.spool / "refused").iterdir()
    shutil.move(aside, worker.spool / aside.name)
    with serving(tmp_path / "mended") as served:
        worker.drain(served.url, served.token)
        assert states(served.store) == {("works", -1, 1): "COMPLETE"}


def test_without_a_store_the_service_drains_alone_and_doctor_shows_no_token(
    worker: Worker, tmp_path: Path
) -> None:
    with serving(tmp_path, namespaces=["flights"]) as server:
        env = worker.env(server.url, server.token)
        del env["AIRFLOW__PROVENANCE__STORE"]
        env["AIRFLOW_HOME"] = str(tmp_path / "home")
        log = tmp_path / "service.log"
        with log.open("wb") as out:
            service = subprocess.Popen([*CLI, "service"], env=env, stdout=out, stderr=out)
        wait_until(lambda: "serves: " in log.read_text(), "it serves")
        service.terminate()
        assert service.wait(30) == 0
        done = subprocess.run(
            [*CLI, "doctor"], env=env, capture_output=True, text=True, check=False
        )
    assert "serves: drain\n" in log.read_text()
    assert not list((tmp_path / "home").rglob("*.db"))
    told = done.stdout + done.stderr
    assert f"what is spooled here is sent to {server.url}" in told
    assert "none on this host: api_url has it" in told
    assert server.token not in told + log.read_text()


def test_a_wrong_url_is_told_and_the_spool_is_kept(worker: Worker) -> None:
    log = worker.run_dag("one_task", "https://me:s3cret@example.com", "a-token-of-nobody")
    (line,) = [one for one in log.splitlines() if WAITS in one]
    assert "api_url must be host and path alone" in line
    assert "s3cret" not in log
    assert b'"eventType":"COMPLETE"' in worker.files()[0].read_bytes()
