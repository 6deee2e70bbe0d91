r"""One line of a spool file: how `emit.spool` writes it and `collect.drain` reads it back.

::

    P1 <kind> <length> <crc32> <payload>\n

``kind`` is ``E`` (an OpenLineage event) or ``N`` (a note), ``length`` the payload's bytes in
decimal, ``crc32`` eight hex digits over kind and payload. A payload is JSON without line breaks,
so a line that a crash or a full disk cut short is told by its length or checksum, never guessed at.
"""

from __future__ import annotations

import zlib
from typing import Literal

from airflow_provenance.errors import EventError

Kind = Literal["E", "N"]
MAGIC = b"P1"
# Of lines that are sent over HTTP.
CONTENT_TYPE = "application/vnd.airflow-provenance.spool"


def _checksum(kind: bytes, payload: bytes) -> bytes:
    return b"%08x" % zlib.crc32(payload, zlib.crc32(kind))


def encode_line(kind: Kind, payload: bytes) -> bytes:
    r"""Return the line, with its line break.

    >>> encode_line("E", b"{}")
    b'P1 E 2 6b6f3b85 {}\n'
    """
    if b"\n" in payload:
        raise ValueError("a payload must not hold a line break")
    code = kind.encode()
    return b"%s %s %d %s %s\n" % (MAGIC, code, len(payload), _checksum(code, payload), payload)


def decode_line(line: bytes) -> tuple[Kind, bytes]:
    """Return kind and payload of a line without its line break.

    Raises `EventError`: ``torn_line`` where the length is wrong, ``bad_checksum`` where bytes are.
    """
    parts = line.split(b" ", 4)
    if len(parts) != 5 or parts[0] != MAGIC or not parts[2].isdigit():
        raise EventError("torn_line", f"not a whole spool line ({len(line)} bytes)")
    _, code, length, checksum, payload = parts
    if len(payload) != int(length):
        raise EventError("torn_line", f"a spool line of {len(payload)} bytes, not {int(length)}")
    if checksum != _checksum(code, payload):
        raise EventError("bad_checksum", f"a spool line of {len(payload)} bytes was altered")
    if code == b"E":
        return "E", payload
    if code == b"N":
        return "N", payload
    raise EventError("torn_line", f"a spool line of unknown kind {code[:8]!r}")
