"""A channel into a list: for tests and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provenance.alerts.message import Message


class MemoryChannel:
    """See `base.Channel`."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        """Keep a message."""
        self.sent.append(message)

    def close(self) -> None:
        """Nothing to let go of."""
