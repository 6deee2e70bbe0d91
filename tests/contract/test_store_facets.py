"""What every store keeps of facets, also of those that nobody here knows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.domain.run import VersionStatus
from airflow_provenance.formats.facets import MANIFEST
from tests.support.entries import (
    GOOD,
    STATE,
    TOTALS,
    Json,
    body,
    data,
    entry,
    event,
    manifest,
    put,
    put_all,
    raws,
    run_of,
    us,
    uuid,
)

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store


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
