"""The policy: which line decides, and what of an event it leaves."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from airflow_provenance.capture import hook_lineage, listener
from airflow_provenance.domain.granularity import Looks, Policy, parse_policy
from airflow_provenance.domain.identity import DatasetRef, TaskRef
from airflow_provenance.emit import failure, notes, spool
from airflow_provenance.emit.enrich import enrich
from airflow_provenance.emit.notes import Content, ManifestNotes, TaskRunNotes
from airflow_provenance.emit.observed import Observation
from airflow_provenance.formats import facets
from tests.support.facet_schemas import own_facet_problems

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]
RAW, SCRATCH = DatasetRef("file", "/data/raw.csv"), DatasetRef("file", "/data/scratch/x.csv")
TABLE = DatasetRef("postgres://db:5432", "air.public.flights")
REF = TaskRef("flights", "manual__1", "load", -1, 1)


@pytest.mark.parametrize(
    ("lines", "dag", "of_raw", "of_scratch"),
    [
        ("", "dataset", "dataset", "dataset"),
        ("* * run", "run", "run", "run"),
        ("* * run\nflights * dataset", "dataset", "dataset", "dataset"),
        ("flights * dataset\n* * run", "run", "run", "run"),
        ("* * run\nother * none", "run", "run", "run"),
        ("* */scratch/* none", "dataset", "dataset", "none"),
        ("* */scratch/* none\n* file//data/* run", "dataset", "run", "run"),
        ("fl[i]ghts file//data/raw.??? run", "dataset", "run", "dataset"),
        ("FLIGHTS * none", "dataset", "dataset", "dataset"),
        # Of a DAG that is only run, nothing else is told, whatever is said of datasets.
        ("* * none\n* file/* dataset", "none", "none", "none"),
    ],
)
def test_the_last_line_that_matches_decides(
    lines: str, dag: str, of_raw: str, of_scratch: str
) -> None:
    looks = Looks("flights", parse_policy(lines))

    decided = (looks.of_dag, looks.decide(RAW), looks.decide(SCRATCH))

    assert tuple(one.level for one in decided) == (dag, of_raw, of_scratch)
    assert looks.looks_at(RAW) == (of_raw == "dataset")
    assert looks.names(SCRATCH) == (of_scratch != "none")
    assert looks.hides_some or "none" not in (dag, of_raw, of_scratch)


def test_the_rule_is_told_as_it_was_written() -> None:
    decision = parse_policy("  *   file/*\trun # bulk ").decide("flights", RAW)

    assert decision == ("run", "* file/* run")


globs = st.sampled_from(["*", "flights", "fl*", "other", "file/*", "*/scratch/*", "postgres:*"])
rules = st.lists(
    st.tuples(globs, globs, st.sampled_from(["none", "run", "dataset"])).map(" ".join), max_size=5
)


@given(rules, rules)
def test_what_is_added_for_everything_overrides_all_before(
    before: list[str], after: list[str]
) -> None:
    shadowed = parse_policy("\n".join([*before, "* * run", *after]))
    alone = parse_policy("\n".join(["* * run", *after]))

    for ref in (RAW, SCRATCH, TABLE):
        assert shadowed.decide("flights", ref) == alone.decide("flights", ref)


def noted(lines: str, **members: Any) -> TaskRunNotes:
    return TaskRunNotes(
        REF,
        state="COMPLETE",
        inputs={RAW: Content(True, "ab" * 32, 7, 1)},
        manifest=ManifestNotes(code={"dagId": "flights"}),
        policy=parse_policy(lines),
        **members,
    )


def event(job: str = "flights.load") -> Json:
    def of(*refs: DatasetRef) -> list[Json]:
        return [ref._asdict() for ref in refs]

    lineage = {
        "fields": {"a": {"inputFields": [{**one, "field": "a"} for one in of(RAW, SCRATCH)]}}
    }
    airflow = {
        "task": {"task_id": "load", "inlets": "['file:///data/scratch/x.csv']"},
        "dagRun": {"run_id": "manual__1", "conf": {"a": 1}},
    }
    return {
        "eventType": "COMPLETE",
        "run": {"runId": "r", "facets": {"airflow": airflow}},
        "job": {"name": job, "facets": {"sql": {"query": "select a from scratch"}, "jobType": {}}},
        "inputs": of(RAW, SCRATCH),
        "outputs": [{**TABLE._asdict(), "facets": {"columnLineage": lineage}}],
    }


def names(enriched: Json) -> list[str]:
    return [one["name"] for side in ("inputs", "outputs") for one in enriched[side]]


def granularity(enriched: Json) -> Json:
    facet: Json = enriched["run"]["facets"][facets.GRANULARITY]
    assert own_facet_problems(facets.GRANULARITY, facet) == []
    return {name: value for name, value in facet.items() if not name.startswith("_")}


def test_by_default_all_is_told_and_the_facet_says_so() -> None:
    enriched = enrich(event(), noted(""))

    assert names(enriched) == [RAW.name, SCRATCH.name, TABLE.name]
    assert enriched["job"] == event()["job"]
    assert enriched["run"]["facets"]["airflow"] == event()["run"]["facets"]["airflow"]
    assert granularity(enriched) == {
        "level": "dataset",
        "rule": "* * dataset",
        "datasets": [],
        "leftOut": 0,
    }


def test_a_dataset_that_is_left_out_is_counted_and_nowhere_named() -> None:
    enriched = enrich(event(), noted("* */scratch/* none\n* postgres:* run"))

    assert "scratch" not in str({**enriched, "run": {**enriched["run"], "facets": {}}})
    assert "scratch/x.csv" not in str(enriched)
    assert names(enriched) == [RAW.name, TABLE.name]
    (output,) = enriched["outputs"]
    fields = output["facets"]["columnLineage"]["fields"]["a"]["inputFields"]
    assert [one["name"] for one in fields] == [RAW.name]
    assert granularity(enriched) == {
        "level": "dataset",
        "rule": "* * dataset",
        "datasets": [{**TABLE._asdict(), "level": "run", "rule": "* postgres:* run"}],
        "leftOut": 1,
    }


def test_what_observe_was_told_of_a_dataset_that_is_left_out_is_left_out_too() -> None:
    observing = noted("* * dataset\n* s3:* none")
    hidden = DatasetRef("s3://lake", "hidden")
    observing.observed.outputs[hidden, None] = Observation(rows=3)

    enriched = enrich(event(), observing)

    assert "hidden" not in str(enriched)
    assert granularity(enriched)["leftOut"] == 1


def test_of_a_dag_that_is_none_the_run_stays_with_its_identity_and_state() -> None:
    enriched = enrich(event(), noted("flights * none", hostname="worker-1"))

    assert (enriched["inputs"], enriched["outputs"]) == ([], [])
    run_facets = enriched["run"]["facets"]
    assert run_facets[facets.TASK]["taskId"] == "load"
    assert run_facets[facets.RUN]["state"] == "COMPLETE"
    assert run_facets["airflow"] == {"task": {"task_id": "load"}, "dagRun": {"run_id": "manual__1"}}
    assert enriched["job"]["facets"] == {"jobType": {}}
    assert granularity(enriched) == {
        "level": "none",
        "rule": "flights * none",
        "datasets": [],
        "leftOut": 3,
    }


def test_a_childs_event_says_so_only_when_something_was_left_out() -> None:
    child = event("flights.load.query.1")

    assert facets.GRANULARITY not in enrich(child, noted("* * run"))["run"]["facets"]
    assert granularity(enrich(child, noted("* */scratch/* none")))["leftOut"] == 1


def test_the_event_that_was_given_is_not_changed() -> None:
    given = event()

    enrich(given, noted("* * none"))

    assert given == event()


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A task that wrote a file of a million records."""
    monkeypatch.setattr(spool, "_current", None)
    monkeypatch.setattr(notes, "_current", None)
    monkeypatch.setattr(failure, "_last_line", None)
    monkeypatch.setattr(hook_lineage, "_collector", lambda: None)
    monkeypatch.setenv("AIRFLOW__PROVENANCE__SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("AIRFLOW__PROVENANCE__HASH_TIMEOUT_SECONDS", "60")
    monkeypatch.setenv("AIRFLOW__PROVENANCE__GRANULARITY", "* * dataset")
    written = tmp_path / "big.csv"
    written.write_text("carrier,delay\n" + "UA,1234567890\n" * 1_000_000)
    outlet = SimpleNamespace(uri=f"file://{written}")
    return SimpleNamespace(
        **REF._asdict(),
        start_date=None,
        end_date=None,
        state="success",
        hostname="worker-1",
        task=SimpleNamespace(inlets=[], outlets=[outlet]),
        get_template_context=lambda: {"triggering_asset_events": {}},
    )


def outcome(task: SimpleNamespace) -> tuple[TaskRunNotes, float]:
    """Run the hooks; return what they noted, and the seconds the last of them took."""
    listener.on_task_instance_running(None, task)
    began = time.perf_counter()
    listener.on_task_instance_success("running", task)
    found = notes.current()
    assert found is not None
    return found, time.perf_counter() - began


def test_a_million_records_are_not_looked_at_when_only_the_run_is_wanted(
    task: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looked, _ = outcome(task)
    (content,) = looked.outputs.values()
    assert content.structure is not None
    assert content.structure.rows == 1_000_000

    monkeypatch.setenv("AIRFLOW__PROVENANCE__GRANULARITY", "* * dataset\n* */big.csv run")
    named, seconds = outcome(task)

    assert (named.outputs, named.state) == ({}, "COMPLETE")
    assert named.manifest is not None
    assert seconds < 0.05
    own = {**event(), "outputs": [{"namespace": "file", "name": str(tmp_path / "big.csv")}]}
    (output,) = enrich(own, named)["outputs"]
    assert "facets" not in output


def test_a_dag_that_is_none_has_no_manifest(
    task: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__GRANULARITY", "* * none")

    found, _ = outcome(task)

    assert (found.manifest, found.outputs, found.state) == (None, {}, "COMPLETE")


def test_a_setting_that_is_wrong_is_one_line_and_all_is_looked_at(
    task: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__GRANULARITY", "* * everything")

    found, _ = outcome(task)

    assert found.policy == Policy()
    assert len(found.outputs) == 1
    (line,) = [one.message for one in caplog.records if one.levelno >= logging.WARNING]
    assert "line 1 is '* * everything'" in line
    assert "All data is looked at" in line
