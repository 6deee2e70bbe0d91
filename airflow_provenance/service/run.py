"""The service from its first line to its graceful stop."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance import settings
from airflow_provenance.errors import ProvenanceError
from airflow_provenance.service import health
from airflow_provenance.service.lock import HostLock
from airflow_provenance.service.loop import Lease, Loop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow_provenance.service.roles import Role

_log = logging.getLogger(__name__)
_TICK_SECONDS = 0.25
# Kubernetes and systemd kill after 10 s or more; a batch takes a fraction of one.
STOP_SECONDS = 8.0


class Options(NamedTuple):
    """How a service is run.

    Attributes:
        roles: what it does.
        store_url: None for the setting's.
        health_port: None for no HTTP.
        stands_by: whether it waits where another service runs on this host.
        parent: the process it ends with; its stdin is then a pipe from it.
    """

    roles: Sequence[Role]
    store_url: str | None = None
    health_port: int | None = None
    stands_by: bool = True
    parent: int | None = None


def run(options: Options) -> int:
    """Serve until told to end; return the exit code.

    Raises:
        ProvenanceError: it cannot begin.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    spool_dir = settings.spool_dir()
    lock = HostLock(spool_dir)
    if not _await_turn(lock, options, stop):
        return 0
    try:
        return _lead(options, lock.holder, spool_dir, stop)
    finally:
        lock.release()


def _await_turn(lock: HostLock, options: Options, stop: threading.Event) -> bool:
    """Wait until this is the only service of the host; False when it is told to end first."""
    is_told = False
    while not _is_over(options, stop):
        try:
            if lock.take():
                return True
        except OSError as error:
            raise ProvenanceError(
                f"{lock.path} cannot be used ({error.strerror}): check space and rights of "
                "[provenance] spool_dir"
            ) from error
        if not options.stands_by:
            raise ProvenanceError(
                f"another service runs on this host ({lock.path} is locked): leave it, or end it"
            )
        if not is_told:
            is_told = True
            _log.info("stands by: another service runs on this host")
        stop.wait(_TICK_SECONDS)
    return False


def _lead(options: Options, holder: str, spool_dir: Path, stop: threading.Event) -> int:
    lease = Lease(holder, settings.lease_seconds())
    loops = [Loop(role, options.store_url, lease, stop) for role in options.roles]
    server = (
        None if options.health_port is None else health.serve(options.health_port, loops, spool_dir)
    )
    _log.info("serves: %s", ", ".join(loop.role.name for loop in loops))
    for loop in loops:
        loop.start()
    while not _is_over(options, stop):
        stop.wait(_TICK_SECONDS)
    stop.set()
    deadline = time.monotonic() + STOP_SECONDS
    late = [loop.role.name for loop in loops if not loop.join(deadline - time.monotonic())]
    if server is not None:
        server.shutdown()
        server.server_close()
    if late:
        # What was not committed is read again: nothing is lost by not waiting any longer.
        _log.error("stopped in the middle of: %s", ", ".join(late))
        return 1
    _log.info("stopped")
    return 0


def _is_over(options: Options, stop: threading.Event) -> bool:
    """Whether to end: told so by a signal, or by the parent's end.

    The pipe tells it where the parent ends in order; its id, where another process holds the pipe.
    """
    if stop.is_set():
        return True
    if options.parent is None:
        return False
    if os.getppid() != options.parent:
        return True
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and not os.read(sys.stdin.fileno(), 4096)
