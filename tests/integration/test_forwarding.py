"""The service's delivery as processes: what it counts, full disks, wrong clocks, several hosts."""

from __future__ import annotations

import contextlib
import json
import random
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.emit.spool import Spool
from airflow_provenance.store.sql.engine import reading
from airflow_provenance.store.sql.store import SqlStore
from tests.support.entries import event
from tests.support.hour_of_load import Load, distinct, key_of, repeated_starts, shown
from tests.support.receiver import Answer, receiving
from tests.support.service_host import Host, free_port, metric, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from airflow_provenance.store.outbox import FeedState
    from tests.support.receiver import Receiver

ROLES = "drain,forward"


def marquez(*receivers: Receiver, **settings: Any) -> dict[str, Any]:
    """Return the feeds m0, m1 ... to these receivers."""
    return {
        f"m{number}": {"type": "marquez", "url": one.url, "timeout_seconds": 2.0, **settings}
        for number, one in enumerate(receivers)
    }


@contextlib.contextmanager
def hosts(*several: Host) -> Iterator[None]:
    try:
        yield
    finally:
        for host in several:
            host.close()


@contextlib.contextmanager
def outbox_of(host: Host) -> Iterator[SqlStore]:
    store = SqlStore(host.url)
    try:
        yield store
    finally:
        store.close()


def feeds_of(host: Host) -> list[FeedState]:
    with outbox_of(host) as store:
        return store.feeds()


def leader_of(several: list[Host]) -> int:
    """Return which host's service has the lease of delivery, as the store knows."""
    with outbox_of(several[0]) as store, reading(store._engine) as bulk:
        [(holder,)] = bulk.fetch("SELECT holder FROM lease WHERE name = 'role:forward'")
    ids = [(one.spool_dir / "service.lock").read_text() for one in several]
    return ids.index(holder.rpartition(":")[2])


def hang(service: subprocess.Popen[str], host: Host) -> None:
    """Stop a process, and not in a transaction: that would take its server a minute to end."""
    while True:
        service.send_signal(signal.SIGSTOP)
        time.sleep(0.4)
        with outbox_of(host) as store, reading(store._engine) as bulk:
            if bulk.fetch(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND "
                "state <> 'idle' AND wait_event = 'ClientRead' AND "
                "clock_timestamp() - state_change > interval '0.3 s'"
            ):
                service.send_signal(signal.SIGCONT)
                time.sleep(0.01)
                continue
        return


def waiting(host: Host) -> int:
    """Return how many entries wait for feeds, all together."""
    with outbox_of(host) as store:
        last = store.last_seq()
        return sum(last - one.cursor for one in store.feeds())


def test_the_metrics_count_what_arrived_also_of_a_feed_whose_round_goes_on(tmp_path: Path) -> None:
    port = free_port()
    with receiving() as quick, receiving() as slow:
        slow.answer = lambda _: Answer(delay_s=0.03)
        quick.answer = lambda one: (
            Answer(422) if key_of(one)[0].endswith("07") else Answer()  # one run of 60
        )
        host = Host(tmp_path, feeds=marquez(quick, slow))
        with hosts(host):
            service = host.start(f"--health-port={port}", "--log-json", roles=ROLES)
            load = Load(host.spool_dir, 60)
            load.close()

            def counted(name: str = "events_forwarded_total", labels: str = "") -> float:
                return metric(port, name, labels) or 0.0

            # A round goes on for seconds: it is counted while it does, and its backlog shown.
            wait_until(lambda: len(slow.received) >= 20, "the slow one has some")
            wait_until(lambda: counted() > 118 + 15, "some of it is counted")
            assert counted() <= len(quick.received) + len(slow.received) < 118 + 120
            assert 0 < counted("feed_backlog", '{feed="m1"}') <= 120
            wait_until(lambda: waiting(host) == 0, "all is delivered")
            wait_until(lambda: counted("feed_backlog", '{feed="m1"}') == 0, "no backlog is shown")
            assert [len(distinct(one.received)) for one in (quick, slow)] == [118, 120]
            assert counted() == len(quick.received) + len(slow.received)
            assert counted("dead_letters_total") == 2

            # What is delivered while the service ends is counted, too: its lines tell.
            more = Spool(host.spool_dir)
            for number in range(50):
                more.append(*event("START", 1, f"j{number}", 5000 + number))
            wait_until(lambda: len(slow.received) > 130, "the slow one is at it")
            service.terminate()
            assert service.wait(10) == 0
            arrived = len(quick.received) + len(slow.received)
            lines = [json.loads(line) for line in host.log().splitlines()]
            assert sum(line.get("forwarded", 0) for line in lines) == arrived
            assert lines[-1]["message"] == "stopped"


def test_a_store_that_cannot_be_written_gets_one_line_and_no_event_is_sent_twice(
    tmp_path: Path,
) -> None:
    with receiving() as receiver:
        receiver.answer = lambda _: Answer(503)
        host = Host(tmp_path, feeds=marquez(receiver))
        with hosts(host):
            # Its lines go through a pipe: the limit below is on every file that it writes.
            service = host.start(roles=ROLES, stdout=subprocess.PIPE)
            load = Load(host.spool_dir, 300)
            load.close()
            wait_until(lambda: waiting(host) == 600, "all waits for the backend")
            unlimited = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (1, unlimited[1]))
            with outbox_of(host) as store:
                store.resume_feed("m0")
            receiver.answer = lambda _: Answer()
            wait_until(lambda: receiver.received, "it delivers")
            time.sleep(5)  # some rounds
            sent = len(receiver.received)
            assert 0 < sent < 600
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, unlimited)
            wait_until(lambda: waiting(host) == 0, "all is delivered")
            service.terminate()
            assert service.wait(10) == 0
            assert service.stdout is not None
            told = service.stdout.read()
    load.assert_arrived(receiver.received)
    assert repeated_starts(receiver.received) == 0
    failures = [line for line in told.splitlines() if "cannot be used" in line]
    assert 1 <= len(failures) <= 6
    assert "Traceback" not in told
    assert all("feed m0: the store sqlite" in line for line in failures if "[forward]" in line)


def test_a_clock_that_is_set_back_silences_no_feed_and_changes_no_order(tmp_path: Path) -> None:
    two_hours = 2 * 3600
    with receiving() as receiver:
        receiver.answer = lambda _: Answer(503, headers=(("Retry-After", "3000"),))
        host = Host(tmp_path, feeds=marquez(receiver))
        with hosts(host):
            host.start(roles=ROLES, ahead_seconds=two_hours).poll()
            load = Load(host.spool_dir, 20)
            load.write(10)
            wait_until(lambda: any(one.attempts for one in feeds_of(host)), "the feed waits")
            host.services[-1].kill()
            host.services[-1].wait()
            [state] = feeds_of(host)
            assert state.next_attempt_us > SystemClock().now_us() + two_hours * 10**6

            receiver.answer = lambda _: Answer()
            host.start(roles=ROLES)
            load.close()
            wait_until(lambda: waiting(host) == 0, "all is delivered")
            with outbox_of(host) as store:
                received = [one.received_us for one in store.entries(limit=100)]
            load.assert_arrived(receiver.received)
            assert repeated_starts(receiver.received) == 0
            assert received[0] > received[-1]  # as its clock said; the order is that of `seq`


def test_two_hosts_drain_each_its_own_and_one_of_them_delivers(
    tmp_path: Path, postgres_url: str
) -> None:
    def arrived() -> int:
        return len(distinct(receiver.received))

    with receiving() as receiver:
        settings = {"feeds": marquez(receiver), "lease_seconds": "2"}
        first = Host(tmp_path / "a", postgres_url, **settings)
        second = Host(tmp_path / "b", postgres_url, **settings)
        with hosts(first, second):
            ports = [free_port(), free_port()]
            leader = first.start(f"--health-port={ports[0]}", roles=ROLES)
            wait_until(lambda: metric(ports[0], "loop_leader", '{role="forward"}'), "it leads")
            second.start(f"--health-port={ports[1]}", roles=ROLES)
            loads = [Load(first.spool_dir, 60), Load(second.spool_dir, 60, first=1000)]
            for load in loads:
                load.write(40)
            wait_until(
                lambda: len(distinct(receiver.received)) == 160, "both hosts' events arrived"
            )
            assert metric(ports[1], "loop_leader", '{role="forward"}') == 0
            wait_until(
                lambda: metric(ports[0], "events_forwarded_total") == len(receiver.received),
                "all of it is counted",
            )
            assert [metric(port, "events_ingested_total") for port in ports] == [80, 80]

            leader.kill()
            leader.wait()
            loads[1].close()
            wait_until(lambda: arrived() >= 200, "the other delivers")
            assert metric(ports[1], "loop_leader", '{role="forward"}') == 1
            assert "leads now" in second.log()
            first.start(roles=ROLES)  # the host is back, and drains what it had
            loads[0].close()
            wait_until(
                lambda: len(distinct(receiver.received)) >= 240, "what the first had came, too"
            )
            assert metric(ports[1], "loop_leader", '{role="forward"}') == 1
    both = [*loads[0].events, *loads[1].events]
    assert distinct(receiver.received) == distinct(both)
    assert repeated_starts(receiver.received) == 0


def test_a_leader_that_hangs_is_followed_and_when_it_wakes_sends_nothing_more(
    tmp_path: Path, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, told = random.Random(20260107), []
    with receiving() as receiver:
        receiver.answer = lambda _: Answer(delay_s=0.02)
        settings = {"feeds": marquez(receiver), "lease_seconds": "3"}
        both = [Host(tmp_path / name, postgres_url, **settings) for name in ("a", "b")]
        with hosts(*both):
            services = [one.start(roles=ROLES) for one in both]
            load = Load(both[0].spool_dir, 240)
            for round_ in range(4):
                load.write(60)
                before = len(receiver.received)
                wait_until(lambda n=before: len(receiver.received) > n + 20, "one delivers")  # type: ignore[misc]
                time.sleep(chance.uniform(0, 0.5))
                leader = leader_of(both)
                hang(services[leader], both[0])
                at_stop = len(receiver.received)
                wait_until(lambda n=leader: leader_of(both) != n, "it is followed")  # type: ignore[misc]
                wait_until(lambda n=at_stop: len(receiver.received) > n + 40, "it delivers on")  # type: ignore[misc]
                services[leader].send_signal(signal.SIGCONT)
                wait_until(
                    lambda n=leader: "another host leads" in both[n].log().splitlines()[-1],  # type: ignore[misc]
                    "it says that it leads no more",
                )
                told.append(f"round {round_}: {at_stop - before} before it hung")
            load.close()
            wait_until(lambda: waiting(both[0]) == 0, "all is delivered", 90)
            for service in services:
                service.terminate()
                assert service.wait(10) == 0
            received = list(receiver.received)
    repeats = load.assert_arrived(received)
    once = {key_of(one): one for one in reversed(received)}
    assert shown(received) == shown([once[key_of(one)] for one in load.events])
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(load.events)} events, 4 leaders hung: {repeats} repeats; {'; '.join(told)}\n"
        )


HANG = """
import os, signal, sys
from airflow_provenance.store.sql import engine
engine.HANGS_SECONDS = 2
with engine.writing(engine.open_engine(sys.argv[1])) as bulk:
    bulk.fetch("SELECT 1")
    print("has the lock", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_process_that_hangs_in_the_middle_of_writing_does_not_stop_the_others(
    tmp_path: Path, postgres_url: str
) -> None:
    host = Host(tmp_path, postgres_url)
    hung = subprocess.Popen(
        [sys.executable, "-c", HANG, postgres_url], stdout=subprocess.PIPE, text=True
    )
    try:
        assert hung.stdout is not None
        assert hung.stdout.readline() == "has the lock\n"
        with hosts(host):
            host.start()
            spool = Spool(host.spool_dir)
            host.append(spool, 10)
            wait_until(lambda: host.stored()["runs"] == 10, "the others write")
            spool.close()
    finally:
        hung.kill()
        hung.wait()
