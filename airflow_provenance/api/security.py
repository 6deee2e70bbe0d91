"""Who asks, and what they may: the rules of SEMANTICS "Who may see what".

To add a way to authenticate, write a `Security` whose `identify` returns a `Viewer`.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

from starlette.requests import Request

from airflow_provenance.errors import AccessError

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Viewer(Protocol):
    """Somebody who is known, for one request."""

    @property
    def name(self) -> str:
        """Who it is, for the log and the quarantine."""

    @property
    def is_by_cookie(self) -> bool:
        """Whether a browser sent the credentials by itself, maybe for another site."""

    @property
    def can_read(self) -> bool:
        """Whether anything may be read at all."""

    @property
    def can_ingest(self) -> bool:
        """Whether events may be sent at all."""

    @property
    def can_act(self) -> bool:
        """Whether anything may be said of alerts at all."""

    def is_admin(self) -> bool:
        """Whether runs and datasets that belong to no DAG may be seen."""

    def may_read(self, dag_id: str) -> bool:
        """Whether this DAG's runs may be seen."""

    def may_act(self, dag_id: str | None) -> bool:
        """Whether alerts of this DAG may be acknowledged and silenced; None: all there are."""

    def may_ingest(self, namespace: str) -> bool:
        """Whether events of jobs in this namespace may be sent."""


class Security(Protocol):
    """How a request tells who asks."""

    async def identify(self, request: Request) -> Viewer:
        """Return who asks; `AuthenticationError` where that is not known."""


def bearer_token(request: Request) -> str | None:
    """Return the token of the header ``Authorization: Bearer``, if there is one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def refuse_cross_site(request: Request, viewer: Viewer) -> None:
    """Refuse what another site can make a browser send: a change, with the cookie as credentials.

    A browser says where a request comes from; one that says nothing is not trusted.

    Raises:
        AccessError: the request does not come from this site.
    """
    if not viewer.is_by_cookie or request.method in _SAFE:
        return
    site = request.headers.get("sec-fetch-site")
    if site is None:
        origin = request.headers.get("origin", "")
        is_own = bool(origin) and urlsplit(origin).netloc == request.headers.get("host")
    else:
        is_own = site == "same-origin"
    if not is_own:
        raise AccessError("this request comes from another site: send a token instead of a cookie")
