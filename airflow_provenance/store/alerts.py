"""The store as outbox of notices: what is broken, what was told of it, and what waits to be sent.

The state of alerts and the notices it makes are kept together or not at all; a notice is kept once
for each incident, transition and channel. So two senders that race, and a restart at any moment,
make no second one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.domain.alert import Action, AlertState, ChannelState, Notice, Queued


class AlertStore(Protocol):
    """What alerts ask of a store."""

    def alert_state(self) -> AlertState:
        """Return what is broken, and what was told of it."""

    def put_alert_state(self, state: AlertState, notices: Sequence[Notice]) -> bool:
        """Keep the next state with the notices it made.

        Returns whether it was kept: not when its version does not follow the one that is kept,
        since somebody else went on from there.
        """

    def waiting_notices(self, limit: int = 1000) -> list[Queued]:
        """Return what is neither delivered nor given up, in the order in which it was made."""

    def claim_notice(self, id_: int, attempts: int, until_us: int) -> bool:
        """Count an attempt, and keep others from one until a time; return whether it is ours."""

    def settle_notice(
        self,
        id_: int,
        at_us: int,
        *,
        error: str | None = None,
        next_attempt_us: int | None = None,
    ) -> None:
        """Note what became of an attempt.

        Delivered where there is no error; else tried again at `next_attempt_us`, or given up
        where there is none.
        """

    def notices(self, limit: int = 100) -> list[Queued]:
        """Return the newest notices, the newest first."""

    def channel_states(self) -> list[ChannelState]:
        """Return how every channel does that ever had a notice, by name."""

    def expire_notices(self, before_us: int) -> int:
        """Drop what was delivered or given up before a time; return how many."""

    def add_action(self, action: Action) -> Action:
        """Keep what somebody said of alerts; return it with its id."""

    def actions(self, since_us: int | None = None) -> list[Action]:
        """Return what was said and, with a time, holds at or after it; in order."""

    def end_action(self, id_: int, at_us: int) -> bool:
        """Let an action end; return whether it was still in force."""
