"""A real Airflow for tests: scheduler and API server (and what else is asked for) on loopback.

    with Airflow.start(home, database_url, dags=[path]) as airflow:
        run_id = airflow.trigger("flights")
        airflow.wait_for_run("flights", run_id)
        airflow.clear("flights", run_id, task_ids=["ingest"])

Not ``airflow standalone``, which starts what a test may not need and leaves it running when it is
told to end. Each component has a session of its own, and a keeper (this file, run as a program)
ends what is left of them when the ``with`` block does, or when the test run was killed: then the
kernel closes the pipe that the keeper reads. The metadata database is PostgreSQL: one on SQLite can
lose its scheduler when tasks run side by side.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
from sqlalchemy import make_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

START_SECONDS = 120
RUN_SECONDS = 240
STOP_SECONDS = 15
TRANSPORT = {"type": "airflow_provenance.emit.transport.ProvenanceTransport"}


class AirflowError(Exception):
    """Airflow did not do what a test needs; the message has the end of its logs."""


@dataclass
class Airflow:
    """A running Airflow with a home of its own."""

    home: Path
    port: int
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _token: str = ""
    _keeper: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextlib.contextmanager
    def start(
        cls,
        home: Path,
        database_url: str,
        *,
        dags: Iterable[Path],
        components: Sequence[str] = ("scheduler", "api-server"),
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Airflow]:
        """Run Airflow for as long as the ``with`` block lasts.

        Args:
            home: an empty folder; the spool is ``home / "spool"``.
            database_url: of an empty PostgreSQL database.
            dags: files, copied to the DAG folder and serialized once. A test whose DAG files change
                needs the component ``dag-processor``.
            components: commands of ``airflow``; ``triggerer`` for what is deferred.
            environment: further variables, which win.
        """
        port = _free_port()
        folder = home / "dags"
        folder.mkdir()
        copied = [shutil.copy(path, folder) for path in dags]
        airflow = cls(home, port, _environment(home, port, database_url) | dict(environment or {}))
        airflow.command("db", "migrate")
        if copied:
            airflow.command("dags", "reserialize")
        with subprocess.Popen(
            [sys.executable, __file__, "keep"], stdin=subprocess.PIPE, start_new_session=True
        ) as keeper:
            airflow._keeper = keeper
            try:
                for component in components:
                    airflow.run(component)
                airflow._wait_until_healthy(components)
                yield airflow
            finally:
                airflow.stop(keeper)

    # ---- What a test does with it ----------------------------------------------------------------

    def command(self, *arguments: str) -> str:
        """Run a command of ``airflow`` to its end; return what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode:
            raise AirflowError(f"airflow {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def sign_in(self, name: str, password: str) -> None:
        """Ask the REST API as this user from now on, where not everybody is an administrator."""
        told = self._call("POST", "/auth/token", {"username": name, "password": password})
        self._token = told["access_token"]

    def trigger(self, dag_id: str, **members: Any) -> str:
        """Start a DAG run; return its run_id. ``members`` as the REST API names them."""
        made = self.post(f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, **members})
        return str(made["dag_run_id"])

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str]) -> None:
        """Have tasks of a DAG run run again, and nothing after them."""
        self.post(
            f"/api/v2/dags/{dag_id}/clearTaskInstances",
            {
                "dag_run_id": run_id,
                "task_ids": [*task_ids],
                # Both are true by default, and nothing would be cleared.
                "dry_run": False,
                "only_failed": False,
                "include_downstream": False,
                "include_upstream": False,
            },
        )

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float = RUN_SECONDS) -> str:
        """Wait until a DAG run has ended; return its state."""

        def ended() -> str | None:
            state = self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]
            return str(state) if state in ("success", "failed") else None

        return self._wait_for(ended, seconds, f"{dag_id} {run_id} to end")

    def wait_for_runs(self, dag_id: str, count: int, seconds: float = RUN_SECONDS) -> list[Any]:
        """Wait until so many runs of a DAG have ended; return them."""

        def ended() -> list[Any] | None:
            runs: list[Any] = self.get(f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
            done = [one for one in runs if one["state"] in ("success", "failed")]
            return done if len(done) >= count else None

        return self._wait_for(ended, seconds, f"{count} runs of {dag_id} to end")

    def get(self, path: str) -> Any:
        """Ask the REST API."""
        return self._request("GET", path)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Tell the REST API."""
        return self._request("POST", path, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change something by the REST API."""
        return self._request("PATCH", path, body)

    def kill(self, component: str) -> None:
        """End a component at once; `run` starts it again."""
        process = self.processes.pop(component)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, keeper: subprocess.Popen[bytes]) -> None:
        """End every component and what it forked, and wait until all are gone."""
        for process in self.processes.values():
            process.terminate()  # it tells its own to end
        deadline = time.monotonic() + STOP_SECONDS
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
        keeper.communicate()
        for process in self.processes.values():
            process.wait()
        self.processes.clear()

    def logs(self) -> str:
        """Return the ends of the components' logs."""
        tails = []
        for path in sorted(self.home.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-40:]
            tails.append("\n".join([f"---- {path.name}", *lines]))
        return "\n".join(tails)

    # ---- How it is run ---------------------------------------------------------------------------

    def run(self, component: str) -> None:
        """Start a component; a keeper ends it at last."""
        arguments = ["--port", str(self.port), "--host", "127.0.0.1", "--workers", "1"]
        with (self.home / f"{component}.log").open("ab") as log:
            self.processes[component] = process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "airflow", component),
                    *(arguments if component == "api-server" else ()),
                ],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        os.write(self._keeper.stdin.fileno(), f"{process.pid}\n".encode())

    def _wait_until_healthy(self, components: Sequence[str]) -> None:
        names = {
            "scheduler": "scheduler",
            "triggerer": "triggerer",
            "dag-processor": "dag_processor",
        }
        needed = ["metadatabase", *(names[one] for one in components if one in names)]

        def healthy() -> bool:
            health = self._call("GET", "/api/v2/monitor/health", None)
            return all((health.get(one) or {}).get("status") == "healthy" for one in needed)

        self._wait_for(healthy, START_SECONDS, "Airflow to be healthy")

    def _wait_for(self, ask: Callable[[], Any], seconds: float, what: str) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for component, process in self.processes.items():
                if process.poll() is not None:
                    raise AirflowError(f"{component} ended while waiting for {what}\n{self.logs()}")
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                if (answer := ask()) is not None and answer is not False:
                    return answer
            time.sleep(0.3)
        raise AirflowError(f"waited {seconds} s in vain for {what}\n{self.logs()}")

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        if not self._token:
            self._token = self._call("GET", "/auth/token", None)["access_token"]
        return self._call(method, path, body)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        # No proxy of the environment: it is this machine that is asked.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise AirflowError(f"{method} {path}: {error.code} {text}") from error


def _environment(home: Path, port: int, database_url: str) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    database = make_url(database_url).set(drivername="postgresql+psycopg2")
    options = {
        "CORE__DAGS_FOLDER": str(home / "dags"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__PARALLELISM": "4",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "API__PORT": str(port),
        "API__BASE_URL": url,
        "API__SECRET_KEY": secrets.token_hex(16),
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "DATABASE__SQL_ALCHEMY_CONN": database.render_as_string(hide_password=False),
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
        "OPENLINEAGE__TRANSPORT": json.dumps(TRANSPORT),
        "OPENLINEAGE__NAMESPACE": "flights",
        # A test says when the spool is drained, unless the service is what it tests.
        "PROVENANCE__START_SERVICE": "False",
        "PROVENANCE__SPOOL_DIR": str(home / "spool"),
    }
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        **{f"AIRFLOW__{name}": value for name, value in options.items()},
    }


def keep() -> None:
    """Read numbers of sessions until whoever writes them is gone; then end these sessions.

    By session, since a task has a process group of its own. A session's number is given to nobody
    else as long as one process of it lives.
    """
    sessions = {int(line) for line in sys.stdin}
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) in sessions:
                os.kill(process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    keep()
