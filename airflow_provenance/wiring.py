"""The one place that builds concrete stores and drains from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance import settings
from airflow_provenance.collect.drain import BATCH_BYTES, Drain
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.store.ingest import Limits
from airflow_provenance.store.sql.engine import open_engine
from airflow_provenance.store.sql.migrate import migrate
from airflow_provenance.store.sql.store import SqlStore

if TYPE_CHECKING:
    from airflow_provenance.collect.reconcile import Reconciler
    from airflow_provenance.store.base import ProvenanceWriter, Store

_DAY_US = 86_400_000_000
# The service must be able to end within 2 s, and ends between batches.
SERVICE_BATCH_BYTES = 1024 * 1024


def open_store(url: str | None = None, *, create: bool = False) -> Store:
    """Open the store of the settings, or of a URL.

    Args:
        url: an SQLAlchemy URL; None for ``[provenance] store``.
        create: make the schema when the database is empty.

    Raises:
        SettingsError: the URL is of no such database.
        StoreError: the database cannot be used as it is.
    """
    limits = Limits(settings.max_event_bytes(), settings.max_facet_bytes())
    return SqlStore(url or settings.store(), limits, create=create)


def migrate_store(url: str | None = None) -> tuple[str | None, str]:
    """Bring a store's schema up to this release; return the revision it was at, and is at."""
    engine = open_engine(url or settings.store(), create=True)
    try:
        return migrate(engine)
    finally:
        engine.dispose()


def retention_horizon_us() -> int:
    """Return the time before which raw events are to be dropped, by ``raw_retention_days``."""
    return max(SystemClock().now_us() - settings.raw_retention_days() * _DAY_US, 0)


def open_reconciler(store: Store, *, grace_seconds: float = 60.0) -> Reconciler:
    """Return what compares a store with Airflow's own record, and repairs it."""
    # Here: a service without this role need not load what it reads by.
    from airflow_provenance.collect.reconcile import Reconciler

    return Reconciler(store, settings.namespace(), SystemClock(), int(grace_seconds * 1e6))


def open_drain(store: ProvenanceWriter, batch_bytes: int = BATCH_BYTES) -> Drain:
    """Return the drain of the settings' spool into a store."""
    return Drain(store, settings.spool_dir(), batch_bytes=batch_bytes)
