"""Dataset versions, reads and the graph, the same in every store."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.domain.linking import LinkRule
from airflow_provenance.domain.run import VersionStatus
from tests.contract.generate import story
from tests.contract.support import ingest_all
from tests.support.entries import (
    REPLACED,
    TOTALS,
    LogEntry,
    body,
    data,
    entry,
    event,
    names_of,
    one_named,
    put,
    put_all,
    run_of,
    task,
    us,
    uuid,
)

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store


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
