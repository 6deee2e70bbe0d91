"""Feeds as ``[provenance] feeds`` names them: what a feed may say, and what is wrong with it."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

FeedType = Literal["marquez", "datahub", "openlineage", "file", "console"]

# Retention waits for a feed until this many events wait for it.
MAX_BACKLOG = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HTTP = {
    "marquez": "/api/v1/lineage",
    "datahub": "/openapi/openlineage/api/v1/lineage",
    "openlineage": "/api/v1/lineage",
}
_COMMON = {"type", "enabled", "max_backlog"}
_MEMBERS = {
    **dict.fromkeys(
        _HTTP,
        {"url", "endpoint", "api_key", "headers", "timeout_seconds", "ca_file", "conn_id"}
        | _COMMON,
    ),
    "file": {"path"} | _COMMON,
    "console": _COMMON,
}


class FeedConfig(msgspec.Struct, frozen=True):
    """One feed of the settings. What is secret does not show in its text."""

    name: str
    type: FeedType
    url: str = ""
    headers: dict[str, str] = {}
    timeout_seconds: float = 10.0
    ca_file: str | None = None
    path: str = ""
    conn_id: str = ""  # the url is its path alone, until `at_backend` puts in what Airflow knows
    enabled: bool = True
    max_backlog: int = MAX_BACKLOG

    def __repr__(self) -> str:
        return f"FeedConfig({self.name!r}, {self.type!r})"


def parse_feeds(value: object) -> list[FeedConfig]:
    """Return the feeds that a JSON object tells.

    Raises:
        ValueError: with one line that tells every mistake; none shows a value that may be secret.

    >>> parse_feeds({"m": {"type": "marquez", "url": "http://localhost:5000"}})[0].url
    'http://localhost:5000/api/v1/lineage'
    """
    if not isinstance(value, dict):
        raise ValueError('give a JSON object: {"NAME": {"type": "marquez", "url": "https://…"}}')  # noqa: TRY004 - whoever reads settings expects one error
    mistakes: list[str] = []
    feeds = []
    for name, members in value.items():
        wrong = list(_mistakes(name, members))
        mistakes += [f"feed {name[:100]!r}: {one}" for one in wrong]
        if not wrong:
            feeds.append(_feed(name, members))
    if mistakes:
        raise ValueError("; ".join(mistakes))
    return feeds


def _mistakes(name: str, members: Any) -> list[str]:
    if not _NAME.fullmatch(name):
        return ["its name must be letters, digits, '-', '_' and '.'"]
    if not isinstance(members, dict):
        return ["it must be a JSON object"]
    kind = members.get("type")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        return [f"its type must be one of {', '.join(_MEMBERS)}"]
    found = [
        f"{one[:60]!r} is not known for type {kind}: it takes {', '.join(sorted(_MEMBERS[kind]))}"
        for one in sorted(members.keys() - _MEMBERS[kind])
    ]
    if not isinstance(members.get("enabled", True), bool):
        found.append("enabled must be true or false")
    if not _is_number(members.get("max_backlog", 1), whole=True):
        found.append("max_backlog must be a whole number of 1 or more")
    if kind in _HTTP:
        found += _http_mistakes(members)
    if kind == "file" and not _is_text(members.get("path")):
        found.append("path must name the file that events are appended to")
    return found


def _http_mistakes(members: dict[str, Any]) -> list[str]:
    found = []
    problem = _url_problem(members.get("url"))
    if "conn_id" in members:
        problem = None if _is_text(members["conn_id"]) else "conn_id must name a connection"
        if members.keys() & {"url", "api_key"}:
            problem = "conn_id stands for url and api_key: give one or the other"
    if problem:
        found.append(problem)
    headers = members.get("headers", {})
    if not isinstance(headers, dict) or not all(
        _HEADER.fullmatch(key) and _is_header_value(text) for key, text in headers.items()
    ):
        found.append("headers must be a JSON object of names and texts without line breaks")
    if not _is_header_value(members.get("api_key", "x")):
        found.append("api_key must be a text of printable ASCII characters")
    endpoint = members.get("endpoint", "/x")
    if not _is_text(endpoint) or not re.fullmatch(r"[\x21-\x7e]+", endpoint):
        found.append("endpoint must be a path, as /api/v1/lineage")
    if not _is_number(members.get("timeout_seconds", 1), whole=False):
        found.append("timeout_seconds must be a number above 0")
    if "ca_file" in members and not _is_text(members["ca_file"]):
        found.append("ca_file must name a file of certificates")
    return found


def _url_problem(url: object) -> str | None:
    if not _is_text(url):
        return "url is missing: give the backend's address, as https://marquez.example.com"
    try:
        parts = urlsplit(str(url))
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        return "url is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "url must begin with https:// or http:// and name a host"
    if parts.username or parts.password:
        return "url holds a password: give it as api_key or in headers"
    if parts.query or parts.fragment:
        return "url must end with its path: what follows ? or # is not sent"
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_header_value(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\x20-\x7e]+", value) is not None


def _is_number(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    return 1 <= value < 1 << 53 if whole else 0 < value < float("inf")


def _feed(name: str, members: dict[str, Any]) -> FeedConfig:
    kind = members["type"]
    common = {one: members[one] for one in ("enabled", "max_backlog") if one in members}
    if kind not in _HTTP:
        return FeedConfig(name, kind, path=members.get("path", ""), **common)
    headers = dict(members.get("headers", {}))
    if "api_key" in members:
        headers["Authorization"] = f"Bearer {members['api_key']}"
    endpoint = members.get("endpoint", _HTTP[kind]).lstrip("/")
    return FeedConfig(
        name,
        kind,
        url=f"{members.get('url', '').rstrip('/')}/{endpoint}",
        headers=headers,
        timeout_seconds=float(members.get("timeout_seconds", 10.0)),
        ca_file=members.get("ca_file"),
        conn_id=members.get("conn_id", ""),
        **common,
    )


def at_backend(feed: FeedConfig, url: str, api_key: str | None) -> FeedConfig:
    """Return a feed with what its connection says put in.

    Raises:
        ValueError: with one line, if that cannot be used.
    """
    found: dict[str, Any] = {"url": url, **({} if api_key is None else {"api_key": api_key})}
    if mistakes := _http_mistakes(found):
        raise ValueError("; ".join(mistakes))
    headers = dict(feed.headers)
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    return msgspec.structs.replace(feed, url=f"{url.rstrip('/')}{feed.url}", headers=headers)
