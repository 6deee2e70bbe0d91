"""PagerDuty's Events API v2: trigger, acknowledge and resolve, by one dedup_key per incident."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.clock import format_time

if TYPE_CHECKING:
    from airflow_provenance.alerts.channels.http import Poster
    from airflow_provenance.alerts.message import Message

URL = "https://events.pagerduty.com/v2/enqueue"
_ACTIONS = {"firing": "trigger", "acknowledged": "acknowledge", "resolved": "resolve"}
_SEVERITIES = {"page": "critical", "ticket": "warning"}
_SUMMARY_CHARS = 1024


class PagerDutyChannel:
    """See `base.Channel`."""

    def __init__(self, poster: Poster, routing_key: str, source: str) -> None:
        self._poster, self._routing_key, self._source = poster, routing_key, source

    def send(self, message: Message) -> None:
        """Send an event; a repeat is one more trigger of the same incident."""
        event: dict[str, Any] = {
            "routing_key": self._routing_key,
            "event_action": _ACTIONS[message.status],
            "dedup_key": message.incident,
        }
        if message.status == "firing":
            first = message.data["firing"][0]
            event |= {
                "client": "airflow-provenance",
                "payload": {
                    "summary": message.title[:_SUMMARY_CHARS],
                    "source": self._source,
                    "severity": _SEVERITIES.get(message.severity, "warning"),
                    "timestamp": format_time(message.at_us),
                    "component": first["target"],
                    "group": first["owner"] or "",
                    "class": first["policy"],
                    "custom_details": dict(message.facts),
                },
                "links": [{"href": url, "text": name} for name, url in message.links],
            }
        self._poster.post(event)

    def close(self) -> None:
        """Close the connections."""
        self._poster.close()
