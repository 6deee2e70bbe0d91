"""A small HTTP server on the loopback that can misbehave on demand: what the stubs are made of.

It keeps every request that it received, in order. What it answers is its subclass's `answer`; the
switches (`delay_seconds`, `fail`, `garble`, `hang_up`, `stop` and `start`) come before that.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

_GARBAGE = b"\x00<html>no server that you know\xff{"


class Request(NamedTuple):
    """What a client sent; the path as it came, not decoded."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body's value; ValueError if it is not JSON."""
        return json.loads(self.body)


class Answer(NamedTuple):
    """What is sent back: `body` is None, text, or anything that JSON can hold."""

    status: int
    body: Any = None


@dataclass(frozen=True)
class Received:
    """One request, when it came, and the status it was answered with (None: hung up)."""

    at: float
    request: Request
    status: int | None
    stored: bool


@dataclass
class _Fault:
    kind: str
    status: int
    times: float
    until: float = field(default=float("inf"))


class LoopbackServer(ABC):
    """Subclasses say what a request is answered with, in `answer`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.delay_seconds = 0.0
        self._faults: deque[_Fault] = deque()
        self._lock = threading.RLock()
        self._port = 0
        self._server: _Server | None = None
        self._in_flight = 0
        self.most_in_flight = 0

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """Return what the server says; called for one request at a time."""

    # The switches

    def fail(
        self, status: int = 500, *, times: float = float("inf"), seconds: float = float("inf")
    ) -> None:
        """Answer with `status`, without looking at it, so many requests or seconds; see `heal`."""
        self._faults.append(_Fault("fail", status, times, time.monotonic() + seconds))

    def garble(self, *, times: float = float("inf")) -> None:
        """Answer 200 with bytes that are no JSON, and store nothing."""
        self._faults.append(_Fault("garble", 200, times))

    def hang_up(self, *, times: float = float("inf"), stored: bool) -> None:
        """Close the connection without an answer, after or before the request was dealt with."""
        self._faults.append(_Fault("hang up after" if stored else "hang up before", 0, times))

    def heal(self) -> None:
        """Undo every switch."""
        with self._lock:
            self._faults.clear()
            self.delay_seconds = 0.0

    # Life

    def start(self) -> Self:
        """Listen; after a `stop`, on the same port."""
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.owner = self
        self._port = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def stop(self) -> None:
        """Refuse connections, and end those there are. What was received stays."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.end_connections()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    # What the handler calls

    def handle(self, request: Request) -> Answer | None:
        """Deal with a request under the switches; None means: hang up."""
        with self._lock:
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        if self.delay_seconds:
            time.sleep(self.delay_seconds)
        with self._lock:
            at, fault = time.monotonic(), self._next_fault()
            if fault is None or fault.kind == "hang up after":
                answer: Answer | None = self.answer(request)
            elif fault.kind == "hang up before":
                answer = None
            else:
                answer = Answer(fault.status, _GARBAGE if fault.kind == "garble" else "broken")
            stored = fault is None or fault.kind == "hang up after"
            if fault is not None and fault.kind == "hang up after":
                answer = None
            self._in_flight -= 1
            self.received.append(
                Received(at, request, None if answer is None else answer.status, stored)
            )
        return answer

    def _next_fault(self) -> _Fault | None:
        now = time.monotonic()
        while self._faults and (self._faults[0].times <= 0 or self._faults[0].until <= now):
            self._faults.popleft()
        if not self._faults:
            return None
        self._faults[0].times -= 1
        return self._faults[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    owner: LoopbackServer

    def __init__(self, *arguments: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of the server's."""

    def end_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client was quicker


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        path, _, query = self.path.partition("?")
        answer = self.server.owner.handle(
            Request(self.command, path, query, dict(self.headers.items()), body)
        )
        if answer is None:
            self.close_connection = True
            return
        payload = _as_bytes(answer.body)
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Say nothing: `received` is the log."""


def _as_bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()
