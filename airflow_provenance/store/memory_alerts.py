"""What the store in memory keeps of alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.alert import AlertState, ChannelState, Queued

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.domain.alert import Action, Notice


class MemoryAlerts:
    """See `store.alerts.AlertStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._alert_state = AlertState()
        self._notices: dict[int, Queued] = {}
        self._actions: dict[int, Action] = {}

    def alert_state(self) -> AlertState:
        return self._alert_state

    def put_alert_state(self, state: AlertState, notices: Sequence[Notice]) -> bool:
        if state.version != self._alert_state.version + 1:
            return False
        self._alert_state = state
        known = {_key(one.notice) for one in self._notices.values()}
        for notice in notices:
            if _key(notice) not in known:
                id_ = max(self._notices, default=0) + 1
                self._notices[id_] = Queued(id=id_, notice=notice)
        return True

    def waiting_notices(self, limit: int = 1000) -> list[Queued]:
        found = [
            one
            for one in self._notices.values()
            if one.delivered_us is None and one.dead_us is None
        ]
        return found[:limit]

    def claim_notice(self, id_: int, attempts: int, until_us: int) -> bool:
        one = self._notices[id_]
        if one.attempts != attempts or one.delivered_us is not None or one.dead_us is not None:
            return False
        self._change_notice(id_, attempts=attempts + 1, next_attempt_us=until_us)
        return True

    def settle_notice(
        self, id_: int, at_us: int, *, error: str | None = None, next_attempt_us: int | None = None
    ) -> None:
        if error is None:
            self._change_notice(id_, delivered_us=at_us)
        elif next_attempt_us is None:
            self._change_notice(id_, dead_us=at_us, last_error=error, last_error_us=at_us)
        else:
            self._change_notice(
                id_, next_attempt_us=next_attempt_us, last_error=error, last_error_us=at_us
            )

    def _change_notice(self, id_: int, **members: object) -> None:
        self._notices[id_] = msgspec.structs.replace(self._notices[id_], **members)

    def notices(self, limit: int = 100) -> list[Queued]:
        return [one for _, one in sorted(self._notices.items(), reverse=True)][:limit]

    def channel_states(self) -> list[ChannelState]:
        by_name: dict[str, list[Queued]] = {}
        for one in self._notices.values():
            by_name.setdefault(one.notice.channel, []).append(one)
        return [channel_state(name, some) for name, some in sorted(by_name.items())]

    def expire_notices(self, before_us: int) -> int:
        gone = [
            one.id
            for one in self._notices.values()
            if (ended := one.delivered_us or one.dead_us) is not None and ended < before_us
        ]
        for id_ in gone:
            del self._notices[id_]
        return len(gone)

    def add_action(self, action: Action) -> Action:
        id_ = max(self._actions, default=0) + 1
        self._actions[id_] = msgspec.structs.replace(action, id=id_)
        return self._actions[id_]

    def actions(self, since_us: int | None = None) -> list[Action]:
        return [
            one
            for one in self._actions.values()
            if since_us is None or one.until_us is None or one.until_us > since_us
        ]

    def end_action(self, id_: int, at_us: int) -> bool:
        one = self._actions.get(id_)
        if one is None or (one.until_us is not None and one.until_us <= at_us):
            return False
        self._actions[id_] = msgspec.structs.replace(one, until_us=at_us)
        return True


def _key(notice: Notice) -> tuple[str, int, str]:
    return notice.incident, notice.transition, notice.channel


def channel_state(name: str, queued: Iterable[Queued]) -> ChannelState:
    """Return how a channel does, from its notices in order."""
    some = list(queued)
    waiting = [one for one in some if one.delivered_us is None and one.dead_us is None]
    failed = [one for one in some if one.last_error_us is not None]
    last = max(failed, key=lambda one: one.last_error_us or 0, default=None)
    return ChannelState(
        name=name,
        waiting=len(waiting),
        delivered=sum(one.delivered_us is not None for one in some),
        dead=sum(one.dead_us is not None for one in some),
        attempts=waiting[0].attempts if waiting else 0,
        waits_since_us=waiting[0].notice.at_us if waiting else None,
        last_error=None if last is None else last.last_error,
        last_error_us=None if last is None else last.last_error_us,
        delivered_us=max((one.delivered_us for one in some if one.delivered_us), default=None),
        dead_us=max((one.dead_us for one in some if one.dead_us), default=None),
    )
