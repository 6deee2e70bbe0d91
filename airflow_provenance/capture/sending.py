"""At the end of a task, what it spooled goes to ``api_url``: a remote worker's disk may die next.

After the official listener, in the task's own process: its forks have appended their events by
then. All together there is ``api_timeout_seconds`` for it; what is not acknowledged by then stays
in the spool, for the next task on this host, or for its service.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow_provenance import settings
from airflow_provenance.emit import failure, spool
from airflow_provenance.errors import SettingsError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provenance.collect.drain import Drain

# Small, so that a slow line still gets somewhere within the time.
_BATCH_BYTES = 1024 * 1024
_WAITS = "Provenance waits in the spool"
_LATER = "'airflow-provenance service --roles drain' on this host sends it later"


def send_spooled(component: Any) -> None:
    """Send what is spooled where a task's process stops, if there is an ``api_url``."""
    if type(component).__name__ != "TaskRunnerMarker":
        return
    try:
        refused = _send()
    except SettingsError as error:
        failure.report(f"mend the setting, and {_LATER}", error, outcome=_WAITS)
    except (StoreError, OSError) as error:
        failure.report(_LATER, error, outcome=_WAITS)
    else:
        if refused:
            failure.report("see there", ValueError(refused[0]), outcome="Provenance was set aside")


def _send() -> list[str]:
    """Send this task's file and those left behind; return what was refused."""
    url, seconds = settings.api_url(), settings.api_timeout_seconds()
    if url is None or seconds == 0:
        return []
    from airflow_provenance.collect.drain import Drain
    from airflow_provenance.collect.http_target import HttpTarget

    deadline = time.monotonic() + seconds
    directory = settings.spool_dir()
    target = HttpTarget(url, settings.api_token(), directory, lambda: deadline - time.monotonic())
    drain = Drain(target, directory, batch_bytes=_BATCH_BYTES)
    refused: list[str] = []
    try:
        for path in chain([spool.current().path], _left_behind(drain)):
            with contextlib.suppress(FileNotFoundError):  # this host's service was quicker
                for report in drain.drain_file(path):
                    refused += report.warnings
    finally:
        target.close()
    return refused


def _left_behind(drain: Drain) -> Iterator[Path]:
    """Give the files of tasks that ended without sending all; what others send now is theirs."""
    for path in drain.files():
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        finally:
            os.close(fd)
        yield path
