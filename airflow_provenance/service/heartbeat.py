"""The dead man's switch of the role ``evaluate``: who watches it notices when nobody evaluates.

Three ways to watch, all of them from outside: the time of a file in the spool's folder, a metric,
and a URL that is asked once a minute (healthchecks.io, or an Alertmanager behind a web hook).
"""

from __future__ import annotations

import logging
import time
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.service.loop import Loop

_log = logging.getLogger(__name__)
NAME = "evaluate.heartbeat"
_PING_SECONDS = 60.0
_TIMEOUT_SECONDS = 5.0


class Heartbeat:
    """Says that a tick was done.

    Args:
        folder: of the file.
        url: what to ask; empty for nothing.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._path, self._url = folder / NAME, url
        self._next_ping = 0.0
        self._failure: str | None = None

    def beat(self, loop: Loop) -> None:
        """Say it; what fails here is told once and stops nothing."""
        loop.gauges["evaluate_heartbeat_timestamp_seconds", ""] = time.time()
        failure = None
        try:
            self._path.touch()
        except OSError as error:
            failure = f"{self._path} cannot be touched ({error.strerror})"
        if self._url and time.monotonic() >= self._next_ping:
            self._next_ping = time.monotonic() + _PING_SECONDS
            failure = self._ping(loop) or failure
        elif self._failure is not None and failure is None:
            return  # it is not known yet whether the URL answers again
        if failure is not None and failure != self._failure:
            _log.warning("%s: who waits for it is alarmed", failure, extra={"role": loop.role.name})
        self._failure = failure

    def _ping(self, loop: Loop) -> str | None:
        try:
            with urllib.request.urlopen(self._url, timeout=_TIMEOUT_SECONDS):  # noqa: S310 - http
                return None
        except (OSError, ValueError) as error:
            loop.counts["heartbeat_pings_failed"] += 1
            reason = getattr(error, "reason", None) or type(error).__name__
            return f"[provenance] sla_ping_url does not answer ({reason})"  # it may hold a secret
