"""What every store keeps of promises: changes once each, expectations, conditions (A3, A4)."""

from __future__ import annotations

from typing import Any

from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.store.promises import ConditionRow, ExpectedRow, PolicyRow


def change(state: str, period: str = "p", **values: Any) -> EvaluationChange:
    base = {"policy_id": "a", "revision": "r", "target": "dag:d"}
    return EvaluationChange(state=state, period=period, **{**base, **values})


def row(policy: str = "a", revision: str = "r", **values: Any) -> PolicyRow:
    base = {"source": "file", "place": "x.yaml:1", "body": "{}"}
    return PolicyRow(policy_id=policy, revision=revision, **{**base, **values})


def test_a_state_is_written_once_and_comes_back_as_it_was_told(store: Any) -> None:
    whole = change(
        *("breached", "2026-03-02T08:00:00.000000Z"),
        severity="page",
        owner="shop",
        notify=("oncall", "é"),
        observed=1.5,
        threshold=1.0,
        unit="s",
        due_us=5,
        breached_us=5,
        detected_us=7,
        recovered_us=None,
        runs=(3, 4),
        cause="scheduler_down",
    )
    (first,) = store.add_changes([whole], {}, 7)
    assert store.add_changes([whole], {}, 9) == []
    assert (first.seq, first.at_us) == (1, 7)
    assert store.evaluation_changes() == [first]


def test_changes_are_appended_and_read_on_from_any_of_them(store: Any) -> None:
    store.add_changes([change("breached"), change("ok", "q")], {}, 1)
    store.add_changes([change("recovered"), change("ok", "q"), change("ok", revision="s")], {}, 2)
    told = [(one.seq, one.revision, one.period, one.state) for one in store.evaluation_changes()]
    assert told == [
        (1, "r", "p", "breached"),
        (2, "r", "q", "ok"),
        (3, "r", "p", "recovered"),
        (4, "s", "p", "ok"),
    ]
    assert [one.seq for one in store.evaluation_changes(1, 2)] == [2, 3]
    assert store.evaluation_changes(4) == []


def test_one_call_may_tell_several_states_of_a_period(store: Any) -> None:
    states = ["breached", "breached", "ok", "breached"]
    written = store.add_changes([change(one) for one in states], {}, 1)
    assert [one.state for one in written] == ["breached", "ok", "breached"]


def test_the_last_of_each_period_is_found_and_what_is_broken_however_old(store: Any) -> None:
    store.add_changes([change("ok", "old"), change("breached", "open")], {}, 1)
    store.add_changes([change("breached", "new"), change("recovered", "new")], {}, 10)
    found = [(one.period, one.state) for one in store.latest_changes(5)]
    assert found == [("open", "breached"), ("new", "recovered")]


def test_many_changes_at_once_are_compared_with_what_is_there(store: Any) -> None:
    many = [change("ok", f"p{number}") for number in range(1000)]
    assert len(store.add_changes(many, {}, 1)) == 1000
    assert store.add_changes(many, {}, 2) == []


def test_a_revision_is_in_force_since_it_came_and_anew_when_it_comes_back(store: Any) -> None:
    store.put_policies([row("a"), row("b")], 1)
    store.put_policies([row("a", place="x.yaml:9"), row("b", "r2")], 2)
    assert [(one.policy_id, one.revision, one.since_us) for one in store.policies()] == [
        ("a", "r", 1),
        ("b", "r2", 2),
    ]
    assert store.policies()[0].place == "x.yaml:9"
    store.put_policies([row("b")], 3)
    assert [(one.policy_id, one.revision, one.since_us) for one in store.policies()] == [
        ("b", "r", 3)
    ]
    store.add_changes([], {("b", "r"): 99}, 4)
    store.put_policies([row("b")], 5)
    assert store.policies()[0].next_us == 99


def test_what_is_expected_later_is_replaced_and_what_was_due_stays(store: Any) -> None:
    store.put_expected("d", 0, [ExpectedRow(dag_id="d", due_us=us) for us in (10, 20, 30)])
    store.put_expected("e", 0, [ExpectedRow(dag_id="e", due_us=15, logical_us=5)])
    mended = [ExpectedRow(dag_id="d", due_us=us, came_us=us + 1) for us in (10, 40)]
    store.put_expected("d", 10, mended)
    found = [(one.dag_id, one.due_us, one.came_us) for one in store.expected_runs({"d", "e"}, 0)]
    assert found == [("d", 10, 11), ("d", 40, 41), ("e", 15, None)]
    assert [one.due_us for one in store.expected_runs({"d"}, 11)] == [40]
    assert store.expected_runs(set(), 0) == []


def test_a_condition_is_closed_and_forgotten_by_who_asks_for_later_ones(store: Any) -> None:
    paused = ConditionRow(dag_id="d", kind="paused", from_us=5, detail="by ann")
    store.put_conditions([paused, ConditionRow(dag_id="", kind="scheduler_down", from_us=3)])
    store.put_conditions([ConditionRow(dag_id="d", kind="paused", from_us=5, until_us=8)])
    store.put_conditions([])
    assert [(one.kind, one.until_us) for one in store.conditions(8)] == [
        ("scheduler_down", None),
        ("paused", 8),
    ]
    assert [one.kind for one in store.conditions(9)] == ["scheduler_down"]


def test_what_is_old_is_forgotten_but_what_is_still_broken_and_the_newest_stay(store: Any) -> None:
    store.put_policies([row("kept"), row("gone")], 1)
    store.put_policies([row("kept")], 2)
    store.add_changes([change("breached", "open"), change("breached", "good")], {}, 1)
    store.add_changes([change("recovered", "good"), change("at_risk", "risky")], {}, 2)
    store.add_changes([change("ok", "old")], {}, 3)
    assert store.expire_promises(10) == 2
    told = [(one.seq, one.period, one.state) for one in store.evaluation_changes()]
    assert told == [(1, "open", "breached"), (4, "risky", "at_risk"), (5, "old", "ok")]
    assert [one.seq for one in store.evaluation_changes(1, 1)] == [4]
    assert [one.period for one in store.latest_changes(100)] == ["open", "risky"]
    (next_one,) = store.add_changes([change("recovered", "open")], {}, 11)
    assert next_one.seq == 6
    assert store.expire_promises(10) == 2  # it is made good, and no longer the newest
    assert [one.period for one in store.evaluation_changes()] == ["risky", "open"]
    assert [one.policy_id for one in store.policies()] == ["kept"]


def test_what_was_expected_and_held_back_long_ago_is_forgotten(store: Any) -> None:
    store.put_expected("a", 0, [ExpectedRow(dag_id="a", due_us=us) for us in (9, 10)])
    held = [
        ConditionRow(dag_id="a", kind="paused", from_us=1, until_us=9),
        ConditionRow(dag_id="a", kind="paused", from_us=2),
        ConditionRow(dag_id="a", kind="paused", from_us=3, until_us=10),
    ]
    store.put_conditions(held)
    store.expire_promises(10)
    assert [one.due_us for one in store.expected_runs(["a"], 0)] == [10]
    assert store.conditions(0) == held[1:]
