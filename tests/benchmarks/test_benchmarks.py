"""The benchmarks run, and what they compare agrees. Nothing here looks at how long they take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.formats.openlineage import read_entry
from airflow_provenance.store.memory import MemoryStore
from tests.benchmarks.__main__ import main
from tests.benchmarks.corpus import DAGS, corpus, templates
from tests.benchmarks.over_http import _checked
from tests.benchmarks.posting import Target, post_all
from tests.support import postgres
from tests.support.marquez_stub import MarquezStub

if TYPE_CHECKING:
    from pathlib import Path

RECEIVED_US = 1_800_000_000_000_000


def test_the_corpus_is_the_same_each_time_and_no_event_is_repeated() -> None:
    events = list(corpus(1_000))
    assert len(set(events)) == 1_000
    assert list(corpus(1_000)) == events
    assert list(corpus(100)) == events[:100]


def test_the_corpus_is_in_the_order_of_time_and_runs_of_several_dags_mix() -> None:
    entries = [read_entry("E", raw, 1 << 20) for raw in corpus(DAGS * len(templates()))]
    times = [entry.event_us for entry in entries]
    assert times == sorted(times)
    jobs = [entry.job[1].partition(".")[0] for entry in entries if entry.job is not None]
    assert len(set(jobs)) == DAGS
    assert any(one != other for one, other in zip(jobs[1::2], jobs[::2], strict=True))
    assert not any(entry.warnings for entry in entries)


def test_the_corpus_makes_links_of_several_rules_and_append_edges() -> None:
    store = MemoryStore()
    report = store.ingest([("E", raw) for raw in corpus(1_000)], received_us=RECEIVED_US)
    assert report.ingested == 1_000
    facts = store.dump_facts()
    assert {link["rule"] for link in facts["links"]} >= {"same_dag_run", "newest", "observed"}
    assert facts["appends"]


def test_all_benchmarks_run(
    postgres_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(postgres.ADMIN_URL, postgres_server)
    main(["--quick", "--seconds", "0.5", "--json", str(tmp_path / "result.json")])
    result = json.loads((tmp_path / "result.json").read_text())
    stores = {"sqlite", "postgres"}
    assert set(result["ingest"]["stores"]) == stores
    assert result["ingest"]["rows"]["event"] == result["ingest"]["events"]
    assert result["ingest"]["rows"]["edge"] > 0
    for question in result["trace"]["questions"].values():
        assert set(question["stores"]) == stores
        assert question["edges"]["sum"] > 0
    for name, figures in result["hashing"]["files"].items():
        assert figures["ours_seconds"] > 0
        assert (figures["rows"] is None) == (name == "bytes.bin")
    http = result["http"]
    assert set(http["minute"]) == stores
    for figures in http["minute"].values():
        assert figures["events"] > 0
        assert figures["stored"] == figures["events"] + http["clients"]  # the first ones open it
        assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
        assert len(figures["load_average"]) == 2
    servers = {"ours, sqlite", "ours, postgres", "marquez stub", "datahub stub"}
    assert set(http["side_by_side"]) >= servers
    for figures in http["side_by_side"].values():
        assert set(figures) == {"1", "8"}
        assert all(one["median"] > 0 for one in figures.values())
    hooks = result["overhead"]["hooks"]
    timed = {"on_task_instance_running", "success without inspection", "emit START"}
    assert {hooks[name]["count"] for name in timed} == {2, 3}  # the DAG run has a START, too
    assert hooks["emit COMPLETE"]["p99"] > 0
    for figures in result["overhead"]["pairs"].values():
        low, high = figures["interval"]
        assert figures["count"] == 2
        assert low <= figures["difference"] <= high
    lines = result["overview"]
    benchmarks = {"ingest", "trace", "hashing", "http", "beside", "hook", "task", "tick"}
    assert {line["name"].partition(" ")[0].rstrip(",") for line in lines} == benchmarks
    for line in lines:
        assert line["figure"]
        assert line["counts"]
        assert len(line["load"]) == 2
        assert line["took_s"] > 0
    printed = capsys.readouterr().out
    assert "[1/6] ingest: events 4000" in printed
    assert all(line["name"] in printed.partition("Overview")[2] for line in lines)
    assert "Ingest:" in printed
    assert "Trace:" in printed
    assert "Hashing:" in printed
    assert "HTTP:" in printed
    assert "Side by side:" in printed
    assert "Overhead:" in printed


def test_a_server_that_refuses_an_event_makes_no_figure() -> None:
    with MarquezStub() as stub:
        stub.fail(503, times=1)
        target = Target(stub.url, {})
        posted = post_all(target, corpus(20), 4, 60)
    assert posted.refused == [503]
    assert len(posted.latencies) == 20
    with pytest.raises(AssertionError, match="1 refused, the first with 503"):
        _checked(posted)


def test_each_event_is_posted_once_whoever_posts_it() -> None:
    with MarquezStub() as stub:
        post_all(Target(stub.url, {}), corpus(50), 8, 60)
        sent = sorted(one.request.body for one in stub.received)
    assert sent == sorted(corpus(50))


def test_posting_ends_with_its_time() -> None:
    with MarquezStub() as stub:
        stub.delay_seconds = 0.05
        posted = post_all(Target(stub.url, {}), corpus(1_000), 2, 0.2)
    assert 0 < len(posted.latencies) < 1_000
