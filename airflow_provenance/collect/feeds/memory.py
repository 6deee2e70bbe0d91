"""A feed into a list: for tests and examples."""

from __future__ import annotations


class MemoryFeed:
    """See `base.Feed`.

    >>> feed = MemoryFeed()
    >>> feed.send(b"{}")
    >>> feed.sent
    [b'{}']
    """

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, body: bytes) -> None:
        """Keep an event."""
        self.sent.append(body)

    def flush(self) -> None:
        """Nothing more to do."""

    def close(self) -> None:
        """Nothing to let go of."""
