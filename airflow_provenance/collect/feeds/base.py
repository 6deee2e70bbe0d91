"""What a feed is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.formats.shaping.event import Rule


class Feed(Protocol):
    """Takes events to one place, one after the other, and says what became of each.

    To add one: write a class with these three methods in a module beside this, let
    `domain.feed.parse_feeds` know its type and members, and open it in `wiring.open_feeds` with the
    rules of `formats.shaping` that its backend needs. Order, repeats, waiting and dead letters are
    `collect.forward`'s; a feed neither tries again nor sleeps. One thread at a time uses it.
    """

    def send(self, body: bytes) -> None:
        """Deliver one event; it may have been delivered before.

        Raises:
            EventRefusedError: the backend does not take this event; it takes others.
            FeedUnavailableError: no event can be delivered now.
        """

    def flush(self) -> None:
        """Make sure that what was sent stays, before the cursor moves past it.

        Raises:
            FeedUnavailableError: it may not; all since the last flush is sent again.
        """

    def close(self) -> None:
        """Let go of files and connections."""


@runtime_checkable
class Guarded(Protocol):
    """A feed that asks as late as it can whether it may send.

    Between our own asking and the first byte lies a client's work: a process that hangs there would
    send, when it wakes, what others have sent long ago.
    """

    last_check: Callable[[], None]  # what it raises comes out of `send`, and nothing was sent


class Route(NamedTuple):
    """A feed with its name, the rules its events are shaped by, and its share of the store.

    Without rules, events go as they came, byte by byte.
    """

    name: str
    feed: Feed
    rules: tuple[Rule, ...] = ()
    max_backlog: int = 1_000_000
