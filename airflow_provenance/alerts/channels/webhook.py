"""A webhook: a CloudEvents 1.0 event in structured mode for each message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.domain.clock import format_time

if TYPE_CHECKING:
    from airflow_provenance.alerts.channels.http import Poster
    from airflow_provenance.alerts.message import Message

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


class WebhookChannel:
    """See `base.Channel`; ``source`` and ``id`` name a message, however often it is sent."""

    def __init__(self, poster: Poster, source: str) -> None:
        self._poster, self._source = poster, source

    def send(self, message: Message) -> None:
        """Post a message."""
        event = {
            "specversion": "1.0",
            "id": message.id,
            "source": self._source,
            "type": f"airflow_provenance.alert.{message.kind}",
            "subject": message.incident,
            "time": format_time(message.at_us),
            "datacontenttype": "application/json",
            "data": message.data,
        }
        self._poster.post(event, CONTENT_TYPE)

    def close(self) -> None:
        """Close the connections."""
        self._poster.close()
