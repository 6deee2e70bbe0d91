"""What people excuse by hand (``sla excuse``), as excusals of the promises that it matches.

So a failure that was no fault spares the error budget as one does that the promise itself excuses;
a success ratio says whether it counts all the same (``count_excused``).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provenance.alerts.matchers import match, parse_matcher
from airflow_provenance.alerts.standing import target_labels
from airflow_provenance.sla.calendar import Excusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.domain.alert import Action
    from airflow_provenance.sla.policy import Policy

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def excusals_of(
    actions: Sequence[Action], policies: Iterable[Policy]
) -> dict[str, tuple[Excusal, ...]]:
    """Return for promises by their ids what was excused by hand; those without are left out."""
    said = [
        (one, [parse_matcher(text) for text in one.matchers])
        for one in actions
        if one.kind == "excuse" and one.until_us is not None and one.until_us > one.at_us
    ]
    found = {}
    for policy in policies if said else ():
        labels = target_labels(str(policy.target)) | {
            "policy": policy.id,
            "severity": policy.severity,
            "owner": policy.owner or "",
        }
        mine = tuple(_excusal(one, policy) for one, matchers in said if match(matchers, labels))
        if mine:
            found[policy.id] = mine
    return found


def _excusal(action: Action, policy: Policy) -> Excusal:
    return Excusal(
        start=_EPOCH + timedelta(microseconds=action.at_us),
        end=_EPOCH + timedelta(microseconds=action.until_us or 0),
        author=action.author,
        reason=action.reason,
        counts=getattr(policy.objective, "count_excused", False),
    )
