"""A drain's target that is a store elsewhere: what is spooled here is posted to ``api_url``.

Lines travel as they lie in the spool, checksums and notes included, so an event has the same id
whichever way it came, and what is sent twice is kept once. What an answer means:

==============================  ==================================================================
200, with a verdict a record    sent; a record that this token may not send is set aside
413                             sent again in halves; one record that is too large is set aside
anything else, or no answer     not now: the spool keeps it all
==============================  ==================================================================

How far a file was sent is kept beside it (``<file>.sent``), for there is no store here to keep it.
What is set aside is in the folder ``refused`` as lines of a spool file: once the token is mended,
moving the file back sends them again.
"""

from __future__ import annotations

import gzip
import os
import ssl
import threading
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import msgspec

from airflow_provenance import __version__
from airflow_provenance.errors import StoreUnavailableError
from airflow_provenance.formats.spool_line import CONTENT_TYPE, encode_line
from airflow_provenance.store.base import IngestReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import httpx

    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.store.base import Rejected, SpoolOffset

PATH = "/api/v1/spool"
OFFSET_SUFFIX = ".sent"
REFUSED = "refused"
_FILE_MODE, _DIRECTORY_MODE = 0o660, 0o770
_DETAIL_CHARS = 300
_TOO_LARGE = 413
_ADVICE = {
    401: "check [provenance] api_token",
    403: "check the scopes of [provenance] api_token",
    404: "check [provenance] api_url",
}


class _Verdict(msgspec.Struct):
    verdict: str
    message: str | None = None


class _Answer(msgspec.Struct):
    events: list[_Verdict]


class _Told(msgspec.Struct):
    detail: str = ""


class _Reply(NamedTuple):
    status: int
    body: bytes


_ANSWER = msgspec.json.Decoder(_Answer)
_TOLD = msgspec.json.Decoder(_Told)


class HttpTarget:
    """See `drain.DrainTarget`.

    Args:
        url: of the HTTP interface.
        token: what it knows us by.
        spool_dir: the folder of the spool files.
        seconds_left: how long a request may take, from its name lookup to the end of its answer.
    """

    def __init__(
        self, url: str, token: str | None, spool_dir: Path, seconds_left: Callable[[], float]
    ) -> None:
        self._url = url + PATH
        self._where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
        self._token = token or ""
        self._spool_dir = spool_dir
        self._seconds_left = seconds_left
        self._http: httpx.Client | None = None

    def ingest(
        self,
        entries: Sequence[tuple[Kind, bytes]],
        *,
        received_us: int,  # noqa: ARG002 - the server's clock says
        source: str = "",
        rejected: Sequence[Rejected] = (),
        offset: SpoolOffset | None = None,
    ) -> IngestReport:
        """Send a batch; `StoreUnavailableError` where it was not acknowledged whole."""
        lines = [encode_line(kind, raw) for kind, raw in entries]
        lines += [one.raw + b"\n" for one in rejected]  # torn ones: the server's quarantine
        report, refused = IngestReport(), []
        for line, verdict in zip(lines, self._send(lines), strict=True):
            if verdict.verdict == "refused":
                refused.append((line, verdict.message or "no reason given"))
                continue
            report.received += 1
            report.ingested += verdict.verdict == "accepted"
            report.repeated += verdict.verdict == "repeated"
            report.quarantined += verdict.verdict == "quarantined"
        if refused:
            path = self._set_aside(source, [line for line, _ in refused])
            report.warnings.append(
                f"{self._where} refuses {len(refused)} records ({refused[0][1]}): they are in "
                f"{path}; mend api_token there, and move the file back"
            )
        if offset is not None:
            self._move_offset(offset)
        return report

    def spool_offset(self, file: str) -> int:
        """See `drain.DrainTarget`."""
        try:
            return int((self._spool_dir / (file + OFFSET_SUFFIX)).read_text())
        except (FileNotFoundError, ValueError):
            return 0  # sent again: that changes nothing there

    def forget_spool(self, file: str) -> None:
        """See `drain.DrainTarget`."""
        (self._spool_dir / (file + OFFSET_SUFFIX)).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _move_offset(self, offset: SpoolOffset) -> None:
        path = self._spool_dir / (offset.file + OFFSET_SUFFIX)
        new = path.with_suffix(f"{OFFSET_SUFFIX}-{os.getpid()}")
        _append(new, b"%d\n" % offset.reached, sync=False)
        new.replace(path)

    def _set_aside(self, file: str, lines: Sequence[bytes]) -> Path:
        folder = self._spool_dir / REFUSED
        folder.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        path = folder / file
        _append(path, b"".join(lines), sync=True)  # for its offset moves next
        return path

    def _send(self, lines: Sequence[bytes]) -> list[_Verdict]:
        reply = self._post(gzip.compress(b"".join(lines), 1))
        if reply.status == _TOO_LARGE:
            if len(lines) > 1:
                half = len(lines) // 2
                return [*self._send(lines[:half]), *self._send(lines[half:])]
            return [_Verdict("refused", self._detail(reply) or "it is too large")]
        if reply.status != 200:
            detail = self._detail(reply)
            said = f"{self._where} answers {reply.status}{': ' if detail else ''}{detail}"
            advice = _ADVICE.get(reply.status)
            raise StoreUnavailableError(f"{said}; {advice}" if advice else said)
        try:
            verdicts = _ANSWER.decode(reply.body).events
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            verdicts = []
        if len(verdicts) != len(lines):
            raise StoreUnavailableError(
                f"{self._where} answers 200, but not as our HTTP interface does; {_ADVICE[404]}"
            )
        return verdicts

    def _detail(self, reply: _Reply) -> str:
        try:
            detail = _TOLD.decode(reply.body).detail
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        return self._hidden(" ".join(detail.split()))[:_DETAIL_CHARS]

    def _hidden(self, text: str) -> str:
        """Return a text without our token: some servers answer with what they were sent."""
        return text.replace(self._token, "***") if self._token else text

    def _post(self, body: bytes) -> _Reply:
        """Post in a thread: no other bound holds for name lookups and answers that trickle in."""
        seconds = self._seconds_left()
        if seconds <= 0:
            raise StoreUnavailableError(f"{self._where} was too slow to take it all in time")
        replies: list[_Reply | Exception] = []
        worker = threading.Thread(
            target=lambda: replies.append(self._try_to_post(body, seconds)),
            name="provenance-send",
            daemon=True,
        )
        worker.start()
        worker.join(seconds)
        if not replies:
            self._http = None  # the thread's alone from now on
            raise StoreUnavailableError(f"{self._where} does not answer within {seconds:.1f} s")
        if isinstance(reply := replies[0], Exception):
            text = self._hidden(" ".join(str(reply).split())) or "no answer in time"
            raise StoreUnavailableError(
                f"{self._where} does not answer ({type(reply).__name__}: {text})"
            ) from reply
        return reply

    def _try_to_post(self, body: bytes, seconds: float) -> _Reply | Exception:
        try:
            http = self._http = self._http or self._client()
            answer = http.post(self._url, content=body, timeout=seconds)
            return _Reply(answer.status_code, answer.content)
        except Exception as error:  # noqa: BLE001 - told by whoever waits for the reply
            return error

    def _client(self) -> httpx.Client:
        import httpx  # a task without api_url does not load it

        return httpx.Client(
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": CONTENT_TYPE,
                "Content-Encoding": "gzip",
                "User-Agent": f"airflow-provenance/{__version__}",
            },
            verify=ssl.create_default_context(),
            follow_redirects=False,  # the token is for this server alone
        )


def _append(path: Path, data: bytes, *, sync: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, _FILE_MODE), "ab") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())
