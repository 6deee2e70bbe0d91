"""``serve`` in a process of its own, and OpenLineage's own client."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.transport.http import HttpConfig, HttpTransport

from airflow_provenance.store.sql.store import SqlStore

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDED = Path(__file__).parents[1] / "benchmarks" / "recorded_events.ndjson.gz"
CLI = [sys.executable, "-m", "airflow_provenance.cli"]


class Server:
    def __init__(self, url: str, token: str, store: str) -> None:
        self.url, self.token, self.store = url, token, store

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return json.load(answer)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    scopes = ["--scope", "read", "--scope", "ingest", "--namespace", "demo"]
    made = subprocess.run(
        [*CLI, "serve", "--new-token", "me", *scopes],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    token, _, entry = made.stdout.partition("\n")
    assert token not in entry
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env["AIRFLOW__PROVENANCE__API_TOKENS"] = f"[{entry}]"
    store = f"sqlite:///{tmp_path}/provenance.db"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*CLI, "serve", "--port", str(port), "--store", store], env=env, stderr=log, stdout=log
        )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield Server(f"http://127.0.0.1:{port}", token, store)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    written = (tmp_path / "log").read_text()
    assert token not in written
    assert "Traceback" not in written


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_the_openlineage_client_sends_real_events_to_it(
    server: Server, compression: str | None
) -> None:
    config: dict[str, Any] = {
        "url": server.url,
        "auth": {"type": "api_key", "apiKey": server.token},
        **({"compression": compression} if compression else {}),
    }
    transport = HttpTransport(HttpConfig.from_dict(config))
    lines = gzip.decompress(RECORDED.read_bytes()).splitlines()
    events = [json.loads(line) for line in lines]
    for _ in range(2):  # a repeat changes nothing
        for one in events:
            sent = RunEvent(
                eventTime=one["eventTime"],
                eventType=RunState[one["eventType"]],
                producer=one["producer"],
                run=Run(one["run"]["runId"], one["run"]["facets"]),
                job=Job(one["job"]["namespace"], one["job"]["name"], one["job"]["facets"]),
                inputs=one["inputs"],
                outputs=one["outputs"],
            )
            transport.emit(sent)
    transport.close()

    store = SqlStore(server.store)
    assert store.counts()["entries"] == len(events)
    assert store.counts()["quarantined"] == 0
    store.close()
    runs = server.get("runs?dag_id=flights")["runs"]
    assert {run["job"]["name"] for run in runs} == {one["job"]["name"] for one in events}


def test_without_its_token_it_answers_nobody(server: Server) -> None:
    server.token = "wrong"  # noqa: S105 - that is the point
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.get("runs")
    assert refused.value.code == 401
    refused.value.close()


def test_it_does_not_start_where_nobody_could_use_it(tmp_path: Path) -> None:
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    done = subprocess.run(
        [*CLI, "serve"], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "--new-token" in done.stderr
    assert len(done.stderr.splitlines()) == 1
