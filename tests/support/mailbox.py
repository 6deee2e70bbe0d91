"""A tiny SMTP server that takes mail as it is told to."""

from __future__ import annotations

import base64
import contextlib
import email.policy
import socketserver
import threading
from email.parser import BytesParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage


class Mailbox:
    """What arrived, and what is answered to whom."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[EmailMessage] = []
        self.answers: dict[str, str] = {}  # by verb, once each
        self.logins: list[bytes] = []


class _Session(socketserver.StreamRequestHandler):
    mailbox: Mailbox

    def handle(self) -> None:
        self._say("220 mailbox")
        while line := self.rfile.readline():
            verb = line.split()[0].decode().upper() if line.split() else ""
            if told := self.mailbox.answers.pop(verb, None):
                self._say(told)
            elif verb == "EHLO":
                self._say("250-mailbox\r\n250 AUTH PLAIN")
            elif verb == "AUTH":
                self.mailbox.logins.append(base64.b64decode(line.split()[-1]))
                self._say("235 in")
            elif verb == "DATA":
                self._data()
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _data(self) -> None:
        self._say("354 go on")
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        parser = BytesParser(policy=email.policy.default)
        self.mailbox.mails.append(parser.parsebytes(b"".join(lines)))
        self._say("250 taken")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextlib.contextmanager
def mailing() -> Iterator[Mailbox]:
    """Give a server on loopback."""
    mailbox = Mailbox()
    handler = type("Session", (_Session,), {"mailbox": mailbox})
    with _Server(("127.0.0.1", 0), handler) as server:
        mailbox.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield mailbox
        finally:
            server.shutdown()
            thread.join()
