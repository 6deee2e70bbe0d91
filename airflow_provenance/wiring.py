"""The one place that builds concrete stores, drains and applications from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance import settings
from airflow_provenance.collect.drain import Drain
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.errors import SettingsError
from airflow_provenance.store.ingest import Limits
from airflow_provenance.store.sql.engine import open_engine
from airflow_provenance.store.sql.migrate import migrate
from airflow_provenance.store.sql.store import SqlStore

if TYPE_CHECKING:
    from fastapi import FastAPI

    from airflow_provenance.store.base import ProvenanceWriter, Store

_DAY_US = 86_400_000_000


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


def open_drain(store: ProvenanceWriter) -> Drain:
    """Return the drain of the settings' spool into a store."""
    return Drain(store, settings.spool_dir())


def open_api(url: str | None = None, *, is_in_airflow: bool = False) -> FastAPI:
    """Return the HTTP application; its store is opened when a request needs it.

    Args:
        url: of the store; None for ``[provenance] store``.
        is_in_airflow: whether it is mounted in Airflow's API server, and knows Airflow's users.

    Raises:
        SettingsError: ``api_tokens`` cannot be used, or is empty where nobody else may ask.
    """
    from airflow_provenance.api.airflow_users import AirflowSecurity
    from airflow_provenance.api.app import create_app
    from airflow_provenance.api.body import BodyLimits
    from airflow_provenance.api.tokens import TokenSecurity, parse_tokens

    tokens = parse_tokens(settings.api_tokens())
    if not (tokens or is_in_airflow):
        raise SettingsError(
            "nobody could use it: [provenance] api_tokens is empty; "
            "'airflow-provenance serve --new-token NAME' makes a token"
        )
    known = TokenSecurity(tokens)
    return create_app(
        lambda: open_store(url, create=True),
        AirflowSecurity(known) if is_in_airflow else known,
        BodyLimits(settings.max_event_bytes(), settings.max_request_bytes()),
    )
