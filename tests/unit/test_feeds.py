"""Each kind of feed delivers, and says what went wrong in one line without a secret."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.collect.feeds.console import ConsoleFeed
from airflow_provenance.collect.feeds.file import FileFeed
from airflow_provenance.collect.feeds.http import HttpFeed
from airflow_provenance.domain.feed import parse_feeds
from airflow_provenance.errors import EventRefusedError, FeedUnavailableError, SettingsError
from tests.support.certificate import self_signed
from tests.support.receiver import Answer, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.receiver import Receiver

TOKEN = "s3cr3t-token"  # noqa: S105 - nobody's


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def feed(backend: Receiver) -> Iterator[HttpFeed]:
    feed = HttpFeed(
        f"{backend.url}/api/v1/lineage",
        {"Authorization": f"Bearer {TOKEN}", "X-Tenant": "flights"},
        timeout_seconds=1.0,
    )
    yield feed
    feed.close()


def test_an_event_is_posted_with_its_headers(backend: Receiver, feed: HttpFeed) -> None:
    feed.send(b'{"a": 1}')

    assert backend.received == [{"a": 1}]
    path, headers = backend.requests[0]
    assert path == "/api/v1/lineage"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["X-Tenant"] == "flights"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("status", [400, 409, 413, 414, 422, 431])
def test_an_answer_about_the_event_refuses_it(
    backend: Receiver, feed: HttpFeed, status: int
) -> None:
    backend.answer = lambda _: Answer(status, b"no\n such  job " + TOKEN.encode())
    with pytest.raises(EventRefusedError) as caught:
        feed.send(b"{}")
    assert str(caught.value) == f"{backend.url} answered {status}: no such job ***"


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 408, 429, 500, 502, 503, 504, 507])
def test_any_other_answer_means_not_now(backend: Receiver, feed: HttpFeed, status: int) -> None:
    backend.answer = lambda _: Answer(status, b"oh", (("Retry-After", "7"), ("Location", "/x")))
    with pytest.raises(FeedUnavailableError) as caught:
        feed.send(b"{}")
    assert str(caught.value).startswith(f"{backend.url} answered {status}: oh")
    assert caught.value.may_be_the_event == (status in (500, 507))
    assert (caught.value.retry_after_s == 7.0) == (status in (408, 429) or status >= 500)
    assert ("api_key" in str(caught.value)) == (status in (401, 403))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(raw=b"SSH-2.0-OpenSSH_9.6\r\n"),
        Answer(raw=b""),
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"),
        Answer(raw=b"HTTP/1.1 999999 \xff\r\n\r\n"),
        Answer(delay_s=5.0),
    ],
    ids=["another protocol", "nothing", "cut short", "no status", "too late"],
)
def test_garbage_and_silence_are_no_delivery(
    backend: Receiver, feed: HttpFeed, answer: Answer
) -> None:
    backend.answer = lambda _: answer
    with pytest.raises(FeedUnavailableError) as caught:
        feed.send(b"{}")
    assert "does not answer" in str(caught.value)
    assert not caught.value.may_be_the_event
    backend.answer = lambda _: Answer(200, b"<html>" * 100_000)
    feed.send(b"{}")


def test_nobody_there_is_no_delivery() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        feed = HttpFeed(f"http://127.0.0.1:{taken.getsockname()[1]}/", timeout_seconds=1.0)
        with pytest.raises(FeedUnavailableError, match=r"does not answer \(ConnectError"):
            feed.send(b"{}")
        feed.close()


def test_a_server_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with receiving() as receiver:
        receiver._server.socket = context.wrap_socket(receiver._server.socket, server_side=True)
        url = receiver.url.replace("http://127.0.0.1", "https://localhost")
        stranger = HttpFeed(url, timeout_seconds=5.0)
        with pytest.raises(FeedUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.send(b"{}")
        assert receiver.received == []
        known = HttpFeed(url, timeout_seconds=5.0, ca_file=str(certificate))
        known.send(b"{}")
        assert receiver.received == [{}]
        stranger.close()
        known.close()
    with pytest.raises(SettingsError, match=r"ca_file .* cannot be read"):
        HttpFeed(url, ca_file=str(tmp_path / "none.pem"))


def test_a_file_gets_a_line_for_each_event_and_ends_a_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "new" / "events.ndjson"
    feed = FileFeed(path)
    feed.send(b'{"a":\n1}')
    feed.flush()
    with path.open("ab") as file:
        file.write(b'{"b"')  # as a crash leaves it
    feed.send(b"{}")
    feed.flush()
    feed.flush()
    assert path.read_bytes() == b'{"a": 1}\n{"b"\n{}\n'
    assert path.stat().st_mode & 0o077 == 0
    path.rename(tmp_path / "yesterday")
    feed.send(b"{}")
    feed.close()
    assert path.read_bytes() == b"{}\n"


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FeedUnavailableError, match="cannot be written"):
        FileFeed(tmp_path / "file" / "events").send(b"{}")


def test_a_full_disk_is_told_and_nothing_counts_as_sent() -> None:
    from pathlib import Path

    with pytest.raises(FeedUnavailableError, match="No space left"):
        FileFeed(Path("/dev/full")).send(b"{}")


def test_the_console_gets_a_line_for_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    feed = ConsoleFeed()
    feed.send(b'{"a":\n1}')
    feed.flush()
    feed.close()
    assert capsys.readouterr().out == '{"a": 1}\n'


# ---- What settings say of feeds -----------------------------------------------------------------

URL = "https://marquez.example.com"


def test_feeds_are_read_with_the_endpoint_of_their_type_and_show_no_secret() -> None:
    marquez, datahub, other, file = parse_feeds(
        {
            "m": {"type": "marquez", "url": f"{URL}/"},
            "d": {"type": "datahub", "url": URL, "api_key": TOKEN},
            "o": {"type": "openlineage", "url": URL, "endpoint": "/x", "headers": {"X": TOKEN}},
            "f": {"type": "file", "path": "/f", "enabled": False, "max_backlog": 7},
        }
    )
    assert marquez.url == f"{URL}/api/v1/lineage"
    assert datahub.url == f"{URL}/openapi/openlineage/api/v1/lineage"
    assert datahub.headers == {"Authorization": f"Bearer {TOKEN}"}
    assert other.url == f"{URL}/x"
    assert (file.path, file.enabled, file.max_backlog) == ("/f", False, 7)
    assert TOKEN not in f"{datahub} {datahub!r} {[other]}"


@pytest.mark.parametrize(
    ("feeds", "line"),
    [
        ([], "give a JSON object"),
        ({"a b": {"type": "console"}}, "its name must be"),
        ({"": {"type": "console"}}, "its name must be"),
        ({"a": TOKEN}, "feed 'a': it must be a JSON object"),
        ({"a": {"type": [TOKEN]}}, "its type must be one of marquez, datahub"),
        ({"a": {}}, "its type must be one of"),
        ({"a": {"type": "console", "url": TOKEN}}, "'url' is not known for type console"),
        ({"a": {"type": "marquez"}}, "url is missing"),
        ({"a": {"type": "marquez", "url": TOKEN}}, "url must begin with https://"),
        ({"a": {"type": "marquez", "url": "http://h:x"}}, "url is not a URL"),
        ({"a": {"type": "marquez", "url": f"http://u:{TOKEN}@h"}}, "url holds a password"),
        (
            {"a": {"type": "marquez", "url": f"http://h?token={TOKEN}"}},
            "url must end with its path",
        ),
        ({"a": {"type": "marquez", "url": URL, "headers": [TOKEN]}}, "headers must be"),
        ({"a": {"type": "marquez", "url": URL, "headers": {"X": f"{TOKEN}\n"}}}, "headers must be"),
        ({"a": {"type": "marquez", "url": URL, "api_key": f"{TOKEN}\n"}}, "api_key must be"),
        ({"a": {"type": "marquez", "url": URL, "endpoint": 5}}, "endpoint must be"),
        ({"a": {"type": "marquez", "url": URL, "timeout_seconds": 0}}, "timeout_seconds must be"),
        ({"a": {"type": "marquez", "url": URL, "ca_file": ""}}, "ca_file must name"),
        ({"a": {"type": "file"}}, "path must name the file"),
        ({"a": {"type": "console", "enabled": "no"}}, "enabled must be true or false"),
        ({"a": {"type": "console", "max_backlog": True}}, "max_backlog must be"),
    ],
)
def test_a_mistake_is_told_in_one_line_that_shows_no_secret(feeds: object, line: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        parse_feeds(feeds)
    assert line in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"feed 'a': .*; feed 'b': .*; feed 'b': ") as caught:
        parse_feeds({"a": {}, "b": {"type": "marquez", "enabled": 1}})
    assert str(caught.value).count("feed '") == 3


def test_one_thread_is_left_behind_by_no_feed(backend: Receiver) -> None:
    before = threading.active_count()
    feed = HttpFeed(backend.url)
    feed.close()
    assert threading.active_count() == before
