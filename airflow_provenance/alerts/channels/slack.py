"""Slack: an incoming webhook, with Block Kit.

Limits of Slack's: 150 characters in a header, 3,000 in a section, 50 blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provenance.alerts.channels.http import Poster
    from airflow_provenance.alerts.message import Message

_HEADER_CHARS, _SECTION_CHARS, _SECTIONS = 150, 3000, 40


class SlackChannel:
    """See `base.Channel`."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    def send(self, message: Message) -> None:
        """Post a message."""
        blocks: list[dict[str, Any]] = [
            {
                "type": "header",
                "text": {"type": "plain_text", "text": message.title[:_HEADER_CHARS]},
            }
        ]
        lines = [f"*{_safe(name)}*: {_safe(text)}" for name, text in message.facts]
        blocks += [
            {"type": "section", "text": {"type": "mrkdwn", "text": text}}
            for text in _sections(lines)
        ]
        context = " · ".join([f"<{url}|{_safe(name)}>" for name, url in message.links])
        words = f"{context} · {message.incident}" if context else message.incident
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": words}]})
        self._poster.post({"text": _safe(message.title), "blocks": blocks})

    def close(self) -> None:
        """Close the connections."""
        self._poster.close()


def _safe(text: str) -> str:
    """Return a text in which nothing is a mention or a link of Slack's."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _sections(lines: list[str]) -> list[str]:
    found: list[str] = []
    for whole in lines:
        line = whole[:_SECTION_CHARS]
        if found and len(found[-1]) + len(line) < _SECTION_CHARS:
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found[:_SECTIONS]
