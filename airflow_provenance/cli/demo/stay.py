"""``demo --serve``: Airflow's page with our HTTP in it, on loopback, until somebody ends it.

Not ``airflow standalone``, which leaves processes behind when it is told to end. Each part has a
session of its own, so that Ctrl-C comes here alone, and all that a part has started ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil

from airflow_provenance.cli.demo.home import log_file
from airflow_provenance.cli.output import say, tell
from airflow_provenance.errors import ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PARTS = ("api-server", "scheduler", "dag-processor")
_START_SECONDS, _STOP_SECONDS = 120, 15


def stay(home: Path) -> None:
    """Run Airflow until SIGINT, SIGTERM or SIGHUP; then end what was started here, and no more."""
    port = _free_port()
    environment = _environment(home, port)
    earlier = {
        one: signal.signal(one, _interrupt)
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        tell("Starting Airflow's API server, scheduler and DAG processor ...")
        for part in _PARTS:
            processes[part] = _start(home, part, port, environment)
        _wait_until_healthy(home, port, processes)
        _say_where(home, port)
        while all(one.poll() is None for one in processes.values()):
            time.sleep(0.5)
        ended = next(part for part, one in processes.items() if one.poll() is not None)
        raise ProvenanceError(f"{ended} ended: {log_file(home, ended)} says why")
    except KeyboardInterrupt:
        tell("Ending Airflow ...")
    finally:
        # A second Ctrl-C must not leave half of it running.
        for one in earlier:
            signal.signal(one, signal.SIG_IGN)
        _end([*processes.values()])
        for one, before in earlier.items():
            signal.signal(one, before)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _environment(home: Path, port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    options = {
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__PARALLELISM": "1",  # SQLite takes one writer
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_passwords(home)),
        "API__BASE_URL": url,
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "API__SECRET_KEY": secrets.token_hex(16),
    }
    return {**os.environ, **{f"AIRFLOW__{name}": value for name, value in options.items()}}


def _passwords(home: Path) -> Path:
    return home / "simple_auth_manager_passwords.json.generated"


def _start(
    home: Path, part: str, port: int, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    listening = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with log_file(home, part).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own arguments
            [
                *(sys.executable, "-m", "airflow", part),
                *(listening if part == "api-server" else ()),
            ],
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_healthy(
    home: Path, port: int, processes: dict[str, subprocess.Popen[bytes]]
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        for part, process in processes.items():
            if process.poll() is not None:
                raise ProvenanceError(f"{part} did not start: {log_file(home, part)} says why")
        with contextlib.suppress(OSError, ValueError):
            health = _get(f"http://127.0.0.1:{port}/api/v2/monitor/health")
            parts = ("metadatabase", "scheduler", "dag_processor")
            if all((health.get(one) or {}).get("status") == "healthy" for one in parts):
                return
        time.sleep(0.5)
    raise ProvenanceError(f"Airflow did not start in {_START_SECONDS} s: see {home / 'logs'}")


def _get(url: str) -> dict[str, Any]:
    # No proxy of the environment: it is this machine that is asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def _say_where(home: Path, port: int) -> None:
    passwords = json.loads(_passwords(home).read_text(encoding="utf-8"))
    url = f"http://127.0.0.1:{port}"
    login = json.dumps({"username": "admin", "password": passwords["admin"]})
    say()
    say("Airflow is up, on this machine only, until Ctrl-C:")
    say(f"  its page     {url}/   login admin, password {passwords['admin']}")
    api = f"{url}/provenance/api/v1"
    say(f"  our HTTP     {api}/runs   (with a token; {api}/openapi.json describes all)")
    say("  as a program:")
    say(f"    TOKEN=$(curl -s {url}/auth/token -H 'Content-Type: application/json' \\")
    say(f"      -d '{login}' | sed 's/.*\"access_token\":\"\\([^\"]*\\).*/\\1/')")
    say(f'    curl -s {url}/provenance/api/v1/runs -H "Authorization: Bearer $TOKEN"')
    sys.stdout.flush()


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End processes and all that they have started, and wait until they are gone."""
    family = {one.pid: one for process in processes for one in _family(process.pid)}
    for process in processes:
        process.terminate()  # it tells its own to end
    _, alive = psutil.wait_procs([*family.values()], timeout=_STOP_SECONDS)
    for one in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=_STOP_SECONDS)
    for process in processes:
        _ignoring(process.wait)


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _ignoring(wait: Callable[..., int]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        wait(timeout=_STOP_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
