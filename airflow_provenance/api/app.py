"""The application: routes, who may use them, and every error of ours as a status."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route

from airflow_provenance import __version__
from airflow_provenance.alerts.listing import Routing
from airflow_provenance.api.body import BodyLimits
from airflow_provenance.api.datamodels.ingestion import ErrorResponse
from airflow_provenance.api.parameters import identified
from airflow_provenance.api.routes import (
    alerts,
    datasets,
    events,
    ingestion,
    jobs,
    lineage,
    promises,
    reports,
    runs,
    sla,
)
from airflow_provenance.api.security import Security
from airflow_provenance.api.taking import Taking
from airflow_provenance.domain.clock import Clock, SystemClock
from airflow_provenance.errors import (
    AccessError,
    AuthenticationError,
    BusyError,
    EventError,
    ProvenanceError,
    RequestError,
    SubjectError,
    TooLargeError,
)
from airflow_provenance.store.base import Store

_log = logging.getLogger(__name__)
PREFIX = "/api/v1"
# The first that an error is one of; of any other error the server's log alone says more.
_STATUSES: tuple[tuple[type[ProvenanceError], int], ...] = (
    (AuthenticationError, 401),
    (AccessError, 403),
    (SubjectError, 404),
    (TooLargeError, 413),
    (BusyError, 429),
    (RequestError, 422),
    (EventError, 422),
)
# For the document alone: who asks is found out by `security`.
_BEARER = HTTPBearer(auto_error=False, description="A token of api_tokens, or of Airflow's.")
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": text}
    for status, text in (
        (401, "No valid token"),
        (403, "Not allowed"),
        (404, "Not known, or not to be seen by you"),
        (413, "Too large"),
        (422, "Not to be answered as it was asked"),
        (503, "The store cannot be used now"),
    )
}


class Stores:
    """The store, opened when it is first needed; an opening that failed is tried again."""

    def __init__(self, factory: Callable[[], Store]) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._store: Store | None = None

    def get(self) -> Store:
        """Return the open store."""
        with self._lock:
            if self._store is None:
                self._store = self._factory()
            return self._store

    def close(self) -> None:
        """Close it, if it was opened."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


def create_app(
    store_factory: Callable[[], Store],
    security: Security,
    limits: BodyLimits,
    clock: Clock | None = None,
    namespace_dags: Mapping[str, Sequence[str]] | None = None,
    routing: Callable[[], Routing] = Routing,
) -> FastAPI:
    """Return the application.

    Args:
        store_factory: opens the store; called when the first request needs it.
        security: tells who asks.
        limits: how large the body of a request may be.
        clock: says when an event was received.
        namespace_dags: see `visible.VisibleReader`.
        routing: tells who is told of alerts, as the settings say it now.
    """
    stores = Stores(store_factory)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        stores.close()

    app = FastAPI(
        title="airflow-provenance",
        version=__version__,
        description="OpenLineage events in, provenance out.",
        lifespan=lifespan,
        # Nothing is shown to strangers: the document has a route of its own, for those known.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(identified), Depends(_BEARER)],
        responses=_RESPONSES,
    )
    app.state.stores = stores
    app.state.security = security
    app.state.limits = limits
    app.state.namespace_dags = namespace_dags or {}
    app.state.routing = routing
    app.state.clock = clock or SystemClock()
    app.state.taking = Taking(stores.get, app.state.clock.now_us)
    for module in (
        ingestion,
        runs,
        jobs,
        datasets,
        events,
        lineage,
        sla,
        promises,
        reports,
        alerts,
    ):
        app.include_router(module.router, prefix=PREFIX)
    app.add_api_route(f"{PREFIX}/openapi.json", _document, include_in_schema=False)
    app.add_exception_handler(ProvenanceError, _told)
    app.add_exception_handler(RequestValidationError, _wrong)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(405, _not_so)
    return app


async def _document(request: Request) -> dict[str, Any]:
    """Describe all paths, and where they begin: inside Airflow not at the root."""
    root = request.scope.get("root_path", "").rstrip("/")
    return {**request.app.openapi(), "servers": [{"url": root or "/"}]}


async def _told(request: Request, error: Exception) -> JSONResponse:
    """Tell an error of ours; what is about the server itself stays in its log."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            return JSONResponse({"detail": str(error)}, status, headers)
    _log.error("%s %s was not answered: %s", request.method, request.url.path, error)
    return JSONResponse({"detail": "not now: the server's log says why"}, 503)


async def _wrong(_: Request, error: Exception) -> JSONResponse:
    """Tell which parameters are wrong, in one line as our own errors."""
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    told = (f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in found)
    return JSONResponse({"detail": "; ".join(told)}, 422)


async def _not_so(request: Request, _: Exception) -> JSONResponse:
    """Tell all methods of a path: Starlette tells those of the first route that has it."""
    routes = [one for one in request.app.routes if isinstance(one, Route)]
    allowed = {
        method
        for route in routes
        if route.matches(request.scope)[0] != Match.NONE
        for method in route.methods or ()
    }
    headers = {"Allow": ", ".join(sorted(allowed))}
    return JSONResponse({"detail": "the path does not know this method"}, 405, headers)


async def _gone(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": "the sender went away"}, 400)
