"""Notices with what broke each promise, asked of the provenance once for each change."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.alerts.message import SHOWN
from airflow_provenance.sla.explanation import explain
from airflow_provenance.sla.policy import from_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.alerts.message import Cleaner
    from airflow_provenance.domain.alert import AlertState, Notice
    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.store.base import Store

_log = logging.getLogger(__name__)
_KNOWN = 1000  # changes whose explanations are kept


class Explainer:
    """Explains what a notice tells of; where it cannot, people are told all the same."""

    def __init__(self, store: Store, clean: Cleaner, body_of: Callable[[str], str | None]) -> None:
        self._store, self._clean, self._body_of = store, clean, body_of
        self._known: dict[int, str | None] = {}

    def explained(self, notice: Notice, state: AlertState, now_us: int) -> Notice:
        """Return a notice whose firing items say what broke them, as far as that is known."""
        firing = []
        for number, item in enumerate(notice.firing):
            # After an outage there are thousands, of which a message shows no more than that.
            alert = state.alerts.get(item.fingerprint) if number < SHOWN else None
            said = None if alert is None else self._explanation(alert.change, now_us)
            firing.append(msgspec.structs.replace(item, explanation=said))
        return msgspec.structs.replace(notice, firing=tuple(firing))

    def _explanation(self, change: EvaluationChange, now_us: int) -> str | None:
        if change.seq not in self._known:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[change.seq] = self._ask(change, now_us)
        return self._known[change.seq]

    def _ask(self, change: EvaluationChange, now_us: int) -> str | None:
        body = self._body_of(change.policy_id)
        if body is None or not change.seq:  # a channel's own, which nobody declared
            return None
        try:
            return explain(self._store, from_plain(msgspec.json.decode(body)), change, now_us)
        except Exception as error:  # noqa: BLE001 - see the class
            text = self._clean.text(f"{type(error).__name__}: {error}")
            _log.warning(
                *("what broke promise %s could not be told: %s", change.policy_id, text),
                extra={"role": "deliver"},
            )
            return None
