"""An application that is built when it is first asked, so that naming it costs nothing.

Airflow loads plugins in every process, task processes too; only the API server serves this one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from airflow_provenance.errors import ProvenanceError

_log = logging.getLogger(__name__)


class LazyApp:
    """An ASGI application around another.

    Args:
        build: returns the other; an error is logged, answered with 503, and it is tried again.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if self._app is None:
            try:
                await asyncio.to_thread(self._build_once)
            except ProvenanceError as error:
                _log.error("The provenance API cannot be served: %s", error)
                await _refuse(send)
                return
        await self._app(scope, receive, send)

    def _build_once(self) -> None:
        with self._lock:
            if self._app is None:
                self._app = self._build()


async def _refuse(send: Any) -> None:
    body = json.dumps({"detail": "not now: the server's log says why"}).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
