"""What waits in the spool, for commands that would else say that something is missing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance import settings, wiring
from airflow_provenance.errors import ProvenanceError

if TYPE_CHECKING:
    from airflow_provenance.collect.drain import DrainTarget
    from airflow_provenance.store.base import Store

DRAIN = "'airflow-provenance ingest --spool' takes them in"


class Waiting(NamedTuple):
    """A spool file that is not drained to its end."""

    left_bytes: int
    modified_at: float


def undrained(store_url: str | None) -> list[Waiting]:
    """Return the files of this host's spool that are not drained to their end."""
    store: Store | None = None
    target: DrainTarget | None = None
    # What is wrong is told by a check of its own; then nothing was drained.
    with contextlib.suppress(ProvenanceError):
        if wiring.sends_spool(store_url):
            target = wiring.open_api_target()
        else:
            target = store = wiring.open_store(store_url)
    left = []
    for path in settings.spool_dir().glob("*.spool"):
        status = path.stat()
        drained = 0 if target is None else target.spool_offset(path.name)
        if status.st_size > drained:
            left.append(Waiting(status.st_size - drained, status.st_mtime))
    if store is not None:
        store.close()
    return left
