"""The service as a child process of Airflow's jobs, so that a laptop needs nothing more.

Scheduler, triggerer and DAG processor each start one; the child takes the host's lock, or stands by
until whoever has it ends. It ends with its parent: by the end of a pipe that only the parent holds,
and by the parent's id. Nothing here waits, and nothing can fail the job.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from airflow_provenance import settings

if TYPE_CHECKING:
    from pathlib import Path

LOG_NAME = "service.log"
_LOG_BYTES = 10 * 1024 * 1024
_DIRECTORY_MODE = 0o770
# (the process that started it, the child): what a fork inherits is not its own.
_started: tuple[int, subprocess.Popen[bytes]] | None = None


def start(component: Any) -> None:
    """Start the service where a job of Airflow's begins.

    The type tells: `job_type` is not set yet, and a task's argv can be ``airflow scheduler``.
    """
    global _started
    if type(component).__name__ != "Job" or not settings.start_service():
        return
    if _started is not None and _started[0] == os.getpid():
        return
    with _open_log(settings.spool_dir()) as log:
        child = subprocess.Popen(  # noqa: S603 - our own command line
            [
                *(sys.executable, "-m", "airflow_provenance.cli"),
                *("service", "--child-of", str(os.getpid())),
            ],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            close_fds=True,
            start_new_session=True,  # Ctrl-C in the job's terminal is the job's to handle
            cwd="/",
            env={**os.environ, "AIRFLOW_HOME": str(settings.airflow_home().resolve())},
        )
    _started = os.getpid(), child
    # Forked workers would hold the pipe open after the parent was killed.
    os.register_at_fork(after_in_child=lambda: _let_go(child))


def stop(component: Any) -> None:
    """Let the child end, without waiting for it: it finishes its batch first."""
    if type(component).__name__ == "Job" and _started is not None and _started[0] == os.getpid():
        _let_go(_started[1])


def _let_go(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        with contextlib.suppress(OSError):
            child.stdin.close()


def _open_log(spool_dir: Path) -> Any:
    spool_dir.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    path = spool_dir / LOG_NAME
    with contextlib.suppress(OSError):
        if path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
    return path.open("ab")
