"""What every store promises of alerts: a notice once, kept with the state that made it (A10)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.domain.alert import Action, Alert, AlertState, Incident, Notice
from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.store.sql.store import SqlStore

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.store.base import Store

NOW = 1_800_000_000_000_000


def notice(transition: int = 1, channel: str = "slack", **values: Any) -> Notice:
    return Notice(
        incident="i-1", transition=transition, kind="firing", channel=channel, at_us=NOW, **values
    )


def state(version: int = 1, **values: Any) -> AlertState:
    return AlertState(version=version, cursor=7, began_us=NOW, **values)


def test_a_state_comes_back_as_it_was_kept(store: Store) -> None:
    change = EvaluationChange(
        policy_id="é", revision="r", period="p", state="breached", target="dag:d", runs=(1, 2)
    )
    alert = Alert(fingerprint="f", labels={"policy": "é"}, change=change, began_us=5, hold_us=3)
    incident = Incident(
        key="k", route="r", labels={"policy": "é"}, number=4, opened_us=5, told={"f": "breached"}
    )
    assert store.alert_state() == AlertState()
    kept = state(alerts={"f": alert}, incidents={"k": incident})
    assert store.put_alert_state(kept, [])
    assert store.alert_state() == kept
    assert store.put_alert_state(state(2), [])
    assert store.alert_state() == state(2)


def test_of_two_that_go_on_from_one_state_one_is_kept_with_its_notices(store: Store) -> None:
    assert store.put_alert_state(state(), [notice()])
    assert not store.put_alert_state(state(), [notice(9)])
    assert not store.put_alert_state(state(3), [notice(9)])
    assert [one.notice.transition for one in store.notices()] == [1]


def test_a_notice_of_a_transition_is_there_once_for_each_channel(store: Store) -> None:
    store.put_alert_state(state(), [notice(), notice(channel="mail")])
    store.put_alert_state(state(2), [notice(), notice(2)])
    assert [(one.notice.transition, one.notice.channel) for one in store.waiting_notices()] == [
        (1, "slack"),
        (1, "mail"),
        (2, "slack"),
    ]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_two_racing_senders_make_one_outbox_row(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/p.db"
    if kind == "postgres":
        url = request.getfixturevalue("postgres_url")
    stores = [SqlStore(url, create=True) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for version in range(1, 9):
            args = (state(version), [notice(version)])
            kept = list(pool.map(lambda one, a=args: one.put_alert_state(*a), stores))
            assert sorted(kept) == [False, True]
    waiting = stores[0].waiting_notices()
    assert [one.notice.transition for one in waiting] == list(range(1, 9))
    with ThreadPoolExecutor(2) as pool:
        for one in waiting:
            ours = list(pool.map(lambda s, i=one.id: s.claim_notice(i, 0, NOW), stores))
            assert sorted(ours) == [False, True]
    for one in stores:
        one.close()


def test_an_attempt_that_failed_is_made_again_and_one_refused_is_given_up(store: Store) -> None:
    store.put_alert_state(state(), [notice(), notice(2), notice(3, "mail")])
    first, second, third = store.waiting_notices()
    assert store.claim_notice(first.id, 0, NOW + 9)
    assert not store.claim_notice(first.id, 0, NOW + 9)
    store.settle_notice(first.id, NOW + 1, error="500 \0 \ud800", next_attempt_us=NOW + 5)
    held = store.waiting_notices()[0]
    assert (held.attempts, held.next_attempt_us, held.last_error_us) == (1, NOW + 5, NOW + 1)
    assert store.claim_notice(first.id, 1, NOW + 9)
    store.settle_notice(first.id, NOW + 6)
    store.settle_notice(second.id, NOW + 7, error="400")
    assert not store.claim_notice(first.id, 2, NOW + 9)
    assert [one.id for one in store.waiting_notices()] == [third.id]
    mail, slack = store.channel_states()
    assert (mail.name, mail.waiting, mail.waits_since_us, mail.last_error) == ("mail", 1, NOW, None)
    assert (slack.waiting, slack.delivered, slack.dead) == (0, 1, 1)
    assert (slack.last_error, slack.last_error_us) == ("400", NOW + 7)
    assert (slack.delivered_us, slack.dead_us) == (NOW + 6, NOW + 7)
    assert store.expire_notices(NOW + 7) == 1
    assert [one.id for one in store.notices()] == [third.id, second.id]


def test_what_people_said_holds_until_it_ends(store: Store) -> None:
    def action(kind: Any, until: int | None) -> Action:
        said = Action(
            kind=kind,
            matchers=('policy="é"', "dag=d"),
            author="ann",
            reason="why",
            at_us=NOW,
            until_us=until,
        )
        return store.add_action(said)

    silence, ack = action("silence", NOW + 10), action("ack", None)
    assert store.actions() == [silence, ack]
    assert store.actions(NOW + 9) == [silence, ack]
    assert store.actions(NOW + 10) == [ack]
    assert store.end_action(ack.id, NOW + 3)
    assert not store.end_action(ack.id, NOW + 4)
    assert not store.end_action(99, NOW)
    assert store.actions(NOW + 3) == [silence]
