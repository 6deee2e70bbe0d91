"""A `Store` on SQLite or PostgreSQL: the reader, and the transactions that ingest runs in."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.domain.identity import event_id
from airflow_provenance.store.base import is_held
from airflow_provenance.store.ingest import Limits, ingest_batch, parse_batch
from airflow_provenance.store.sql import migrate
from airflow_provenance.store.sql.alerts import SqlAlerts
from airflow_provenance.store.sql.engine import open_engine, reading, writing
from airflow_provenance.store.sql.ledger import SqlLedger
from airflow_provenance.store.sql.outbox import SqlOutbox, held_us
from airflow_provenance.store.sql.promises import SqlPromises
from airflow_provenance.store.sql.reader import SqlReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.store.base import IngestReport, Rejected, SpoolOffset
    from airflow_provenance.store.sql.bulk import Bulk


class SqlStore(SqlAlerts, SqlOutbox, SqlPromises, SqlReader):
    """See `store.base.Store`.

    Args:
        url: an SQLAlchemy URL of SQLite or PostgreSQL.
        limits: how large an event and a facet may be.
        create: make the schema when the database is empty; an older schema is never touched here.

    Raises:
        SettingsError: the URL is of no such database.
        StoreUnavailableError: the database cannot be reached.
        StoreMigrationError: its schema is missing, older or newer.
    """

    def __init__(self, url: str, limits: Limits | None = None, *, create: bool = False) -> None:
        super().__init__(open_engine(url, create=create))
        self._limits = limits or Limits()
        try:
            if create and migrate.current_revision(self._engine) is None:
                migrate.migrate(self._engine)
            migrate.check(self._engine)
        except BaseException:
            self.close()
            raise

    def ingest(
        self,
        entries: Sequence[tuple[Kind, bytes]],
        *,
        received_us: int,
        source: str = "",
        rejected: Sequence[Rejected] = (),
        offset: SpoolOffset | None = None,
    ) -> IngestReport:
        with _uncollected():
            parsed = parse_batch(entries, rejected, source, self._limits)
            with writing(self._engine) as bulk:
                return ingest_batch(
                    SqlLedger(bulk), parsed, received_us=received_us, source=source, offset=offset
                )

    def spool_offset(self, file: str) -> int:
        with reading(self._engine) as bulk:
            rows = bulk.fetch("SELECT reached FROM spool_offset WHERE file = ?", (file,))
        return int(rows[0][0]) if rows else 0

    def forget_spool(self, file: str) -> None:
        with writing(self._engine) as bulk:
            bulk.execute("DELETE FROM spool_offset WHERE file = ?", [(file,)])

    def acquire_lease(
        self, name: str, holder: str, duration_us: int, *, now_us: int | None = None
    ) -> bool:
        with writing(self._engine) as bulk:
            now_us = self._now_us(bulk) if now_us is None else now_us
            rows = bulk.fetch("SELECT holder, expires_us FROM lease WHERE name = ?", (name,))
            if rows and is_held(rows[0][0], rows[0][1], holder, now_us, duration_us):
                return False
            row = (name, holder, now_us + duration_us)
            bulk.upsert("lease", "name, holder, expires_us", [row])
        return True

    def _now_us(self, bulk: Bulk) -> int:
        if self._engine.dialect.name == "sqlite":  # all its processes are on one host
            return SystemClock().now_us()
        micros = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        return int(bulk.fetch(micros)[0][0])

    def release_lease(self, name: str, holder: str) -> None:
        with writing(self._engine) as bulk:
            bulk.execute("DELETE FROM lease WHERE name = ? AND holder = ?", [(name, holder)])

    def mark(self, name: str) -> int | None:
        with reading(self._engine) as bulk:
            rows = bulk.fetch("SELECT value FROM counter WHERE name = ?", (f"mark:{name}",))
        return int(rows[0][0]) if rows else None

    def set_mark(self, name: str, us: int) -> None:
        with writing(self._engine) as bulk:
            bulk.upsert("counter", "name, value", [(f"mark:{name}", us)])

    def release(self, quarantine_ids: Sequence[int]) -> None:
        with writing(self._engine) as bulk:
            bulk.execute("DELETE FROM quarantine WHERE id = ?", [(one,) for one in quarantine_ids])

    def expire(self, before_us: int) -> int:
        """See `ProvenanceWriter.expire`.

        Ids of events sort by time, so the index on them finds the old ones. A chunk goes when its
        newest entry has expired.
        """
        with writing(self._engine) as bulk:
            before_us = held_us(bulk, before_us)
            before_us -= before_us % 1000
            bound = event_id(before_us, b"")[:6] + bytes(10)
            horizon_us = max(SqlLedger(bulk).horizon_us(), before_us)
            bulk.upsert("counter", "name, value", [("horizon_us", horizon_us)])
            gone = bulk.fetch("SELECT count(*) FROM event WHERE event_id < ?", (bound,))[0][0]
            bulk.execute("DELETE FROM event WHERE event_id < ?", [(bound,)])
            bulk.execute("DELETE FROM event_chunk WHERE max_event_us < ?", [(before_us,)])
        return int(gone)

    def close(self) -> None:
        """Let go of the database's connections."""
        self._engine.dispose()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Let no garbage be searched for.

    A batch makes no cycles, but hundreds of thousands of objects that live to its end; looking at
    them again and again took a sixth of its time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
