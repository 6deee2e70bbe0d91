"""A host with a spool, and the services that run on it as processes."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from airflow_provenance.formats.notes import DagRunNote, encode_note
from airflow_provenance.store.sql.store import SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provenance.emit.spool import Spool

SECONDS = 30
_BEGIN = "import sys; from airflow_provenance.cli import main; sys.exit(main(sys.argv[1:]))"
# Monotonic time is not touched: nobody can set it.
_AHEAD = (
    """
import time
right, right_ns = time.time, time.time_ns
time.time = lambda: right() + {0}
time.time_ns = lambda: right_ns() + {0} * 10**9
"""
    + _BEGIN
)


class Host:
    """A folder with a spool and a store, and the services that run on it.

    Args:
        folder: where all of it lies.
        url: of the store; SQLite in the folder by default.
        settings: more of ``[provenance]``; what is no text is written as JSON.
    """

    def __init__(self, folder: Path, url: str = "", **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.spool_dir = folder, folder / "spool"
        self.url = url or f"sqlite:///{folder}/provenance.db"
        SqlStore(self.url, create=True).close()
        self.environment = {
            **os.environ,
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__PROVENANCE__SPOOL_DIR": str(self.spool_dir),
            "AIRFLOW__PROVENANCE__STORE": self.url,
        }
        for name, value in settings.items():
            text = value if isinstance(value, str) else json.dumps(value)
            self.environment[f"AIRFLOW__PROVENANCE__{name.upper()}"] = text
        self.services: list[subprocess.Popen[str]] = []
        self.count = 0

    def start(
        self, *options: str, roles: str = "drain", ahead_seconds: int = 0, **popen: Any
    ) -> subprocess.Popen[str]:
        """Start a service, whose clock may be wrong."""
        begin = _AHEAD.format(ahead_seconds) if ahead_seconds else _BEGIN
        log = (self.folder / f"service-{len(self.services)}.log").open("w")
        popen.setdefault("stdout", log)
        service = subprocess.Popen(
            [sys.executable, "-c", begin, "service", f"--roles={roles}", *options],
            env=self.environment,
            stderr=subprocess.STDOUT,
            text=True,
            **popen,
        )
        log.close()
        self.services.append(service)
        return service

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours."""
        return subprocess.run(
            [sys.executable, "-m", "airflow_provenance.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def log(self, number: int = -1) -> str:
        return (self.folder / f"service-{range(len(self.services))[number]}.log").read_text()

    def logs(self) -> str:
        return "".join(self.log(number) for number in range(len(self.services)))

    def append(self, spool: Spool, count: int = 1) -> None:
        for _ in range(count):
            self.count += 1
            note = DagRunNote("air", "flights", f"run_{self.count}", self.count, state="RUNNING")
            spool.append("N", encode_note(note))

    def stored(self) -> dict[str, int]:
        store = SqlStore(self.url)
        counts = store.counts()
        store.close()
        return counts

    def close(self) -> None:
        """End what still runs."""
        for service in self.services:
            if service.poll() is None:
                service.kill()
            service.wait()


def wait_until(is_true: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def metric(port: int, name: str, labels: str = "") -> float | None:
    """Return a number that ``/metrics`` shows."""
    pattern = rf"^airflow_provenance_{name}{re.escape(labels)} (\S+)$"
    found = re.search(pattern, ask(port, "/metrics")[1], re.MULTILINE)
    return None if found is None else float(found[1])
