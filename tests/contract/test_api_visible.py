"""What a viewer sees of a store, and how much of the store is read for it: see `api.visible`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.api.tokens import Token, TokenViewer
from airflow_provenance.api.visible import VisibleReader
from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.store.base import RunQuery
from tests.contract.support import RECEIVED_US, ingest_all
from tests.contract.test_api import data, event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provenance.store.base import Store

MINE = (3, 150, 290)  # of 300 runs
SHARED = DatasetRef("n", "shared")


class CountingStore:
    """A store that counts the rows it answers with, and its answers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.rows = self.answers = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            answer = method(*arguments, **named)
            self.answers += 1
            if hasattr(answer, "__len__"):
                self.rows += len(answer)
            elif hasattr(answer, "__next__"):
                answer = list(answer)
                self.rows += len(answer)
                return iter(answer)
            return answer

        return counted


def viewer(*dags: str, scopes: Sequence[str] = ("read",)) -> TokenViewer:
    return TokenViewer(Token("me", "", list(scopes), [], list(dags)))  # type: ignore[arg-type]


ADMIN = viewer(scopes=["admin"])


def reader(
    store: Any, *dags: str, namespaces: Mapping[str, Sequence[str]] | None = None
) -> VisibleReader:
    return VisibleReader(store, viewer(*dags), namespaces)


@pytest.fixture
def many(store: Store) -> CountingStore:
    """300 runs, each of which wrote the same dataset and one of its own; 3 are of my DAG."""
    events = [
        event(
            number,
            dag="mine" if number in MINE else f"theirs{number % 7}",
            outputs=data("shared") + data(f"d{number:03d}"),
            eventTime=f"2026-01-01T{number // 60:02d}:{number % 60:02d}:00Z",
        )
        for number in range(1, 301)
    ]
    ingest_all(store, [("E", json.dumps(one).encode()) for one in events], [])
    return CountingStore(store)


LISTS = {
    "runs": lambda store, limit: store.runs(RunQuery(limit=limit)),
    "jobs": lambda store, limit: store.jobs(None, limit),
    "datasets": lambda store, limit: store.datasets(None, limit),
    "versions": lambda store, limit: store.version_page(SHARED, 0, limit),
    "events": lambda store, limit: store.entries(limit=limit),
    "newest events": lambda store, limit: store.entries(limit=limit, newest_first=True),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_page_costs_its_own_rows_however_many_are_hidden(many: CountingStore, kind: str) -> None:
    ask = LISTS[kind]
    expected = {"datasets": 4}.get(kind, 3)
    assert len(ask(reader(many, "mine"), 10)) == expected
    # The page, and for the second look at it the uses or the writers of what is on it.
    assert many.rows <= 3 * expected
    assert many.answers <= 4

    many.rows = 0
    assert len(ask(VisibleReader(many, ADMIN), 10)) == 10
    assert many.rows <= 30


@pytest.mark.parametrize("kind", LISTS)
def test_lists_hold_what_may_be_seen_and_in_the_same_order(many: CountingStore, kind: str) -> None:
    whole = LISTS[kind](VisibleReader(many, ADMIN), 1000)
    both = LISTS[kind](reader(many, "mine", "theirs3"), 1000)
    seen = LISTS[kind](reader(many, "mine"), 1000)
    assert len(seen) < len(both) < len(whole)
    assert [one for one in whole if one in both] == both
    assert [one for one in both if one in seen] == seen
    assert LISTS[kind](reader(many), 1000) == []


def test_pages_of_events_go_on_from_the_newest(many: CountingStore) -> None:
    for mine, count in (reader(many, "theirs*"), 297), (VisibleReader(many, ADMIN), 300):
        seen, before = [], None
        while found := mine.entries(newest_first=True, before_seq=before, limit=7):
            seen += [one.seq for one in found]
            before = found[-1].seq
        assert seen == [one.seq for one in mine.entries(limit=1000)][::-1]
        assert len(seen) == count


def test_one_run_that_comes_in_between_is_not_shown(
    many: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = reader(many, "mine")
    monkeypatch.setattr(mine, "_narrowed", lambda: None)  # the store narrows nothing
    for kind, ask in LISTS.items():
        assert ask(mine, 10) == ask(reader(many, "mine"), 10), kind


def test_who_sees_all_has_the_stores_own_counts(many: CountingStore, store: Store) -> None:
    everything = VisibleReader(many, ADMIN).counts()
    assert everything == store.counts()
    assert many.rows <= 20
    mine = reader(many, "mine").counts()
    assert mine == {"entries": 3, "runs": 3, "versions": 6, "edges": 6, "quarantined": 0}


def test_a_dag_with_dots_is_told_from_its_namesakes(store: Store) -> None:
    # The job a.b is a DAG's, and the task b's of the DAG a; a.b.c is of two DAGs, too.
    jobs = [("a", "b"), ("a.b", "c"), ("a", "b.c")]
    events = []
    for number, (dag, task) in enumerate(jobs, 1):
        one = event(number, dag=dag, job={"namespace": "demo", "name": f"{dag}.{task}"})
        one["run"]["facets"]["airflow"]["task"]["task_id"] = task
        events.append(("E", json.dumps(one).encode()))
    ingest_all(store, events, [])

    def seen(dag: str) -> list[tuple[str, str]]:
        return [(one.key.dag_id, one.key.task_id) for one in reader(store, dag).runs(RunQuery())]

    assert seen("a") == [("a", "b.c"), ("a", "b")]
    assert seen("a.b") == [("a.b", "c")]
    assert store.owners().dag_ids == {"a", "a.b"}


def test_events_of_a_run_that_another_absorbed_are_the_others(store: Store) -> None:
    # The end of a try does not say whose it is: its runId and job do.
    start = event(1, "START", dag="mine")
    end = {**event(1), "job": start["job"]}
    for one in (end, start):
        ingest_all(store, [("E", json.dumps(one).encode())], [])
    [run] = store.runs(RunQuery())
    for mine in (reader(store, "mine"), VisibleReader(store, ADMIN)):
        for found in (mine.entries(), mine.entries(run_id=run.id)):
            assert [one.event_type for one in found] == ["COMPLETE", "START"]
            assert {one.run_id for one in found} == {run.id}
    assert reader(store, "theirs").entries() == []
    assert reader(store, "theirs", namespaces={"demo": ["theirs"]}).entries() == []


# ---- Jobs that belong to no DAG ------------------------------------------------------------------


@pytest.fixture
def foreign(store: Store) -> Store:
    """A run of a DAG, and two of other producers in their namespaces; a job of which no run is."""
    spark = {"namespace": "spark-sales", "name": "load"}
    events = [
        event(4, dag="sales", inputs=data("loaded"), outputs=data("report")),
        event(2, job=spark, inputs=data("raw"), outputs=data("loaded")),
        event(3, job={**spark, "namespace": "spark-hr"}, outputs=data("people")),
    ]
    job_event = {
        "eventTime": "2026-01-01T00:09:00Z",
        "producer": "https://example.com",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/JobEvent",
        "job": {"namespace": "spark-sales", "name": "planned"},
    }
    entries = [("E", json.dumps(one).encode()) for one in [*events, job_event]]
    assert store.ingest(entries, received_us=RECEIVED_US).ingested == 4  # type: ignore[arg-type]
    return store


@pytest.mark.parametrize(
    ("mapping", "seen"),
    [
        ({}, {"sales.t4"}),
        ({"spark-sales": ["sales"]}, {"sales.t4", "load"}),
        ({"spark-s*": ["other", "sales"]}, {"sales.t4", "load"}),
        ({"spark-sales": ["other"], "spark": ["sales"]}, {"sales.t4"}),
        ({"*": ["other"]}, {"sales.t4"}),
    ],
)
def test_a_namespace_is_seen_by_who_may_read_one_of_its_dags(
    foreign: Store, mapping: dict[str, list[str]], seen: set[str]
) -> None:
    mine = reader(foreign, "sales", namespaces=mapping)
    assert {run.job[1] for run in mine.runs(RunQuery())} == seen
    # The job without runs may be any DAG's.
    assert {job[1] for job in mine.jobs(None, 10)} == seen
    assert {job[1] for job in mine.job_names()} == seen
    assert len(mine.entries()) == len(seen)
    names = {one.name for one in mine.datasets(None, 10)}
    assert names == {"loaded", "report"} | ({"raw"} if "load" in seen else set())
    graph = mine.trace([mine.version_page(DatasetRef("n", "report"), 0, 1)[0].id], "upstream", 9)
    nodes = {edge.src for edge in graph}
    writer = next(run.id for run in foreign.runs(RunQuery()) if run.job[0] == "spark-sales")
    assert writer in nodes
    assert (writer in mine.runs_by_id(nodes)) == ("load" in seen)


def test_a_mapped_namespace_is_not_its_dags(foreign: Store) -> None:
    mine = reader(foreign, "other", namespaces={"demo": ["other"], "spark-hr": ["other"]})
    assert {run.job for run in mine.runs(RunQuery())} == {("spark-hr", "load")}
