"""Posting JSON to a channel.

What an answer means:

==========================  ======================================================================
2xx                         delivered
400, 413, 422               the message is refused: it is given up
408, 429, 5xx, no answer    not now; ``Retry-After`` is kept to
anything else               not now: address, key or rights must be mended first
==========================  ======================================================================
"""

from __future__ import annotations

import json
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provenance import __version__
from airflow_provenance.errors import ChannelUnavailableError, NoticeRefusedError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REFUSED = frozenset({400, 413, 422})
_ANSWER_BYTES, _ANSWER_CHARS = 16 * 1024, 300
_MAX_WAIT_S = 3600.0


class Poster:
    """Posts JSON to one address.

    Args:
        url: the address. Its path and query are not shown: at some services they are the key.
        headers: sent with each request.
        secrets: texts that no error may show, beside the headers' and the path's.
        timeout_seconds: for connecting, and for the whole answer after that.
        ca_file: certificates to trust instead of the system's.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        secrets: Sequence[str] = (),
        timeout_seconds: float = 10.0,
        ca_file: str | None = None,
    ) -> None:
        import httpx  # a service without such a channel does not load it

        parts, given = urlsplit(url), dict(headers or {})
        self._url, self._where = url, f"{parts.scheme}://{parts.netloc}"
        words = [word for text in given.values() for word in text.split()]
        words += [*parts.path.split("/"), parts.path, parts.query, *secrets]
        self._secrets = sorted({one for one in words if len(one) > 7}, key=len, reverse=True)
        self._timeout_seconds = timeout_seconds
        try:
            trusted = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise SettingsError(f"ca_file {ca_file} cannot be read: {error.strerror}") from error
        self._client = httpx.Client(
            headers={"User-Agent": f"airflow-provenance/{__version__}", **given},
            timeout=timeout_seconds,
            verify=trusted,
            follow_redirects=False,  # the key is for this server alone
        )

    def post(self, body: Any, content_type: str = "application/json") -> None:
        """Post a JSON value."""
        import httpx

        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Content-Type": content_type}
        try:
            with self._client.stream(
                "POST", self._url, content=content, headers=headers
            ) as response:
                answer = self._read(response)
        except httpx.HTTPError as error:
            text = self._hidden(" ".join(str(error).split())) or "no answer in time"
            raise ChannelUnavailableError(
                f"{self._where} does not answer ({type(error).__name__}: {text})"
            ) from None  # the request is in it
        if not response.is_success:
            self._raise(response.status_code, answer, response.headers.get("Retry-After"))

    def _read(self, response: Any) -> str:
        deadline, found = time.monotonic() + self._timeout_seconds, b""
        for part in response.iter_raw():
            found += part
            if len(found) > _ANSWER_BYTES or time.monotonic() > deadline:
                break
        return self._hidden(" ".join(found.decode(errors="replace").split()))[:_ANSWER_CHARS]

    def _raise(self, status: int, answer: str, retry_after: str | None) -> None:
        said = f"{self._where} answered {status}{': ' + answer if answer else ''}"
        if status in _REFUSED:
            raise NoticeRefusedError(said)
        if status in (408, 429) or status >= 500:
            is_told = retry_after is not None and retry_after.isdecimal()
            wait_s = float(retry_after) if is_told and retry_after else 0.0
            raise ChannelUnavailableError(said, retry_after_s=min(wait_s, _MAX_WAIT_S))
        raise ChannelUnavailableError(f"{said}; check the channel's address and key")

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
