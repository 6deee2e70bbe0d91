"""The role ``evaluate``: killed over deadlines, twice at once, and its heartbeat (A3)."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.domain.clock import parse_time
from airflow_provenance.formats.facets import SLA
from airflow_provenance.store.base import RunQuery
from airflow_provenance.store.sql.store import SqlStore
from tests.support.service_host import Host, free_port, metric, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provenance.domain.evaluation_change import EvaluationChange

pytestmark = [pytest.mark.slow]


@pytest.fixture(params=["sqlite", "postgres"])
def make_host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Host]]:
    """Makes hosts that share a store."""
    url = f"sqlite:///{tmp_path}/provenance.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    hosts: list[Host] = []

    def make(name: str) -> Host:
        promises = str(tmp_path / "promises.yaml")
        hosts.append(Host(tmp_path / name, url, sla_files=promises, lease_seconds="3"))
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


def in_force(host: Host) -> int:
    store = SqlStore(host.url)
    try:
        return len(store.policies()) if store.mark("evaluated") else 0
    finally:
        store.close()


def test_a_service_killed_over_two_deadlines_records_both_after_its_restart(
    make_host: Callable[[str], Host], tmp_path: Path
) -> None:
    promise_in(tmp_path, 3600)
    host = make_host("one")
    service = host.start(roles="evaluate")
    wait_until(lambda: in_force(host) == 1, "it works")
    due = promise_in(tmp_path, 7, 9)
    wait_until(lambda: in_force(host) == 2, "both promises are in force")
    service.kill()
    service.wait()
    assert breaches(host) == []
    wait_until(lambda: time.time() * 1e6 > parse_time(due[1]) + 1e6, "both deadlines have passed")

    host.start(roles="evaluate")
    wait_until(lambda: len(breaches(host)) == 2, "both are told")

    found = breaches(host)
    assert sorted(one.breached_us for one in found) == [parse_time(one) for one in due]
    assert all(one.breached_us < one.detected_us for one in found)
    assert sorted(one.period for one in found) == due
    for service in host.services[1:]:
        service.kill()
        service.wait()
    host.start(roles="evaluate")
    time.sleep(3)
    assert breaches(host) == found
    assert sorted(published(host)) == [("sla.done-0", "COMPLETE"), ("sla.done-1", "COMPLETE")]


def test_two_services_at_once_write_one_row_for_each_breach(
    make_host: Callable[[str], Host], tmp_path: Path
) -> None:
    promise_in(tmp_path, 3600)
    hosts = [make_host("one"), make_host("two")]
    for host in hosts:
        host.start(roles="evaluate")
    wait_until(lambda: all("serves" in host.logs() for host in hosts), "both work")
    wait_until(lambda: in_force(hosts[0]) == 1, "one of them leads")
    due = promise_in(tmp_path, 7, 8, 9)
    wait_until(lambda: len(breaches(hosts[0])) >= 3, "all are told")
    # Whoever leads dies; the other goes on and says nothing again.
    leader = next(host for host in hosts if "leads now" in host.logs())
    leader.services[0].kill()
    wait_until(lambda: all("leads now" in host.logs() for host in hosts), "the other leads")
    time.sleep(2)
    assert sorted(one.period for one in breaches(hosts[0])) == due
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
