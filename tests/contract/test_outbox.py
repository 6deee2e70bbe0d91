"""What every store promises as an outbox, and what reaches a backend through it."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import pytest

from airflow_provenance.collect.feeds.base import Route
from airflow_provenance.collect.feeds.memory import MemoryFeed
from airflow_provenance.collect.forward import Forwarder
from airflow_provenance.domain.clock import FixedClock
from airflow_provenance.errors import EventRefusedError, FeedUnavailableError, SubjectError
from airflow_provenance.formats.shaping import datahub, marquez
from airflow_provenance.store.outbox import DeadLetter
from tests.support.entries import dag_run, data, event, note, put_all, task, us, uuid

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.store.base import Store

NOW = 1_800_000_000_000_000


def forwarder(store: Store, *routes: Route, clock: FixedClock | None = None) -> Forwarder:
    return Forwarder(store, routes, clock or FixedClock(NOW), random.Random(1))


def deliver(store: Store, feed: MemoryFeed, rules: Any = ()) -> list[dict[str, Any]]:
    """Deliver all that waits; return what was sent."""
    before = len(feed.sent)
    one = forwarder(store, Route("m", feed, rules))
    report = one.run_once(patience_s=None)
    one.close()
    assert not report.errors
    return [json.loads(body) for body in feed.sent[before:]]


class Backend(MemoryFeed):
    """A feed that fails as it is told to."""

    def __init__(self, fails: Callable[[dict[str, Any]], Exception | None]) -> None:
        super().__init__()
        self.fails = fails

    def send(self, body: bytes) -> None:
        error = self.fails(json.loads(body))
        if error is not None:
            raise error
        super().send(body)

    def jobs(self) -> list[str]:
        return [json.loads(body)["job"]["name"] for body in self.sent]


# ---- The store's part -------------------------------------------------------------------------


def test_a_feed_is_known_once_it_was_enabled_and_keeps_its_place_while_it_is_not(
    store: Store,
) -> None:
    assert store.feeds() == []
    store.enable_feeds({"b": 5, "a": 7})
    assert store.advance_feed("a", 0, 3, NOW)
    store.enable_feeds({"b": 6})

    a, b = store.feeds()
    assert (a.name, a.cursor, a.enabled, a.delivered_us) == ("a", 3, False, NOW)
    assert (b.name, b.cursor, b.enabled, b.max_backlog) == ("b", 0, True, 6)
    store.enable_feeds({})
    assert not any(one.enabled for one in store.feeds())


def test_a_cursor_moves_only_from_where_it_is_and_dead_letters_with_it(store: Store) -> None:
    store.enable_feeds({"a": 5})
    dead = [DeadLetter(2, 1, "answered 422: no\0 \ud800", NOW)]

    assert not store.advance_feed("a", 1, 3, NOW, dead)
    assert not store.advance_feed("other", 0, 3, NOW, dead)
    assert store.dead_letters("a") == []
    assert store.advance_feed("a", 0, 3, NOW, dead)
    assert store.feeds()[0].cursor == 3
    assert [(one.seq, one.attempts, one.at_us) for one in store.dead_letters("a")] == [(2, 1, NOW)]
    store.put_dead_letters("a", [DeadLetter(2, 2, "again", NOW + 1), DeadLetter(1, 1, "x", NOW)])
    assert [(one.seq, one.attempts) for one in store.dead_letters("a")] == [(1, 1), (2, 2)]
    store.forget_dead_letters("a", [2, 9])
    assert [one.seq for one in store.dead_letters("a")] == [1]
    assert store.dead_letters("b") == []


def test_a_failure_is_kept_until_something_is_delivered_and_its_text_longer(store: Store) -> None:
    store.enable_feeds({"a": 5})
    store.hold_feed("a", 3, NOW + 5, "refused", NOW)
    held = store.feeds()[0]
    assert (held.attempts, held.next_attempt_us, held.last_error, held.last_error_us) == (
        3,
        NOW + 5,
        "refused",
        NOW,
    )
    store.suspend_feed("a", "too much")
    assert store.feeds()[0].suspended == "too much"
    store.resume_feed("a")
    resumed = store.feeds()[0]
    assert (resumed.suspended, resumed.attempts, resumed.next_attempt_us) == (None, 0, 0)
    assert resumed.last_error == "refused"


def test_a_feed_goes_back_to_what_was_received_since_a_time_and_never_forward(
    store: Store,
) -> None:
    store.enable_feeds({"a": 50})
    for second in range(4):
        store.ingest([event("START", second, "j", run=second)], received_us=us(100 + second))
    assert store.last_seq() == 4
    assert store.advance_feed("a", 0, 4, NOW)

    assert store.rewind_feed("a", us(200)) == 4
    assert store.rewind_feed("a", us(102)) == 2
    assert store.rewind_feed("a", us(103)) == 2
    assert store.feeds()[0].cursor == 2


def test_what_waits_for_an_enabled_feed_does_not_expire(store: Store) -> None:
    put_all(store, *(event("START", second, "j", run=second) for second in (10, 20, 30)))
    store.enable_feeds({"slow": 50, "quick": 50})
    assert store.advance_feed("quick", 0, 3, NOW)
    assert store.advance_feed("slow", 0, 1, NOW)

    assert store.expire(us(60)) == 1
    assert [one.event_us for one in store.entries()] == [us(20), us(30)]
    # What is late for the store's horizon is told by what was dropped, not by what was asked.
    put_all(store, event("START", 21, "j", run=21))

    store.enable_feeds({"quick": 50})
    assert store.advance_feed("quick", 3, 4, NOW)
    assert store.expire(us(60)) == 3


def test_a_feed_that_is_too_far_behind_is_suspended_and_holds_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put_all(store, *(event("START", second, "j", run=second) for second in (10, 20, 30)))
    store.enable_feeds({"slow": 2})

    assert store.expire(us(60)) == 3

    assert store.feeds()[0].suspended
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("feed slow is suspended: 3 events wait")
    assert deliver_nothing(store)


def deliver_nothing(store: Store) -> bool:
    feed = MemoryFeed()
    one = forwarder(store, Route("slow", feed, max_backlog=2))
    report = one.run_once(patience_s=None)
    return not feed.sent and "max_backlog" in str(report.errors["slow"])


# ---- What reaches a backend ---------------------------------------------------------------------


def test_events_arrive_once_as_they_came_and_in_order_and_notes_do_not(store: Store) -> None:
    sent = [task("START", 1, "t"), note("task_run", 2, state="RUNNING"), task("COMPLETE", 3, "t")]
    put_all(store, *sent)
    feed = MemoryFeed()

    deliver(store, feed)
    assert feed.sent == [sent[0][1], sent[2][1]]
    assert deliver(store, feed) == []
    assert store.feeds()[0].cursor == 3


def test_the_start_that_came_after_the_end_goes_before_it_and_the_end_comes_last(
    store: Store,
) -> None:
    put_all(store, task("COMPLETE", 30, "t", outputs=[data()]))
    put_all(store, task("START", 10, "t", inputs=[data("in")], facets={"mine": {"a": 1}}))

    sent = deliver(store, MemoryFeed(), marquez.RULES)

    assert [one["eventType"] for one in sent] == ["COMPLETE", "START", "COMPLETE"]
    for one in sent:
        assert [each["name"] for each in one["inputs"]] == ["in"]
        written = ["totals"] if one["eventType"] == "COMPLETE" else []
        assert [each["name"] for each in one["outputs"]] == written


def test_what_comes_after_the_end_was_sent_rides_on_it(store: Store) -> None:
    feed = MemoryFeed()
    put_all(store, task("START", 10, "t"), task("FAIL", 30, "t"))
    assert [one["eventType"] for one in deliver(store, feed, marquez.RULES)] == ["START", "FAIL"]
    late = {"mine": {"a": 1}}
    put_all(store, task("RUNNING", 40, "t", facets=late), task("COMPLETE", 29, "t"))

    sent = deliver(store, feed, marquez.RULES)

    assert [one["eventType"] for one in sent] == ["FAIL", "FAIL"]
    assert sent[0]["run"]["facets"]["mine"] == {"a": 1}


def test_what_comes_after_an_end_that_has_expired_does_not_open_the_run_again(
    store: Store,
) -> None:
    feed = MemoryFeed()
    put_all(store, task("START", 10, "t"), task("COMPLETE", 20, "t"))
    deliver(store, feed, marquez.RULES)
    store.expire(us(60))
    put_all(store, task("RUNNING", 70, "t"))

    assert deliver(store, feed, marquez.RULES) == []


def test_the_later_of_two_runs_with_one_run_id_gets_its_own_also_as_a_parent(
    store: Store,
) -> None:
    parent = {
        "parent": {"run": {"runId": uuid(99)}, "job": {"namespace": "air", "name": "d"}},
    }
    put_all(
        store,
        dag_run("START", 1, run_id="r1"),
        dag_run("START", 2, run_id="r2"),
        *(task("START", 3, "t", dag_run=one, facets=parent) for one in ("r1", "r2")),
        dag_run("COMPLETE", 9, run_id="r2"),
    )

    sent = deliver(store, MemoryFeed(), marquez.RULES)

    dag_2, task_2 = (str(uuid5(UUID(uuid(number)), "r2")) for number in (99, 1))
    assert [one["run"]["runId"] for one in sent] == [uuid(99), dag_2, uuid(1), task_2, dag_2]
    parents = [one["run"]["facets"].get("parent", {}) for one in sent[2:4]]
    assert [one["run"]["runId"] for one in parents] == [uuid(99), dag_2]


def test_a_state_set_by_hand_is_of_the_run_that_has_its_run_id(store: Store) -> None:
    put_all(store, task("START", 1, "t"), task("COMPLETE", 5, "t", outputs=[data()]))
    put_all(store, event("FAIL", 9, "d.t"))  # as the API server sends it: no Airflow facet
    put_all(store, event("START", 9, "d.t"))

    sent = deliver(store, MemoryFeed(), marquez.RULES)

    assert [one["eventType"] for one in sent] == ["START", "COMPLETE", "FAIL", "FAIL"]
    assert [[each["name"] for each in one["outputs"]] for one in sent] == [
        [],
        *[["totals"]] * 3,
    ]


def test_datahub_gets_no_run_of_a_dag_as_a_whole(store: Store) -> None:
    put_all(store, dag_run("START", 1), task("START", 2, "t"), dag_run("COMPLETE", 3))

    sent = deliver(store, MemoryFeed(), datahub.RULES)

    assert [one["job"]["name"] for one in sent] == ["d.t"]


# ---- Failures ---------------------------------------------------------------------------------


def test_a_refused_event_is_set_aside_and_does_not_stop_those_after_it(store: Store) -> None:
    put_all(store, *(event("START", number, f"j{number}", run=number) for number in range(4)))
    feed = Backend(lambda e: EventRefusedError("422: no") if e["job"]["name"] == "j1" else None)
    one = forwarder(store, Route("m", feed))

    report = one.run_once(patience_s=None)

    assert feed.jobs() == ["j0", "j2", "j3"]
    assert (report.sent, report.dead, report.errors) == (3, 1, {})
    assert [(one.seq, one.error) for one in store.dead_letters("m")] == [(2, "422: no")]
    assert one.retry_dead_letters("m") == (0, 1)
    assert store.dead_letters("m")[0].attempts == 2
    feed.fails = lambda _: None
    assert one.retry_dead_letters("m") == (1, 0)
    assert feed.jobs()[-1] == "j1"
    assert store.dead_letters("m") == []
    with pytest.raises(SubjectError, match="no feed 'n'"):
        one.retry_dead_letters("n")


def test_a_dead_backend_stops_its_feed_alone_for_twice_as_long_each_time(store: Store) -> None:
    put_all(store, *(event("START", number, f"j{number}", run=number) for number in range(3)))
    clock, up = FixedClock(NOW), MemoryFeed()
    down = Backend(lambda _: FeedUnavailableError("refused"))
    one = forwarder(store, Route("down", down), Route("up", up), clock=clock)
    waits = []

    for _ in range(6):
        report = one.run_once(patience_s=None)
        assert report.errors == {"down": "refused"}
        assert len(up.sent) == 3
        state = store.feeds()[0]
        waits.append((state.next_attempt_us - clock.us) / 1e6)
        clock.us = state.next_attempt_us - 1
        one.run_once(patience_s=None)
        assert store.feeds()[0].attempts == state.attempts  # not yet
        clock.us += 1

    assert [2**n / 2 <= wait <= 2**n for n, wait in enumerate(waits)] == [True] * 6
    assert len(set(waits)) == 6
    down.fails = lambda _: None
    assert one.run_once(patience_s=None).errors == {}
    assert down.jobs() == ["j0", "j1", "j2"]
    assert store.feeds()[0].attempts == 0
    assert store.dead_letters("down") == []


def test_a_backend_says_how_long_to_wait(store: Store) -> None:
    put_all(store, event("START", 1, "j"))
    busy = Backend(lambda _: FeedUnavailableError("429", retry_after_s=77.0))
    one = forwarder(store, Route("m", busy))
    one.run_once(patience_s=None)
    assert store.feeds()[0].next_attempt_us == NOW + 77_000_000


def test_an_event_that_alone_makes_the_backend_fail_is_set_aside_in_the_end(store: Store) -> None:
    put_all(store, *(event("START", number, f"j{number}", run=number) for number in range(3)))
    broken = FeedUnavailableError("answered 500", may_be_the_event=True)
    feed = Backend(lambda e: broken if e["job"]["name"] == "j0" else None)
    clock = FixedClock(NOW)
    one = forwarder(store, Route("m", feed), clock=clock)

    for attempt in range(1, 5):
        assert one.run_once(patience_s=None).errors
        assert store.feeds()[0].attempts == attempt
        clock.us = store.feeds()[0].next_attempt_us
    assert feed.sent == []
    assert one.run_once(patience_s=None).dead == 1

    assert feed.jobs()[-2:] == ["j1", "j2"]
    assert "500; it takes other events" in store.dead_letters("m")[0].error


def test_a_backend_that_fails_for_every_event_loses_none(store: Store) -> None:
    put_all(store, *(event("START", number, f"j{number}", run=number) for number in range(3)))
    feed = Backend(lambda _: FeedUnavailableError("answered 500", may_be_the_event=True))
    clock = FixedClock(NOW)
    one = forwarder(store, Route("m", feed), clock=clock)
    for _ in range(12):
        one.run_once(patience_s=None)
        clock.us = store.feeds()[0].next_attempt_us
    assert store.dead_letters("m") == []
    feed.fails = lambda _: None
    one.run_once(patience_s=None)
    assert feed.jobs() == ["j0", "j1", "j2"]


def test_what_was_not_flushed_is_sent_again(store: Store) -> None:
    class Unsynced(MemoryFeed):
        fails = True

        def flush(self) -> None:
            if self.fails:
                raise FeedUnavailableError("disk full")

    put_all(store, event("START", 1, "j"))
    feed, clock = Unsynced(), FixedClock(NOW)
    one = forwarder(store, Route("m", feed), clock=clock)
    assert one.run_once(patience_s=None).errors == {"m": "disk full"}
    assert store.feeds()[0].cursor == 0
    feed.fails, clock.us = False, NOW + 10_000_000
    one.run_once(patience_s=None)
    assert (len(feed.sent), store.feeds()[0].cursor) == (2, 1)


def test_an_event_that_cannot_be_shaped_does_not_stop_those_after_it(store: Store) -> None:
    put_all(store, task("START", 1, "t"), task("COMPLETE", 2, "t"))

    def fails(one: Any, facts: Any) -> Any:
        if one["eventType"] == "START":
            raise TypeError("odd")
        return one

    feed = MemoryFeed()
    deliver(store, feed, (fails,))
    assert len(feed.sent) == 1
    assert "cannot be shaped" in store.dead_letters("m")[0].error


def test_stopping_keeps_what_was_delivered_and_leaves_the_rest(store: Store) -> None:
    put_all(store, *(event("START", number, "j", run=number) for number in range(5)))
    feed = MemoryFeed()
    one = forwarder(store, Route("m", feed))

    one.run_once(lambda: len(feed.sent) >= 2, patience_s=None)

    assert len(feed.sent) == 2
    assert store.feeds()[0].cursor == 2


def test_a_backend_that_refuses_everything_does_not_turn_the_log_into_dead_letters(
    store: Store,
) -> None:
    put_all(store, *(event("START", n % 50, f"j{n}", run=n) for n in range(80)))
    feed, clock = Backend(lambda _: EventRefusedError("400: not OpenLineage")), FixedClock(NOW)
    one = forwarder(store, Route("m", feed), clock=clock)
    for _ in range(8):
        assert "refused every event" in one.run_once(patience_s=None).errors["m"]
        clock.us = store.feeds()[0].next_attempt_us
    assert len(store.dead_letters("m")) == 50

    feed.fails = lambda _: None
    assert one.run_once(patience_s=None).errors == {}
    assert one.retry_dead_letters("m") == (50, 0)
    assert set(feed.jobs()) == {f"j{n}" for n in range(80)}


def test_refusals_that_are_not_in_a_row_hold_nothing_up(store: Store) -> None:
    put_all(store, *(event("START", n % 50, f"j{n}", run=n) for n in range(160)))
    feed = Backend(lambda e: EventRefusedError("422") if int(e["job"]["name"][1:]) % 2 else None)
    one = forwarder(store, Route("m", feed))
    assert one.run_once(patience_s=None).errors == {}
    assert (len(feed.sent), len(store.dead_letters("m"))) == (80, 80)
