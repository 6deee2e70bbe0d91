"""A feed to an OpenLineage endpoint over HTTP: Marquez, DataHub, or any other.

What an answer means:

========================================  =========================================================
2xx                                       delivered
400, 409, 413, 414, 422, 431              the event is refused: it becomes a dead letter
500 and other 5xx without 502, 503, 504   not now; if this event alone meets it, a dead letter later
408, 429, 502, 503, 504, no answer        not now, ``Retry-After`` is kept to
anything else (401, 403, 404, 3xx ...)    not now: url, token or rights must be mended first
========================================  =========================================================
"""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from airflow_provenance import __version__
from airflow_provenance.errors import EventRefusedError, FeedUnavailableError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_ABOUT_THE_EVENT = frozenset({400, 409, 413, 414, 422, 431})
_BUSY = frozenset({408, 429, 502, 503, 504})
_ANSWER_CHARS = 500
_ANSWER_BYTES = 64 * 1024
_MAX_WAIT_S = 3600.0


class HttpFeed:
    """See `base.Feed`.

    Args:
        url: where events are posted to.
        headers: sent with each, a token among them.
        timeout_seconds: for connecting, and for the whole answer after that.
        ca_file: certificates to trust instead of the system's.

    Raises:
        SettingsError: the certificates cannot be read.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_seconds: float = 10.0,
        ca_file: str | None = None,
    ) -> None:
        self.last_check: Callable[[], None] = lambda: None
        self._url = url
        self._where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
        given = dict(headers or {})
        self._secrets = [word for text in given.values() for word in text.split() if len(word) > 3]
        self._timeout_seconds = timeout_seconds
        try:
            trusted = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise SettingsError(f"ca_file {ca_file} cannot be read: {error.strerror}") from error
        self._client = httpx.Client(
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"airflow-provenance/{__version__}",
                **given,
            },
            timeout=timeout_seconds,
            verify=trusted,
        )

    def send(self, body: bytes) -> None:
        """Post an event."""
        try:
            with self._client.stream(
                "POST",
                self._url,
                content=self._checked(body),
                headers={"Content-Length": str(len(body))},
            ) as response:
                answer = self._read(response)
        except httpx.HTTPError as error:
            text = self._hidden(str(error)) or "no answer in time"
            raise FeedUnavailableError(
                f"{self._where} does not answer ({type(error).__name__}: {text})"
            ) from error
        if not response.is_success:
            self._raise(response, answer)

    def _checked(self, body: bytes) -> Iterator[bytes]:
        """Give the body when the head is on its way; without it, a server takes nothing."""
        self.last_check()
        yield body

    def _read(self, response: httpx.Response) -> str:
        """Return the beginning of an answer; one that trickles in has no more time than others."""
        deadline = time.monotonic() + self._timeout_seconds
        found = b""
        try:
            for part in response.iter_raw():
                found += part
                if len(found) > _ANSWER_BYTES or time.monotonic() > deadline:
                    break
        except httpx.HTTPError:
            if response.is_success:
                raise
        text = " ".join(found.decode(errors="replace").split())
        return self._hidden(text)[:_ANSWER_CHARS]

    def _raise(self, response: httpx.Response, answer: str) -> None:
        status = response.status_code
        said = f"{self._where} answered {status}{': ' + answer if answer else ', no more'}"
        if status in _ABOUT_THE_EVENT:
            raise EventRefusedError(said)
        if status in _BUSY or status >= 500:
            raise FeedUnavailableError(
                said,
                may_be_the_event=status not in _BUSY,
                retry_after_s=_seconds(response.headers.get("Retry-After")),
            )
        advice = "check the feed's url and endpoint"
        if status in (401, 403):
            advice = "check the feed's api_key or headers"
        raise FeedUnavailableError(f"{said}; {advice}")

    def _hidden(self, text: str) -> str:
        """Return a text without our tokens: some servers answer with what they were sent."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def flush(self) -> None:
        """Nothing to do: an answer is all that a backend promises."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _seconds(text: str | None) -> float:
    """Return a ``Retry-After``; given as a date it counts for nothing."""
    return min(float(text), _MAX_WAIT_S) if text and text.isdecimal() else 0.0
