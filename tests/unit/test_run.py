"""A run's document is a join: what follows from it does not depend on order or repetition."""

from __future__ import annotations

import random

import msgspec
import pytest

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey, WireKey
from airflow_provenance.domain.run import (
    RunDoc,
    RunFacts,
    RunState,
    VersionStatus,
    derive_facts,
    merged,
    succession,
)
from airflow_provenance.formats.openlineage import read_entry
from tests.contract.generate import story

STATE = RunState
KEY = TaskRunKey("air", "d", "r", "t", -1, 1)


def doc(**said: object) -> RunDoc:
    return RunDoc("air", "d.t", **said)  # type: ignore[arg-type]


def terminal(
    at: int, state: RunState, *, identity: bytes = b"1", is_noted: bool = False
) -> tuple[int, int, bytes, int, bool]:
    return (at, state.rank, identity, state, is_noted)


def facts(*docs: RunDoc, absorbed: tuple[RunDoc, ...] = ()) -> RunFacts:
    return derive_facts(KEY, merged(docs), list(absorbed))


@pytest.mark.parametrize("seed", range(20))
def test_merging_is_commutative_associative_and_idempotent(seed: int) -> None:
    rng = random.Random(seed)
    entries = [read_entry(kind, raw, 1 << 20) for kind, raw in story(rng, 40)]
    docs = [one.doc for one in entries if one.doc is not None]
    a, b, c = (merged(rng.choices(docs, k=4)) for _ in range(3))
    for one in (b, c):  # of one run
        one.namespace, one.job = a.namespace, a.job
    whole = canonical(merged([a, b, c]))

    assert canonical(merged([c, a, b])) == whole
    assert canonical(merged([merged([a, b]), c])) == whole
    assert canonical(merged([a, merged([b, c])])) == whole
    assert canonical(merged([a, b, c, b, a, merged([a, b, c])])) == whole


def canonical(doc: RunDoc) -> bytes:
    return msgspec.json.encode(doc, order="deterministic", enc_hook=repr)


def test_merging_leaves_what_is_merged_as_it_was() -> None:
    one, other = doc(run_uuids=["a"], first_event_us=5), doc(run_uuids=["b"], first_event_us=3)
    before = (canonical(one), canonical(other))

    assert merged([one, other]).run_uuids == ["a", "b"]
    assert (canonical(one), canonical(other)) == before


def test_noted_times_win_over_those_of_events() -> None:
    events = doc(first_start_us=10, first_event_us=9, first_end_us=30)

    assert (facts(events).started_us, facts(events).ended_us) == (10, 30)
    noted = facts(events, doc(noted_start_us=12, noted_end_us=20))
    assert (noted.started_us, noted.ended_us, noted.as_of_us) == (12, 20, 12)
    assert facts(doc(first_event_us=9)).as_of_us == 9
    assert facts(doc(first_event_us=9)).started_us is None


def test_of_two_ends_at_one_time_a_failure_wins_and_else_the_later_one() -> None:
    complete, fail = terminal(5, STATE.COMPLETE, identity=b"9"), terminal(5, STATE.FAIL)
    later = terminal(6, STATE.COMPLETE)

    assert facts(doc(terminal=complete), doc(terminal=fail)).state == STATE.FAIL
    assert facts(doc(terminal=fail), doc(terminal=later)).state == STATE.COMPLETE
    assert facts(doc()).state == STATE.RUNNING


def test_a_change_by_hand_counts_from_the_end_of_the_run_on() -> None:
    ended = doc(terminal=terminal(10, STATE.FAIL), first_end_us=10)

    before, after = (
        facts(ended, doc(override=(at, b"1", STATE.COMPLETE, "ana"))) for at in (9, 10)
    )

    assert (before.state, after.state) == (STATE.FAIL, STATE.COMPLETE)
    assert after.execution_state == STATE.FAIL
    assert after.override is not None
    assert after.override.who == "ana"


def test_what_was_written_is_judged_by_how_the_execution_ended() -> None:
    done = doc(terminal=terminal(10, STATE.COMPLETE))
    failed = doc(terminal=terminal(10, STATE.FAIL))
    set_to_failed = doc(override=(20, b"1", STATE.FAIL, None))
    skipped = doc(terminal=terminal(10, STATE.SKIPPED))

    assert facts(doc()).status == VersionStatus.OPEN
    assert facts(done, set_to_failed).status == VersionStatus.GOOD
    assert facts(failed).status == VersionStatus.SUSPECT
    assert facts(skipped).status is None


def test_an_absorbed_event_changes_the_state_but_not_how_the_execution_ended() -> None:
    own = doc(terminal=terminal(10, STATE.COMPLETE))
    of_same_run_id = doc(terminal=terminal(20, STATE.FAIL))

    told = facts(own, absorbed=(of_same_run_id,))

    assert (told.state, told.execution_state) == (STATE.FAIL, STATE.COMPLETE)


def test_a_parent_is_the_dag_run_the_task_or_what_the_event_named() -> None:
    task = (1, b"1", ("d", "r", "t", -1, 2))
    parent = (1, b"1", ("air", "d.t", "uuid"))
    wire = WireKey("air", "query", "uuid")

    assert facts(doc()).parent == DagRunKey("air", "d", "r")
    assert derive_facts(DagRunKey("air", "d", "r"), doc(), []).parent is None
    assert derive_facts(wire, doc(parent=parent), []).parent == WireKey("air", "d.t", "uuid")
    child = derive_facts(wire, doc(parent=parent, task=task), [])
    assert child.parent == TaskRunKey("air", "d", "r", "t", -1, 2)
    assert child.flow is not None
    assert (child.flow.task_id, child.flow.try_number) == ("t", 2)


def test_a_try_after_a_failure_is_a_retry_and_after_any_other_end_it_was_cleared() -> None:
    tries = [
        (3, STATE.COMPLETE, False),
        (1, STATE.FAIL, False),
        (2, STATE.UP_FOR_RETRY, False),
        (7, STATE.FAIL, True),
        (8, STATE.RUNNING, False),
    ]

    assert succession(tries) == {
        1: (2, "retry"),
        2: (3, "retry"),
        3: (7, "superseded"),
        7: (8, "superseded"),  # a failure that was noted as final
    }
