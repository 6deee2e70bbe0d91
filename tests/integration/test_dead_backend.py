"""A backend that is dead for an hour, and services that are killed meanwhile.

The hour is the events'; a feed's waiting is cut short by what an operator would do, `feeds retry`.
"""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.emit.spool import Spool
from airflow_provenance.store.sql.store import SqlStore
from tests.support.entries import task
from tests.support.hour_of_load import Load, key_of, shown
from tests.support.receiver import Answer, receiving
from tests.support.service_host import Host, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provenance.store.outbox import FeedState
    from tests.support.receiver import Receiver

ROLES = "drain,forward"
KILLS = 20
RUNS = 1500


def feeds_of(folder: Path, port: int | None, timeout_seconds: float = 0.5) -> dict[str, Any]:
    """Return a healthy feed into a file, and a backend where there is a port."""
    feeds: dict[str, Any] = {"file": {"type": "file", "path": str(folder / "events.ndjson")}}
    if port is not None:
        url = f"http://127.0.0.1:{port}"
        feeds["backend"] = {"type": "marquez", "url": url, "timeout_seconds": timeout_seconds}
    return feeds


def in_file(folder: Path) -> list[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError):
        lines = (folder / "events.ndjson").read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]
    return []


@contextlib.contextmanager
def outbox_of(host: Host) -> Iterator[SqlStore]:
    store = SqlStore(host.url)
    try:
        yield store
    finally:
        store.close()


def behind(host: Host) -> dict[str, int]:
    """Return what waits for each feed."""
    with outbox_of(host) as store:
        states: list[FeedState] = store.feeds()
        return {one.name: store.last_seq() - one.cursor for one in states}


class Moods:
    """How a backend answers, kill after kill; what it has not stored was not taken."""

    def __init__(self, receiver: Receiver, chance: random.Random) -> None:
        self.mood = "hang"
        self._receiver, self._chance = receiver, chance
        receiver.answer = self._answer

    def _answer(self, event: dict[str, Any]) -> Answer:
        if self.mood == "mixed":
            return self._one(
                self._chance.choice([*["well"] * 200, "500", "garbage", "hang up"]), event
            )
        return self._one(self.mood, event)

    def _one(self, mood: str, event: dict[str, Any]) -> Answer:
        if mood == "hang up":  # stored, and nobody is told
            self._receiver.received.append(event)
            return Answer(raw=b"")
        return {
            "well": Answer(),
            "hang": Answer(503, delay_s=2.0),
            "500": Answer(500, b"NullPointerException"),
            "garbage": Answer(raw=b"\x00\xff SSH-2.0 garbage\r\n\r\n"),
        }[mood]


@pytest.mark.timeout(240)
def test_an_hour_without_a_backend_and_20_kills_lose_nothing_and_repeats_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    chance, port = random.Random(20260106), free_port()
    host = Host(tmp_path, feeds=feeds_of(tmp_path, port))
    load = Load(host.spool_dir, RUNS)
    kills = 0

    def serve_and_kill() -> None:
        nonlocal kills
        service = host.start(roles=ROLES)
        wait_until(lambda: "serves" in host.log(), "it serves")
        with outbox_of(host) as store:
            store.resume_feed("backend")  # its waiting, which is long by now, is not the subject
        until = time.monotonic() + chance.uniform(0.1, 0.9)
        while time.monotonic() < until:
            load.write(12)
            time.sleep(0.05)
        service.kill()
        service.wait()
        kills += 1

    try:
        for _ in range(8):  # nobody listens
            serve_and_kill()
        dead = behind(host)
        with receiving(port) as receiver:
            moods = Moods(receiver, chance)
            for mood in ("hang", "hang", "500", "500", "garbage", "garbage", *["mixed"] * 6):
                moods.mood = mood
                serve_and_kill()
            moods.mood = "well"
            load.close()
            last = host.start(roles=ROLES)
            wait_until(lambda: "serves" in host.log(), "it serves")
            host.run("feeds", "retry", "backend")
            wait_until(lambda: not list(host.spool_dir.glob("*.spool")), "the spool is empty")
            wait_until(lambda: set(behind(host).values()) == {0}, "all is delivered")
            last.terminate()
            assert last.wait(10) == 0
            received = list(receiver.received)
        with outbox_of(host) as store:
            assert store.dead_letters("backend") == []
            assert store.counts()["entries"] == len(load.events)
            assert store.counts()["quarantined"] == 0
    finally:
        host.close()

    repeats = load.assert_arrived(received)
    repeats_in_file = load.assert_arrived(in_file(tmp_path))
    assert kills == KILLS
    assert dead["backend"] > max(dead["file"], 300)
    once = {key_of(event): event for event in reversed(received)}
    assert shown(received) == shown([once[key_of(event)] for event in load.events])
    assert not [line for line in host.logs().splitlines() if "Traceback" in line]
    tell(
        capsys,
        f"{len(load.events)} events over an hour, {kills} kills, {dead['backend']} waited when the "
        f"backend came back; {repeats} repeats to it, {repeats_in_file} to the file; "
        f"{time.monotonic() - began:.0f} s",
    )


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")


class Measured:
    """How long a healthy feed takes for single events, and a spool for a line."""

    def __init__(self, folder: Path, port: int | None) -> None:
        host = Host(folder, feeds=feeds_of(folder, port, timeout_seconds=20))
        spool, self.seconds = Spool(host.spool_dir), list[float]()
        load = Load(host.spool_dir, 400)
        try:
            host.start(roles=ROLES)
            load.write(200)
            wait_until(lambda: len(in_file(folder)) == 400, "the first are in the file")
            for number in range(8):
                asked = time.monotonic()
                spool.append(*task("START", 1, "alone", dag_run=f"a{number}", run=10_000 + number))
                wait_until(lambda n=number: len(in_file(folder)) > 400 + n, "it is in the file")  # type: ignore[misc]
                self.seconds.append(time.monotonic() - asked)
                time.sleep(random.Random(number).uniform(0, 0.3))
            load.write(200)
            self.waits = behind(host).get("backend", 0)
        finally:
            host.close()
        self.median = statistics.median(self.seconds)
        self.append_us = statistics.median(load.append_seconds) * 1e6


def test_a_dead_backend_delays_neither_another_feed_nor_a_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = Measured(tmp_path / "alone", None)
    refused = Measured(tmp_path / "refused", free_port())
    with receiving() as receiver:
        receiver.answer = lambda _: Answer(503, delay_s=60.0)
        hanging = Measured(tmp_path / "hanging", int(receiver.url.rsplit(":", 1)[1]))

    for name, one in (("alone", alone), ("refused", refused), ("hanging", hanging)):
        tell(
            capsys,
            f"{name}: a single event is in the file after {one.median * 1000:.0f} ms "
            f"(x{one.median / alone.median:.2f}), at most {max(one.seconds) * 1000:.0f} ms; a line "
            f"into the spool {one.append_us:.0f} us (x{one.append_us / alone.append_us:.2f})",
        )
    assert min(refused.waits, hanging.waits) > 400
    # Generous: the machine's speed is not the subject. Whoever waited for the sibling would wait
    # for the 20 s that it is given for an answer.
    for one in (refused, hanging):
        assert one.median < 2 * alone.median + 0.5
        assert max(one.seconds) < max(alone.seconds) + 8
        assert one.append_us < 5 * alone.append_us + 500
