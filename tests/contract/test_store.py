"""What every store promises beside the facts: log, quarantine, questions, retention, offsets.

That the facts themselves are right, in every order, is `test_ingest_properties`' part.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from airflow_provenance.domain.clock import parse_time
from airflow_provenance.domain.identity import DatasetRef, event_id
from airflow_provenance.domain.linking import LinkRule
from airflow_provenance.domain.run import RunState, VersionStatus
from airflow_provenance.errors import EventError, SubjectError
from airflow_provenance.formats.facets import MANIFEST
from airflow_provenance.store.base import Rejected, RunQuery, SpoolOffset
from airflow_provenance.store.ingest import Limits
from airflow_provenance.store.sql.ledger import SqlLedger
from tests.contract.generate import story
from tests.contract.support import RECEIVED_US, ingest_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.store.base import Edge, IngestReport, RunView, Store

Json = dict[str, Any]
LogEntry = tuple["Kind", bytes]

DAY = "2026-01-05T06:"
STATE = RunState


# ---- Events and notes ---------------------------------------------------------------------------


def at(second: float) -> str:
    minute, rest = divmod(second, 60)
    return f"{DAY}{minute:02.0f}:{rest:06.3f}Z"


def us(second: float) -> int:
    return parse_time(at(second))


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def body(second: float, **members: Any) -> Json:
    return {"eventTime": at(second), "producer": "https://p", "schemaURL": "https://s", **members}


def entry(event: Json, **how: Any) -> LogEntry:
    return "E", json.dumps(event, **how).encode()


def event(
    event_type: str | None,
    second: float,
    job: str,
    run: int = 1,
    facets: Json | None = None,
    inputs: Iterable[Json] = (),
    outputs: Iterable[Json] = (),
    namespace: str = "air",
) -> LogEntry:
    """Return a run event of any producer."""
    return entry(
        body(
            second,
            eventType=event_type,
            job={"namespace": namespace, "name": job},
            run={"runId": uuid(run), "facets": facets or {}},
            inputs=list(inputs),
            outputs=list(outputs),
        )
    )


def task(
    event_type: str,
    second: float,
    name: str,
    *,
    dag: str = "d",
    dag_run: str = "r1",
    member: int = -1,
    attempt: int = 1,
    upstream: Iterable[str] = (),
    facets: Json | None = None,
    run: int = 1,
    **rest: Any,
) -> LogEntry:
    """Return an event of one try of an Airflow task."""
    airflow = {
        "dag": {"dag_id": dag},
        "dagRun": {"run_id": dag_run},
        "task": {"task_id": name, "upstream_task_ids": str(list(upstream))},
        "taskInstance": {"try_number": attempt, "map_index": member},
    }
    return event(
        event_type, second, f"{dag}.{name}", run, {"airflow": airflow, **(facets or {})}, **rest
    )


def dag_run(
    event_type: str, second: float, dag: str = "d", run_id: str = "r1", run: int = 99
) -> LogEntry:
    facet = {"dag": {"dag_id": dag}, "dagRun": {"run_id": run_id}}
    return event(event_type, second, dag, run, {"airflowDagRun": facet})


def note(
    kind: str, second: float, *, of_task: str | None = "t", attempt: int = 1, **said: Any
) -> LogEntry:
    members = {"kind": kind, "namespace": "air", "dagId": "d", "runId": "r1", "at": at(second)}
    if of_task:
        members |= {"taskId": of_task, "mapIndex": -1, "tryNumber": attempt}
    return "N", json.dumps(members | said).encode()


def data(name: str = "totals", *, version: str | None = None, **facets: Any) -> Json:
    if version is not None:
        facets["version"] = {"datasetVersion": version}
    return {"namespace": "pg", "name": name, "facets": facets}


OF_TASK = {"dagId": "d", "runId": "r1", "taskId": "t", "mapIndex": -1, "tryNumber": 1}
REPLACED = {"lifecycleStateChange": {"lifecycleStateChange": "OVERWRITE"}}
TOTALS = DatasetRef("pg", "totals")


def put(store: Store, *entries: LogEntry) -> IngestReport:
    report = store.ingest(list(entries), received_us=RECEIVED_US, source="a test")
    assert report.received == len(entries)
    return report


def put_all(store: Store, *entries: LogEntry) -> IngestReport:
    report = put(store, *entries)
    assert report.quarantined == 0, store.quarantine()
    return report


def run_of(store: Store, name: str) -> RunView:
    [run] = store.runs(RunQuery(job=name))
    return run


def one_named(store: Store, name: str) -> RunView:
    [run] = store.runs_named(name)
    return run


def keys(runs: Iterable[RunView]) -> list[tuple[Any, ...]]:
    return sorted(tuple(run.key) for run in runs)


def raws(store: Store, **which: Any) -> list[bytes | None]:
    return [one.raw for one in store.entries(with_raw=True, **which)]


@pytest.fixture(params=["sqlite", "postgres"])
def sql_store(request: pytest.FixtureRequest) -> Any:
    """A store that takes a batch in one transaction of a database."""
    return request.getfixturevalue(f"_{request.param}_store").fresh()


# ---- The quarantine -----------------------------------------------------------------------------

GOOD = event("COMPLETE", 20, "good")


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


# ---- Facets -------------------------------------------------------------------------------------


def test_facets_that_nobody_here_knows_are_kept_with_the_run(store: Store) -> None:
    start = json.loads(event("START", 1, "j", facets={"mine": {"a": [1, {"b": None}]}})[1])
    start["job"]["facets"] = {"jobMine": {"c": 1.50}}
    start["inputs"] = [{**data("in", inMine={"d": "é"}), "inputFacets": {"role": {"e": True}}}]
    end = event("COMPLETE", 2, "j", facets={"mine": {"a": "later"}, "other": {}})

    put_all(store, entry(start, ensure_ascii=False), end)

    doc = store.run_doc(run_of(store, "j").id)
    assert json.loads(doc.run_facets["mine"][2]) == {"a": "later"}
    assert json.loads(doc.run_facets["other"][2]) == {}
    assert doc.job_facets["jobMine"][2] == b'{"c": 1.5}'
    [read] = doc.inputs.values()
    assert json.loads(read.facets["inMine"][2]) == {"d": "é"}
    assert json.loads(read.role_facets["role"][2]) == {"e": True}


def test_a_facet_of_5_mb_leaves_the_event_ingested_with_one_line_of_warning(store: Store) -> None:
    large = event("COMPLETE", 1, "j", facets={"mine": {"text": "x" * 5_000_000}, "small": {}})

    report = put_all(store, large)

    assert report.ingested == 1
    [warning] = report.warnings
    assert "mine" in warning
    assert "\n" not in warning
    assert len(warning) < 300
    assert raws(store) == [large[1]]
    assert list(store.run_doc(run_of(store, "j").id).run_facets) == ["small"]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("parent", {"run": {"runId": 5}}),
        ("airflow", {"dag": {"dag_id": ["d"]}}),
        ("airflowDagRun", "soon"),
        ("airflowProvenance_run", {"state": "DONE"}),
        ("airflowProvenance_task", {"dagId": "d"}),
    ],
)
def test_a_known_facet_of_a_wrong_shape_is_kept_but_not_read(
    store: Store, name: str, wrong: Any
) -> None:
    report = put_all(store, event("COMPLETE", 1, "j", facets={name: wrong}))

    [warning] = report.warnings
    assert name in warning
    assert "\n" not in warning
    run = run_of(store, "j")
    assert (run.key, run.state) == (("air", "j", uuid(1)), STATE.COMPLETE)
    assert json.loads(store.run_doc(run.id).run_facets[name][2]) == wrong


def test_a_dataset_facet_of_a_wrong_shape_is_kept_but_not_read(store: Store) -> None:
    output = data(version=None, airflowProvenance_content={"verified": "yes"})
    output["facets"]["version"] = {"datasetVersion": 7}

    report = put_all(store, event("COMPLETE", 1, "j", outputs=[output]))

    assert len(report.warnings) == 2
    [version] = store.versions(TOTALS)
    assert (version.content_id, version.status) == (None, VersionStatus.GOOD)


def manifest(listed: list[str] | None, told: str | None = None) -> Json:
    """Return the facet with a list and its hash, or the hash that is given."""
    text = "".join(f"{one}\n" for one in listed or ())
    told = hashlib.sha256(text.encode()).hexdigest() if told is None else told
    facet: Json = {"environment": {"python": "3.11.7", "dependenciesHash": told}, "hash": "abc"}
    return {MANIFEST: facet if listed is None else {**facet, "dependencies": listed}}


def told_by(facets: Json) -> str:
    told: str = facets[MANIFEST]["environment"]["dependenciesHash"]
    return told


INSTALLED = ["attrs==25.3.0", "\u00e9t\u00e9==1", "odd\r\u2028\0==2"]


def test_what_was_installed_is_kept_by_its_hash_when_raw_events_are_gone(store: Store) -> None:
    brought = manifest(INSTALLED)
    hash_ = told_by(brought)
    assert store.dependencies(hash_) is None

    put_all(store, event("START", 1, "j", facets=brought))
    put_all(store, event("COMPLETE", 2, "j", facets=manifest(None, hash_)), GOOD)
    store.expire(us(100))

    assert store.dependencies(hash_) == INSTALLED
    assert store.dependencies(hash_.upper()[:-1]) is None
    assert store.dependencies("no hash") is None


def test_a_runs_document_is_without_the_list_that_the_raw_event_keeps(store: Store) -> None:
    brought = manifest(INSTALLED)
    sent = event("START", 1, "j", facets={**brought, "other": {"dependencies": INSTALLED}})

    put_all(store, sent)

    kept = store.run_doc(run_of(store, "j").id).run_facets
    assert json.loads(kept[MANIFEST][2]) == manifest(None, told_by(brought))[MANIFEST]
    assert json.loads(kept["other"][2]) == {"dependencies": INSTALLED}
    assert raws(store) == [sent[1]]


def test_a_list_that_many_events_bring_is_one_fact(store: Store) -> None:
    lists = [INSTALLED, ["a==1"], []]
    for number in range(3):
        batch = [
            event("START", second, "j", run=10 * number + second, facets=manifest(lists[second]))
            for second in (0, 1, 2)[: number + 1]
        ]
        put_all(store, *batch, *batch)

    known = {told_by(manifest(one)): one for one in lists}
    assert sorted(store.scan_dependencies()) == sorted(known.items())


@pytest.mark.parametrize(
    "wrong",
    [
        manifest(["a==1"], "0" * 64),
        manifest(["a==1\nb==2"]),
        {MANIFEST: {"dependencies": ["a==1"]}},
        {MANIFEST: {"environment": None, "dependencies": ["a==1"]}},
        {MANIFEST: {**manifest(["1"])[MANIFEST], "dependencies": [1]}},
        {MANIFEST: {**manifest(["a==1"])[MANIFEST], "dependencies": "a==1"}},
        {MANIFEST: ["dependencies"]},
    ],
)
def test_a_list_that_is_not_what_its_hash_says_is_no_fact_and_stays_where_it_was(
    store: Store, wrong: Json
) -> None:
    report = put_all(store, event("START", 1, "j", facets=wrong))

    [warning] = report.warnings
    assert MANIFEST in warning
    assert "\n" not in warning
    assert list(store.scan_dependencies()) == []
    kept = store.run_doc(run_of(store, "j").id).run_facets[MANIFEST]
    assert json.loads(kept[2]) == wrong[MANIFEST]


def test_a_list_of_an_event_that_comes_too_late_is_no_fact(store: Store) -> None:
    store.expire(us(10))

    assert put(store, event("START", 1, "j", facets=manifest(INSTALLED))).quarantined == 1

    assert list(store.scan_dependencies()) == []


def test_job_and_dataset_events_make_their_jobs_and_datasets_known(store: Store) -> None:
    job = {"namespace": "flink", "name": "stream", "facets": {"sql": {"query": "select 1"}}}
    put_all(
        store,
        entry(body(1, job=job, inputs=[data("orders")], outputs=[data("sums")])),
        entry(body(2, dataset=data("catalogued", schema={"fields": []}))),
        entry(body(3, dataset=data("catalogued", schema={"fields": [{"name": "id"}]}))),
    )

    assert store.job_names() == [("flink", "stream")]
    names = ["catalogued", "orders", "sums"]
    assert store.dataset_names() == [DatasetRef("pg", name) for name in names]
    counts = {"entries": 3, "runs": 0, "versions": 0, "edges": 0, "quarantined": 0}
    assert store.counts() == counts


# ---- Runs ---------------------------------------------------------------------------------------


@pytest.fixture
def dags(store: Store) -> Store:
    """Runs of DAGs ``a`` and ``a.b``, and of others, started one a second."""
    put_all(
        store,
        task("START", 1, "b.c", dag="a", run=1),
        task("START", 2, "c", dag="a.b", run=2),
        task("FAIL", 3, "c", dag="a.b", run=2),
        dag_run("START", 4, "a", run=3),
        dag_run("START", 5, "a.b", run=4),
        event("START", 6, "a.spark", run=5),
        task("START", 7, "x", dag="ab", run=6),
        event("COMPLETE", 8, "endless", run=7),  # no start
    )
    return store


def uuids(runs: Iterable[RunView]) -> list[int]:
    return [int((run.run_uuid or "")[-12:], 16) for run in runs]


def test_runs_come_newest_start_first(dags: Store) -> None:
    started = uuids(dags.runs(RunQuery()))

    assert [number for number in started if number != 7] == [6, 5, 4, 3, 2, 1]
    assert len(started) == 7
    assert uuids(dags.runs(RunQuery(limit=2))) == started[:2]


def test_runs_of_a_dag_are_its_runs_and_its_tasks_and_no_others(dags: Store) -> None:
    # Dots are allowed in the names of DAGs and tasks, so a job's name does not tell the DAG.
    assert uuids(dags.runs(RunQuery(dag_id="a"))) == [3, 1]
    assert uuids(dags.runs(RunQuery(dag_id="a.b"))) == [4, 2]
    assert uuids(dags.runs(RunQuery(dag_id="ab"))) == [6]
    assert dags.runs(RunQuery(dag_id="a.b.c")) == []
    assert dags.runs(RunQuery(dag_id="A")) == []


def test_runs_are_filtered_by_job_state_and_start(dags: Store) -> None:
    assert uuids(dags.runs(RunQuery(job="a.b.c"))) == [2, 1]
    assert uuids(dags.runs(RunQuery(state=STATE.FAIL))) == [2]
    assert uuids(dags.runs(RunQuery(state=STATE.COMPLETE))) == [7]
    assert [one for one in uuids(dags.runs(RunQuery(since_us=us(4)))) if one != 7] == [6, 5, 4, 3]
    assert uuids(dags.runs(RunQuery(since_us=us(4), dag_id="a", state=STATE.RUNNING))) == [3]
    assert dags.runs(RunQuery(state=STATE.SKIPPED)) == []


def test_a_run_is_found_by_run_id_in_any_case_by_airflows_run_id_and_by_node_id(
    store: Store,
) -> None:
    run_uuid = "0194aBcd-0000-7000-8000-00000000abCD"
    start = json.loads(task("START", 1, "t", dag_run="manual__2026-01-05T06:00:00+00:00")[1])
    start["run"]["runId"] = run_uuid
    put_all(store, entry(start), dag_run("START", 0, run_id="manual__2026-01-05T06:00:00+00:00"))

    one = one_named(store, run_uuid)

    assert one.run_uuid == run_uuid.lower()
    assert store.runs_named(run_uuid.upper()) == [one]
    assert store.runs_named(str(one.id)) == [one]
    both = store.runs_named("manual__2026-01-05T06:00:00+00:00")
    assert {run.job[1] for run in both} == {"d", "d.t"}
    assert store.runs_by_id([one.id, 10**9]) == {one.id: one}
    for nothing in ("", "manual__", uuid(77), "999999999", "-1", "1" * 40, "d.t"):
        assert store.runs_named(nothing) == []


def test_two_runs_that_share_one_run_id_are_both_found(store: Store) -> None:
    put_all(
        store,
        task("COMPLETE", 1, "t", dag_run="r1", run=1),
        task("FAIL", 2, "t", dag_run="r2", run=1),
    )

    found = store.runs_named(uuid(1))

    assert {(run.key.run_id, run.state) for run in found} == {
        ("r1", STATE.COMPLETE),
        ("r2", STATE.FAIL),
    }


def test_an_event_without_airflow_facets_counts_as_the_one_run_of_its_run_id(store: Store) -> None:
    put_all(store, event("FAIL", 9, "d.t", run=1), task("COMPLETE", 1, "t", run=1))

    [run] = store.runs(RunQuery())

    assert (run.state, run.execution_state) == (STATE.FAIL, STATE.COMPLETE)
    assert store.runs_named(uuid(1)) == [run]
    assert store.counts()["runs"] == 1


def test_a_run_that_is_not_there_is_an_error_that_says_so(store: Store) -> None:
    with pytest.raises(SubjectError, match="no run 77"):
        store.run_doc(77)


def test_siblings_are_all_tries_of_a_task_instance(store: Store) -> None:
    put_all(
        store,
        task("FAIL", 1, "t", attempt=1, run=1),
        task("COMPLETE", 3, "t", attempt=2, run=2),
        task("COMPLETE", 5, "t", attempt=3, run=3),  # cleared, and run again
        task("COMPLETE", 5, "t", attempt=1, run=4, member=0),
        task("COMPLETE", 5, "t", attempt=1, run=5, dag_run="r2"),
        task("COMPLETE", 5, "u", attempt=1, run=6),
        event("COMPLETE", 6, "lone", run=7),
        dag_run("COMPLETE", 7, run=8),
    )

    for number in (1, 2, 3):
        tries = store.siblings(one_named(store, uuid(number)).id)
        assert sorted(run.key.try_number for run in tries) == [1, 2, 3]
        assert {run.key[:5] for run in tries} == {("air", "d", "r1", "t", -1)}
    for number in (4, 5, 6, 7, 8):
        run = one_named(store, uuid(number))
        assert store.siblings(run.id) == [run]
    told = {run["run_uuid"]: run for run in store.dump_facts()["runs"]}
    first, second, third = (told[uuid(number)] for number in (1, 2, 3))
    assert (first["superseded_by"], second["retry_of"]) == (None, first["key"])
    assert (second["superseded_by"], third["retry_of"]) == (third["key"], None)


def test_children_are_tasks_of_a_dag_run_and_what_a_task_started(store: Store) -> None:
    parent = {"run": {"runId": uuid(2).upper()}, "job": {"namespace": "air", "name": "d.t"}}
    spark = {"run": {"runId": uuid(4)}, "job": {"namespace": "spark", "name": "app"}}
    put_all(
        store,
        dag_run("START", 1, run=1),
        task("START", 2, "t", run=2),
        event("START", 3, "d.t.query.1", run=3, facets={"airflowProvenance_task": OF_TASK}),
        event("START", 4, "app", run=4, facets={"parent": parent}, namespace="spark"),
        event("START", 5, "app.stage", run=5, facets={"parent": spark}, namespace="spark"),
        # Another DAG run under the same runIds: its tasks are its own.
        dag_run("START", 6, run_id="r2", run=1),
        task("START", 7, "t", dag_run="r2", run=6),
    )

    def children_of(name: str, run_id: str | None = None) -> list[int]:
        [run] = [
            run for run in store.runs_named(name) if run_id in (None, getattr(run.key, "run_id", 0))
        ]
        return sorted(uuids(store.children(run.id)))

    assert children_of(uuid(1), "r1") == [2]
    assert children_of(uuid(1), "r2") == [6]
    assert children_of(uuid(2)) == [3, 4]
    assert children_of(uuid(4)) == [5]
    assert children_of(uuid(5)) == []


# ---- Datasets and lineage -----------------------------------------------------------------------


def test_versions_of_a_dataset_come_oldest_first_with_what_is_known_of_them(store: Store) -> None:
    put_all(
        store,
        task("COMPLETE", 30, "t", run=1, outputs=[data(version="v2", **REPLACED)]),
        task("FAIL", 20, "t", dag_run="r0", run=2, outputs=[data(version="v1")]),
        task("COMPLETE", 10, "t", dag_run="r9", run=3, outputs=[data(), data("other")]),
    )

    oldest, middle, newest = store.versions(TOTALS)

    assert [one.ended_us for one in (oldest, middle, newest)] == [us(10), us(20), us(30)]
    statuses = [one.status for one in (oldest, middle, newest)]
    assert statuses == [VersionStatus.GOOD, VersionStatus.SUSPECT, VersionStatus.GOOD]
    assert [one.content_id for one in (oldest, middle, newest)] == [None, "v1", "v2"]
    assert [one.replaces for one in (oldest, middle, newest)] == [False, False, True]
    writer = one_named(store, uuid(3))
    written = store.versions_of_run(writer.id)
    assert [one.dataset.name for one in written] == ["totals", "other"]
    assert oldest in written
    assert store.versions_by_id([newest.id, writer.id]) == {newest.id: newest}
    assert store.versions(DatasetRef("pg", "nothing")) == []


def test_reads_of_a_run_say_by_which_rule_they_were_linked(store: Store) -> None:
    put_all(
        store,
        task("COMPLETE", 10, "t", run=1, outputs=[data(version="v1"), data("b"), data("c")]),
        task(
            "START",
            20,
            "reader",
            run=2,
            upstream=["t"],
            inputs=[data(version="v1"), data("b"), data("nobody's", version="x")],
        ),
        event("START", 30, "elsewhere", run=3, inputs=[data("c")]),
    )

    reads = store.reads_of_run(one_named(store, uuid(2)).id)

    assert {(one.dataset.name, one.named, one.rule) for one in reads} == {
        ("totals", "v1", LinkRule.NAMED),
        ("b", None, LinkRule.SAME_DAG_RUN),
        ("nobody's", "x", LinkRule.OBSERVED),
    }
    [elsewhere] = store.reads_of_run(one_named(store, uuid(3)).id)
    assert (elsewhere.dataset.name, elsewhere.rule) == ("c", LinkRule.NEWEST)
    assert store.reads_of_run(one_named(store, uuid(1)).id) == []


def test_a_dataset_is_found_by_its_whole_name_or_else_by_its_short_one(store: Store) -> None:
    whole = ("s3://lake", "totals/été 100%'s")
    for namespace, name in [("pg", "totals"), ("my", "totals"), ("pg", "pg/totals"), whole]:
        dataset = {"namespace": namespace, "name": name}
        put_all(store, entry(body(1, dataset=dataset)))

    # "pg/totals" is the whole name of one and the short name of another: the whole name wins.
    assert store.datasets_named("pg/totals") == [TOTALS]
    assert sorted(store.datasets_named("totals")) == [DatasetRef("my", "totals"), TOTALS]
    assert store.datasets_named("s3://lake/totals/été 100%'s") == [DatasetRef(*whole)]
    assert store.datasets_named("totals/été 100%'s") == [DatasetRef(*whole)]
    assert store.datasets_named("TOTALS") == []
    assert store.datasets_named("%") == []


@pytest.fixture
def chain(store: Store) -> Store:
    """Build source -> one -> a -> two -> b -> three, and a -> three."""
    put_all(
        store,
        task("COMPLETE", 10, "one", run=1, inputs=[data("source")], outputs=[data("a")]),
        event("START", 20, "two", run=2, inputs=[data("a")]),
        event("COMPLETE", 25, "two", run=2, outputs=[data("b")]),
        event("START", 30, "three", run=3, inputs=[data("a"), data("b")]),
    )
    return store


def names_of(store: Store, edges: Iterable[Edge]) -> set[tuple[str, str]]:
    """Return edges as (source, target) by the names of jobs and datasets."""
    nodes = {node for edge in edges for node in (edge.src, edge.dst)}
    names = {number: run.job[1] for number, run in store.runs_by_id(nodes).items()}
    names |= {number: one.dataset.name for number, one in store.versions_by_id(nodes).items()}
    return {(names[edge.src], names[edge.dst]) for edge in edges}


WHOLE_CHAIN = {
    ("source", "d.one"),
    ("d.one", "a"),
    ("a", "two"),
    ("two", "b"),
    ("b", "three"),
    ("a", "three"),
}


@pytest.mark.parametrize("depth", [None, 6, 100])
def test_a_trace_without_a_bound_goes_all_the_way_and_every_edge_is_told_once(
    chain: Store, depth: int | None
) -> None:
    [source] = chain.versions(DatasetRef("pg", "source"))
    three = run_of(chain, "three")

    upstream = chain.trace([three.id], "upstream", depth)
    downstream = chain.trace([source.id], "downstream", depth)

    assert names_of(chain, upstream) == WHOLE_CHAIN
    assert names_of(chain, downstream) == WHOLE_CHAIN
    assert len(upstream) == len(downstream) == len(WHOLE_CHAIN)
    assert chain.trace([three.id], "downstream", depth) == []
    assert chain.trace([], "upstream", depth) == []
    assert chain.trace([10**9], "upstream", depth) == []


@pytest.mark.parametrize("depth", [None, 6])
def test_a_trace_may_start_at_any_number_of_nodes(chain: Store, depth: int | None) -> None:
    # All versions of a dataset that is written every hour are soon a thousand.
    edges = chain.trace(range(1, 5000), "upstream", depth)

    assert names_of(chain, edges) == WHOLE_CHAIN
    assert len(edges) == len(WHOLE_CHAIN)


def test_a_trace_with_a_depth_goes_that_many_steps(chain: Store) -> None:
    three = run_of(chain, "three")

    def traced(depth: int) -> set[tuple[str, str]]:
        return names_of(chain, chain.trace([three.id], "upstream", depth))

    assert traced(0) == set()
    assert traced(1) == {("b", "three"), ("a", "three")}
    assert traced(2) == traced(1) | {("two", "b"), ("d.one", "a")}
    assert traced(3) == traced(2) | {("a", "two"), ("source", "d.one")} == WHOLE_CHAIN


@pytest.mark.parametrize("seed", range(5))
def test_upstream_and_downstream_are_each_others_inverse(store: Store, seed: int) -> None:
    rng = random.Random(f"inverse {seed}")
    ingest_all(store, story(rng, 60), [])
    nodes = [run.id for run, _ in store.scan_runs()] + [one.id for one in store.scan_versions()]
    above = {node: {e.src for e in store.trace([node], "upstream", None)} for node in nodes}
    below = {node: {e.dst for e in store.trace([node], "downstream", None)} for node in nodes}

    pairs = {(node, other) for node in nodes for other in above[node]}

    assert pairs == {(other, node) for node in nodes for other in below[node]}
    assert len(pairs) > 20
    for node in rng.sample(nodes, 5):
        bounded = store.trace([node], "upstream", len(nodes))
        assert set(bounded) == set(store.trace([node], "upstream", None))
        assert len(bounded) == len(set(bounded))


def test_a_source_that_changed_is_a_new_version_and_old_runs_still_point_at_the_old_one(
    store: Store,
) -> None:
    def read(second: float, run: int, version: str, *, verified: bool = True) -> LogEntry:
        content = {"verified": verified}
        source = data("in.csv", version=version, airflowProvenance_content=content)
        return event("START", second, "reader", run=run, inputs=[source])

    put_all(store, read(20, 1, "sha-1"), read(10, 2, "sha-1", verified=False))
    put_all(store, read(30, 3, "sha-2", verified=False))

    first, second = store.versions(DatasetRef("pg", "in.csv"))
    assert (first.content_id, first.first_seen_us, first.verified) == ("sha-1", us(10), True)
    assert (second.content_id, second.first_seen_us, second.verified) == ("sha-2", us(30), False)
    assert {first.status, second.status} == {VersionStatus.OBSERVED}
    assert (first.run_id, second.run_id) == (None, None)
    read_by = {
        number: store.trace([one_named(store, uuid(number)).id], "upstream", 1)[0].src
        for number in (1, 2, 3)
    }
    assert read_by == {1: first.id, 2: first.id, 3: second.id}


def test_counts_count_each_kind(chain: Store) -> None:
    put(chain, ("E", b"{}"))

    assert chain.counts() == {
        "entries": 4,
        "runs": 3,
        "versions": 3,
        "edges": 6,
        "quarantined": 1,
    }


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
