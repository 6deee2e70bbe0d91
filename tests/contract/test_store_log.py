"""The log that every store keeps: entries, their numbers and bytes, page by page."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from airflow_provenance.domain.identity import event_id
from airflow_provenance.store.base import SpoolOffset
from airflow_provenance.store.sql.ledger import SqlLedger
from tests.contract.support import RECEIVED_US
from tests.support.entries import (
    GOOD,
    body,
    data,
    entry,
    event,
    note,
    one_named,
    put,
    put_all,
    raws,
    run_of,
    task,
    us,
    uuid,
)

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store


@pytest.fixture(params=["sqlite", "postgres"])
def sql_store(request: pytest.FixtureRequest) -> Any:
    """A store that takes a batch in one transaction of a database."""
    return request.getfixturevalue(f"_{request.param}_store").fresh()


# ---- The log ------------------------------------------------------------------------------------


def test_equal_bytes_are_one_event_and_ids_sort_by_time(store: Store) -> None:
    late, early = event("COMPLETE", 30, "j"), event("START", 2, "j")
    almost = ("E", late[1].replace(b'"inputs": []', b'"inputs":[]'))

    report = put_all(store, late, early, late, almost)
    again = put_all(store, early, late)

    assert (report.ingested, report.repeated) == (3, 1)
    assert (again.ingested, again.repeated) == (0, 2)
    logged = store.entries(with_raw=True)
    assert [one.id for one in logged] == [event_id(one.event_us, one.raw or b"") for one in logged]
    assert min(logged, key=lambda one: one.id).raw == early[1]
    assert {UUID(bytes=one.id).version for one in logged} == {7}


def test_an_entry_says_what_it_is_and_when_it_came(store: Store) -> None:
    put_all(
        store,
        event("FAIL", 3, "j"),
        event(None, 4, "j"),
        entry(body(5, job={"namespace": "air", "name": "j"})),
        entry(body(6, dataset={"namespace": "pg", "name": "totals"})),
        note("task_run", 7),
    )

    logged = store.entries()

    assert [(one.kind, one.event_type, one.event_us) for one in logged] == [
        ("run_event", "FAIL", us(3)),
        ("run_event", None, us(4)),
        ("job_event", None, us(5)),
        ("dataset_event", None, us(6)),
        ("note", None, us(7)),
    ]
    assert {one.received_us for one in logged} == {RECEIVED_US}
    run = run_of(store, "j")
    assert [one.run_id for one in logged[:4]] == [run.id, run.id, None, None]
    assert logged[0].job_id == logged[2].job_id
    assert logged[3].job_id is None
    assert [one.raw for one in logged] == [None] * 5


def test_seq_is_contiguous_and_grows_and_is_never_reused(store: Store) -> None:
    put_all(store, *(event("START", second, "j") for second in range(10)))
    put_all(store, event("START", 3, "j"))  # a repetition takes no number
    put(store, ("E", b"{}"))  # nor does what is quarantined
    put_all(store, event("START", 11, "j"))
    assert [one.seq for one in store.entries()] == list(range(1, 12))

    assert store.expire(us(60)) == 11
    put_all(store, event("START", 61, "j"), event("START", 62, "j"))

    assert [one.seq for one in store.entries()] == [12, 13]


def test_a_batch_that_fails_leaves_nothing_behind_and_takes_no_seq(
    sql_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all(sql_store, task("COMPLETE", 1, "t", outputs=[data()]))
    before = sql_store.dump_facts()

    def break_off(*_: Any) -> None:
        raise RuntimeError("as if the process had died")

    with monkeypatch.context() as broken:
        broken.setattr(SqlLedger, "put_reads", break_off)
        with pytest.raises(RuntimeError, match="died"):
            sql_store.ingest(
                [("E", b"{}"), task("START", 2, "reader", inputs=[data("new")])],
                received_us=RECEIVED_US,
                offset=SpoolOffset("a.spool", 0, 100),
            )

    assert sql_store.dump_facts() == before
    assert sql_store.quarantine() == []
    assert sql_store.spool_offset("a.spool") == 0
    put_all(sql_store, GOOD)
    assert [one.seq for one in sql_store.entries()] == [1, 2]


def test_raw_bytes_come_back_exactly(store: Store) -> None:
    plain = json.loads(GOOD[1])
    pretty = entry({**plain, "zz": 1}, indent=4)
    shapes = [
        pretty,
        ("E", pretty[1].replace(b"\n", b"\r\n") + b"\r\n\n"),
        entry({**plain, "zz": "été 数据 \U0001f9ea"}, ensure_ascii=False),
        entry({**plain, "zz": "été 数据 \U0001f9ea"}, ensure_ascii=True),
        entry({**plain, "zz": "".join(random.Random(2).choices('abc"\\ é', k=3_000_000))}),
        note("task_run", 3),
    ]
    small = [event("START", second, "many") for second in range(300)]

    put_all(store, *shapes)
    put_all(store, *small)

    assert raws(store, limit=1000) == [raw for _, raw in [*shapes, *small]]
    assert raws(store, after_seq=4, limit=1) == [shapes[4][1]]
    assert len(shapes[4][1]) > 3_000_000


def test_entries_come_in_pages_in_the_order_of_their_seq(store: Store) -> None:
    put_all(store, *(event("START", second, "j", run=second % 3) for second in range(30, 0, -1)))
    run_id = one_named(store, uuid(1)).id

    pages, last = [], 0
    while page := store.entries(after_seq=last, limit=7):
        pages.append([one.seq for one in page])
        last = page[-1].seq

    assert [len(page) for page in pages] == [7, 7, 7, 7, 2]
    assert [seq for page in pages for seq in page] == list(range(1, 31))
    assert {one.run_id for one in store.entries(run_id=run_id)} == {run_id}
    assert len(store.entries(run_id=run_id)) == 10
    assert [one.seq for one in store.entries(run_id=run_id, after_seq=10, limit=2)] == [12, 15]
    assert store.entries(after_seq=30) == []
