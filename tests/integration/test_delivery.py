"""From the store to backends over HTTP while they, or we, break."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.collect.feeds.base import Route
from airflow_provenance.collect.feeds.file import FileFeed
from airflow_provenance.collect.feeds.http import HttpFeed
from airflow_provenance.collect.forward import Forwarder
from airflow_provenance.domain.clock import FixedClock
from airflow_provenance.formats.shaping import marquez
from airflow_provenance.store.sql.store import SqlStore
from tests.support.entries import data, event, put_all, task
from tests.support.receiver import Answer, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.receiver import Receiver

NOW = 1_800_000_000_000_000
TOKEN = "s3cr3t-token"  # noqa: S105 - nobody's


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        given: str = request.getfixturevalue("postgres_url")
        return given
    return f"sqlite:///{tmp_path}/provenance.db"


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    store = SqlStore(url, create=True)
    yield store
    store.close()


def fill(store: SqlStore, count: int, first: int = 0) -> None:
    """Ingest `count` events of jobs that take turns, each run with a START and a COMPLETE."""
    events = []
    for number in range(first, first + count // 2):
        name = f"t{number % 7}"
        of = {"dag_run": f"r{number}", "run": number}
        events.append(task("START", number * 2, name, inputs=[data("in")], **of))
        events.append(task("COMPLETE", number * 2 + 1, name, outputs=[data("out")], **of))
    put_all(store, *events)


def assert_all_arrived_in_order(receiver: Receiver, count: int, first: int = 0) -> None:
    """Every event at least once; per job, leaving repeats out, in the order of the log."""
    seen: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for one in receiver.received:
        job, run = one["job"]["name"], int(one["run"]["runId"][-12:], 16)
        if (run, one["eventType"]) not in seen[job]:
            seen[job].append((run, one["eventType"]))
    expected: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number in range(first, first + count // 2):
        expected[f"d.t{number % 7}"] += [(number, "START"), (number, "COMPLETE")]
    assert seen == expected


def last_states(receiver: Receiver) -> set[str]:
    return set({one["run"]["runId"]: one["eventType"] for one in receiver.received}.values())


def test_a_backend_that_dies_comes_back_and_talks_nonsense_gets_everything_in_order(
    store: SqlStore, tmp_path: Path
) -> None:
    clock = FixedClock(NOW)
    fill(store, 40)
    with receiving() as first:
        port = int(first.url.rsplit(":", 1)[1])
        file = tmp_path / "events.ndjson"
        one = Forwarder(
            store,
            [
                Route("marquez", HttpFeed(first.url, timeout_seconds=1.0), marquez.RULES),
                Route("file", FileFeed(file)),
            ],
            clock,
            random.Random(1),
        )
        assert one.run_once(patience_s=None).errors == {}
    arrived = list(first.received)

    for attempt in range(8):  # nobody listens there; the file goes on
        fill(store, 20, 20 + 10 * attempt)
        report = one.run_once(patience_s=None)
        assert "does not answer" in report.errors["marquez"]
        assert report.feeds["file"].sent == 20
        clock.us = store.feeds()[1].next_attempt_us
    assert store.feeds()[1].name == "marquez"
    assert store.feeds()[1].cursor == 40

    chance = random.Random(2)
    with receiving(port) as second:
        second.received += arrived

        def nonsense(_: Any) -> Answer:
            kind = chance.randrange(8)
            if kind == 0:
                return Answer(500, b"NullPointerException")
            if kind == 1:
                return Answer(raw=b"\x00\xff garbage\r\n\r\n")
            return Answer(503) if kind == 2 else Answer()

        second.answer = nonsense
        for _ in range(400):
            report = one.run_once(patience_s=None)
            clock.us += 400_000_000
            if not report.errors:
                break
        assert store.feeds()[1].cursor == store.last_seq()
        assert store.dead_letters("marquez") == []
        assert_all_arrived_in_order(second, 200)
        assert last_states(second) == {"COMPLETE"}
    one.close()
    assert len(file.read_bytes().splitlines()) == 200


def test_a_slow_backend_does_not_hold_up_others(store: SqlStore) -> None:
    def answer_at_last(_: Any) -> Answer:
        gate.wait(60)
        return Answer()

    gate = threading.Event()
    fill(store, 20)
    with receiving() as slow, receiving() as quick:
        slow.answer = answer_at_last
        one = Forwarder(
            store,
            [
                Route("slow", HttpFeed(slow.url, timeout_seconds=60), marquez.RULES),
                Route("quick", HttpFeed(quick.url), marquez.RULES),
            ],
        )
        for more in (20, 40):  # a second round does not wait for it either
            report = one.run_once(patience_s=0.2)
            for _ in range(300):
                if not report.feeds["quick"].is_busy and len(quick.received) >= more:
                    break
                report = one.run_once(patience_s=0.2)
            assert_all_arrived_in_order(quick, more)
            assert report.feeds["slow"].is_busy
            fill(store, 20, 10)
        gate.set()
        one.close()
        # And it was never at it twice.
        events = [(each["run"]["runId"], each["eventType"]) for each in slow.received]
        assert 0 < len(events) == len(set(events))


def test_a_failure_before_the_clock_was_set_back_does_not_silence_a_feed(store: SqlStore) -> None:
    clock, hour_us = FixedClock(NOW), 3_600_000_000
    fill(store, 2)
    with receiving() as receiver:
        receiver.answer = lambda _: Answer(503, headers=(("Retry-After", "600"),))
        one = Forwarder(store, [Route("m", HttpFeed(receiver.url), marquez.RULES)], clock)
        assert one.run_once(patience_s=None).errors
        receiver.answer = lambda _: Answer()
        clock.us += 500_000_000
        assert one.run_once(patience_s=None).sent == 0  # it waits, as it was asked to
        clock.us = NOW - hour_us
        assert one.run_once(patience_s=None).sent == 2
        one.close()


def test_a_dead_letter_of_a_run_that_has_ended_does_not_begin_it_again(store: SqlStore) -> None:
    fill(store, 2)
    with receiving() as receiver:
        receiver.answer = lambda one: Answer(422 if one["eventType"] == "START" else 201)
        one = Forwarder(store, [Route("m", HttpFeed(receiver.url), marquez.RULES)])
        assert one.run_once(patience_s=None).dead == 1
        receiver.answer = lambda _: Answer()
        assert one.retry_dead_letters("m") == (1, 0)
        one.close()
        assert last_states(receiver) == {"COMPLETE"}
        # The START tells since when it lasted; the end comes again after it.
        types = [one["eventType"] for one in receiver.received]
        assert types == ["COMPLETE", "START", "COMPLETE"]


class Odd(FileFeed):
    """A feed with a mistake that one run brings out."""

    def send(self, body: bytes) -> None:
        if json.loads(body)["run"]["runId"].endswith("07"):
            raise KeyError("odd")
        super().send(body)


def test_a_mistake_in_a_feed_is_one_line_and_in_the_end_a_dead_letter(
    store: SqlStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, file = FixedClock(NOW), tmp_path / "odd.ndjson"
    fill(store, 40)
    one = Forwarder(store, [Route("odd", Odd(file))], clock, random.Random(4))
    for _ in range(20):
        one.run_once(patience_s=None)
        clock.us = max(clock.us, store.feeds()[0].next_attempt_us)
    one.close()
    assert store.feeds()[0].cursor == store.last_seq()
    letters = store.dead_letters("odd")
    assert [letter.error for letter in letters] == ["KeyError: 'odd'; it takes other events"] * 2
    assert len(set(file.read_bytes().splitlines())) == 38
    assert all(len(record.getMessage().splitlines()) == 1 for record in caplog.records)


@pytest.mark.parametrize("fails", [False, True], ids=["delivered", "failed"])
def test_who_leads_no_more_sends_nothing_and_notes_nothing(store: SqlStore, fails: bool) -> None:
    fill(store, 20)
    with receiving() as receiver:
        leads = True

        def woken(_: Any) -> Answer:
            nonlocal leads
            leads = len(receiver.requests) < 5  # it hung on the answer, and another leads now
            return Answer(503 if fails and not leads else 201)

        receiver.answer = woken
        one = Forwarder(store, [Route("m", HttpFeed(receiver.url), marquez.RULES)])
        one.run_once(leads=lambda: leads, patience_s=None)
        assert len(receiver.requests) == 5
        [state] = store.feeds()
        assert (state.cursor, state.attempts, state.next_attempt_us) == (0, 0, 0)
        receiver.answer = lambda _: Answer()
        one.run_once(patience_s=None)  # it leads again
        one.close()
        assert_all_arrived_in_order(receiver, 20)
        assert store.feeds()[0].cursor == 20


def test_who_hangs_with_a_request_begun_does_not_end_it_when_others_lead(store: SqlStore) -> None:
    fill(store, 2)
    with receiving() as receiver:
        feed, asked = HttpFeed(receiver.url), 0

        def leads() -> bool:
            nonlocal asked
            asked += 1
            return asked == 1  # before the request; not any more when its body is to follow

        one = Forwarder(store, [Route("m", feed, marquez.RULES)])
        one.run_once(leads=leads, patience_s=None)
        assert asked > 1
        assert (receiver.requests, store.feeds()[0].cursor) == ([], 0)
        assert one.run_once(patience_s=None).sent == 2
        one.close()
        assert_all_arrived_in_order(receiver, 2)


FORWARD = """
import sys
from airflow_provenance.cli import main
sys.exit(main(["forward", "--once", "--store", sys.argv[1]]))
"""


def forwarding(url: str, feeds: dict[str, Any]) -> subprocess.Popen[str]:
    env = {**os.environ, "AIRFLOW__PROVENANCE__FEEDS": json.dumps(feeds)}
    return subprocess.Popen(
        [sys.executable, "-c", FORWARD, url],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_forwarding_process_that_is_killed_again_and_again_loses_nothing(
    store: SqlStore, url: str, tmp_path: Path
) -> None:
    fill(store, 1200)
    chance = random.Random(3)
    file = tmp_path / "events.ndjson"
    with receiving() as receiver:
        feeds = {
            "marquez": {"type": "marquez", "url": receiver.url, "api_key": TOKEN},
            "file": {"type": "file", "path": str(file)},
        }
        kills = 0
        while kills < 10:
            before = len(receiver.requests)
            process = forwarding(url, feeds)
            # In the middle of delivering, however long starting takes here.
            wanted = before + chance.randrange(1, 60)
            deadline = time.monotonic() + 60
            while len(receiver.requests) < wanted and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.communicate()
            if store.feeds()[1].cursor == store.last_seq():
                break
        out, err = (last := forwarding(url, feeds)).communicate()
        assert last.returncode == 0, err
        assert kills == 10
        assert_all_arrived_in_order(receiver, 1200)
        assert last_states(receiver) == {"COMPLETE"}
        assert {headers["Authorization"] for _, headers in receiver.requests} == {f"Bearer {TOKEN}"}
    lines = file.read_bytes().splitlines()
    assert {entry.raw for entry in store.entries(limit=5000, with_raw=True)} <= set(lines)
    assert TOKEN not in out + err


def test_the_command_line_tells_how_feeds_do_and_mends_them(url: str, store: SqlStore) -> None:
    put_all(store, *(event("START", number, f"j{number}", run=number) for number in range(3)))
    with receiving() as receiver:
        receiver.answer = lambda one: (
            Answer(422, b"bad job, " + TOKEN.encode()) if one["job"]["name"] == "j1" else Answer()
        )
        feeds = {"m": {"type": "marquez", "url": receiver.url, "api_key": TOKEN}}
        env = {**os.environ, "AIRFLOW__PROVENANCE__FEEDS": json.dumps(feeds)}

        def run(*arguments: str) -> tuple[int, Any, str]:
            done = subprocess.run(
                [sys.executable, "-m", "airflow_provenance.cli", *arguments, "--store", url],
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
            assert TOKEN not in done.stdout + done.stderr
            answer = json.loads(done.stdout) if "--json" in arguments else done.stdout
            return done.returncode, answer, done.stderr

        code, forwarded, _ = run("forward", "--once", "--json")
        assert (code, forwarded["m"]["sent"], forwarded["m"]["dead"]) == (1, 2, 1)
        code, status, _ = run("feeds", "status", "--json")
        assert code == 1
        assert status[0]["state"] == "on"
        assert (status[0]["cursor"], status[0]["backlog"]) == (3, 0)
        assert status[0]["dead_letters"][0]["error"].endswith("answered 422: bad job, ***")
        assert run("feeds", "retry", "m")[0] == 1
        receiver.answer = lambda _: Answer()
        assert run("feeds", "retry", "m", "--json")[:2] == (0, {"delivered": 1, "waiting": 0})
        assert run("feeds", "status")[0] == 0

        assert run("feeds", "replay", "m", "--since", "yesterday")[0] == 2
        since = "2020-01-01T00:00:00Z"
        assert run("feeds", "replay", "m", "--since", since, "--json")[1] == {
            "cursor": 0,
            "backlog": 3,
        }
        before = len(receiver.received)
        assert run("forward", "--once")[0] == 0
        assert [one["job"]["name"] for one in receiver.received[before:]] == ["j0", "j1", "j2"]
        assert run("feeds", "replay", "other", "--since", since)[0] == 1
