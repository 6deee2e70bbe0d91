"""What a store refuses: quarantined with its reason, listed, released and replayed."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.errors import EventError
from airflow_provenance.store.base import Rejected
from airflow_provenance.store.ingest import Limits
from tests.contract.support import RECEIVED_US
from tests.support.entries import (
    GOOD,
    OF_TASK,
    STATE,
    LogEntry,
    body,
    data,
    entry,
    event,
    note,
    put,
    put_all,
    raws,
    run_of,
    task,
    us,
)

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store


# ---- The quarantine -----------------------------------------------------------------------------


def changed(**members: Any) -> LogEntry:
    """Return a run event some members of which are otherwise."""
    return entry({**json.loads(event("COMPLETE", 20, "bad", run=2)[1]), **members})


REFUSED: dict[str, tuple[str, LogEntry]] = {
    "half a line": ("invalid_json", ("E", GOOD[1][:40])),
    "no bytes at all": ("invalid_json", ("E", b"")),
    "a name that is not UTF-8": ("invalid_json", ("E", GOOD[1].replace(b"good", b"\xff"))),
    "a note that is no JSON": ("invalid_json", ("N", b"{]")),
    "brackets without end": ("invalid_json", ("E", b'{"zz": ' + b"[" * 100_000)),
    "a list": ("invalid_event", ("E", b"[]")),
    "neither run, job nor dataset": ("invalid_event", entry(body(20))),
    "a run without job": ("invalid_event", changed(job=None)),
    "a runId that is no UUID": ("invalid_event", changed(run={"runId": "manual__1"})),
    "an unknown eventType": ("invalid_event", changed(eventType="DONE")),
    "a time that is none": ("invalid_event", changed(eventTime="yesterday")),
    "a time before 1970": ("invalid_event", changed(eventTime="1969-12-31T23:59:59Z")),
    "a name with NUL": ("invalid_event", event("COMPLETE", 20, "a\0b")),
    "an empty name": ("invalid_event", event("COMPLETE", 20, "")),
    "a note of no kind": ("invalid_event", note("guess", 20)),
    "a change by hand to no state": ("invalid_event", note("state_override", 20)),
    "a time without zone": ("no_time_zone", changed(eventTime="2026-01-05T06:00:20")),
    "a note without zone": ("no_time_zone", note("task_run", 20, at="2026-01-05T06:00:20")),
    "3,000 bytes, where 2,000 are the limit": ("too_large", changed(zz="x" * 3000)),
    "an event from before the horizon": ("too_late", event("COMPLETE", 5, "late")),
    "a note from before the horizon": ("too_late", note("task_run", 5)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_ingested_is_quarantined_with_its_reason_and_the_rest_is_ingested(
    store: Store, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason, refused = REFUSED[what]
    if reason == "too_late":
        store.expire(us(10))
    if reason == "too_large":
        monkeypatch.setattr(store, "_limits", Limits(event=2000))

    report = put(store, refused, GOOD)

    assert (report.ingested, report.quarantined, report.repeated) == (1, 1, 0)
    assert raws(store) == [GOOD[1]]
    [kept] = store.quarantine(with_raw=True)
    assert (kept.reason, kept.kind, kept.raw) == (reason, *refused)
    assert kept.reason in EventError.REASONS
    assert kept.message
    assert "\n" not in kept.message
    assert (kept.source, kept.size_bytes) == ("a test", len(refused[1]))
    assert kept.received_us == RECEIVED_US


LONG = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))


def airflow_facet(of: LogEntry, **changes: Any) -> LogEntry:
    """Return a task's event whose `airflow` facet is not as the official provider writes it."""
    content = json.loads(of[1])
    facet = content["run"]["facets"]["airflow"]
    for name, value in changes.items():
        facet["task" if name == "upstream_task_ids" else "taskInstance"][name] = value
    return entry(content)


AWKWARD: dict[str, LogEntry] = {
    "upstream tasks that are no list": airflow_facet(
        task("START", 1, "t"), upstream_task_ids="{[]}"
    ),
    "upstream tasks too deep to parse": airflow_facet(
        task("START", 1, "t"), upstream_task_ids="-" * 20_000 + "1"
    ),
    "a try beyond 32 bits": airflow_facet(task("START", 1, "t"), try_number=1 << 40),
    "a try beyond 64 bits": airflow_facet(task("START", 1, "t"), try_number=1 << 70),
    "a map index beyond 32 bits": airflow_facet(task("START", 1, "t"), map_index=-(1 << 40)),
    "a noted try beyond 32 bits": note("task_run", 1, attempt=1 << 40),
    "a task facet beyond 64 bits": event(
        "START", 1, "d.t.query", facets={"airflowProvenance_task": {**OF_TASK, "mapIndex": 1 << 70}}
    ),
    "a consumed map index beyond 64 bits": event(
        "START",
        1,
        "j",
        facets={
            "airflowProvenance_run": {"consumedAssetEvents": [{**OF_TASK, "mapIndex": 1 << 70}]}
        },
        inputs=[data()],
    ),
    "an unknown eventType of a job": entry(
        body(1, eventType="DONE", job={"namespace": "air", "name": "j"})
    ),
    "an unknown eventType of a dataset": entry(
        body(1, eventType="DONE", dataset={"namespace": "pg", "name": "totals"})
    ),
    "a user name with NUL": note("state_override", 1, state="FAIL", who="a\0b"),
    "a note too deep to parse": ("N", note("task_run", 1)[1][:-1] + b', "zz": ' + b"[" * 100_000),
    "a job's name of 9,000 characters": event("COMPLETE", 1, LONG),
    "a dataset's name of 9,000 characters": event("COMPLETE", 1, "j", inputs=[data(LONG)]),
    "a partition of 9,000 characters": event(
        "COMPLETE", 1, "j", outputs=[data(airflowProvenance_partition={"key": LONG})]
    ),
    "a version of 9,000 characters": event("COMPLETE", 1, "j", outputs=[data(version=LONG)]),
    "a known facet that is not UTF-8": (
        "E",
        event("START", 1, "j", facets={"parent": {"job": "?"}})[1].replace(b"?", b"\xff"),
    ),
    "a facet whose name holds NUL": event("COMPLETE", 1, "j", facets={"a\0b": {}}),
}


@pytest.mark.parametrize("what", AWKWARD)
def test_an_entry_that_a_store_cannot_hold_is_not_in_the_way_of_others(
    store: Store, what: str
) -> None:
    report = put(store, AWKWARD[what], GOOD)

    assert report.ingested + report.quarantined == 2
    assert GOOD[1] in raws(store)
    known = [*raws(store), *(one.raw for one in store.quarantine(with_raw=True))]
    assert sorted(filter(None, known)) == sorted([AWKWARD[what][1], GOOD[1]])


def test_what_the_caller_could_not_read_is_quarantined_as_it_says(store: Store) -> None:
    torn = Rejected("?", b"P1 E 40 \x00\xff", "torn_line", "cut short", "a.spool:120")

    report = store.ingest([GOOD], received_us=RECEIVED_US, rejected=[torn])

    assert (report.received, report.ingested, report.quarantined) == (2, 1, 1)
    [kept] = store.quarantine(with_raw=True)
    assert (kept.kind, kept.raw, kept.reason) == ("?", torn.raw, "torn_line")
    assert (kept.message, kept.source) == ("cut short", "a.spool:120")


def test_the_quarantine_lists_without_bytes_unless_asked_oldest_first(store: Store) -> None:
    bad: list[LogEntry] = [("E", b"{"), ("E", b"{}"), ("N", b"{}")]
    for one in bad:
        put(store, one)

    listed = store.quarantine()

    assert [one.raw for one in listed] == [None] * 3
    assert [one.id for one in listed] == sorted(one.id for one in listed)
    assert [one.raw for one in store.quarantine(with_raw=True)] == [raw for _, raw in bad]
    assert store.counts()["quarantined"] == 3


def test_the_same_refused_bytes_are_kept_once(store: Store) -> None:
    first = put(store, ("E", b"{}"), ("E", b"{}"))
    again = put(store, ("E", b"{}"))
    # The same bytes as a note are another thing.
    other = put(store, ("N", b"{}"))

    assert [one.quarantined for one in (first, again, other)] == [1, 0, 1]
    assert [one.kind for one in store.quarantine()] == ["E", "N"]


def test_released_entries_leave_the_quarantine_and_their_ids_are_not_given_again(
    store: Store,
) -> None:
    put(store, ("E", b"1"), ("E", b"2"))
    first, second = store.quarantine()

    store.release([second.id])

    assert store.quarantine() == [first]
    put(store, ("E", b"3"))
    assert store.quarantine()[-1].id > second.id
    store.release([])
    store.release([second.id, 10**9])
    assert len(store.quarantine()) == 2


def test_a_quarantined_event_can_be_replayed_once_its_cause_is_gone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as small:
        small.setattr(store, "_limits", Limits(event=50))
        put(store, GOOD)
    [kept] = store.quarantine(with_raw=True)
    assert kept.reason == "too_large"
    assert store.counts()["runs"] == 0

    put_all(store, (kept.kind, kept.raw))
    store.release([kept.id])

    assert store.quarantine() == []
    assert run_of(store, "good").state == STATE.COMPLETE
