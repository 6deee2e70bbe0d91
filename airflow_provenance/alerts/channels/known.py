"""Channels as ``[provenance] channels`` names them: a row in `KINDS` for each kind.

A row says which members it takes, which of them it needs, and how it is opened. What is wrong is
told in one line that shows no value: any of them may be a secret.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from airflow_provenance.alerts.channels.alertmanager import AlertmanagerChannel
from airflow_provenance.alerts.channels.file import FileChannel
from airflow_provenance.alerts.channels.http import Poster
from airflow_provenance.alerts.channels.notifier import NotifierChannel
from airflow_provenance.alerts.channels.pagerduty import URL as PAGERDUTY, PagerDutyChannel
from airflow_provenance.alerts.channels.slack import SlackChannel
from airflow_provenance.alerts.channels.smtp import Server, SmtpChannel
from airflow_provenance.alerts.channels.webhook import WebhookChannel
from airflow_provenance.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.alerts.channels.base import Channel

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_TEXT = "a text"
_URL = "a URL of http or https, without a password"
_NUMBER = "a number above 0"
_TEXTS = "a list of texts"
_OBJECT = "a JSON object of texts"
_ANY = "a JSON object"
_HTTP = {"headers": _OBJECT, "timeout_seconds": _NUMBER, "ca_file": _TEXT}


class Opening(NamedTuple):
    """What a channel is opened with.

    Attributes:
        source: who tells: the namespace of Airflow's jobs.
        clean: takes secrets out of texts that others wrote.
    """

    config: ChannelConfig
    source: str
    clean: Callable[[str], str]

    def poster(self, url: str, **more: Any) -> Poster:
        """Return what posts to this channel's address."""
        members = self.config.members
        return Poster(
            url,
            members.get("headers"),
            timeout_seconds=float(members.get("timeout_seconds", 10.0)),
            ca_file=members.get("ca_file"),
            **more,
        )


class ChannelConfig(NamedTuple):
    """One channel of the settings. What is secret does not show in its text."""

    name: str
    type: str
    members: dict[str, Any]

    def __repr__(self) -> str:
        return f"ChannelConfig({self.name!r}, {self.type!r})"


class Kind(NamedTuple):
    """A kind of channel: its members, those of them that it needs, and how it is opened."""

    members: dict[str, str]
    needed: tuple[str, ...]
    open: Callable[[Opening], Channel]


def _file(given: Opening) -> Channel:
    return FileChannel(Path(given.config.members["path"]).expanduser())


def _webhook(given: Opening) -> Channel:
    return WebhookChannel(given.poster(given.config.members["url"]), given.source)


def _alertmanager(given: Opening) -> Channel:
    url = given.config.members["url"].rstrip("/")
    return AlertmanagerChannel(given.poster(f"{url}/api/v2/alerts"))


def _pagerduty(given: Opening) -> Channel:
    members = given.config.members
    key = members["routing_key"]
    poster = given.poster(members.get("url", PAGERDUTY), secrets=(key,))
    return PagerDutyChannel(poster, key, given.source)


def _slack(given: Opening) -> Channel:
    return SlackChannel(given.poster(given.config.members["url"]))


def _smtp(given: Opening) -> Channel:
    members = given.config.members
    names = ("host", "user", "password", "security")
    server = Server(
        **{name: members[name] for name in names if name in members},
        port=int(members.get("port", 25)),
        timeout_seconds=float(members.get("timeout_seconds", 10.0)),
    )
    return SmtpChannel(server, members["from"], tuple(members["to"]))


def _notifier(given: Opening) -> Channel:
    members = given.config.members
    return NotifierChannel(members["path"], members.get("arguments", {}), given.clean)


KINDS: dict[str, Kind] = {
    "file": Kind({"path": _TEXT}, ("path",), _file),
    "webhook": Kind({"url": _URL, **_HTTP}, ("url",), _webhook),
    "alertmanager": Kind({"url": _URL, **_HTTP}, ("url",), _alertmanager),
    "pagerduty": Kind({"routing_key": _TEXT, "url": _URL, **_HTTP}, ("routing_key",), _pagerduty),
    "slack": Kind({"url": _URL, **_HTTP}, ("url",), _slack),
    "smtp": Kind(
        {
            **dict.fromkeys(("host", "user", "password", "from"), _TEXT),
            "port": _NUMBER,
            "to": _TEXTS,
            "timeout_seconds": _NUMBER,
            "security": "one of none, starttls, tls",
        },
        ("host", "from", "to"),
        _smtp,
    ),
    "notifier": Kind({"path": _TEXT, "arguments": _ANY}, ("path",), _notifier),
}


def parse_channels(text: str) -> list[ChannelConfig]:
    """Return the channels that a JSON object tells.

    Raises:
        SettingsError: with one line that tells every mistake; none shows a value.

    >>> parse_channels('{"log": {"type": "file", "path": "/var/notices.jsonl"}}')
    [ChannelConfig('log', 'file')]
    """
    try:
        value = json.loads(text.strip() or "{}")
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise SettingsError(
            f"[provenance] channels is no JSON: {error.msg} at {where}"
        ) from None  # the error holds the whole text
    except RecursionError:
        raise SettingsError("[provenance] channels is nested too deeply") from None
    if not isinstance(value, dict):
        raise SettingsError(
            '[provenance] channels: give a JSON object: {"NAME": {"type": "slack", "url": "…"}}'
        )
    mistakes, found = [], []
    for name, members in value.items():
        wrong = _mistakes(name, members)
        mistakes += [f"channel {name[:100]!r}: {one}" for one in wrong]
        if not wrong and members.get("enabled", True):
            kept = {key: one for key, one in members.items() if key not in ("type", "enabled")}
            found.append(ChannelConfig(name, members["type"], kept))
    if mistakes:
        raise SettingsError(f"[provenance] channels: {'; '.join(mistakes)}")
    return found


def open_channel(config: ChannelConfig, source: str, clean: Callable[[str], str]) -> Channel:
    """Return a channel, opened; `SettingsError` where its certificates cannot be read."""
    return KINDS[config.type].open(Opening(config, source, clean))


def _mistakes(name: str, members: Any) -> list[str]:
    if not _NAME.fullmatch(name):
        return ["its name must be letters, digits, '-', '_' and '.'"]
    if not isinstance(members, dict):
        return ["it must be a JSON object"]
    type_ = members.get("type")
    if not isinstance(type_, str) or type_ not in KINDS:
        near = difflib.get_close_matches(str(type_), KINDS, 1)
        meant = f": did you mean {near[0]}?" if near else ""
        return [f"its type must be one of {', '.join(KINDS)}{meant}"]
    kind = KINDS[type_]
    found = [
        f"{one[:60]!r} is not known for type {type_}: it takes {', '.join(sorted(kind.members))}"
        for one in sorted(members.keys() - kind.members.keys() - {"type", "enabled"})
    ]
    if not isinstance(members.get("enabled", True), bool):
        found.append("enabled must be true or false")
    found += [f"{one} is missing" for one in kind.needed if one not in members]
    found += [
        f"{one} must be {form}"
        for one, form in kind.members.items()
        if one in members and not _is(form, members[one])
    ]
    return found


def _is(form: str, value: Any) -> bool:
    if form == _NUMBER:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9
    if form == _TEXTS:
        return isinstance(value, list) and bool(value) and all(_is(_TEXT, one) for one in value)
    if form in (_OBJECT, _ANY):
        is_object = isinstance(value, dict)
        return is_object and (form == _ANY or all(_is(_TEXT, one) for one in value.values()))
    if form.startswith("one of "):
        return isinstance(value, str) and value in form.removeprefix("one of ").split(", ")
    if not (isinstance(value, str) and value.strip() and value.isprintable()):
        return False
    return form != _URL or _is_url(value)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_url and not (parts.username or parts.password)
