"""``doctor`` on what is written in ``[provenance]``: names nobody reads, channels and routes."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from airflow_provenance import settings, wiring
from airflow_provenance.alerts.channels.known import open_channel, parse_channels
from airflow_provenance.alerts.routes import parse_routes
from airflow_provenance.alerts.trial import trial
from airflow_provenance.cli.findings import Finding
from airflow_provenance.errors import ProvenanceError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provenance.alerts.channels.known import ChannelConfig


def unknown_names() -> Iterator[Finding]:
    """Name what somebody set, and nobody reads: a typing error leaves the default, silently."""
    variables = [one.env_var for one in settings.OPTIONS.values()]
    for where, known in (
        (settings.environment_names(), variables),
        (settings.written_names(), list(settings.OPTIONS)),
    ):
        for name in where:
            if _bare(name) not in known:
                near = difflib.get_close_matches(_bare(name).upper(), map(str.upper, known), 1, 0.6)
                said = next((one for one in known if one.upper() in near), None)
                place = "the environment" if known is variables else "[provenance] of airflow.cfg"
                advice = f": did you mean {said}?" if said else ""
                yield Finding("warn", "settings", f"{name} in {place} is not read{advice}")


def _bare(name: str) -> str:
    for suffix in ("_cmd", "_secret"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def feed_connections() -> Iterator[Finding]:
    """Whether Airflow has the connections that feeds name."""
    from airflow_provenance.hooks.backend import read_backend

    for one in settings.feeds():
        if one.enabled and one.conn_id:
            try:
                read_backend(one.conn_id)
            except SettingsError as error:
                yield Finding("fail", "feeds", f"feed {one.name!r}: {error}")


def channels_and_routes() -> Iterator[Finding]:
    """Whether people could be told; nothing is sent."""
    configs = parse_channels(settings.channels())
    for one in configs:
        if one.type == "notifier":
            yield from _notifier(one)
        else:
            open_channel(one, settings.namespace(), str).close()
    routes = parse_routes(settings.routes(), [one.name for one in configs])
    own = [route for route in routes if route.name not in {one.name for one in configs}]
    if configs:
        told = ", ".join(f"{one.name} ({one.type})" for one in configs)
        names = ", ".join(route.name for route in own)
        yield Finding("ok", "channels", f"{told}; routes: {names}")
    else:
        yield Finding("ok", "channels", "none: nobody is told of broken promises")


def _notifier(config: ChannelConfig) -> Iterator[Finding]:
    path = str(config.members["path"])
    module, _, name = path.rpartition(".")
    try:
        getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        yield Finding(
            "fail",
            "channels",
            f"channel {config.name!r}: there is no notifier {path}: check its path, and install "
            "its provider",
        )


def send_test() -> Iterator[Finding]:
    """Send a notice and its end through each channel, and say what became of it."""
    channels, clean = wiring.open_channels()
    for name, channel in channels.items():
        try:
            for message in trial(name, clean):
                channel.send(message)
        except ProvenanceError as error:
            yield Finding("fail", "test notice", f"channel {name!r}: {error}")
        else:
            yield Finding("ok", "test notice", f"channel {name!r} took it, and its end")
        finally:
            channel.close()
    if not channels:
        yield Finding("warn", "test notice", "there is no channel: set [provenance] channels")
