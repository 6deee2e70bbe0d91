"""Which breaches somebody has excused: in the promise itself, or by ``sla excuse``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.alerts.matchers import match, parse_matcher
from airflow_provenance.alerts.standing import labels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provenance.domain.alert import Action
    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.sla.policy import Policy


class Excuses:
    """All that was said, to ask of one breach after the other.

    Args:
        policies: the promises by id; their excusals count unless they say that they spare nothing.
        actions: what people said of alerts; only excuses are looked at.
    """

    def __init__(self, policies: Mapping[str, Policy], actions: Iterable[Action]) -> None:
        self._policies = policies
        self._said = [
            (one, [parse_matcher(text) for text in one.matchers])
            for one in actions
            if one.kind == "excuse"
        ]

    def __call__(self, change: EvaluationChange) -> str | None:
        """Return who excused a breach, and why; None: nobody."""
        broke_us = change.breached_us
        if broke_us is None:
            return None
        policy = self._policies.get(change.policy_id)
        for excusal in () if policy is None else policy.excusals:
            if not excusal.counts and excusal.covers(broke_us, policy.tz):  # type: ignore[union-attr]
                return f"{excusal.author}: {excusal.reason}"
        labels = labels_of(change)
        for action, matchers in self._said:
            was_over = change.recovered_us is not None and change.recovered_us <= action.at_us
            ended = action.until_us is not None and broke_us >= action.until_us
            if not was_over and not ended and match(matchers, labels):
                return f"{action.author}: {action.reason}"
        return None
