"""The role `deliver` as a process: one notice whatever is killed, and what people say of it."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.store.promises import PolicyRow
from airflow_provenance.store.sql.store import SqlStore
from tests.support.service_host import SECONDS, Host, ask, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUTES = [{"name": "all", "channels": ["log"], "group_wait": "0s", "group_interval": "0s"}]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    channels = {
        "log": {"type": "file", "path": str(tmp_path / "notices.jsonl")},
        "dead": {"type": "slack", "url": f"http://127.0.0.1:{free_port()}/services/s3cr3tPath"},
    }
    routes = [{**ROUTES[0], "channels": ["log", "dead"]}]
    host = Host(tmp_path, channels=channels, routes=routes, lease_seconds="1")
    yield host
    host.close()


def put(host: Host, state: str, policy: str = "orders") -> None:
    store, now_us = SqlStore(host.url), time.time_ns() // 1000
    body = {"id": policy, "target": {"dag": "d"}, "objective": {"kind": "missing_run"}}
    row = PolicyRow(
        policy_id=policy, revision="r", source="file", place="p:1", body=json.dumps(body)
    )
    store.put_policies([row], now_us)
    change = EvaluationChange(
        policy_id=policy,
        revision="r",
        period="2026-03-02T09:00:00Z",
        due_us=now_us,
        state=state,
        severity="page",
        target="dag:d",
        breached_us=None if state == "ok" else now_us,
        cause="scheduler_down",
    )
    store.add_changes([change], {}, now_us)
    store.close()


def notices(host: Host) -> list[dict[str, Any]]:
    path = host.folder / "notices.jsonl"
    return [json.loads(one) for one in path.read_text().splitlines()] if path.exists() else []


def of_orders(host: Host) -> list[str]:
    return [
        one["kind"]
        for one in notices(host)
        if (one["firing"] or one["resolved"])[0]["policy"] == "orders"
    ]


def test_killed_and_started_again_it_tells_once_and_a_dead_channel_shows(host: Host) -> None:
    port = free_port()
    service = host.start(f"--health-port={port}", roles="deliver")
    wait_until(lambda: ask(port, "/ready")[0] == 200, "it leads")
    put(host, "breached")
    wait_until(lambda: of_orders(host) == ["firing"], "it is told")
    wait_until(lambda: "channel dead" in ask(port, "/ready")[1], "the dead channel shows")
    assert 'airflow_provenance_channel_waiting{channel="dead"} 1' in ask(port, "/metrics")[1]
    service.send_signal(signal.SIGKILL)
    service.wait(SECONDS)

    host.start(f"--health-port={port}", roles="deliver")
    titles = lambda: [one["title"] for one in notices(host)]  # noqa: E731
    wait_until(lambda: "[page] provenance.channel.dead is broken" in titles(), "others tell of it")
    assert of_orders(host) == ["firing"]

    assert host.run("sla", "ack", "nothing", "--reason=x").returncode == 1
    done = host.run("sla", "ack", "orders", "--reason=on it", "--by=ann")
    assert done.stdout == "ack 1 by ann: 1 alerts match now.\n", done.stderr
    wait_until(lambda: of_orders(host) == ["firing", "acknowledged"], "that is told, too")
    listed = host.run("sla", "alerts")
    assert listed.returncode == 1
    assert "ack 1 by ann: on it" in listed.stdout
    (dead,) = [line for line in listed.stdout.splitlines() if line.startswith("dead ")]
    assert "does not answer (ConnectError" in dead

    put(host, "recovered")
    wait_until(lambda: of_orders(host)[-1] == "resolved", "the end is told")
    assert of_orders(host) == ["firing", "acknowledged", "resolved"]
    assert "s3cr3tPath" not in host.logs() + listed.stdout + json.dumps(notices(host))
    assert notices(host)[0]["firing"][0]["cause"] == "scheduler_down"


def test_what_is_silenced_tells_nobody_until_that_is_ended(host: Host) -> None:
    assert host.run("sla", "silence", "dag=d", "--reason=move").returncode == 2  # until when?
    said = host.run("sla", "silence", "dag=d", "--reason=move", "--by=ann", "--until=2h", "--json")
    assert json.loads(said.stdout)["matchers"] == ['dag="d"']
    assert host.run("sla", "silence", "colour=d", "--reason=a", "--until=2h").returncode == 2
    assert host.run("sla", "excuse", "x", "--reason=a", "--until=2020-01-01T00:00:00Z").returncode
    host.start(roles="deliver")
    put(host, "breached")
    time.sleep(3)
    assert of_orders(host) == []
    told = json.loads(host.run("sla", "alerts", "--json").stdout)
    assert told["alerts"][0]["told"] == "silence 1 by ann: move"
    assert host.run("sla", "end", "1").returncode == 0
    assert host.run("sla", "end", "1").returncode == 1
    wait_until(lambda: of_orders(host) == ["firing"], "it is told")
    assert host.run("sla", "excuse", "orders", "--reason=fair", "--until=2h").returncode == 0
    wait_until(lambda: of_orders(host) == ["firing", "resolved"], "it is over")
    over = [one["resolved"][0] for one in notices(host) if one["resolved"]]
    assert "excused by" in over[-1]["outcome"]
