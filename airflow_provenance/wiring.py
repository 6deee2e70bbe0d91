"""The one place that builds concrete stores, drains, feeds and applications from the settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provenance import settings
from airflow_provenance.collect.drain import BATCH_BYTES, Drain
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.domain.feed import at_backend
from airflow_provenance.errors import SettingsError
from airflow_provenance.store.ingest import Limits
from airflow_provenance.store.sql.engine import open_engine
from airflow_provenance.store.sql.migrate import migrate
from airflow_provenance.store.sql.store import SqlStore

if TYPE_CHECKING:
    from fastapi import FastAPI

    from airflow_provenance.alerts.channels.base import Channel
    from airflow_provenance.alerts.channels.known import ChannelConfig
    from airflow_provenance.alerts.deliver import Deliverer
    from airflow_provenance.alerts.listing import Routing
    from airflow_provenance.alerts.message import Cleaner
    from airflow_provenance.collect.evaluator import Evaluator
    from airflow_provenance.collect.feeds.base import Feed, Route
    from airflow_provenance.collect.forward import Forwarder
    from airflow_provenance.collect.http_target import HttpTarget
    from airflow_provenance.collect.promise_sources import PromiseSources
    from airflow_provenance.collect.publish import Publisher
    from airflow_provenance.collect.reconcile import Reconciler
    from airflow_provenance.domain.feed import FeedConfig
    from airflow_provenance.sla.check import Answer, Asked
    from airflow_provenance.store.base import ProvenanceWriter, Store

_DAY_US = 86_400_000_000
_EVALUATED_DAYS = 31
# The service must be able to end within 2 s, and ends between batches.
SERVICE_BATCH_BYTES = 1024 * 1024
# For one batch over HTTP; nobody's task waits for it.
_REQUEST_SECONDS = 30.0


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


def promises_horizon_us() -> int:
    """Return the time before which is to be forgotten how promises stood: ``sla_retention_days``.

    What the evaluator goes by is never forgotten: a period is looked at for as long as this.
    """
    days = max(settings.sla_retention_days(), _EVALUATED_DAYS)
    return max(SystemClock().now_us() - days * _DAY_US, 0)


def open_reconciler(store: Store, *, grace_seconds: float | None = None) -> Reconciler:
    """Return what compares a store with Airflow's own record, and repairs it.

    Args:
        store: what is compared.
        grace_seconds: how long ago a row must have changed to be compared; None: the setting's.
    """
    # Here: a service without this role need not load what it reads by.
    from airflow_provenance.collect import airflow_record
    from airflow_provenance.collect.reconcile import Reconciler

    airflow_record.load()
    if grace_seconds is None:
        grace_seconds = settings.reconcile_grace_seconds()
    return Reconciler(store, settings.namespace(), SystemClock(), int(grace_seconds * 1e6))


def open_sources(store: Store, *, with_airflow: bool | None = None) -> PromiseSources:
    """Return the promises of the settings' files and, where there is one, of Airflow's DAGs.

    Args:
        store: knows which were in force last.
        with_airflow: whether to ask Airflow's database; None: where one is configured.
    """
    from airflow_provenance.collect import airflow_promises, airflow_record
    from airflow_provenance.collect.promise_sources import PromiseSources

    if with_airflow is None:
        with_airflow = settings.is_airflow_database_set()
    if with_airflow:
        airflow_record.load()
    dags = airflow_promises if with_airflow else None
    return PromiseSources(settings.sla_files(), dags, store.policies())


def open_evaluator(store: Store) -> Evaluator:
    """Return what records how promises stand."""
    from airflow_provenance.alerts.excuses import excusals_of
    from airflow_provenance.collect import airflow_expected
    from airflow_provenance.collect.evaluator import Evaluator
    from airflow_provenance.collect.expectations import Expectations

    has_airflow = settings.is_airflow_database_set()
    expectations = Expectations(store, airflow_expected) if has_airflow else None
    sources = open_sources(store, with_airflow=has_airflow)
    return Evaluator(store, sources, expectations, SystemClock(), excusals_of)


def open_publisher(store: Store) -> Publisher | None:
    """Return what makes OpenLineage runs of how promises stand; None where that is turned off."""
    if not settings.sla_publish():
        return None
    from airflow_provenance.collect.publish import Publisher
    from airflow_provenance.emit.redact import Redactor

    clean = Redactor.configured().message
    return Publisher(store, settings.namespace(), SystemClock(), clean, retention_horizon_us)


def ask_promises(asked: Asked) -> Answer:
    """Say how promises stand now: for code in tasks and triggers.

    By HTTP where there is an ``api_url``; else from the SQLite store of this host, where nothing is
    written.

    Raises:
        PolicyError: it cannot be asked so.
        SettingsError: the store is one that tasks do not open.
        StoreError: nobody answers, or there is no store yet.
    """
    from airflow_provenance.sla.check import answer, wanted

    if (url := settings.api_url()) is not None:
        from airflow_provenance.collect.promise_client import ask

        return ask(url, settings.api_token(), asked, _REQUEST_SECONDS)
    if not settings.store().startswith("sqlite"):
        raise SettingsError(
            "tasks do not open the store: set [provenance] api_url, and api_token with the "
            "scope read"
        )
    store = open_store()
    try:
        return answer(store, wanted(store, asked), asked.upstream, SystemClock().now_us())
    finally:
        store.close()


def sends_spool(url: str | None) -> bool:
    """Whether this host's spool goes to ``api_url``, and not to a store that was named."""
    return url is None and settings.api_url() is not None


def open_api_target() -> HttpTarget:
    """Return what sends a drain's lines to ``api_url``; `SettingsError` where that is not set."""
    from airflow_provenance.collect.http_target import HttpTarget

    if (url := settings.api_url()) is None:
        raise SettingsError("[provenance] api_url is not set: there is nowhere to drain to")
    return HttpTarget(url, settings.api_token(), settings.spool_dir(), lambda: _REQUEST_SECONDS)


def open_drain(store: ProvenanceWriter | None, batch_bytes: int = BATCH_BYTES) -> Drain:
    """Return the drain of the settings' spool into a store; None for ``api_url``."""
    target = open_api_target() if store is None else store
    return Drain(target, settings.spool_dir(), batch_bytes=batch_bytes)


def open_feeds() -> list[Route]:
    """Return the feeds of ``[provenance] feeds`` that are enabled, opened.

    Raises:
        SettingsError: a feed is wrong, or its certificates cannot be read.
    """
    from airflow_provenance.collect.feeds.base import Route
    from airflow_provenance.formats.shaping import datahub, marquez, openlineage

    rules = {
        "marquez": marquez.RULES,
        "datahub": datahub.RULES,
        "openlineage": openlineage.RULES,
    }
    return [
        Route(one.name, _open_feed(one), rules.get(one.type, ()), one.max_backlog)
        for one in settings.feeds()
        if one.enabled
    ]


def _open_feed(config: FeedConfig) -> Feed:
    if config.type == "console":
        from airflow_provenance.collect.feeds.console import ConsoleFeed

        return ConsoleFeed()
    if config.type == "file":
        from airflow_provenance.collect.feeds.file import FileFeed

        return FileFeed(Path(config.path).expanduser())
    if config.conn_id:
        config = _at_connection(config)
    # Commands that deliver nothing need no HTTP client, which takes long to import.
    from airflow_provenance.collect.feeds.http import HttpFeed

    return HttpFeed(
        config.url,
        config.headers,
        timeout_seconds=config.timeout_seconds,
        ca_file=config.ca_file,
    )


def _at_connection(config: FeedConfig) -> FeedConfig:
    from airflow_provenance.hooks.backend import read_backend

    backend = read_backend(config.conn_id)
    try:
        return at_backend(config, backend.url, backend.api_key)
    except ValueError as error:
        raise SettingsError(f"connection {config.conn_id}: {error}") from error


def open_forwarder(store: Store) -> Forwarder:
    """Return the forwarder of a store to the settings' feeds."""
    from airflow_provenance.collect.forward import Forwarder

    return Forwarder(store, open_feeds())


def open_deliverer(store: Store) -> Deliverer:
    """Return what tells people of a store's alerts, by the settings' channels and routes.

    Raises:
        SettingsError: a channel or a route is wrong.
    """
    from airflow_provenance.alerts.channels.known import parse_channels
    from airflow_provenance.alerts.deliver import Deliverer
    from airflow_provenance.alerts.lineage import Lineage
    from airflow_provenance.alerts.routes import parse_routes
    from airflow_provenance.alerts.send import Told

    clean, lineage = _cleaner(), Lineage(store)
    configs = parse_channels(settings.channels())
    routes = parse_routes(settings.routes(), [one.name for one in configs])
    return Deliverer(
        store,
        _open_channels(configs, clean),
        routes,
        Told(clean, settings.airflow_url()),
        SystemClock(),
        lineage,
        joins=lineage.joins,
    )


def open_channels() -> tuple[dict[str, Channel], Cleaner]:
    """Return the channels of the settings, opened, and what cleans what is sent through them.

    Raises:
        SettingsError: a channel is wrong, or its certificates cannot be read.
    """
    from airflow_provenance.alerts.channels.known import parse_channels

    clean = _cleaner()
    return _open_channels(parse_channels(settings.channels()), clean), clean


def _open_channels(configs: list[ChannelConfig], clean: Cleaner) -> dict[str, Channel]:
    from airflow_provenance.alerts.channels.known import open_channel

    if any(one.type == "notifier" for one in configs):
        from airflow_provenance.collect import airflow_record

        airflow_record.load()  # what notifiers import, while no other thread does
    source = settings.namespace()
    return {one.name: open_channel(one, source, clean.text) for one in configs}


def _cleaner() -> Cleaner:
    from airflow_provenance.alerts.message import Cleaner
    from airflow_provenance.emit.redact import Redactor

    redactor = Redactor.configured()
    return Cleaner(redactor.message, redactor.name)


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
        namespace_dags=settings.namespace_dags(),
        routing=_routing,
    )


def _routing() -> Routing:
    from airflow_provenance.alerts.channels.known import parse_channels
    from airflow_provenance.alerts.listing import Routing
    from airflow_provenance.alerts.routes import parse_routes

    names = [one.name for one in parse_channels(settings.channels())]
    return Routing(parse_routes(settings.routes(), names), names)
