"""Full disks, missing rights, wrong schemas, dead servers: one clear line, nothing good is lost.

What must happen to another user or on a disk of its own happens in a process of its own: this file
run as a program, one scenario each, which prints what became of it as JSON. Root drops its rights
there; a disk is a small tmpfs in a mount namespace that ends with the process, and where that
cannot be had, a limit on the size of files.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import sqlalchemy as sa
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

from airflow_provenance.collect.drain import Drain
from airflow_provenance.emit import spool as spool_module
from airflow_provenance.emit.spool import Spool
from airflow_provenance.emit.transport import ProvenanceConfig, ProvenanceTransport
from airflow_provenance.errors import (
    SettingsError,
    StoreError,
    StoreMigrationError,
    StoreUnavailableError,
)
from airflow_provenance.formats.spool_line import encode_line
from airflow_provenance.store.memory import MemoryStore
from airflow_provenance.store.sql import migrate
from airflow_provenance.store.sql.ledger import SqlLedger
from airflow_provenance.store.sql.store import SqlStore
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = dict[str, Any]
NOBODY = 65534
DISK_BYTES = 3 << 20


# ---- What tests share ---------------------------------------------------------------------------


def payload(number: int, size: int = 200) -> bytes:
    event = {
        "eventTime": f"2026-01-05T06:00:{number % 60:02}.{number:06}Z",
        "eventType": "COMPLETE",
        "job": {"namespace": "air", "name": f"job-{number % 7}"},
        "run": {"runId": f"00000000-0000-4000-8000-{number:012x}"},
        "producer": "https://p",
        "schemaURL": "https://s",
        "outputs": [{"namespace": "pg", "name": f"table-{number % 3}"}],
        # Not to be compressed away: what a disk has no room for must be large there, too.
        "zz": random.Random(number).randbytes(size // 2).hex(),
    }
    return json.dumps(event).encode()


def spool_events(directory: Path, numbers: range, size: int = 200) -> Path:
    """Spool events as a task that has ended."""
    spool = Spool(directory)
    for number in numbers:
        spool.append("E", payload(number, size))
    spool.close()
    return spool.path


def ids_in(store: Any) -> Counter[bytes]:
    return Counter(one.raw for one in store.entries(with_raw=True, limit=10_000))


def all_of(numbers: range, size: int = 200) -> Counter[bytes]:
    return Counter(payload(number, size) for number in numbers)


def is_one_line(text: str) -> bool:
    return bool(text) and "\n" not in text and len(text) < 500 and "Traceback" not in text


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgres":
        given: str = request.getfixturevalue("postgres_url")
        return given
    return f"sqlite:///{tmp_path}/provenance.db"


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user can write in; `tmp_path` is this user's alone."""
    with tempfile.TemporaryDirectory(prefix="provenance-bad-places-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o777 if path.is_dir() else 0o666)


def play(scenario: Callable[..., Json], *arguments: object, before: tuple[str, ...] = ()) -> Json:
    """Run a scenario in a process of its own; return what it printed."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*before, sys.executable, "-m", __name__, scenario.__name__, *map(str, arguments)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: Json = json.loads(done.stdout)
    return told


# ---- Spool files --------------------------------------------------------------------------------


def test_a_line_that_was_cut_in_the_middle_is_quarantined_with_its_place_and_others_are_ingested(
    directory: Path,
) -> None:
    good = [encode_line("E", payload(number)) for number in range(2)]
    torn = encode_line("E", payload(2))[:100]
    path = spool_events(directory, range(0))
    path.write_bytes(good[0] + torn + b"\n" + good[1])
    store = MemoryStore()

    report = Drain(store, directory).run_once()

    assert (report.ingested, report.quarantined) == (2, 1)
    assert ids_in(store) == all_of(range(2))
    [kept] = store.quarantine(with_raw=True)
    assert (kept.reason, kept.raw) == ("torn_line", torn)
    assert kept.source == f"{path.name}:{len(good[0])}"
    assert is_one_line(kept.message)
    assert not path.exists()


def test_a_line_with_a_changed_byte_is_quarantined_and_those_around_it_are_ingested(
    directory: Path,
) -> None:
    path = spool_events(directory, range(3))
    text = bytearray(path.read_bytes())
    text[len(text) // 2] ^= 1
    path.write_bytes(text)
    store = MemoryStore()

    report = Drain(store, directory).run_once()

    assert (report.ingested, report.quarantined) == (2, 1)
    assert ids_in(store) == all_of(range(0, 3, 2))
    assert [one.reason for one in store.quarantine()] == ["bad_checksum"]


def test_a_line_without_end_waits_for_its_owner_and_is_quarantined_when_he_is_dead(
    directory: Path,
) -> None:
    store, spool = MemoryStore(), Spool(directory)
    spool.append("E", payload(0))
    whole = encode_line("E", payload(1))
    os.write(spool._fd, whole[:50])

    waiting = Drain(store, directory).run_once()

    assert (waiting.ingested, waiting.quarantined) == (1, 0)
    assert store.spool_offset(spool.path.name) == spool.path.stat().st_size - 50
    os.write(spool._fd, whole[50:] + whole[:60])
    assert Drain(store, directory).run_once().ingested == 1

    spool.close()
    report = Drain(store, directory).run_once()

    assert (report.ingested, report.quarantined) == (0, 1)
    assert ids_in(store) == all_of(range(2))
    assert [one.raw for one in store.quarantine(with_raw=True)] == [whole[:60]]
    assert list(directory.iterdir()) == []


def test_a_whole_line_whose_end_a_dead_owner_did_not_write_is_ingested(directory: Path) -> None:
    path = spool_events(directory, range(2))
    path.write_bytes(path.read_bytes()[:-1])
    store = MemoryStore()

    assert Drain(store, directory).run_once().ingested == 2
    assert ids_in(store) == all_of(range(2))


def test_a_folder_named_like_a_spool_file_is_told_and_others_are_drained(directory: Path) -> None:
    spool_events(directory, range(2))
    (directory / "a.spool").mkdir()
    store = MemoryStore()

    report = Drain(store, directory).run_once()

    assert report.ingested == 2
    [warning] = report.warnings
    assert str(directory / "a.spool") in warning
    assert is_one_line(warning)


def test_a_spool_directory_that_is_not_there_is_empty_and_is_not_made(directory: Path) -> None:
    report = Drain(MemoryStore(), directory).run_once()

    assert (report.received, report.warnings) == (0, [])
    assert not directory.exists()


def test_two_drains_at_once_ingest_every_event_once(url: str, directory: Path) -> None:
    SqlStore(url, create=True).close()
    for file in range(6):
        spool_events(directory, range(file * 50, file * 50 + 50))
    ingested: list[int] = []
    start = threading.Barrier(2)

    def drain() -> None:
        store = SqlStore(url)
        start.wait()
        one = Drain(store, directory, batch_bytes=1500)
        while one.files():
            ingested.append(one.run_once().ingested)
        store.close()

    threads = [threading.Thread(target=drain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    store = SqlStore(url)
    assert sum(ingested) == 300
    assert ids_in(store) == all_of(range(300))
    assert store.quarantine() == []
    assert list(directory.iterdir()) == []
    store.close()


# ---- Rights -------------------------------------------------------------------------------------


def drain_as_nobody(url: str, directory: str) -> Json:
    """Drain as a user without any rights; say what became of it."""
    drop_rights()
    told: Json = {"error": None, "ingested": 0, "warnings": []}
    try:
        store = SqlStore(url)
        report = Drain(store, Path(directory)).run_once()
        told |= {"ingested": report.ingested, "warnings": report.warnings}
    except StoreError as error:
        told |= {"error": type(error).__name__, "text": str(error)}
    return told


def read_as_nobody(url: str) -> Json:
    """Read as a user without any rights; say what is there."""
    drop_rights()
    try:
        return SqlStore(url).counts()
    except StoreError as error:
        return {"text": str(error)}


def drop_rights() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def test_a_spool_file_that_may_not_be_read_is_one_line_and_others_are_drained(
    public_folder: Path,
) -> None:
    directory, url = public_folder / "spool", f"sqlite:///{public_folder}/store/provenance.db"
    SqlStore(url, create=True).close()
    hidden, open_to_all = (spool_events(directory, range(n, n + 2)) for n in (0, 2))
    open_to_all.chmod(0o666)
    hidden.chmod(0o000)
    make_writable(directory, public_folder / "store")

    told = play(drain_as_nobody, url, directory)

    assert (told["error"], told["ingested"]) == (None, 2)
    [warning] = told["warnings"]
    assert is_one_line(warning)
    assert str(hidden) in warning
    assert "right" in warning
    assert list(directory.iterdir()) == [hidden]
    store = SqlStore(url)
    hidden.chmod(0o666)
    assert Drain(store, directory).run_once().ingested == 2
    assert ids_in(store) == all_of(range(4))
    store.close()


def make_writable(*folders: Path) -> None:
    for folder in folders:
        folder.chmod(0o777)
        for path in folder.iterdir():
            if path.stat().st_mode & 0o777:
                path.chmod(0o666)


@pytest.mark.parametrize("read_only", ["directory", "file", "both"])
def test_a_store_that_may_not_be_written_is_one_line_and_the_spool_waits(
    public_folder: Path, read_only: str
) -> None:
    directory, place = public_folder / "spool", public_folder / "store"
    url = f"sqlite:///{place}/provenance.db"
    SqlStore(url, create=True).close()
    path = spool_events(directory, range(5))
    make_writable(directory, place)
    if read_only != "directory":
        (place / "provenance.db").chmod(0o444)
    if read_only != "file":
        place.chmod(0o555)

    told = play(drain_as_nobody, url, directory)

    assert told["error"] == "StoreUnavailableError"
    assert is_one_line(told["text"])
    assert str(place) in told["text"]
    assert "right" in told["text"] or "may be written" in told["text"]
    assert path.exists()
    place.chmod(0o777)
    make_writable(place)
    assert play(drain_as_nobody, url, directory)["ingested"] == 5
    store = SqlStore(url)
    assert ids_in(store) == all_of(range(5))
    store.close()


def test_a_store_that_may_only_be_read_answers_questions(public_folder: Path) -> None:
    place = public_folder / "store"
    url = f"sqlite:///{place}/provenance.db"
    store = SqlStore(url, create=True)
    store.ingest([("E", payload(1))], received_us=1)
    store.close()
    make_writable(place)
    (place / "provenance.db").chmod(0o444)

    assert play(read_as_nobody, url).get("entries") == 1


# ---- Full disks ---------------------------------------------------------------------------------


class Disk:
    """A small disk of a scenario's own: a tmpfs mounted there, else a limit on every file."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.is_limit = folder, kind == "limit"
        self.unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        """Leave no byte of space."""
        if self.is_limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.largest(), self.unlimited[1]))
            return
        with contextlib.suppress(OSError), (self.folder / "ballast").open("wb", 0) as ballast:
            while ballast.write(bytes(4096)):
                pass

    def largest(self) -> int:
        """Return a size that cuts the next line of a spool short, and stops any database."""
        sizes = [path.stat().st_size for path in self.folder.rglob("*.spool")]
        return max(sizes, default=4096) + 60

    def free(self) -> None:
        """Have space again."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self.unlimited)
        (self.folder / "ballast").unlink(missing_ok=True)


class Made(NamedTuple):
    """How a scenario's disk is made: what to run before it, and its kind."""

    before: tuple[str, ...]
    kind: str


@pytest.fixture
def made(tmp_path: Path) -> Made:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size={DISK_BYTES} provenance-test {disk}"
    before = ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")
    try:
        subprocess.run([*before, "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return Made((), "limit")
    return Made(before, "tmpfs")


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest, made: Made) -> Made:
    """A disk that can be filled; the limit is tried everywhere, the tmpfs where it can be had."""
    return made if request.param == "tmpfs" else Made((), "limit")


def drain_into_a_full_disk(folder: str, directory: str, kind: str, when: str) -> Json:
    """Drain while the store's disk is full, and again when there is space."""
    disk = Disk(Path(folder), kind)
    url = f"sqlite:///{folder}/store/provenance.db"
    store = SqlStore(url, create=True)
    if when == "before the store is opened":
        store.close()
    disk.fill()
    told: Json = {}
    try:
        if when == "before the store is opened":
            store = SqlStore(url)
        Drain(store, Path(directory)).run_once()
    except StoreError as error:
        told |= {"error": type(error).__name__, "text": str(error)}
    told["files"] = len(list(Path(directory).iterdir()))
    disk.free()
    if when == "before the store is opened":
        store.close()
        store = SqlStore(url)
    told["ingested"] = Drain(store, Path(directory)).run_once().ingested
    told["raws"] = [(one.raw or b"").decode() for one in store.entries(with_raw=True, limit=1000)]
    return told


@pytest.mark.parametrize("when", ["after the store was opened", "before the store is opened"])
def test_a_full_disk_of_the_store_is_one_line_and_with_space_again_all_is_ingested_once(
    tmp_path: Path, directory: Path, disk: Made, when: str
) -> None:
    spool_events(directory, range(100), size=4000)

    told = play(
        drain_into_a_full_disk, tmp_path / "disk", directory, disk.kind, when, before=disk.before
    )

    assert told["error"] == "StoreUnavailableError"
    assert is_one_line(told["text"])
    assert "disk" in told["text"]
    if disk.kind == "tmpfs":
        assert "free some disk space" in told["text"]
    assert told["files"] == 1
    assert told["ingested"] == 100
    assert Counter(text.encode() for text in told["raws"]) == all_of(range(100), size=4000)
    assert list(directory.iterdir()) == []


def emit_onto_a_full_disk(folder: str, kind: str) -> Json:
    """Emit events before, while and after the spool's disk is full; then drain them."""
    disk, directory = Disk(Path(folder), kind), Path(folder) / "spool"
    os.environ["AIRFLOW__PROVENANCE__SPOOL_DIR"] = str(directory)
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    kept: list[bytes] = []
    append = Spool.append

    def remember(self: Spool, kind: Any, payload: bytes, *, sync: bool = False) -> None:
        append(self, kind, payload, sync=sync)
        kept.append(payload)

    Spool.append = remember  # type: ignore[method-assign]
    transport = ProvenanceTransport(ProvenanceConfig())
    spool_module.open_own()
    counts = []
    for change, numbers in ((None, range(3)), (disk.fill, range(3, 9)), (disk.free, range(9, 12))):
        if change is not None:
            change()
        for number in numbers:
            transport.emit(run_event(number))
        counts.append(len(kept))
    spool_module.current().close()
    store = MemoryStore()
    report = Drain(store, directory).run_once()
    return {
        "lines": lines,
        "kept": counts,
        "ingested": report.ingested,
        "is whole": ids_in(store) == Counter(kept),
        "reasons": [one.reason for one in store.quarantine()],
        "files": len(list(directory.iterdir())),
    }


def run_event(number: int) -> RunEvent:
    """Return an event larger than what a full disk has left in a file's last block."""
    return RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=f"2026-01-05T06:00:{number:02}Z",
        run=Run(runId=f"00000000-0000-4000-8000-{number:012x}"),
        job=Job(namespace="air", name="j"),
        producer=f"https://p/{random.Random(number).randbytes(3000).hex()}",
    )


def test_a_full_disk_of_the_spool_is_one_line_and_what_was_acknowledged_is_ingested_once(
    tmp_path: Path, disk: Made
) -> None:
    told = play(emit_onto_a_full_disk, tmp_path / "disk", disk.kind, before=disk.before)

    [line] = told["lines"]
    assert is_one_line(line)
    assert "check space" in line
    assert "The task is not affected" in line
    assert told["kept"] == [3, 3, 6]
    assert told["ingested"] == 6
    assert told["is whole"]
    assert told["reasons"] == ["torn_line"]
    assert told["files"] == 0


# ---- Schemas ------------------------------------------------------------------------------------


def test_a_store_that_is_empty_says_to_migrate(url: str) -> None:
    with pytest.raises(StoreMigrationError) as caught:
        SqlStore(url)

    assert is_one_line(str(caught.value))
    assert "yet: run" in str(caught.value)
    assert "'airflow-provenance db migrate'" in str(caught.value)
    assert not set_of_tables(url)
    with pytest.raises(StoreMigrationError):
        SqlStore(url)
    SqlStore(url, create=True).close()
    SqlStore(url).close()


def set_of_tables(url: str) -> set[str]:
    engine = sa.create_engine(url)
    try:
        return set(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def set_revision(url: str, revision: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(f"UPDATE {migrate.VERSION_TABLE} SET version_num = :one"), {"one": revision}
        )
    engine.dispose()


@pytest.mark.parametrize("create", [False, True])
def test_a_store_that_is_older_says_to_migrate_and_is_not_touched(
    url: str, create: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqlStore(url, create=True).close()
    tables, newest = set_of_tables(url), migrate.HEAD
    monkeypatch.setattr(migrate, "REVISIONS", (*migrate.REVISIONS, "0777"))
    monkeypatch.setattr(migrate, "HEAD", "0777")

    with pytest.raises(StoreMigrationError) as caught:
        SqlStore(url, create=create)

    assert is_one_line(str(caught.value))
    assert f"at revision {newest}, this release needs 0777" in str(caught.value)
    assert "'airflow-provenance db migrate'" in str(caught.value)
    assert set_of_tables(url) == tables


@pytest.mark.parametrize("create", [False, True])
def test_a_store_that_is_newer_says_to_upgrade_and_is_not_touched(url: str, create: bool) -> None:
    SqlStore(url, create=True).close()
    set_revision(url, "0777")
    tables = set_of_tables(url)

    with pytest.raises(StoreMigrationError) as caught:
        SqlStore(url, create=create)

    assert is_one_line(str(caught.value))
    assert "0777, which a newer release made" in str(caught.value)
    assert "upgrade airflow-provenance" in str(caught.value)
    assert set_of_tables(url) == tables


def migrate_when_told() -> Json:
    """Make the schema of each database that a line of standard input names."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        try:
            SqlStore(line.strip(), create=True).close()
            told = "done"
        except Exception as error:  # noqa: BLE001 - it is what the test asks for
            told = f"{type(error).__name__}: {error}"
        sys.stdout.write(" ".join(told.split()) + "\n")
        sys.stdout.flush()
    sys.exit()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_processes_that_migrate_one_empty_database_at_once_all_find_it_done(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = Path(__file__).parents[2]
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            urls = [f"sqlite:///{tmp_path}/{number}/provenance.db" for number in range(8)]
        else:
            server = request.getfixturevalue("postgres_server")
            urls = [stack.enter_context(postgres.new_database(server)) for _ in range(4)]
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", __name__, migrate_when_told.__name__],
                    cwd=root,
                    env={**os.environ, "PYTHONPATH": str(root)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(3)
        ]
        assert [read_line(one) for one in processes] == ["ready"] * 3
        for url in urls:
            for one in processes:
                print(url, file=one.stdin, flush=True)
            assert [read_line(one) for one in processes] == ["done"] * 3
            store = SqlStore(url)
            assert store.ingest([("E", payload(1))], received_us=1).ingested == 1
            store.close()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# ---- Databases ----------------------------------------------------------------------------------


def test_a_file_that_is_no_database_is_one_line_and_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "provenance.db"
    path.write_bytes(b"not a database, " * 512)

    with pytest.raises(StoreUnavailableError) as caught:
        SqlStore(f"sqlite:///{path}", create=True)

    assert is_one_line(str(caught.value))
    assert str(path) in str(caught.value)
    assert "not a database" in str(caught.value)
    assert path.read_bytes() == b"not a database, " * 512


def test_a_damaged_database_is_one_line_and_the_spool_waits(
    tmp_path: Path, directory: Path
) -> None:
    path = tmp_path / "provenance.db"
    store = SqlStore(f"sqlite:///{path}", create=True)
    store.ingest([("E", payload(number)) for number in range(200)], received_us=1)
    store.close()
    with path.open("r+b") as file:  # all but the first pages, which name the tables
        size = file.seek(0, os.SEEK_END)
        file.seek(size // 4)
        file.write(b"\x5a" * (size // 2))
    spooled = spool_events(directory, range(1000, 1100))

    with pytest.raises(StoreUnavailableError) as caught:
        Drain(SqlStore(f"sqlite:///{path}"), directory).run_once()

    assert is_one_line(str(caught.value))
    assert "malformed" in str(caught.value)
    assert spooled.exists()


def test_a_folder_where_the_store_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "provenance.db").mkdir()

    with pytest.raises(StoreUnavailableError) as caught:
        SqlStore(f"sqlite:///{tmp_path}/provenance.db", create=True)

    assert is_one_line(str(caught.value))
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailableError, match="cannot make"):
        SqlStore(f"sqlite:///{tmp_path}/file/provenance.db", create=True)


def test_a_database_that_another_holds_for_long_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/provenance.db", create=True)
    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    with contextlib.closing(sqlite3.connect(tmp_path / "provenance.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked") as caught:
            store.ingest([("E", payload(1))], received_us=1)
    assert is_one_line(str(caught.value))
    assert "another process holds it" in str(caught.value)
    assert store.ingest([("E", payload(1))], received_us=1).ingested == 1
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana:s3cret@127.0.0.1:{port}/provenance",
        "postgresql+psycopg://ana:s3cret@127.0.0.1:{port}/provenance",
        "postgresql://127.0.0.1:{port}/provenance?user=ana&password=s3cret",
    ],
)
def test_a_server_that_is_down_is_one_line_without_the_password(url: str) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        SqlStore(url.format(port=postgres.free_port()))

    assert is_one_line(str(caught.value))
    assert "s3cret" not in str(caught.value)
    assert "check that the server runs" in str(caught.value)


def test_a_password_that_should_have_been_escaped_is_not_told() -> None:
    # All after the first @ is taken for the host.
    url = f"postgresql://ana:pass@s3cret@127.0.0.1:{postgres.free_port()}/provenance"

    with pytest.raises((StoreUnavailableError, SettingsError)) as caught:
        SqlStore(url)

    assert is_one_line(str(caught.value))
    assert "s3cret" not in str(caught.value)


def test_a_wrong_password_is_one_line_without_it(postgres_url: str) -> None:
    # The user is wrong, too: a server that asks for no password refuses him all the same.
    wrong = "s3cret"
    url = sa.make_url(postgres_url).set(username="nobody_such", password=wrong)

    with pytest.raises(StoreUnavailableError) as caught:
        SqlStore(url.render_as_string(hide_password=False))

    assert is_one_line(str(caught.value))
    assert "s3cret" not in str(caught.value)
    assert "nobody_such" in str(caught.value)


def test_a_server_that_goes_away_in_a_batch_loses_nothing(
    postgres_url: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlStore(postgres_url, create=True)
    spool_events(directory, range(20))

    def drop_connections(*_: Any) -> None:
        engine = sa.create_engine(postgres_url)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        engine.dispose()

    with monkeypatch.context() as broken:
        broken.setattr(SqlLedger, "put_runs", drop_connections)
        with pytest.raises(StoreUnavailableError) as caught:
            Drain(store, directory).run_once()
    assert is_one_line(str(caught.value))

    assert Drain(store, directory).run_once().ingested == 20
    assert ids_in(store) == all_of(range(20))
    store.close()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
