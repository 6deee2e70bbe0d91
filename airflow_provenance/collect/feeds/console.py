"""A feed to stdout, one event a line: to see what would be sent."""

from __future__ import annotations

import sys

from airflow_provenance.errors import FeedUnavailableError


class ConsoleFeed:
    """See `base.Feed`."""

    def send(self, body: bytes) -> None:
        """Write an event."""
        line = body.replace(b"\n", b" ").decode(errors="replace")
        try:
            sys.stdout.write(f"{line}\n")
        except OSError as error:
            raise FeedUnavailableError(f"stdout takes no more ({error.strerror})") from error

    def flush(self) -> None:
        """Push it out."""
        try:
            sys.stdout.flush()
        except OSError as error:
            raise FeedUnavailableError(f"stdout takes no more ({error.strerror})") from error

    def close(self) -> None:
        """Stdout is not ours to close."""
