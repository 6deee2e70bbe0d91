"""What people say of alerts: acknowledged, silenced, excused; from words to what is kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from airflow_provenance.alerts.matchers import match, parse_matcher
from airflow_provenance.domain.alert import Action, ActionKind
from airflow_provenance.domain.clock import MAX_TIME_US, parse_time
from airflow_provenance.errors import EventError, SettingsError, SubjectError
from airflow_provenance.sla.durations import microseconds, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.store.base import Store

_ID = re.compile(r"[A-Za-z0-9._-]+")
_DATE = re.compile(r"\d{4}-")


class Said(NamedTuple):
    """An action that is in force, and the promises whose alerts it is of now."""

    action: Action
    policies: list[str]


def read_action(
    kind: ActionKind,
    matchers: Iterable[str],
    author: str,
    reason: str,
    until: str | None,
    now_us: int,
) -> Action:
    """Return what somebody says of alerts.

    Args:
        kind: what is said.
        matchers: a promise's id, or a matcher, each; all must match.
        author: who says it.
        reason: why.
        until: a time in ISO 8601 with a zone, or a length of time from now.
        now_us: now.

    Raises:
        SettingsError: one of them cannot be used.
    """
    if not (author.strip() and reason.strip()):
        raise SettingsError("say who and why")
    if until is None and kind != "ack":
        raise SettingsError(f"until: say when this {kind} ends")
    return Action(
        kind=kind,
        matchers=tuple(map(_matcher, matchers)),
        author=author.strip(),
        reason=reason.strip(),
        at_us=now_us,
        until_us=None if until is None else _until(until, now_us),
    )


def act(store: Store, action: Action) -> Said:
    """Keep what somebody says of alerts.

    An excuse is of what is broken now, too, from when it broke.

    Raises:
        SubjectError: nothing that is broken is meant by an acknowledgement.
    """
    matchers = [parse_matcher(one) for one in action.matchers]
    alerts = [one for one in store.alert_state().alerts.values() if one.ended_us is None]
    meant = [one for one in alerts if match(matchers, one.labels)]
    if action.kind == "excuse":
        since_us = min([action.at_us, *(one.began_us for one in meant)])
        action = msgspec.structs.replace(action, at_us=since_us)
    if action.kind == "ack" and not meant:
        raise SubjectError("nothing that is broken matches: 'sla alerts' lists what is")
    return Said(store.add_action(action), sorted(one.change.policy_id for one in meant))


def _matcher(text: str) -> str:
    return str(parse_matcher(f'policy="{text}"' if _ID.fullmatch(text) else text))


def _until(text: str, now_us: int) -> int:
    try:
        if _DATE.match(text):
            until_us = parse_time(text)
        else:
            until_us = now_us + microseconds(parse_duration(text))
    except (EventError, ValueError) as error:
        raise SettingsError(f"until: {error}") from error
    if not now_us < until_us <= MAX_TIME_US:
        raise SettingsError(f"until {text[:60]}: it is over already, or too far ahead")
    return until_us
