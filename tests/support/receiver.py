"""A tiny HTTP server that takes events as it is told to, for tests of delivery."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Answer(NamedTuple):
    """What is answered; `raw` instead of HTTP, `delay_s` before."""

    status: int = 201
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None
    delay_s: float = 0.0


class Receiver:
    """What arrived, and what is answered."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self.answer: Callable[[dict[str, Any]], Answer] = lambda _: Answer()
        self.received: list[dict[str, Any]] = []  # what was answered with 2xx
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.receiver.stopping.is_set():  # a connection that outlived its server
            self.close_connection = True
            return
        self.receiver.requests.append((self.path, dict(self.headers)))
        answer = self.receiver.answer(event)
        self.receiver.stopping.wait(answer.delay_s)
        if answer.raw is not None:
            self.wfile.write(answer.raw)
            self.close_connection = True
            return
        # Before the answer: whoever sees it may look at once.
        if 200 <= answer.status < 300:
            self.receiver.received.append(event)
        self.send_response(answer.status)
        for name, text in (*answer.headers, ("Content-Length", str(len(answer.body)))):
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error here."""


@contextlib.contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """Give a server on loopback."""
    handler = type("Handler", (_Handler,), {})
    with _Server(("127.0.0.1", port), handler) as server:
        handler.receiver = receiver = Receiver(server)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.stopping.set()
            server.shutdown()
            thread.join()
