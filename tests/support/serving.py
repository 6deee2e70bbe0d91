"""``airflow-provenance serve`` in a process of its own, on loopback, with one token."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.deliver import call

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CLI = [sys.executable, "-m", "airflow_provenance.cli"]
START_SECONDS = 60


class Served(NamedTuple):
    """Where it listens, and the token it knows."""

    url: str
    token: str
    store: str
    log: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        return call("GET", f"{self.url}/api/v1/{path}", headers=headers)[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_token(folder: Path, namespaces: Sequence[str]) -> tuple[str, str]:
    """Return a token, and what ``api_tokens`` is to say."""
    named = [word for one in namespaces for word in ("--namespace", one)]
    done = subprocess.run(
        [*CLI, "serve", "--new-token", "me", "--scope", "read", "--scope", "ingest", *named],
        env={**os.environ, "AIRFLOW_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    token, _, entry = done.stdout.partition("\n")
    return token, json.dumps([json.loads(entry)])


@contextlib.contextmanager
def serving(
    folder: Path,
    *,
    namespaces: Sequence[str] = ("*",),
    store: str | None = None,
    port: int = 0,
    token: tuple[str, str] | None = None,
) -> Iterator[Served]:
    """Serve for as long as the ``with`` block lasts; the token is in no line of its log."""
    secret, entries = token or new_token(folder, namespaces)
    port, store = port or free_port(), store or f"sqlite:///{folder}/served.db"
    env = {**os.environ, "AIRFLOW_HOME": str(folder), "AIRFLOW__PROVENANCE__API_TOKENS": entries}
    path = folder / f"serve-{port}.log"
    with path.open("ab") as log:
        process = subprocess.Popen(
            [*CLI, "serve", "--port", str(port), "--store", store], env=env, stderr=log, stdout=log
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield Served(f"http://127.0.0.1:{port}", secret, store, path, process)
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    written = path.read_text()
    assert secret not in written
    assert "Traceback" not in written, written
