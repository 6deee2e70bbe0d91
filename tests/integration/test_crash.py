"""Nothing acknowledged is lost or counted twice, whoever is killed when.

The flow: the test starts one process, the *nursery*, which has everything imported and no thread.
It forks writers, which append events as tasks do until they are killed, and drainers, which ingest
until they are killed; a writer or drainer that was killed is replaced until enough have died. The
writers keep a list of what was acknowledged, each a file of its own. Then one last drainer empties
the spool, and the store is held against the lists.

Acknowledged means here: the append returned. That survives a kill; a power loss is not tested.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

from airflow_provenance.collect.drain import Drain
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.emit import spool
from airflow_provenance.emit.transport import ProvenanceConfig, ProvenanceTransport
from airflow_provenance.formats.notes import TaskRunNote, encode_note
from airflow_provenance.store.memory import MemoryStore
from airflow_provenance.store.sql.store import SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provenance.formats.spool_line import Kind

WRITERS, WRITERS_AT_ONCE = 44, 6
DRAINERS, DRAINERS_AT_ONCE = 12, 2
LONGEST_SECONDS = 50
PRODUCER = "https://github.com/apache/airflow/tree/providers-openlineage/2.20.3"


# ---- The test -----------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        given: str = request.getfixturevalue("postgres_url")
        return given
    return f"sqlite:///{tmp_path}/provenance.db"


@pytest.mark.slow
def test_no_acknowledged_event_is_lost_or_counted_twice_whoever_is_killed(
    url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    SqlStore(url, create=True).close()

    kills = run_nursery(url, tmp_path, seed=20260105)
    store = SqlStore(url)
    drain_to_the_end(store, tmp_path / "spool")

    assert failures(tmp_path) == ""
    told = Acknowledged.read(tmp_path)
    logged = [one for page in pages(store) for one in page]
    digests = Counter(digest(one.raw or b"") for one in logged)
    assert told.appended - digests.keys() == set(), "acknowledged, but not in the store"
    assert set(digests.values()) == {1}
    assert [one.seq for one in logged] == list(range(1, len(logged) + 1))
    # Killed after the append and before it could tell: at most one for each thread or fork.
    assert len(digests) - len(told.appended) <= 4 * WRITERS

    quarantined = store.quarantine(with_raw=True)
    assert {one.reason for one in quarantined} <= {"torn_line", "bad_checksum"}
    assert told.torn - {digest(one.raw or b"") for one in quarantined} == set()
    assert len(quarantined) - len(told.torn) <= WRITERS

    once = MemoryStore()
    entries: list[tuple[Kind, bytes]] = [
        ("N" if one.kind == "note" else "E", one.raw or b"") for one in logged
    ]
    once.ingest(entries, received_us=0)
    assert store.dump_facts() == once.dump_facts()
    store.close()

    assert kills["writers"] >= 40
    assert kills["drainers"] >= 10
    # Fewer on a machine that is busy with other work, but not none.
    assert len(told.appended) > 300
    assert len(told.torn) > 10
    figures = {
        "acknowledged": len(told.appended),
        "in the store": len(logged),
        "lost": 0,
        "counted twice": 0,
        "torn lines": len(told.torn),
        **{f"killed {who}": number for who, number in kills.items()},
    }
    for name, value in figures.items():
        record_property(name, value)
    sys.stdout.write(f"{figures}\n")


def run_nursery(url: str, folder: Path, seed: int) -> dict[str, int]:
    """Return how many writers and drainers were killed."""
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "AIRFLOW__PROVENANCE__SPOOL_DIR": str(folder / "spool"),
        "AIRFLOW__PROVENANCE__MAX_FACET_BYTES": "1000000",
        "AIRFLOW__PROVENANCE__REDACT_FIELDS": "nothing_is_named_so",
        "AIRFLOW__PROVENANCE__REDACT_PATTERNS": "nothing reads like this",
    }
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(folder), url, str(seed)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills: dict[str, int] = json.loads(done.stdout)
    return kills


def drain_to_the_end(store: SqlStore, directory: Path) -> None:
    """Drain until no file is left: a fork may outlive the writer that was killed, for a moment."""
    drain, deadline = Drain(store, directory), time.monotonic() + 20
    while drain.files():
        assert time.monotonic() < deadline, f"left in the spool: {drain.files()}"
        drain.run_once()
    assert list(directory.iterdir()) == []


def pages(store: SqlStore) -> Iterator[list[Any]]:
    last = 0
    while page := store.entries(after_seq=last, limit=500, with_raw=True):
        last = page[-1].seq
        yield page


def failures(folder: Path) -> str:
    return "\n".join(path.read_text() for path in folder.glob("failed-*"))


def digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


@dataclass
class Acknowledged:
    """What the writers were promised, as digests."""

    appended: set[str] = field(default_factory=set)
    torn: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, folder: Path) -> Acknowledged:
        told = cls()
        for path in folder.glob("told-*"):
            for line in path.read_text().splitlines():
                kind, text = line.split()
                (told.torn if kind == "T" else told.appended).add(text)
        return told


# ---- The nursery --------------------------------------------------------------------------------


@dataclass
class Child:
    pid: int
    dies_at: float
    is_writer: bool


class Nursery:
    """Forks writers and drainers, and kills each when its time has come."""

    def __init__(self, folder: Path, url: str, seed: int) -> None:
        self.folder, self.url = folder, url
        self.rng = random.Random(seed)
        self.children: list[Child] = []
        self.begun = Counter[str]()
        self.killed = Counter[str]()

    def run(self) -> None:
        try:
            while self.killed["writers"] < WRITERS or self.killed["drainers"] < DRAINERS:
                self.fill()
                for child in [one for one in self.children if one.dies_at < time.monotonic()]:
                    self.kill(child)
                time.sleep(0.002)
        finally:
            for child in list(self.children):
                self.kill(child)

    def fill(self) -> None:
        writers = sum(child.is_writer for child in self.children)
        drainers = len(self.children) - writers
        if writers < WRITERS_AT_ONCE and self.begun["writers"] < WRITERS:
            self.begin(write, self.rng.uniform(0.02, 1), is_writer=True)
        if drainers < DRAINERS_AT_ONCE:
            self.begin(ingest, self.rng.uniform(0.05, 0.8), is_writer=False)

    def begin(
        self, work: Callable[[Path, str, int, int], None], lifetime: float, *, is_writer: bool
    ) -> None:
        who = "writers" if is_writer else "drainers"
        self.begun[who] += 1
        number, seed = self.begun[who], self.rng.getrandbits(32)
        pid = os.fork()
        if not pid:
            self.live(work, number, seed)
        os.setpgid(pid, pid)  # in the child, too: whoever comes first
        self.children.append(Child(pid, time.monotonic() + lifetime, is_writer))

    def live(self, work: Callable[[Path, str, int, int], None], number: int, seed: int) -> None:
        try:
            os.setpgid(0, 0)
            signal.alarm(LONGEST_SECONDS)  # should nobody be left to kill it
            work(self.folder, self.url, number, seed)
        except BaseException:  # noqa: BLE001 - a child must not return into the nursery
            (self.folder / f"failed-{os.getpid()}").write_text(traceback.format_exc())
        finally:
            os._exit(1)

    def kill(self, child: Child) -> None:
        """Kill a child, at times with its forks. Not yet waited for, its id is nobody else's."""
        if child.is_writer and self.rng.random() < 0.5:
            os.killpg(child.pid, signal.SIGKILL)
        else:
            os.kill(child.pid, signal.SIGKILL)
        status = os.waitpid(child.pid, 0)[1]
        self.children.remove(child)
        if os.WIFSIGNALED(status):
            self.killed["writers" if child.is_writer else "drainers"] += 1


# ---- A drainer ----------------------------------------------------------------------------------


def ingest(folder: Path, url: str, number: int, seed: int) -> None:
    rng = random.Random(seed)
    drain = Drain(SqlStore(url), folder / "spool", batch_bytes=rng.choice((5_000, 50_000, 1 << 23)))
    while True:
        drain.run_once()
        time.sleep(0.003)


# ---- A writer -----------------------------------------------------------------------------------


def write(folder: Path, url: str, number: int, seed: int) -> None:
    logging.disable()
    told = os.open(folder / f"told-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    tell_appends(told)
    spool.open_own()  # by the listener, before anything forks
    if number % 2:
        write_from_forks(told, number, random.Random(seed))
    else:
        write_from_threads(number, seed)


def tell_appends(told: int) -> None:
    """Have every append of this process and its forks tell when it was acknowledged."""
    append = spool.Spool.append

    def append_and_tell(
        self: spool.Spool, kind: Kind, payload: bytes, *, sync: bool = False
    ) -> None:
        append(self, kind, payload, sync=sync)
        os.write(told, f"{kind} {digest(payload)}\n".encode())

    spool.Spool.append = append_and_tell  # type: ignore[method-assign]


def write_from_forks(told: int, number: int, rng: random.Random) -> None:
    """Emit as the official provider does by default: a fork for each event."""
    for event in events(number, rng):
        if not (pid := os.fork()):
            emit(event)
            os._exit(0)
        os.waitpid(pid, 0)
        if rng.random() < 0.3:
            run_out_of_space(told, rng)
            time.sleep(0.03)  # so that some die now, and leave a line without end


def write_from_threads(number: int, seed: int) -> None:
    """Emit from three threads at once, each a task of its own."""

    def emit_all(rng: random.Random) -> None:
        for event in events(number, rng):
            emit(event)
            time.sleep(rng.random() / 100)

    threads = [
        threading.Thread(target=emit_all, args=(random.Random(f"{seed} {thread}"),), daemon=True)
        for thread in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def emit(event: RunEvent | bytes) -> None:
    if isinstance(event, bytes):
        spool.current().append("N", event)
    else:
        ProvenanceTransport(ProvenanceConfig()).emit(event)


def run_out_of_space(told: int, rng: random.Random) -> None:
    """Have the kernel cut a line short, as on a full disk; then there is space again."""
    path = spool.current().path
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = path.stat().st_size + rng.randint(30, 300)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
    try:
        spool.current().append("N", b'{"text": "%s"}' % rng.randbytes(150).hex().encode())
    except OSError:
        torn = path.read_bytes().rpartition(b"\n")[2]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    os.write(told, f"T {digest(torn)}\n".encode())


def events(number: int, rng: random.Random) -> Iterator[RunEvent | bytes]:
    """Tell of tasks without end, which share datasets with those of all other writers."""
    for attempt in count(1):
        run_id = f"manual__{number}_{rng.getrandbits(20)}"
        run = Run(runId=str(uuid4()), facets={"airflow": airflow_facet(run_id, attempt, rng)})
        shared = rng.sample(range(4), k=2)
        source, target = (f"shop.table_{one}" for one in shared)
        yield run_event(RunState.START, run, inputs=[InputDataset("postgres://db", source)])
        outputs = [OutputDataset("postgres://db", target)]
        yield run_event(rng.choice((RunState.COMPLETE, RunState.FAIL)), run, outputs=outputs)
        if rng.random() < 0.3:
            now_us = SystemClock().now_us()
            note = TaskRunNote(
                "default", "crash", run_id, "t", -1, attempt, now_us, "SKIPPED", hostname="h"
            )
            yield encode_note(note)


def run_event(state: RunState, run: Run, **datasets: Any) -> RunEvent:
    now = time.time_ns()
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
    return RunEvent(
        eventType=state,
        eventTime=f"{second}.{now % 10**9:09}Z",
        run=run,
        job=Job(namespace="default", name="crash.t"),
        producer=PRODUCER,
        **datasets,
    )


def airflow_facet(run_id: str, attempt: int, rng: random.Random) -> Any:
    return {
        "dag": {"dag_id": "crash", "owner": "airflow", "timetable": {}},
        "dagRun": {"run_id": run_id, "run_type": "manual", "conf": {}},
        "task": {"task_id": "t", "upstream_task_ids": "[]", "doc": "x" * rng.randint(0, 9000)},
        "taskInstance": {"try_number": attempt, "map_index": -1, "pool": "default_pool"},
        "taskUuid": run_id,
    }


if __name__ == "__main__":
    nursery = Nursery(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    nursery.run()
    sys.stdout.write(json.dumps(nursery.killed))
