"""What a channel is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from airflow_provenance.alerts.message import Message


class Channel(Protocol):
    """Takes messages to one place, one after the other.

    To add one: write a class with these two methods in a module beside this, and give it a row in
    `known.KINDS`. Order, repeats, waiting and giving up are `alerts.deliver`'s; a channel neither
    tries again nor sleeps. What it raises shows no secret, and no address that is one.
    """

    def send(self, message: Message) -> None:
        """Deliver one message; it may have been delivered before. One of no use there is left out.

        Raises:
            NoticeRefusedError: this message is not taken; others are.
            ChannelUnavailableError: nothing can be delivered now.
        """

    def close(self) -> None:
        """Let go of connections."""
