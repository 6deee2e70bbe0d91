"""Bearer tokens with scopes, from ``[provenance] api_tokens``.

Only the SHA-256 of a token is kept. A token is 256 random bits, so a plain hash is enough: there
is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec
from starlette.requests import Request

from airflow_provenance.api.security import bearer_token
from airflow_provenance.errors import AuthenticationError, SettingsError

Scope = Literal["read", "ingest", "admin", "act"]
_HEX = frozenset("0123456789abcdef")


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the setting says of a token. Namespaces and DAGs are names, or patterns with ``*``.

    `admin` is `read` of everything, also of what belongs to no DAG; `act` is to acknowledge,
    silence and excuse what may be read.
    """

    name: str
    sha256: str
    scopes: list[Scope]
    namespaces: list[str] = []
    dags: list[str] = msgspec.field(default_factory=lambda: ["*"])


class TokenViewer:
    """Who holds a token. See `security.Viewer`."""

    is_by_cookie = False

    def __init__(self, token: Token) -> None:
        self.name = token.name
        self.can_read = "read" in token.scopes or "admin" in token.scopes
        self.can_ingest = "ingest" in token.scopes
        self.can_act = "act" in token.scopes
        self._token = token

    def is_admin(self) -> bool:
        """See `security.Viewer`."""
        return "admin" in self._token.scopes

    def may_read(self, dag_id: str) -> bool:
        """See `security.Viewer`."""
        return self.is_admin() or (self.can_read and _is_among(dag_id, self._token.dags))

    def may_act(self, dag_id: str | None) -> bool:
        """See `security.Viewer`."""
        may_see = self.is_admin() if dag_id is None else self.may_read(dag_id)
        return self.can_act and may_see

    def may_ingest(self, namespace: str) -> bool:
        """See `security.Viewer`."""
        return self.can_ingest and _is_among(namespace, self._token.namespaces)


class TokenSecurity:
    """Tokens alone: for `serve`. See `security.Security`."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens

    async def identify(self, request: Request) -> TokenViewer:
        """See `security.Security`."""
        found = self.find(bearer_token(request))
        if found is None:
            raise AuthenticationError("send a valid token: Authorization: Bearer ...")
        return found

    def find(self, presented: str | None) -> TokenViewer | None:
        """Return who holds this token, if it is one of ours."""
        if presented is None:
            return None
        digest = hash_token(presented)
        for token in self._tokens:
            if hmac.compare_digest(digest, token.sha256.lower()):
                return TokenViewer(token)
        return None


def parse_tokens(text: str) -> list[Token]:
    """Read the setting; what cannot work is refused, without showing it.

    >>> parse_tokens("")
    []
    """
    try:
        tokens = msgspec.json.decode(text.strip() or "[]", type=list[Token])
    except (msgspec.DecodeError, UnicodeError) as error:
        raise SettingsError(f"[provenance] api_tokens is no list of tokens: {error}") from error
    for token in tokens:
        advice = _refusal(token)
        if advice:
            raise SettingsError(f"[provenance] api_tokens: {token.name!r} {advice}")
    return tokens


def _refusal(token: Token) -> str | None:
    if len(token.sha256) != 64 or not set(token.sha256.lower()) <= _HEX:
        return "needs the SHA-256 of its token, 64 hexadecimal digits"
    if not token.scopes:
        return "has no scope: read, ingest, admin or act"
    if "act" in token.scopes and not {"read", "admin"} & {*token.scopes}:
        return "may act on what it cannot see: add read or admin"
    if "ingest" in token.scopes and not token.namespaces:
        return "may ingest into no namespace: name some, or '*'"
    return None


def new_token(
    name: str, scopes: Sequence[Scope], namespaces: Sequence[str], dags: Sequence[str]
) -> tuple[str, Token]:
    """Return a new token, and what the setting is to say of it."""
    secret = secrets.token_urlsafe(32)
    token = Token(name, hash_token(secret), list(scopes), list(namespaces), list(dags) or ["*"])
    if advice := _refusal(token):
        raise SettingsError(f"{name!r} {advice}")
    return secret, token


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token, in hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _is_among(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
