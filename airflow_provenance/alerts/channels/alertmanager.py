"""Alertmanager: each alert of a message, by ``POST /api/v2/alerts``.

Alertmanager forgets an alert that is not sent again and again unless it is told until when it
fires. We send once and keep to it, so a firing alert is told to last for long; the resolve, which
is in our outbox, ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.clock import format_time, parse_time

if TYPE_CHECKING:
    from airflow_provenance.alerts.channels.http import Poster
    from airflow_provenance.alerts.message import Message

_LASTS_US = 30 * 86_400_000_000


class AlertmanagerChannel:
    """See `base.Channel`."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    def send(self, message: Message) -> None:
        """Post the alerts of a message."""
        data = message.data
        until = format_time(message.at_us + _LASTS_US)
        alerts = [_alert(one, message, until) for one in data["firing"]]
        alerts += [_alert(one, message, one["ended_at"] or data["at"]) for one in data["resolved"]]
        self._poster.post(alerts)

    def close(self) -> None:
        """Close the connections."""
        self._poster.close()


def _alert(one: dict[str, Any], message: Message, ends_at: str | None) -> dict[str, Any]:
    # Labels are what Alertmanager knows an alert by: the same when it fires and when it ends.
    labels = {
        "alertname": one["policy"],
        "target": one["target"],
        "period": one["period"],
        "severity": one["severity"],
        "owner": one["owner"],
    }
    annotations = {
        "summary": message.title,
        "description": "\n".join(f"{name}: {text}" for name, text in message.facts),
        "incident": message.incident,
    }
    starts_at = one["breached_at"] or one["detected_at"] or message.data["at"]
    if ends_at is not None and parse_time(ends_at) < parse_time(starts_at):
        ends_at = starts_at
    alert = {
        "labels": {name: text for name, text in labels.items() if text},
        "annotations": annotations,
        "startsAt": starts_at,
        "endsAt": ends_at,
    }
    return {**alert, "generatorURL": message.links[0][1]} if message.links else alert
