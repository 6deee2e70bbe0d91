"""The role ``evaluate``: killed over deadlines, twice at once, its heartbeat, how soon (A3).

With the role ``deliver`` beside it, whose notices are counted, too.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.domain.clock import parse_time
from airflow_provenance.emit.spool import Spool
from airflow_provenance.formats.facets import SLA
from airflow_provenance.store.base import RunQuery
from airflow_provenance.store.sql.store import SqlStore
from tests.support import sla_events
from tests.support.receiver import receiving
from tests.support.service_host import Host, free_port, metric, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provenance.domain.evaluation_change import EvaluationChange

pytestmark = [pytest.mark.slow]
ROLES = "evaluate,deliver"
ROUTES = [{"name": "all", "channels": ["desk"], "group_wait": "0s", "group_interval": "0s"}]


@pytest.fixture(params=["sqlite", "postgres"])
def make_host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Host]]:
    """Makes hosts that share a store."""
    url = f"sqlite:///{tmp_path}/provenance.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    hosts: list[Host] = []

    def make(name: str) -> Host:
        promises = str(tmp_path / "promises.yaml")
        desk = {"type": "file", "path": str(tmp_path / "notices.jsonl")}
        told = {"channels": {"desk": desk}, "routes": ROUTES}
        hosts.append(Host(tmp_path / name, url, sla_files=promises, lease_seconds="3", **told))
        for key in list(hosts[-1].environment):
            if key.startswith("AIRFLOW__DATABASE__"):
                del hosts[-1].environment[key]
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


def promise_in(folder: Path, *seconds: float) -> list[str]:
    """Promise that a DAG that nobody knows is done in some seconds from now, one promise each."""
    now = datetime.now(UTC)  # noqa: TID251 - real services go by the real time
    due = [(now + timedelta(seconds=one)).replace(microsecond=0) for one in seconds]
    lines = ["promises:"]
    for number, at in enumerate(due):
        lines += [
            f"  - id: done-{number}",
            "    target: {dag: nobody}",
            f'    objective: {{kind: deadline, at: "{at:%H:%M:%S}"}}',
        ]
    (folder / "promises.yaml").write_text("\n".join(lines))
    return [f"{at:%Y-%m-%dT%H:%M:%S}.000000Z" for at in due]


def breaches(host: Host) -> list[EvaluationChange]:
    store = SqlStore(host.url)
    try:
        return [one for one in store.evaluation_changes() if one.state == "breached"]
    finally:
        store.close()


def published(host: Host) -> list[tuple[str, str]]:
    """The runs that tell of breaches: their jobs, and their states in the store."""
    store = SqlStore(host.url)
    try:
        names = [name for _, name in store.job_names() if name.startswith("sla.")]
        runs = [run for name in names for run in store.runs(RunQuery(job=name))]
        docs = store.run_docs([run.id for run in runs])
        told = {run.id: json.loads(docs[run.id].run_facets[SLA][2])["state"] for run in runs}
        return [(run.job[1], run.state.name) for run in runs if told[run.id] == "breached"]
    finally:
        store.close()


def notices(folder: Path) -> list[dict[str, Any]]:
    path = folder / "notices.jsonl"
    return [json.loads(one) for one in path.read_text().splitlines()] if path.exists() else []


def told(folder: Path) -> list[str]:
    """Return the periods of which people were told that they are broken."""
    return [item["period"] for one in notices(folder) for item in one["firing"]]


def all_sent(host: Host) -> bool:
    """Whether no notice is on its way: one whose sender is killed is sent again, by its id."""
    store = SqlStore(host.url)
    try:
        return not any(one.waiting for one in store.channel_states())
    finally:
        store.close()


def in_force(host: Host) -> int:
    store = SqlStore(host.url)
    try:
        return len(store.policies()) if store.mark("evaluated") else 0
    finally:
        store.close()


def test_a_service_killed_over_two_deadlines_tells_both_after_its_restart(
    make_host: Callable[[str], Host], tmp_path: Path
) -> None:
    promise_in(tmp_path, 3600)
    host = make_host("one")
    service = host.start(roles=ROLES)
    wait_until(lambda: in_force(host) == 1, "it works")
    due = promise_in(tmp_path, 7, 9)
    wait_until(lambda: in_force(host) == 2, "both promises are in force")
    service.kill()
    service.wait()
    assert breaches(host) == []
    wait_until(lambda: time.time() * 1e6 > parse_time(due[1]) + 1e6, "both deadlines have passed")

    host.start(roles=ROLES)
    wait_until(lambda: len(notices(tmp_path)) == 2, "both are told")

    found = breaches(host)
    assert sorted(one.breached_us for one in found) == [parse_time(one) for one in due]
    assert all(one.breached_us < one.detected_us for one in found)
    assert sorted(one.period for one in found) == due
    items = [item for one in notices(tmp_path) for item in one["firing"]]
    assert sorted(one["breached_at"] for one in items) == due
    assert all(one["breached_at"] < one["detected_at"] for one in items)
    wait_until(lambda: all_sent(host), "all is sent")
    for service in host.services[1:]:
        service.kill()
        service.wait()
    host.start(roles=ROLES)
    wait_until(lambda: host.log().count("leads now") == 2, "both roles work again")
    time.sleep(3)
    assert breaches(host) == found
    assert sorted(published(host)) == [("sla.done-0", "COMPLETE"), ("sla.done-1", "COMPLETE")]
    assert sorted(told(tmp_path)) == due


def test_two_services_at_once_make_one_notice_of_each_breach(
    make_host: Callable[[str], Host], tmp_path: Path
) -> None:
    promise_in(tmp_path, 3600)
    hosts = [make_host("one"), make_host("two")]
    for host in hosts:
        host.start(roles=ROLES)
    wait_until(lambda: all("serves" in host.logs() for host in hosts), "both work")
    wait_until(lambda: in_force(hosts[0]) == 1, "one of them leads")
    due = promise_in(tmp_path, 7, 8, 9)
    wait_until(lambda: len(told(tmp_path)) >= 3, "all are told")
    wait_until(lambda: all_sent(hosts[0]), "all is sent")
    # Whoever leads dies, each role of its own; the other goes on and says nothing again.
    leader = next(host for host in hosts if "leads now" in host.logs())
    leader.services[0].kill()
    other = next(host for host in hosts if host is not leader)
    wait_until(lambda: other.logs().count("leads now") == 2, "the other leads")
    time.sleep(2)
    assert sorted(one.period for one in breaches(hosts[0])) == due
    assert sorted(told(tmp_path)) == due
    each = [(f"sla.done-{number}", "COMPLETE") for number in range(3)]
    assert sorted(published(hosts[0])) == each


def test_who_does_not_want_runs_of_promises_gets_none(
    make_host: Callable[[str], Host], tmp_path: Path
) -> None:
    promise_in(tmp_path, 3600)
    host = make_host("one")
    host.environment["AIRFLOW__PROVENANCE__SLA_PUBLISH"] = "False"
    host.start(roles="evaluate")
    wait_until(lambda: in_force(host) == 1, "it works")
    promise_in(tmp_path, 3)
    wait_until(lambda: len(breaches(host)) == 1, "it is told")
    time.sleep(1.5)
    assert published(host) == []


def test_the_heartbeat_stops_with_the_service(
    make_host: Callable[[str], Host], tmp_path: Path
) -> None:
    promise_in(tmp_path, 3600)
    host, port = make_host("one"), free_port()
    service = host.start("--health-port", str(port), roles="evaluate")
    path = host.spool_dir / "evaluate.heartbeat"
    wait_until(path.exists, "the heart beats")
    first = path.stat().st_mtime
    wait_until(lambda: path.stat().st_mtime > first, "it beats again")
    said = metric(port, "evaluate_heartbeat_timestamp_seconds")
    assert said is not None
    assert abs(said - time.time()) < 10
    assert metric(port, "promises_in_force") == 1
    service.kill()
    service.wait()
    last = path.stat().st_mtime
    time.sleep(2.5)
    assert path.stat().st_mtime == last


def test_a_task_that_fails_is_told_within_seconds(tmp_path: Path) -> None:
    (tmp_path / "promises.yaml").write_text(
        """promises:
  - id: loaded
    target: {dag: shop, task: load}
    on_failure: breach_now
    objective: {kind: deadline, at: "23:59:59"}
"""
    )
    with receiving() as receiver:
        desk = {"type": "webhook", "url": receiver.url}
        host = Host(
            tmp_path / "one",
            sla_files=str(tmp_path / "promises.yaml"),
            channels={"desk": desk},
            routes=ROUTES,
        )
        for key in [one for one in host.environment if one.startswith("AIRFLOW__DATABASE__")]:
            del host.environment[key]
        try:
            host.start(roles="drain,evaluate,deliver")
            wait_until(lambda: in_force(host) == 1, "it works")
            wait_until(lambda: host.logs().count("leads now") == 2, "both roles work")
            took = [failure_told_after(host, receiver.received, number) for number in range(8)]
        finally:
            host.close()
    kinds = [event["data"]["kind"] for event in receiver.received]
    assert kinds == ["firing", "resolved"] * 8
    middle, longest = statistics.median(took), max(took)
    sys.stderr.write(f"told {middle:.1f} s after it failed, at most {longest:.1f} s\n")
    assert middle < 8


def failure_told_after(host: Host, received: list[dict[str, Any]], number: int) -> float:
    """Let a task fail, wait for the notice, and run it again; return how long the notice took."""
    now = datetime.now(UTC)  # noqa: TID251 - real services go by the real time
    told, at = len(received), f"{now:%Y-%m-%dT%H:%M:%S.%f}"
    values = {"start": at, "end": at}
    error = {"errorMessage": {"message": "no orders today", "programmingLanguage": "python"}}
    failed = sla_events.task_run(
        *("shop", "load", "r1", at[:19]),
        **(values | {"state": "FAIL", "try_number": 2 * number + 1, "extra_facets": error}),
    )
    again = sla_events.task_run("shop", "load", "r1", at[:19], try_number=2 * number + 2, **values)
    time.sleep(0.37 * (number % 4))  # anywhere between two rounds
    spool = Spool(host.spool_dir)
    for event in failed:
        spool.append("E", json.dumps(event).encode())
    began = time.monotonic()
    wait_until(lambda: len(received) > told, "the failure is told")
    took = time.monotonic() - began
    for event in again:
        spool.append("E", json.dumps(event).encode())
    spool.close()
    wait_until(lambda: len(received) > told + 1, "its end is told")
    return took
