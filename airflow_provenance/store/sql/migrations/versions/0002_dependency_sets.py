"""Lists of what was installed, each once by its hash.

Revision 0002. Those of the raw events that are still there are read out of them. What a raw event
looks like, and how a list is hashed, is told here as it was at this revision.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Iterator

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_CHUNK = sa.table("event_chunk", sa.column("first_seq"), sa.column("body"))


def upgrade() -> None:
    """Make the table and fill it."""
    made = op.create_table(
        "dependency_set",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    connection = op.get_bind()
    kept: set[str] = set()
    for body in _chunks(connection):
        for raw in _entries(zlib.decompress(body)):
            if b'"dependencies"' not in raw:
                continue
            stated, listed = _list_of(raw)
            if stated is None or stated in kept:
                continue
            text = "".join(f"{one}\n" for one in listed).encode(errors="replace")
            digest = hashlib.sha256(text)
            if digest.hexdigest() == stated and text.count(b"\n") == len(listed):
                row = {"hash": digest.digest(), "body": zlib.compress(text, 1)}
                connection.execute(sa.insert(made), row)
                kept.add(stated)


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("dependency_set")


def _chunks(connection: sa.Connection) -> Iterator[bytes]:
    """Give the chunks one by one: together they may be larger than memory."""
    after = -1
    query = sa.select(_CHUNK.c.first_seq, _CHUNK.c.body).order_by(_CHUNK.c.first_seq).limit(1)
    while row := connection.execute(query.where(_CHUNK.c.first_seq > after)).one_or_none():
        after = row.first_seq
        yield row.body


def _entries(whole: bytes) -> Iterator[bytes]:
    """Give the entries of a chunk: their number, their sizes, their bytes."""
    count = int.from_bytes(whole[:4], "big")
    start = 4 + 4 * count
    for index in range(count):
        size = int.from_bytes(whole[4 + 4 * index : 8 + 4 * index], "big")
        yield whole[start : start + size]
        start += size


def _list_of(raw: bytes) -> tuple[str | None, list[str]]:
    """Return the hash that a manifest tells, and its list; no hash where either is not there."""
    try:
        manifest: Any = json.loads(raw)["run"]["facets"]["airflowProvenance_manifest"]
        stated, listed = manifest["environment"]["dependenciesHash"], manifest["dependencies"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, []  # some other event with this word in it
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in [stated, *listed]):
        return None, []
    return stated, listed
