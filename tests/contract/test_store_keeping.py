"""What every store keeps for how long: retention, spool offsets, leases and marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.store.base import Rejected, SpoolOffset
from tests.support.entries import (
    GOOD,
    STATE,
    TOTALS,
    LogEntry,
    at,
    data,
    event,
    names_of,
    put,
    put_all,
    raws,
    run_of,
    task,
    us,
)

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store


# ---- Retention ----------------------------------------------------------------------------------


def test_expired_events_are_gone_and_their_facts_stay(chain: Store) -> None:
    facts, counts = chain.dump_facts(), chain.counts()

    assert chain.expire(us(20)) == 1
    assert chain.expire(us(20)) == 0

    assert [one.event_us for one in chain.entries()] == [us(20), us(25), us(30)]
    assert None not in raws(chain)
    assert chain.dump_facts() == facts
    assert chain.counts() == {**counts, "entries": 3}
    assert chain.expire(us(59)) == 3
    assert chain.entries() == []
    assert chain.dump_facts() == facts


def test_a_late_event_after_its_time_expired_is_quarantined_and_changes_nothing(
    chain: Store,
) -> None:
    chain.expire(us(28))
    facts = chain.dump_facts()
    late = task("COMPLETE", 15, "one", run=9, dag_run="late", outputs=[data("a")])

    report = put(chain, late, event("COMPLETE", 25, "two", run=2, outputs=[data("b")]))

    assert (report.ingested, report.quarantined) == (0, 2)
    assert {one.reason for one in chain.quarantine()} == {"too_late"}
    assert chain.dump_facts() == facts
    # An earlier horizon does not melt what is frozen.
    chain.expire(us(1))
    assert put(chain, event("START", 16, "j")).quarantined == 1


def test_a_write_at_the_horizon_links_only_readers_as_of_after_it(store: Store) -> None:
    put_all(
        store,
        task("COMPLETE", 10, "writer", run=1, outputs=[data()]),
        event("START", 20, "frozen", run=2, inputs=[data()]),
        event("START", 40, "open", run=3, inputs=[data()]),
    )
    store.expire(us(30))
    # It says that it ended before the frozen reader started, and is told after the horizon.
    noted = {"airflowProvenance_run": {"startedAt": at(12), "endedAt": at(15)}}

    put_all(
        store, task("COMPLETE", 35, "writer", dag_run="r2", run=4, facets=noted, outputs=[data()])
    )

    first, second = store.versions(TOTALS)
    assert (first.ended_us, second.ended_us) == (us(10), us(15))
    read_by = {
        name: store.trace([run_of(store, name).id], "upstream", 1)[0].src
        for name in ("frozen", "open")
    }
    assert read_by == {"frozen": first.id, "open": second.id}


def test_a_run_that_goes_on_after_its_start_expired_keeps_what_was_known_of_it(
    store: Store,
) -> None:
    put_all(store, task("START", 10, "t", inputs=[data("in")], facets={"mine": {"a": 1}}))
    store.expire(us(30))

    put_all(store, task("COMPLETE", 40, "t", outputs=[data()]))

    run = run_of(store, "d.t")
    assert (run.started_us, run.ended_us, run.state) == (us(10), us(40), STATE.COMPLETE)
    assert "mine" in store.run_doc(run.id).run_facets
    edges = store.trace([store.versions(TOTALS)[0].id], "upstream", None)
    assert names_of(store, edges) == {("in", "d.t"), ("d.t", "totals")}


# ---- Spool offsets ------------------------------------------------------------------------------


def test_an_offset_moves_with_its_batch_and_can_be_forgotten(store: Store) -> None:
    assert store.spool_offset("a.spool") == 0

    report = store.ingest([GOOD], received_us=1, offset=SpoolOffset("a.spool", 0, 120))

    assert not report.overtaken
    assert store.spool_offset("a.spool") == 120
    assert store.spool_offset("b.spool") == 0
    store.ingest([], received_us=1, offset=SpoolOffset("a.spool", 120, 130))
    assert store.spool_offset("a.spool") == 130
    store.forget_spool("a.spool")
    store.forget_spool("a.spool")
    assert store.spool_offset("a.spool") == 0


@pytest.mark.parametrize("expected", [0, 60, 121])
def test_an_ingest_that_another_drainer_overtook_writes_nothing_and_says_so(
    store: Store, expected: int
) -> None:
    store.ingest([GOOD], received_us=1, offset=SpoolOffset("a.spool", 0, 120))
    facts = store.dump_facts()
    torn = Rejected("?", b"torn", "torn_line", "cut short", "a.spool:60")

    report = store.ingest(
        [event("START", 1, "other")],
        received_us=1,
        rejected=[torn],
        offset=SpoolOffset("a.spool", expected, 240),
    )

    assert report.overtaken
    assert (report.ingested, report.quarantined) == (0, 0)
    assert store.spool_offset("a.spool") == 120
    assert store.dump_facts() == facts
    assert store.quarantine() == []
    assert len(store.entries()) == 1


def test_reports_of_batches_add_up(store: Store) -> None:
    def large(second: int) -> LogEntry:
        facet = {"text": "x" * 1_100_000}
        return event("START", second, "j", facets={"mine": facet})

    total = put(store, GOOD, GOOD, ("E", b"{}"))

    total.add(put(store, large(1)))
    total.add(put(store, large(2)))

    assert (total.received, total.ingested, total.repeated, total.quarantined) == (5, 3, 1, 1)
    assert len(total.warnings) == 2


# ---- Leases and marks ----------------------------------------------------------------------------


def test_of_two_holders_one_has_a_lease_until_it_ends_or_is_given_up(store: Any) -> None:
    assert store.acquire_lease("forward", "a", 30, now_us=1_000)
    assert not store.acquire_lease("forward", "b", 30, now_us=1_010)
    assert store.acquire_lease("forward", "a", 30, now_us=1_020)  # renewed
    assert not store.acquire_lease("forward", "b", 30, now_us=1_049)
    assert store.acquire_lease("reconcile", "b", 30, now_us=1_049)  # another lease
    assert store.acquire_lease("forward", "b", 30, now_us=1_050)  # it has ended
    assert not store.acquire_lease("forward", "a", 30, now_us=1_051)
    store.release_lease("forward", "a")  # not its own any more
    assert not store.acquire_lease("forward", "a", 30, now_us=1_052)
    store.release_lease("forward", "b")
    assert store.acquire_lease("forward", "a", 30, now_us=1_053)


def test_a_lease_of_a_dead_holder_ends_though_the_clock_was_set_back(store: Any) -> None:
    assert store.acquire_lease("forward", "a", 30, now_us=9_000)

    assert store.acquire_lease("forward", "b", 30, now_us=1_000)
    assert not store.acquire_lease("forward", "a", 30, now_us=1_001)


def test_a_lease_goes_by_the_stores_own_clock(store: Any) -> None:
    assert store.acquire_lease("forward", "a", 60_000_000)
    assert not store.acquire_lease("forward", "b", 60_000_000)


def test_a_mark_is_kept_until_it_is_set_anew(store: Any) -> None:
    assert store.mark("reconciled") is None
    store.set_mark("reconciled", 5)
    store.set_mark("reconciled", 7)
    assert store.mark("reconciled") == 7
