"""The body of a request that sends events, within its limits while it is read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import msgspec
from starlette.requests import Request

from airflow_provenance.collect.spool_block import records_of
from airflow_provenance.errors import RequestError, TooLargeError
from airflow_provenance.formats.spool_line import Kind
from airflow_provenance.store.base import Rejected

MAX_EVENTS = 10_000
_PIECE = 64 * 1024
_GZIP = 31  # zlib's window, with gzip's header and checksum
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_BOM = b"\xef\xbb\xbf"


class BodyLimits(msgspec.Struct, frozen=True):
    """How many bytes a body may have, unpacked: of one event, and of all."""

    event: int
    request: int


async def read_body(request: Request, limits: BodyLimits) -> bytes:
    """Read a body; no more is kept, or unpacked, than the limits allow.

    Raises:
        TooLargeError: it is larger.
        RequestError: it is not packed as it says.
    """
    unpack = _unpacker(request.headers.get("content-encoding", ""))
    body = bytearray()
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limits.request:
            raise _too_large("max_request_bytes", limits.request)
        for piece in unpack.pieces(chunk):
            body += piece
            _refuse_larger(body, limits)
    unpack.finish()
    return bytes(body)


def split_events(body: bytes, source: str) -> tuple[list[bytes], list[Rejected]]:
    """Return the events of a body, one or an array of them; or what cannot be read, to be kept.

    Raises:
        RequestError: there is nothing in it.
        TooLargeError: there are too many.
    """
    text = body.removeprefix(_BOM).strip()
    if not text:
        raise RequestError("the body is empty: send one OpenLineage event, or an array of them")
    if not text.startswith(b"["):
        return [text], []
    try:
        raws = _ARRAY.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"not a JSON array: {error}"
        return [], [Rejected("E", text, "invalid_json", message, source)]
    if len(raws) > MAX_EVENTS:
        raise TooLargeError(f"{len(raws)} events: send at most {MAX_EVENTS} at a time")
    return [bytes(raw).strip() for raw in raws], []


def split_spool(body: bytes, source: str) -> list[tuple[Kind, bytes] | Rejected]:
    """Return the records of lines of a spool, in their order; torn ones are rejected.

    Raises:
        RequestError: there is nothing in it.
        TooLargeError: there are too many.
    """
    records = records_of(body, source)
    if not records:
        raise RequestError("the body is empty: send lines of a spool file")
    if len(records) > MAX_EVENTS:
        raise TooLargeError(f"{len(records)} records: send at most {MAX_EVENTS} at a time")
    return records


def as_entries(raws: list[bytes]) -> list[tuple[Kind, bytes]]:
    """Return events as a store takes them, the same as drained ones."""
    return [("E", raw) for raw in raws]


def _refuse_larger(body: bytearray, limits: BodyLimits) -> None:
    if len(body) <= min(limits.event, limits.request):
        return
    if len(body) > limits.request:
        raise _too_large("max_request_bytes", limits.request)
    is_one = not body.removeprefix(_BOM).lstrip().startswith(b"[")
    if is_one and len(body) > limits.event:
        raise _too_large("max_event_bytes", limits.event)


def _too_large(option: str, limit: int) -> TooLargeError:
    return TooLargeError(f"more than {limit} bytes: send less at a time, or raise {option}")


class _Plain:
    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk

    def finish(self) -> None:
        """Nothing can be missing."""


class _Gzip(_Plain):
    """Unpacks piece by piece, so that a small body cannot become a large one at once."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP)

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._inflate.eof:  # another member follows
                self._inflate = zlib.decompressobj(_GZIP)
            try:
                piece = self._inflate.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise RequestError(f"the body is no gzip: {error}") from error
            chunk = (
                self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            )
            yield piece

    def finish(self) -> None:
        if not self._inflate.eof:
            raise RequestError("the body's gzip has no end: send it again")


def _unpacker(encoding: str) -> _Plain:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return _Plain()
    if name in ("gzip", "x-gzip"):
        return _Gzip()
    raise RequestError(f"Content-Encoding {name[:40]!a} is not known: use gzip, or none")
