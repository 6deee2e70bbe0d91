"""From changes of evaluations to notices (A10): the pure part, with the time given."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.alerts.lifecycle import Rules, advance
from airflow_provenance.alerts.routes import parse_routes
from airflow_provenance.domain.alert import Action, AlertState
from airflow_provenance.domain.clock import parse_time
from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provenance.domain.alert import Alert, Notice

S = 1_000_000
MIN, HOUR = 60 * S, 3600 * S
T0 = parse_time("2026-03-02T09:00:00Z")  # a Monday
CHANNELS = ("slack", "pager", "lead")


class People:
    """Drives the life cycle, and collects what people are told."""

    def __init__(self, *routes: dict[str, Any], hold_us: int = 0, **rules: Any) -> None:
        self.routes = parse_routes(json.dumps(routes), CHANNELS)
        self.actions: list[Action] = []
        self.hold_us, self.rules = hold_us, rules
        self.state = advance(AlertState(), [], Rules([]), T0 - HOUR).state
        self.seq = 0
        self.notices: list[Notice] = []

    def change(
        self, state: str, at: int, policy: str = "orders", **values: Any
    ) -> EvaluationChange:
        self.seq += 1
        given = {
            "period": "2026-03-02T09:00:00.000000Z",
            "due_us": T0,
            "breached_us": T0 if state in ("breached", "recovered", "expired") else None,
            "target": f"dag:{policy}",
            "severity": "page",
            "detected_us": T0 + at if state == "breached" else T0,
            **values,
        }
        return EvaluationChange(
            policy_id=policy, revision="r", state=state, seq=self.seq, at_us=T0 + at, **given
        )

    def at(self, at: int, *changes: EvaluationChange) -> list[Notice]:
        rules = Rules(
            self.routes,
            self.actions,
            lambda _: self.hold_us,
            channels=CHANNELS,
            **self.rules,
        )
        done = advance(self.state, changes, rules, T0 + at)
        self.state = done.state
        self.notices += done.notices
        return done.notices

    def say(self, kind: Any, at: int, *matchers: str, until: int | None = None) -> None:
        until_us = None if until is None else T0 + until
        self.actions.append(
            Action(
                kind=kind,
                matchers=matchers or ('policy="orders"',),
                author="ann",
                reason="known",
                at_us=T0 + at,
                until_us=until_us,
            )
        )


def route(**members: Any) -> dict[str, Any]:
    return {"name": "all", "channels": ["slack"], "group_wait": "0s", **members}


def kinds(notices: list[Notice]) -> list[str]:
    return [one.kind for one in notices]


def test_fifty_evaluations_of_a_breach_are_one_notice_and_one_for_each_repeat_interval() -> None:
    people = People(route(repeat_interval="20m"))
    people.at(0, people.change("breached", 0))
    for minute in range(1, 50):
        people.at(minute * MIN, people.change("breached", minute * MIN))

    assert kinds(people.notices) == ["firing", "repeat", "repeat"]
    assert [(one.at_us - T0) // MIN for one in people.notices] == [0, 20, 40]
    assert len({one.incident for one in people.notices}) == 1


def test_rounds_without_a_change_tell_nothing() -> None:
    people = People(route())
    people.at(0, people.change("breached", 0))
    for minute in range(1, 200):
        assert people.at(minute * MIN) == []


def chain(alert: Alert, _targets: Collection[str]) -> frozenset[str]:
    """What is downstream is named by a number; all of it is below the source."""
    return frozenset() if alert.change.target == "dag:source" else frozenset({"dag:source"})


def test_a_source_and_twelve_downstream_of_it_are_one_notice_that_lists_them() -> None:
    people = People(route(group_wait="30s"), upstream=chain)
    below = [people.change("breached", 0, f"d{n}") for n in range(12)]
    random.Random(7).shuffle(below)

    people.at(0, *below[:5])  # some are noticed before their source
    people.at(10 * S, people.change("breached", 0, "source"), *below[5:])
    people.at(40 * S)
    people.at(60 * S)

    (notice,) = people.notices
    assert [one.policy for one in notice.firing] == ["source"]
    assert sorted(one.policy for one in notice.firing[0].affected) == sorted(
        f"d{n}" for n in range(12)
    )

    people.at(HOUR, people.change("recovered", HOUR, "source", recovered_us=T0 + HOUR))
    assert kinds(people.notices) == ["firing", "resolved"]
    for n in range(12):
        people.at(HOUR + MIN, people.change("recovered", HOUR + MIN, f"d{n}"))
    people.at(3 * HOUR)
    assert kinds(people.notices) == ["firing", "resolved"]


def test_what_stays_broken_when_its_source_is_well_is_told_then() -> None:
    people = People(route(), upstream=chain)
    people.at(0, people.change("breached", 0, "source"), people.change("breached", 0, "d1"))
    people.at(HOUR, people.change("recovered", HOUR, "source"))
    assert people.at(HOUR + MIN) == []

    (notice,) = people.at(HOUR + 6 * MIN)
    assert (notice.kind, notice.firing[0].policy) == ("firing", "d1")


def test_a_ticket_upstream_keeps_no_page_from_anybody() -> None:
    people = People(route(), upstream=chain)
    people.at(
        0,
        people.change("breached", 0, "source", severity="ticket"),
        people.change("breached", 0, "d1"),
    )
    assert sorted(one.firing[0].policy for one in people.notices) == ["d1", "source"]


def test_in_a_circle_the_first_to_break_absorbs_the_others() -> None:
    people = People(route(), upstream=lambda _one, _targets: frozenset({"dag:a", "dag:b"}))
    people.at(
        0,
        people.change("breached", 0, "a", breached_us=T0 - MIN),
        people.change("breached", 0, "b", breached_us=T0 - 2 * MIN),
    )
    (notice,) = people.notices
    assert notice.firing[0].policy == "b"
    assert [one.policy for one in notice.firing[0].affected] == ["a"]


@pytest.mark.parametrize("is_seen_anew", [False, True])
def test_flapping_inside_the_time_to_hold_tells_nobody(is_seen_anew: bool) -> None:
    people = People(route(), hold_us=10 * MIN)
    for minute in range(0, 120, 8):
        at = minute * MIN
        seen = {"detected_us": T0 + at if is_seen_anew else T0}
        assert people.at(at, people.change("breached", at, **seen)) == []
        assert people.at(at + 7 * MIN, people.change("ok", at + 7 * MIN)) == []
    at = 120 * MIN
    people.at(at, people.change("breached", at, detected_us=T0))
    assert people.at(at + 10 * MIN - 1) == []
    assert kinds(people.at(at + 10 * MIN)) == ["firing"]


def test_what_broke_while_nobody_watched_has_held_since_it_broke() -> None:
    people = People(route(), hold_us=10 * MIN)
    at = 2 * HOUR
    (notice,) = people.at(at, people.change("breached", at))
    assert notice.firing[0].breached_us == T0
    assert notice.firing[0].detected_us == T0 + at


def test_what_broke_and_was_made_good_while_nobody_watched_is_told_once() -> None:
    people = People(route())
    at = 5 * HOUR
    late = people.change(
        "recovered", at, recovered_us=T0 + HOUR, detected_us=T0 + at, breached_us=T0
    )
    (notice,) = people.at(at, late)
    assert (notice.kind, notice.firing) == ("resolved", ())
    assert notice.resolved[0].outcome == "recovered"
    for minute in range(300, 320):
        assert people.at(minute * MIN) == []


def test_what_was_over_before_anybody_watched_is_not_told() -> None:
    people = People(route())
    old = people.change(
        "recovered", 0, breached_us=T0 - 9 * HOUR, recovered_us=T0 - 5 * HOUR, detected_us=T0
    )
    assert people.at(0, old) == []
    assert people.at(HOUR) == []


def test_an_acknowledgement_stops_repeats_and_escalation_and_is_told_once() -> None:
    steps = [
        {"after": "10m", "channels": ["pager"]},
        {"after": "30m", "channels": ["lead"]},
    ]
    people = People(route(repeat_interval="1h", escalate=steps))
    people.at(0, people.change("breached", 0))
    assert people.at(9 * MIN) == []
    (first,) = people.at(10 * MIN)
    assert (first.kind, first.channel) == ("escalated", "pager")
    people.say("ack", 20 * MIN)

    told = people.at(20 * MIN)
    assert {(one.kind, one.channel, one.by) for one in told} == {
        ("acknowledged", "slack", "ann: known"),
        ("acknowledged", "pager", "ann: known"),
    }
    for minute in range(21, 300):
        assert people.at(minute * MIN) == []


def test_nobody_acknowledges_and_all_steps_are_taken_in_their_time() -> None:
    steps = [
        {"after": "30m", "channels": ["lead"]},
        {"after": "10m", "channels": ["pager"]},
    ]
    people = People(route(escalate=steps))
    people.at(0, people.change("breached", 0))
    for minute in range(1, 60):
        people.at(minute * MIN)
    assert [(one.channel, (one.at_us - T0) // MIN) for one in people.notices] == [
        ("slack", 0),
        ("pager", 10),
        ("lead", 30),
    ]


def test_the_resolve_has_the_incident_of_the_trigger_and_reaches_all_who_were_told() -> None:
    people = People(route(escalate=[{"after": "10m", "channels": ["pager"]}]))
    people.at(0, people.change("breached", 0))
    people.at(10 * MIN)
    people.at(HOUR, people.change("recovered", HOUR, recovered_us=T0 + HOUR))

    assert [(one.kind, one.channel) for one in people.notices] == [
        ("firing", "slack"),
        ("escalated", "pager"),
        ("resolved", "slack"),
        ("resolved", "pager"),
    ]
    assert len({one.incident for one in people.notices}) == 1
    assert len(people.notices[0].incident) <= 255
    again = people.at(2 * HOUR, people.change("breached", 2 * HOUR))
    assert again[0].incident != people.notices[0].incident


def test_a_later_period_that_was_kept_ends_what_nothing_makes_good() -> None:
    people = People(route())
    people.at(0, people.change("breached", 0, period="orders/1"))
    tomorrow = 24 * HOUR
    (notice,) = people.at(
        tomorrow, people.change("ok", tomorrow, period="orders/2", due_us=T0 + tomorrow)
    )
    assert (notice.kind, notice.resolved[0].outcome) == ("resolved", "a later period was kept")


def test_an_earlier_period_made_good_late_does_not_end_what_is_broken_now() -> None:
    people = People(route())
    people.at(0, people.change("breached", 0))
    assert people.at(HOUR, people.change("ok", HOUR, period="x/0", due_us=T0 - HOUR)) == []


def test_a_window_that_moves_on_while_it_is_broken_is_one_alert() -> None:
    people = People(route(group_by=["policy", "period"], repeat_interval="2h"))
    for minute in range(60):
        at = minute * MIN
        change = people.change("breached", at, period=f"2026-03-02T09:{minute:02}:00Z", due_us=None)
        people.at(at, change)
    assert kinds(people.notices) == ["firing"]
    people.at(HOUR, people.change("ok", HOUR, period="2026-03-02T10:00:00Z", due_us=None))
    assert kinds(people.notices) == ["firing", "resolved"]


def test_another_period_that_breaks_joins_the_incident_also_when_it_was_acknowledged() -> None:
    people = People(route(group_interval="5m"))
    people.at(0, people.change("breached", 0))
    people.say("ack", MIN)
    people.at(MIN)
    tuesday = people.change(
        "breached", 2 * MIN, period="2026-03-03T09:00:00Z", due_us=T0 + S, breached_us=T0 + MIN + S
    )
    assert people.at(2 * MIN, tuesday) == []
    (notice,) = people.at(5 * MIN)
    assert (notice.kind, len(notice.firing)) == ("update", 2)


def test_a_group_waits_so_that_those_that_break_together_are_one_notice() -> None:
    people = People(route(group_by=["owner"], group_wait="30s"))
    people.at(0, people.change("breached", 0, "a", owner="data"))
    people.at(20 * S, people.change("breached", 20 * S, "b", owner="data"))
    assert people.notices == []
    (notice,) = people.at(30 * S)
    assert [one.policy for one in notice.firing] == ["a", "b"]
    people.at(MIN, people.change("breached", MIN, "c", owner="data"))
    assert len(people.notices) == 1
    assert kinds(people.at(31 * S + 5 * MIN)) == ["update"]


def test_a_silence_keeps_quiet_until_it_ends() -> None:
    people = People(route())
    people.say("silence", -HOUR, 'dag=~"ord.*"', until=HOUR)
    people.at(0, people.change("breached", 0))
    assert people.at(HOUR - 1) == []
    assert kinds(people.at(HOUR)) == ["firing"]


def test_what_was_told_before_it_was_silenced_is_closed_when_it_is_well() -> None:
    people = People(route(repeat_interval="1h"))
    people.at(0, people.change("breached", 0))
    people.say("silence", MIN, until=9 * HOUR)
    assert people.at(2 * HOUR) == []
    assert kinds(people.at(3 * HOUR, people.change("recovered", 3 * HOUR))) == ["resolved"]


def suspend(people: People, at: int, policy: str = "orders", **values: Any) -> EvaluationChange:
    return people.change("suspended", at, policy, cause="paused", **values)


def test_what_a_pause_suspends_is_told_once_as_a_ticket_until_the_dag_is_paused_no_more() -> None:
    paused = {"orders"}
    steps = [{"after": "30m", "channels": ["lead"]}]
    people = People(route(escalate=steps), is_paused=lambda dag: dag in paused)
    assert people.at(-MIN, suspend(people, -MIN)) == []  # nothing is due yet
    (told,) = people.at(0)
    assert (told.kind, told.severity, told.firing[0].state) == ("firing", "ticket", "suspended")
    for hour in range(1, 9):  # nothing is broken: no repeats, no escalation
        people.at(hour * HOUR, suspend(people, hour * HOUR, period=str(hour), due_us=T0 + hour))
    kept = people.change("ok", 8 * HOUR, period="by hand", due_us=T0 + 8 * HOUR)
    people.at(8 * HOUR + MIN, kept)  # it is paused all the same
    assert people.notices == [told]

    paused.clear()
    (over,) = people.at(9 * HOUR)
    assert (over.kind, over.incident) == ("resolved", told.incident)
    assert over.resolved[0].fingerprint == told.firing[0].fingerprint
    assert over.resolved[0].outcome == "the DAG is paused no more"
    late = people.change("ok", 9 * HOUR + MIN)  # the run that was due comes: it is never late
    assert people.at(9 * HOUR + MIN, late) == []
    # Paused again, that is told again.
    paused.add("orders")
    again = suspend(people, 10 * HOUR, period="10", due_us=T0 + 10 * HOUR)
    assert kinds(people.at(10 * HOUR, again)) == ["firing"]


def test_a_pause_that_ends_before_anything_is_due_is_told_nobody() -> None:
    paused = {"orders"}
    people = People(route(), is_paused=lambda dag: dag in paused)
    people.at(-MIN, suspend(people, -MIN))
    paused.clear()
    people.at(-S, people.change("pending", -S))
    people.at(MIN, people.change("breached", MIN))
    assert [one.firing[0].state for one in people.notices] == ["breached"]


def test_a_pause_is_told_beside_what_was_broken_before_and_absorbs_nothing() -> None:
    people = People(route(group_interval="0s"), upstream=chain)
    people.at(0, suspend(people, 0, "source"), people.change("breached", 0, "d1"))
    assert sorted(one.firing[0].policy for one in people.notices) == ["d1", "source"]
    people.at(HOUR, suspend(people, HOUR, "d1", period="next", due_us=T0 + HOUR))
    assert people.notices[-1].kind == "update"
    assert [one.state for one in people.notices[-1].firing] == ["breached", "suspended"]


def test_an_excuse_ends_the_alert_and_says_who_and_why() -> None:
    people = People(route())
    people.at(0, people.change("breached", 0))
    people.say("excuse", HOUR, until=9 * HOUR)
    (notice,) = people.at(HOUR)
    assert notice.kind == "resolved"
    assert notice.resolved[0].outcome == "excused by ann: known"
    for hour in range(2, 12):
        assert people.at(hour * HOUR) == []


def test_at_local_times_that_are_mute_nobody_is_told_until_they_end() -> None:
    night = {"from": "22:00", "to": "10:30", "zone": "Europe/Berlin"}  # T0 is 10:00 there
    people = People(route(mute=[night]))
    people.at(0, people.change("breached", 0))
    assert people.at(30 * MIN - 1) == []
    assert kinds(people.at(30 * MIN)) == ["firing"]
    people = People(route(mute=[{"days": ["sun"], **night}]))  # Sunday's night reaches into Monday
    assert people.at(0, people.change("breached", 0)) == []
    assert kinds(people.at(30 * MIN)) == ["firing"]


def test_a_digest_is_one_notice_a_day_with_all_that_is_open() -> None:
    people = People(route(group_by=[], digest={"at": "08:00", "zone": "Europe/Berlin"}))
    people.at(0, people.change("breached", 0, "a"))
    people.at(HOUR, people.change("breached", HOUR, "b"))
    for hour in range(2, 50):
        people.at(hour * HOUR)
    assert [(one.kind, one.at_us) for one in people.notices] == [
        ("digest", parse_time("2026-03-03T07:00:00Z")),
        ("digest", parse_time("2026-03-04T07:00:00Z")),
    ]
    assert [one.policy for one in people.notices[0].firing] == ["a", "b"]


def test_keep_firing_for_bridges_a_short_recovery() -> None:
    people = People(route(keep_firing_for="10m", group_interval="1m"))
    people.at(0, people.change("breached", 0))
    people.at(20 * MIN, people.change("ok", 20 * MIN))
    people.at(25 * MIN, people.change("breached", 25 * MIN, detected_us=T0))
    assert kinds(people.notices) == ["firing"]
    people.at(40 * MIN, people.change("ok", 40 * MIN))
    assert people.at(50 * MIN - 1) == []
    assert kinds(people.at(50 * MIN)) == ["resolved"]


def test_at_risk_is_told_by_routes_that_want_it_and_the_breach_updates_it() -> None:
    people = People(route(at_risk=True, **{"continue": True}), route(name="b", channels=["pager"]))
    people.at(0, people.change("at_risk", 0))
    assert [(one.kind, one.channel) for one in people.notices] == [("firing", "slack")]
    people.at(HOUR, people.change("breached", HOUR, breached_us=T0 + HOUR))
    assert [(one.kind, one.channel) for one in people.notices[1:]] == [
        ("update", "slack"),
        ("firing", "pager"),
    ]


def test_a_promise_goes_the_routes_that_it_names_and_else_the_first_that_it_meets() -> None:
    people = People(
        route(name="pages", matchers=['severity="page"'], channels=["pager"]), route(name="rest")
    )
    people.at(
        0,
        people.change("breached", 0, "a"),
        people.change("breached", 0, "b", severity="ticket"),
        people.change("breached", 0, "c", notify=("rest",)),
        people.change("breached", 0, "d", notify=("lead",)),
        people.change("breached", 0, "e", notify=("nobody-knows",)),
    )
    people.at(30 * S)  # what a route of a channel's own name waits
    assert {one.firing[0].policy: one.channel for one in people.notices} == {
        "a": "pager",
        "b": "slack",
        "c": "slack",
        "d": "lead",
        "e": "pager",
    }


def test_that_a_channel_is_broken_is_told_by_others() -> None:
    people = People(route())
    broken = {"target": "channel:slack", "period": "", "due_us": None}
    people.at(0, people.change("breached", 0, "provenance.channel.slack", **broken))
    assert [one.channel for one in people.notices] == ["pager", "lead"]


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ("{", "routes is no JSON"),
        ("{}", "give a JSON list"),
        ([{"name": "a"}], "route 'a': it has no channel: nobody would be told"),
        ([route(channels=["sms"])], "there is no channel 'sms'"),
        ([route(), route()], "'all' is there twice"),
        ([route(group_wait=30)], "group_wait must be a length of time"),
        ([route(repeat_interval="0s")], "repeat_interval is 0"),
        ([route(matchers=["colour=red"])], "'colour=red' is no matcher"),
        ([route(matchers=["owner=~("])], "is no matcher"),
        ([route(matcher=[])], "'matcher' is not known"),
        ([route(mute=[{"days": ["caturday"]}])], "not caturday"),
        ([route(mute=[{"zone": "Mars/Base"}])], "'Mars/Base' is no time zone"),
        ([route(digest={"at": "late"})], "at must be a local time"),
        ([route(escalate=[{"after": "5m", "channels": []}])], "nobody would be told"),
        ([route(group_by=["colour"])], "'colour' is no label"),
    ],
)
def test_what_is_wrong_with_routes_is_told_in_one_line(routes: Any, said: str) -> None:
    text = routes if isinstance(routes, str) else json.dumps(routes)
    with pytest.raises(SettingsError) as caught:
        parse_routes(text, CHANNELS)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_page_of_a_burning_budget_ends_while_the_used_up_budget_stays_broken() -> None:
    people = People({"name": "pager", "channels": ["pager"], "group_by": ["policy", "period"]})
    period = {"period": "burn/page", "due_us": None}
    people.at(0, people.change("breached", 0, due_us=None, severity="ticket"))
    people.at(60 * S, people.change("at_risk", 60 * S, **period))
    people.at(5 * MIN)
    people.at(10 * MIN, people.change("ok", 10 * MIN, **period))
    people.at(HOUR)
    told = [(one.kind, one.severity) for one in people.notices]
    assert told == [("firing", "ticket"), ("firing", "page"), ("resolved", "page")]
    (left,) = [one for one in people.state.alerts.values() if one.ended_us is None]
    assert left.change.state == "breached"
