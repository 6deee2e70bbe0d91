"""From the store to people: keeps the state of alerts with its notices, and sends what waits.

Each channel has its notices in order, at least once; one that cannot deliver waits, twice as long
each time, and holds no other up. A channel that fails for long, or gave a notice up, is a breach
itself: of a promise named ``provenance.channel.NAME``, told by the other channels.
"""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from airflow_provenance.alerts.explainer import Explainer
from airflow_provenance.alerts.inhibit import OF_DATA, everything, explains
from airflow_provenance.alerts.lifecycle import Rules, advance
from airflow_provenance.alerts.send import Sender, Told
from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.errors import ProvenanceError
from airflow_provenance.sla.causes import PAUSED
from airflow_provenance.sla.durations import microseconds
from airflow_provenance.sla.policy import from_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provenance.alerts.channels.base import Channel
    from airflow_provenance.alerts.inhibit import Explains, Upstream
    from airflow_provenance.alerts.routes import Route
    from airflow_provenance.domain.alert import Alert, AlertState, ChannelState
    from airflow_provenance.domain.clock import Clock
    from airflow_provenance.store.base import Store

_S = 1_000_000
_PATIENCE_S = 60.0
_KEPT_US = 90 * 86_400 * _S
FAILS_AFTER = 3  # attempts in a row, about 7 s: a single slow answer is no alert
HANGS_AFTER_US = 300 * _S
CHANNEL_POLICY = "provenance.channel."
_PAGE = 1000


class Delivered(NamedTuple):
    """What a round did; `errors` by channel."""

    changes: int = 0
    made: int = 0
    sent: int = 0
    given_up: int = 0
    errors: Mapping[str, str] = {}


class _InForce(NamedTuple):
    """What is looked at of a promise."""

    body: str
    hold_us: int = 0
    kind: str | None = None


class Deliverer:
    """Alerts of one store, to the channels of the settings."""

    def __init__(
        self,
        store: Store,
        channels: Mapping[str, Channel],
        routes: Sequence[Route],
        told: Told,
        clock: Clock,
        upstream: Upstream,
        chance: random.Random | None = None,
        joins: Explains = everything,
    ) -> None:
        self._store, self._channels, self._routes = store, channels, routes
        self._clock, self._upstream, self._joins = clock, upstream, joins
        chance = chance or random.Random()  # noqa: S311 - spreads retries
        self._sender = Sender(store, channels, told, clock, chance)
        self._state: AlertState | None = None
        self._promises: dict[str, _InForce] = {}
        self._explainer = Explainer(store, told.clean, self._body)
        self._next_expiry_us = 0

    def run_once(
        self, should_stop: Callable[[], bool] = lambda: False, *, patience_s: float = _PATIENCE_S
    ) -> Delivered:
        """Take in what changed, make notices, send what waits.

        Args:
            should_stop: asked between notices.
            patience_s: how long to wait for channels; one that takes longer goes on behind this.
        """
        changes, made = self._advance()
        sent, given_up, errors = self._sender.run_once(should_stop, patience_s)
        now_us = self._clock.now_us()
        if now_us >= self._next_expiry_us:
            self._next_expiry_us = now_us + 3600 * _S
            self._store.expire_notices(now_us - _KEPT_US)
        return Delivered(changes, made, sent, given_up, errors)

    def _advance(self) -> tuple[int, int]:
        before = self._state or self._store.alert_state()
        changes: list[EvaluationChange] = []
        cursor = before.cursor
        while page := self._store.evaluation_changes(cursor, _PAGE):
            changes += page
            cursor = page[-1].seq
        now_us = self._clock.now_us()
        about = self._about_channels(before, now_us)
        holds = self._holds(is_new=bool(changes))
        rules = Rules(
            self._routes,
            self._store.actions(now_us),
            lambda policy: holds.get(policy, 0),
            self._upstream,
            tuple(self._channels),
            lambda policy: not policy.startswith(CHANNEL_POLICY) and policy not in holds,
            self._is_paused(now_us),
            self._can_explain,
        )
        after, notices = advance(before, [*changes, *about], rules, now_us)
        if not notices and msgspec.structs.replace(after, version=before.version) == before:
            self._state = before
            return 0, 0
        notices = [self._explainer.explained(one, after, now_us) for one in notices]
        if not self._store.put_alert_state(after, notices):
            self._state = None  # somebody else went on: from what they kept, in the next round
            return 0, 0
        self._state = after
        return len(changes), len(notices)

    def _holds(self, *, is_new: bool) -> dict[str, int]:
        """Return the promises in force, and how long each must be broken before it is told."""
        if is_new or not self._promises or self._state is None:
            known, self._promises = self._promises, {}
            for row in self._store.policies():
                old = known.get(row.policy_id)
                if old is None or old.body != row.body:
                    old = _in_force(row.body)
                self._promises[row.policy_id] = old
        return {name: one.hold_us for name, one in self._promises.items()}

    def _body(self, policy_id: str) -> str | None:
        return None if (one := self._promises.get(policy_id)) is None else one.body

    def _can_explain(self, above: Alert, below: Alert) -> bool:
        kinds = [
            None if (found := self._promises.get(one.change.policy_id)) is None else found.kind
            for one in (above, below)
        ]
        if not explains(*kinds):
            return False
        # What is late may be so for data that never came; bad data was there.
        return not OF_DATA.issuperset(kinds) or self._joins(above, below)

    def _is_paused(self, now_us: int) -> Callable[[str], bool]:
        """Return what tells paused DAGs; the store is asked where an alert hangs on it."""

        @functools.cache
        def paused() -> set[str]:
            rows = self._store.conditions(now_us)
            return {one.dag_id for one in rows if one.kind == PAUSED and one.until_us is None}

        return lambda dag: dag in paused()

    def _about_channels(self, state: AlertState, now_us: int) -> list[EvaluationChange]:
        """Return what changed of channels themselves."""
        broken = {
            one.change.policy_id
            for one in state.alerts.values()
            if one.ended_us is None and one.change.policy_id.startswith(CHANNEL_POLICY)
        }
        found = []
        for one in self._store.channel_states():
            policy, problem = CHANNEL_POLICY + one.name, channel_problem(one, now_us)
            problem = problem if one.name in self._channels else None
            if (problem is not None) != (policy in broken):
                found.append(_channel_change(one, policy, problem, now_us))
        return found

    def close(self) -> None:
        """Let go of the channels."""
        self._sender.close()


def channel_problem(one: ChannelState, now_us: int) -> str | None:
    """Return why a channel does not deliver, if it does not."""
    if one.waiting and one.attempts >= FAILS_AFTER:
        return one.last_error or "no attempt has ended"
    if one.waiting and now_us - (one.waits_since_us or now_us) > HANGS_AFTER_US:
        return one.last_error or "it hangs: no attempt has ended"
    if one.dead_us is not None and one.dead_us > (one.delivered_us or 0):
        return one.last_error
    return None


def _channel_change(
    one: ChannelState, policy: str, problem: str | None, now_us: int
) -> EvaluationChange:
    since_us = one.waits_since_us or one.dead_us or now_us
    return EvaluationChange(
        policy_id=policy,
        revision="",
        period="",
        state="breached" if problem is not None else "ok",
        severity="page",
        target=f"channel:{one.name}",
        breached_us=since_us if problem is not None else None,
        detected_us=now_us if problem is not None else None,
        cause=problem,
        at_us=now_us,
    )


def _in_force(body: str) -> _InForce:
    try:
        policy = from_plain(msgspec.json.decode(body))
    except (msgspec.DecodeError, ProvenanceError):
        return _InForce(body)  # it was made by a newer release: told at once rather than never
    return _InForce(body, microseconds(policy.hold), policy.objective.kind)
