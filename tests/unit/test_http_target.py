"""Sending a spool over HTTP: how long it may take, what stays, what is told."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.collect.drain import Drain
from airflow_provenance.collect.http_target import HttpTarget
from airflow_provenance.emit.spool import Spool
from airflow_provenance.errors import StoreUnavailableError
from airflow_provenance.formats.spool_line import CONTENT_TYPE
from tests.support.loopback import Answer, LoopbackServer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "t0ken-that-nobody-may-see"  # noqa: S105 - nobody's


class Server(LoopbackServer):
    """Acknowledges every line, but as it is told to."""

    def __init__(self, most_lines: int = 1000) -> None:
        super().__init__()
        self.most_lines = most_lines
        self.lines: list[bytes] = []
        self.refuses = b"\0"

    def answer(self, request: Request) -> Answer:
        assert request.headers["Content-Type"] == CONTENT_TYPE
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert request.path == "/provenance/api/v1/spool"
        lines = request.body.splitlines()
        if len(lines) > self.most_lines or any(len(one) > 5000 for one in lines):
            return Answer(413, {"detail": "too much"})
        self.lines += lines
        verdicts = ["refused" if self.refuses in one else "accepted" for one in lines]
        return Answer(200, {"events": [{"verdict": one, "message": "no"} for one in verdicts]})


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path)
    yield spool
    spool.close()


def drain(url: str, folder: Path, seconds: float = 10.0) -> Drain:
    return Drain(HttpTarget(f"{url}/provenance", TOKEN, folder, lambda: seconds), folder)


def fill(spool: Spool, count: int, size: int = 10) -> list[bytes]:
    for number in range(count):
        spool.append("E", json.dumps({"n": number, "x": "x" * size}).encode())
    return spool.path.read_bytes().splitlines()


def test_lines_travel_as_they_lie_in_the_spool_once_and_torn_ones_too(
    spool: Spool, tmp_path: Path
) -> None:
    fill(spool, 3)
    spool.append("N", b'{"kind":"dag_run"}')
    with spool.path.open("ab") as file:
        file.write(b"P1 E 10 torn\n")
    lines = spool.path.read_bytes().splitlines()
    with Server() as server:
        report = drain(server.url, tmp_path).run_once()
        assert (report.received, report.ingested) == (5, 5)
        assert sorted(server.lines) == sorted(lines)
        assert drain(server.url, tmp_path).run_once().received == 0
        (added,) = fill(spool, 1)[5:]
        assert drain(server.url, tmp_path).run_once().received == 1
        assert server.lines[5:] == [added]


def test_a_file_goes_with_its_offset_when_its_owner_is_dead_and_all_is_acknowledged(
    spool: Spool, tmp_path: Path
) -> None:
    fill(spool, 3)
    with Server() as server:
        drain(server.url, tmp_path).run_once()
        assert sorted(one.suffix for one in tmp_path.iterdir()) == [".sent", ".spool"]
        spool.close()
        drain(server.url, tmp_path).run_once()
        assert list(tmp_path.iterdir()) == []


def test_too_much_at_once_is_sent_in_halves_and_one_line_that_is_too_large_is_set_aside(
    spool: Spool, tmp_path: Path
) -> None:
    fill(spool, 5)
    fill(spool, 1, size=6000)
    lines = fill(spool, 5)
    spool.close()
    with Server(most_lines=2) as server:
        report = drain(server.url, tmp_path).run_once()
    assert report.ingested == 10
    assert sorted(server.lines) == sorted(one for one in lines if len(one) < 5000)
    assert (tmp_path / "refused" / spool.path.name).read_bytes().splitlines() == [lines[5]]
    assert "too much" in report.warnings[0]
    assert not spool.path.exists()


def test_a_refused_line_holds_up_no_other_and_is_kept(spool: Spool, tmp_path: Path) -> None:
    lines = fill(spool, 5)
    spool.close()
    with Server() as server:
        server.refuses = b'"n": 2'
        report = drain(server.url, tmp_path).run_once()
        assert (report.received, report.ingested) == (4, 4)
        kept = tmp_path / "refused" / spool.path.name
        assert kept.read_bytes().splitlines() == [lines[2]]
        # What the warning advises:
        server.refuses = b"\0"
        kept.rename(tmp_path / kept.name)
        assert drain(server.url, tmp_path).run_once().ingested == 1


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 422, 429, 500, 503])
def test_any_other_answer_keeps_everything_and_shows_no_token(
    spool: Spool, tmp_path: Path, status: int
) -> None:
    fill(spool, 3)
    before = spool.path.read_bytes()

    class Echo(LoopbackServer):
        def answer(self, request: Request) -> Answer:
            return Answer(status, {"detail": f"you sent {request.headers['Authorization']}"})

    with Echo() as server, pytest.raises(StoreUnavailableError) as told:
        drain(server.url, tmp_path).run_once()
    assert f"answers {status}" in str(told.value)
    assert TOKEN not in str(told.value)
    assert "\n" not in str(told.value)
    assert spool.path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [spool.path]


def test_an_acknowledgement_that_is_not_complete_is_none(spool: Spool, tmp_path: Path) -> None:
    fill(spool, 3)

    class Short(LoopbackServer):
        def answer(self, request: Request) -> Answer:
            some = request.body.count(b"\n") - 1
            return Answer(200, {"events": [{"verdict": "accepted"}] * some})

    with Short() as server, pytest.raises(StoreUnavailableError, match="not as our"):
        drain(server.url, tmp_path).run_once()
    assert list(tmp_path.iterdir()) == [spool.path]


@contextmanager
def trickling() -> Iterator[str]:
    """A server that answers a byte at a time, so that no single read is late."""
    stop = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not stop.wait(0.05):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()
        thread.join()


def test_the_wait_is_bounded_as_a_whole_also_where_an_answer_trickles_in(
    spool: Spool, tmp_path: Path
) -> None:
    fill(spool, 3)
    with trickling() as url:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match=r"within 0\.3 s"):
            drain(url, tmp_path, 0.3).run_once()
        assert time.monotonic() - began < 5
    assert list(tmp_path.iterdir()) == [spool.path]


def test_with_no_time_left_nothing_is_sent(spool: Spool, tmp_path: Path) -> None:
    fill(spool, 1)
    with Server() as server:
        with pytest.raises(StoreUnavailableError, match="too slow"):
            drain(server.url, tmp_path, -0.1).run_once()
        assert server.received == []
