"""The service as a process: what it does by itself, and what killing it cannot break."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.emit.spool import Spool
from tests.support.service_host import SECONDS, Host, ask, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


def test_the_service_drains_by_itself_says_how_it_is_and_ends_in_time(host: Host) -> None:
    port = free_port()
    service = host.start(f"--health-port={port}", "--log-json")
    spool = Spool(host.spool_dir)
    host.append(spool, 7)

    wait_until(lambda: ask(port, "/ready") == (200, "ready\n"), "it is ready")
    assert ask(port, "/health") == (200, "alive\n")
    wait_until(lambda: host.stored()["runs"] == 7, "all is in the store")
    host.append(spool, 3)  # the same file, later
    wait_until(lambda: host.stored()["runs"] == 10, "what came later is in the store")
    wait_until(
        lambda: "airflow_provenance_events_ingested_total 10\n" in ask(port, "/metrics")[1],
        "the metrics say so",
    )
    text = ask(port, "/metrics")[1]
    assert text.endswith("# EOF\n")
    assert 'airflow_provenance_loop_ready{role="drain"} 1\n' in text
    assert f"airflow_provenance_spool_bytes {spool.path.stat().st_size}\n" in text
    assert ask(port, "/nowhere")[0] == 404

    asked = time.monotonic()
    service.terminate()
    assert service.wait(SECONDS) == 0
    assert time.monotonic() - asked < 2
    lines = [json.loads(line) for line in host.log().splitlines()]
    assert sum(line.get("ingested", 0) for line in lines) == 10
    assert [lines[0]["message"], lines[-1]["message"]] == ["serves: drain", "stopped"]
    spool.close()


def test_nothing_is_lost_or_doubled_when_the_service_is_killed_20_times(host: Host) -> None:
    rng = random.Random(20260105)
    spools = [Spool(host.spool_dir) for _ in range(3)]
    service = host.start()
    for _ in range(20):
        wait_until(lambda: "serves" in host.log(), "it serves")
        until = time.monotonic() + rng.uniform(0.0, 0.4)
        while time.monotonic() < until:
            host.append(rng.choice(spools), 40)
            time.sleep(0.002)
        service.kill()
        service.wait()
        service = host.start()
    for spool in spools:
        spool.close()

    wait_until(lambda: not list(host.spool_dir.glob("*.spool")), "the spool is empty")

    counts = host.stored()
    assert host.count > 2000
    assert (counts["runs"], counts["entries"], counts["quarantined"]) == (host.count,) * 2 + (0,)


def test_a_second_service_of_a_host_stands_by_and_takes_over(host: Host) -> None:
    first = host.start()
    wait_until(lambda: "serves" in host.log(), "the first serves")
    refused = host.start("--no-standby")
    assert refused.wait(SECONDS) == 1
    assert len(host.log().splitlines()) == 1
    assert "another service runs on this host" in host.log()
    host.start()
    wait_until(lambda: "stands by" in host.log(), "the second stands by")
    assert "serves" not in host.log()

    first.kill()
    first.wait()

    wait_until(lambda: "serves" in host.log(), "the second serves")
    spool = Spool(host.spool_dir)
    host.append(spool)
    wait_until(lambda: host.stored()["runs"] == 1, "it drains")
    spool.close()


def test_a_full_disk_is_one_line_each_time_and_with_space_again_all_is_ingested_once(
    host: Host,
) -> None:
    port = free_port()
    service = host.start(f"--health-port={port}")
    wait_until(lambda: ask(port, "/ready")[0] == 200, "it is ready")
    unlimited = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (1, unlimited[1]))
    spool = Spool(host.spool_dir)
    host.append(spool, 500)

    wait_until(lambda: ask(port, "/ready")[0] == 503, "it says that it is not ready")
    assert "cannot be used" in ask(port, "/ready")[1]
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, unlimited)

    wait_until(lambda: host.stored()["runs"] == 500, "all is in the store")
    wait_until(lambda: ask(port, "/ready")[0] == 200, "it is ready again")
    assert host.stored()["entries"] == 500
    service.terminate()
    assert service.wait(SECONDS) == 0
    spool.close()


def test_a_child_ends_with_its_parent(host: Host) -> None:
    service = host.start(f"--child-of={os.getpid()}", stdin=subprocess.PIPE)
    wait_until(lambda: "serves" in host.log(), "it serves")
    assert service.poll() is None
    assert service.stdin is not None

    service.stdin.close()

    assert service.wait(SECONDS) == 0
    orphan = host.start("--child-of=1", stdin=subprocess.PIPE)  # its parent is another
    assert orphan.wait(SECONDS) == 0


def test_unknown_roles_are_refused(host: Host) -> None:
    service = host.start("--roles=drain,dance")

    assert service.wait(SECONDS) == 2
    assert "--roles 'drain,dance': give some of drain" in host.log()


def test_a_service_whose_store_comes_later_goes_on_by_itself(host: Host) -> None:
    database = host.folder / "provenance.db"
    database.unlink()
    database.mkdir()
    port = free_port()
    host.start(f"--health-port={port}")
    wait_until(lambda: "trying again" in host.log(), "it says what is wrong")
    assert ask(port, "/ready")[0] == 503
    assert ask(port, "/health")[0] == 200

    database.rmdir()

    wait_until(lambda: ask(port, "/ready")[0] == 200, "it is ready")
