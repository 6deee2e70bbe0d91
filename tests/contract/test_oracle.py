"""The oracle against facts worked out by hand: one small story per rule."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from airflow_provenance.domain.clock import parse_time
from tests.contract.generate import story
from tests.contract.oracle import Json, LogEntry, derive

DAY = "2026-01-05T06:00:"
DATA = ["pg", "totals"]


def at(second: float) -> str:
    return f"{DAY}{second:06.3f}Z"


def us(second: float) -> int:
    return parse_time(at(second))


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def data(
    partition: str | None = None,
    version: str | None = None,
    change: str | None = None,
    verified: bool | None = None,
    name: str = "totals",
) -> Json:
    """Return an input or output."""
    facets: Json = {}
    if partition:
        facets["airflowProvenance_partition"] = {"key": partition}
    if version:
        facets["version"] = {"datasetVersion": version}
    if change:
        facets["lifecycleStateChange"] = {"lifecycleStateChange": change}
    if verified is not None:
        facets["airflowProvenance_content"] = {"verified": verified}
    return {"namespace": "pg", "name": name, "facets": facets}


def event(
    event_type: str,
    second: float,
    job: str,
    facets: Json | None = None,
    run: int = 1,
    inputs: list[Json] | None = None,
    outputs: list[Json] | None = None,
) -> LogEntry:
    body = {
        "eventTime": at(second),
        "eventType": event_type,
        "job": {"namespace": "air", "name": job},
        "run": {"runId": uuid(run), "facets": facets or {}},
        "inputs": inputs,
        "outputs": outputs,
    }
    return "E", json.dumps(body).encode()


def task_event(
    event_type: str,
    second: float,
    task: str,
    *,
    member: int = -1,
    attempt: int = 1,
    dag_run: str = "r1",
    upstream: str | list[str] = "[]",
    noted: Json | None = None,
    **rest: Any,
) -> LogEntry:
    facet = {
        "dag": {"dag_id": "d"},
        "dagRun": {"run_id": dag_run},
        "task": {"task_id": task, "upstream_task_ids": upstream},
        "taskInstance": {"try_number": attempt, "map_index": member},
    }
    facets = {"airflow": facet, "airflowProvenance_run": noted}
    return event(event_type, second, f"d.{task}", facets, **rest)


def write(second: float, task: str, *outputs: Json, **rest: Any) -> LogEntry:
    """Return a task run that wrote something: one event, COMPLETE unless told otherwise."""
    return task_event(
        rest.pop("event_type", "COMPLETE"), second, task, outputs=list(outputs) or [data()], **rest
    )


def read(second: float, *inputs: Json, task: str = "reader", **rest: Any) -> LogEntry:
    """Return a task run of another DAG run that starts and reads."""
    rest.setdefault("dag_run", "r9")
    return task_event("START", second, task, inputs=list(inputs) or [data()], **rest)


def note(kind: str, second: float, *, task: str | None = "t", attempt: int = 1, **said: Any) -> Any:
    body = {"kind": kind, "namespace": "air", "dagId": "d", "runId": "r1", "at": at(second), **said}
    if task:
        body |= {"taskId": task, "mapIndex": -1, "tryNumber": attempt}
    return "N", json.dumps(body).encode()


def key(task: str, member: int = -1, attempt: int = 1, dag_run: str = "r1") -> list[Any]:
    return ["task", "air", "d", dag_run, task, member, attempt]


def run_of(*entries: LogEntry) -> Json:
    [run] = derive(entries)["runs"]
    return run


def links_of(*entries: LogEntry) -> list[tuple[str, Any]]:
    """Return the rule and writer of every link."""
    return [(link["rule"], link["version"]["writer"]) for link in derive(entries)["links"]]


def appends_of(*entries: LogEntry) -> list[tuple[Any, Any]]:
    return [
        (edge["version"]["writer"], edge["predecessor"]["writer"])
        for edge in derive(entries)["appends"]
    ]


# ---- Run keys -----------------------------------------------------------------------------------


def test_the_official_facet_names_a_task_run() -> None:
    run = run_of(task_event("START", 1, "t", member=2, attempt=3))
    assert run["key"] == key("t", 2, 3)
    assert run["job"] == ["air", "d.t"]
    assert run["parent"] == ["dag_run", "air", "d", "r1"]
    assert run["run_uuid"] == uuid(1)


def test_the_official_facet_on_another_job_does_not_name_the_task_run() -> None:
    facet = json.loads(task_event("START", 1, "t")[1])["run"]["facets"]
    assert run_of(event("START", 1, "d.t.query.1", facet))["key"][0] == "run"


def test_our_task_facet_names_the_run_of_its_own_job() -> None:
    facet = {"dagId": "d", "runId": "r1", "taskId": "t", "mapIndex": -1, "tryNumber": 1}
    assert run_of(event("START", 1, "d.t", {"airflowProvenance_task": facet}))["key"] == key("t")


def test_a_dag_run_is_named_by_its_facet_and_has_no_parent() -> None:
    facet = {"dag": {"dag_id": "d"}, "dagRun": {"run_id": "r1"}}
    run = run_of(event("START", 1, "d", {"airflowDagRun": facet}))
    assert (run["key"], run["parent"]) == (["dag_run", "air", "d", "r1"], None)


def test_an_event_without_a_key_is_absorbed_by_the_one_keyed_run_of_its_run_id() -> None:
    run = run_of(task_event("START", 1, "t"), event("COMPLETE", 2, "d.t"))
    assert (run["key"], run["state"], run["ended_at"]) == (key("t"), "COMPLETE", us(2))


def test_an_event_without_a_key_is_a_run_of_its_own_when_two_keyed_runs_share_its_run_id() -> None:
    entries = [
        task_event("START", 1, "t"),
        task_event("START", 1, "t", dag_run="r2"),
        event("COMPLETE", 2, "d.t"),
    ]
    runs = {tuple(run["key"]): run["state"] for run in derive(entries)["runs"]}
    assert runs == {
        tuple(key("t")): "RUNNING",
        tuple(key("t", dag_run="r2")): "RUNNING",
        ("run", "air", "d.t", uuid(1)): "COMPLETE",
    }


def test_a_run_id_that_reads_like_a_run_uuid_does_not_make_two_runs_one() -> None:
    noted = note("dag_run", 1, task=None, state="COMPLETE", runId=uuid(1))
    runs = derive([noted, event("START", 1, "d")])["runs"]
    assert [(run["key"], run["state"]) for run in runs] == [
        (["dag_run", "air", "d", uuid(1)], "COMPLETE"),
        (["run", "air", "d", uuid(1)], "RUNNING"),
    ]


def test_a_null_facet_is_as_if_absent() -> None:
    run = run_of(event("START", 1, "d.t", {"airflow": None, "parent": None}))
    assert (run["key"], run["parent"]) == (["run", "air", "d.t", uuid(1)], None)


# ---- Run facts ----------------------------------------------------------------------------------


def test_noted_times_win_over_the_times_of_events() -> None:
    noted = {"startedAt": at(3), "endedAt": at(4)}
    run = run_of(
        task_event("START", 1, "t"),
        task_event("COMPLETE", 9, "t", noted=noted),
        note("task_run", 9, state="COMPLETE", startedAt=at(2), endedAt=at(5)),
    )
    assert (run["started_at"], run["ended_at"]) == (us(2), us(4))


def test_without_notes_a_run_lasts_from_its_first_start_to_its_first_terminal() -> None:
    run = run_of(
        task_event("START", 2, "t"),
        task_event("START", 1, "t"),
        task_event("RUNNING", 0, "t"),
        task_event("COMPLETE", 8, "t"),
        task_event("FAIL", 7, "t"),
    )
    assert (run["started_at"], run["ended_at"]) == (us(1), us(7))


def test_the_latest_terminal_makes_the_state() -> None:
    assert run_of(task_event("FAIL", 1, "t"), task_event("COMPLETE", 2, "t"))["state"] == "COMPLETE"


@pytest.mark.parametrize(
    ("one", "other", "winner"),
    [("COMPLETE", "ABORT", "ABORT"), ("ABORT", "FAIL", "FAIL"), ("COMPLETE", "FAIL", "FAIL")],
)
def test_of_two_terminals_at_one_time_the_worse_wins(one: str, other: str, winner: str) -> None:
    assert run_of(task_event(one, 1, "t"), task_event(other, 1, "t"))["state"] == winner


def test_the_noted_state_of_a_terminal_event_wins_over_its_type() -> None:
    assert run_of(task_event("COMPLETE", 1, "t", noted={"state": "SKIPPED"}))["state"] == "SKIPPED"
    assert run_of(task_event("COMPLETE", 1, "t", noted={"state": "RUNNING"}))["state"] == "COMPLETE"


def test_a_note_ends_a_run_when_it_says_it_ended() -> None:
    run = run_of(task_event("FAIL", 5, "t"), note("task_run", 9, state="COMPLETE", endedAt=at(4)))
    assert run["state"] == "FAIL"
    run = run_of(task_event("FAIL", 5, "t"), note("task_run", 6, state="UPSTREAM_FAILED"))
    assert run["state"] == "UPSTREAM_FAILED"


def test_an_override_counts_from_the_time_of_the_terminal_on() -> None:
    terminal = task_event("FAIL", 5, "t")
    before = run_of(terminal, note("state_override", 4, state="COMPLETE", who="ana"))
    same = run_of(terminal, note("state_override", 5, state="COMPLETE", who="ana"))
    assert (before["state"], same["state"]) == ("FAIL", "COMPLETE")
    assert before["override"] == {"state": "COMPLETE", "at": us(4), "who": "ana"}


def test_an_override_does_not_change_how_the_execution_ended() -> None:
    run = run_of(task_event("COMPLETE", 5, "t"), note("state_override", 6, state="FAIL", who="b"))
    assert (run["state"], run["execution_state"]) == ("FAIL", "COMPLETE")


def test_absorbed_terminals_make_the_execution_state_only_without_own_ones() -> None:
    own, absorbed = task_event("FAIL", 1, "t"), event("COMPLETE", 2, "d.t")
    run = run_of(own, absorbed)
    assert (run["state"], run["execution_state"]) == ("COMPLETE", "FAIL")
    assert run_of(task_event("START", 1, "t"), absorbed)["execution_state"] == "COMPLETE"


def test_a_run_of_notes_only_has_no_run_uuid() -> None:
    run = run_of(note("task_run", 1, state="RUNNING", hostname="h1"))
    assert (run["run_uuid"], run["state"], run["hostname"]) == (None, "RUNNING", "h1")


def test_a_dag_run_has_no_host() -> None:
    run = run_of(note("dag_run", 1, task=None, state="RUNNING", hostname="h1"))
    assert (run["job"], run["hostname"]) == (["air", "d"], None)


def test_the_latest_hostname_is_kept() -> None:
    run = run_of(
        task_event("START", 1, "t", noted={"hostname": "h1"}),
        note("task_run", 2, hostname="h2", state="RUNNING"),
        task_event("COMPLETE", 3, "t"),
    )
    assert run["hostname"] == "h2"


def test_a_child_run_has_the_task_that_emitted_it_as_parent() -> None:
    task = {"dagId": "d", "runId": "r1", "taskId": "t", "mapIndex": -1, "tryNumber": 2}
    parent = {"job": {"namespace": "x", "name": "y"}, "run": {"runId": uuid(7)}}
    facets = {"airflowProvenance_task": task, "parent": parent}
    assert run_of(event("START", 1, "spark", facets))["parent"] == key("t", attempt=2)


def test_a_foreign_run_has_the_parent_its_latest_parent_facet_names() -> None:
    older = {"job": {"namespace": "x", "name": "old"}, "run": {"runId": uuid(7)}}
    newer = {"job": {"namespace": "x", "name": "new"}, "run": {"runId": uuid(10).upper()}}
    run = run_of(
        event("START", 1, "spark", {"parent": older}),
        event("RUNNING", 2, "spark", {"parent": newer}),
        event("COMPLETE", 3, "spark"),
    )
    assert run["parent"] == ["run", "x", "new", uuid(10)]


def tries(first: LogEntry, *more: LogEntry) -> Json:
    runs = derive([first, *more, task_event("START", 50, "t", attempt=3)])["runs"]
    return {run["key"][-1]: (run["retry_of"], run["superseded_by"]) for run in runs}


def test_a_try_after_a_failure_is_a_retry_of_it() -> None:
    assert tries(task_event("FAIL", 1, "t")) == {1: (None, None), 3: (key("t"), None)}


def test_a_try_after_a_success_supersedes_it() -> None:
    found = tries(task_event("COMPLETE", 1, "t"))
    assert found == {1: (None, key("t", attempt=3)), 3: (None, None)}


def test_a_try_after_a_failure_noted_as_final_supersedes_it() -> None:
    superseded = {1: (None, key("t", attempt=3)), 3: (None, None)}
    assert tries(task_event("FAIL", 1, "t", noted={"state": "FAIL"})) == superseded
    by_hand = note("state_override", 2, state="FAIL", who="ana")
    assert tries(task_event("COMPLETE", 1, "t"), by_hand) == superseded


# ---- Inputs, outputs and versions ---------------------------------------------------------------


def test_the_facets_of_an_output_merge_by_name_and_the_latest_wins() -> None:
    [version] = derive(
        [
            write(2, "t", data(version="v2"), event_type="COMPLETE"),
            write(1, "t", data(version="v1", change="OVERWRITE"), event_type="START"),
        ]
    )["versions"]
    assert (version["content_id"], version["replaces"]) == ("v2", True)


def test_an_output_without_partition_is_dropped_beside_one_with() -> None:
    versions = derive([write(1, "t", data(), data("p1"), data("p2"))])["versions"]
    assert [version["partition"] for version in versions] == ["p1", "p2"]


@pytest.mark.parametrize(
    ("entries", "status"),
    [
        ([write(1, "t")], "good"),
        ([write(1, "t", event_type="START")], "open"),
        ([write(1, "t", event_type="FAIL")], "suspect"),
        ([write(1, "t", event_type="FAIL"), note("state_override", 2, state="COMPLETE")], "good"),
        ([write(1, "t"), note("state_override", 2, state="REMOVED")], "good"),
        ([write(1, "t", event_type="FAIL"), note("state_override", 2, state="RUNNING")], "open"),
    ],
)
def test_the_status_of_a_version_follows_its_run(entries: list[LogEntry], status: str) -> None:
    assert [version["status"] for version in derive(entries)["versions"]] == [status]


def test_a_skipped_run_wrote_nothing() -> None:
    facts = derive([write(1, "t", noted={"state": "SKIPPED"})])
    assert (facts["versions"], facts["datasets"]) == ([], [DATA])


def test_a_run_that_only_an_override_ended_ended_then() -> None:
    facts = derive([write(1, "t", event_type="START"), note("state_override", 4, state="COMPLETE")])
    assert facts["runs"][0]["ended_at"] == facts["versions"][0]["ended_at"] == us(4)


# ---- Append edges -------------------------------------------------------------------------------


def test_a_write_that_does_not_replace_appends_to_the_newest_good_version() -> None:
    entries = [
        write(1, "a"),
        write(2, "b"),
        write(3, "c", event_type="FAIL"),
        write(4, "d"),
        write(5, "e", data(change="OVERWRITE")),
        write(6, "f", data("p1")),
    ]
    assert appends_of(*entries) == [
        (key("b"), key("a")),
        (key("c"), key("b")),
        (key("d"), key("b")),
    ]


def test_mapped_siblings_do_not_append_to_one_another_but_a_later_write_appends_to_all() -> None:
    assert appends_of(write(1, "m", member=0), write(2, "m", member=1), write(3, "t")) == [
        (key("t"), key("m", 0)),
        (key("t"), key("m", 1)),
    ]


def test_a_later_try_appends_to_the_earlier_try_alone() -> None:
    entries = [
        write(1, "m", member=0),
        write(2, "m", member=1),
        write(3, "m", member=1, attempt=2),
    ]
    assert appends_of(*entries) == [(key("m", 1, 2), key("m", 1))]


def test_only_the_latest_try_of_a_member_is_a_predecessor() -> None:
    entries = [
        write(1, "m", member=0),
        write(2, "m", member=0, attempt=2),
        write(3, "m", data(change="CREATE"), member=1),
        write(4, "t"),
    ]
    assert appends_of(*entries) == [
        (key("m", 0, 2), key("m", 0)),
        (key("t"), key("m", 0, 2)),
        (key("t"), key("m", 1)),
    ]


# ---- Read links ---------------------------------------------------------------------------------


def test_rule_1_a_read_links_to_the_newest_version_it_names() -> None:
    entries = [write(1, "a", data(version="v1")), write(2, "b", data(version="v2"))]
    assert links_of(*entries, read(5, data(version="v1"))) == [("named", key("a"))]


def test_rule_1_a_named_version_that_ended_after_the_reader_began_is_not_the_one() -> None:
    assert links_of(write(6, "a", data(version="v1")), read(5, data(version="v1"))) == [
        ("observed", None)
    ]


def test_rule_1_a_suspect_version_is_linked_when_no_good_one_has_the_name() -> None:
    suspect = write(3, "b", data(version="v1"), event_type="FAIL")
    reader = read(5, data(version="v1"))
    assert links_of(suspect, reader) == [("named", key("b"))]
    assert links_of(suspect, write(1, "a", data(version="v1")), reader) == [("named", key("a"))]


def test_rule_1_of_two_partitions_that_one_run_wrote_the_last_by_name_is_the_newest() -> None:
    both = write(1, "a", data("p2", version="v1"), data("p1", version="v1"))
    [link] = derive([both, read(5, data(version="v1"))])["links"]
    assert (link["partition"], link["version"]["partition"]) == (None, "p2")


def test_rule_2_a_read_links_to_the_writer_of_the_asset_event_it_consumed() -> None:
    consumed = {"dagId": "d", "runId": "r1", "taskId": "a", "mapIndex": -1}
    entries = [write(9, "a"), write(2, "b")]
    reader = read(5, noted={"consumedAssetEvents": [consumed]})
    assert links_of(*entries, reader) == [("asset_event", key("a"))]


def test_rule_2_only_the_consumed_members_of_a_mapped_group_are_linked() -> None:
    consumed = [
        {"dagId": "d", "runId": "r1", "taskId": "m", "mapIndex": member} for member in (0, 2)
    ]
    entries = [write(member + 1, "m", member=member) for member in range(3)]
    assert links_of(*entries, read(5, noted={"consumedAssetEvents": consumed})) == [
        ("asset_event", key("m", 0)),
        ("asset_event", key("m", 2)),
    ]


def test_rule_3_a_read_links_to_the_nearest_upstream_writer_of_its_dag_run() -> None:
    entries = [
        write(1, "far"),
        write(2, "near", upstream="['far']"),
        write(3, "aside"),
        task_event("START", 1, "between", upstream=["near"]),
    ]
    reader = read(5, dag_run="r1", upstream="['between']")
    assert links_of(*entries, reader) == [("same_dag_run", key("near"))]
    assert links_of(entries[0], entries[2], reader) == [("newest", key("aside"))]


def test_rule_3_a_writer_that_ended_late_is_linked_when_no_other_is_upstream() -> None:
    reader = read(5, dag_run="r1", upstream="['a', 'b']")
    assert links_of(write(7, "a"), write(6, "b"), reader) == [("same_dag_run", key("b"))]
    assert links_of(write(7, "a"), write(4, "b"), reader) == [("same_dag_run", key("b"))]


def test_rule_3_a_child_run_reads_in_the_flow_of_its_task() -> None:
    task = {"dagId": "d", "runId": "r1", "taskId": "t", "mapIndex": -1, "tryNumber": 1}
    entries = [
        write(1, "up"),
        write(2, "other", dag_run="r2"),
        task_event("START", 3, "t", upstream="['up']"),
        event("START", 4, "spark", {"airflowProvenance_task": task}, run=2, inputs=[data()]),
    ]
    assert links_of(*entries) == [("same_dag_run", key("up"))]


def test_an_event_whose_task_has_all_its_datasets_has_none() -> None:
    task = {"dagId": "d", "runId": "r1", "taskId": "t", "mapIndex": -1, "tryNumber": 1}
    facets = {"airflowProvenance_task": {**task, "ioOnTask": True}}
    child = event("COMPLETE", 4, "d.t.query.1", facets, run=2, outputs=[data()], inputs=[data()])
    facts = derive([task_event("COMPLETE", 5, "t", outputs=[data()]), child])
    assert [version["writer"] for version in facts["versions"]] == [key("t")]
    assert facts["links"] == []
    assert derive([child])["datasets"] == []


def test_datasets_of_the_task_itself_count_whatever_it_says_of_them() -> None:
    task = {"dagId": "d", "runId": "r1", "taskId": "t", "mapIndex": -1, "tryNumber": 1}
    facets = {"airflowProvenance_task": {**task, "ioOnTask": True}}
    facts = derive([event("COMPLETE", 5, "d.t", facets, outputs=[data()])])
    assert [version["writer"] for version in facts["versions"]] == [key("t")]


def test_rule_4_a_read_links_to_the_newest_good_version_that_ended_by_its_start() -> None:
    entries = [
        write(1, "a"),
        write(5, "b"),
        write(5.001, "late"),
        write(4, "failed", event_type="FAIL"),
    ]
    assert links_of(*entries, read(5)) == [("newest", key("b"))]


def test_rule_4_every_good_member_of_a_mapped_group_is_linked() -> None:
    entries = [
        write(1, "m", member=0),
        write(2, "m", member=1, event_type="FAIL"),
        write(3, "m", member=2),
        write(4, "m", member=0, attempt=2),
    ]
    assert links_of(*entries, read(5)) == [
        ("newest", key("m", 0, 2)),
        ("newest", key("m", 2)),
    ]


def test_rule_4_a_read_without_partition_links_per_partition() -> None:
    entries = [
        write(1, "a", data("p1"), data("p2")),
        write(2, "b", data("p2")),
        write(3, "c", data()),
    ]
    assert links_of(*entries, read(5)) == [
        ("newest", key("a")),
        ("newest", key("b")),
        ("newest", key("c")),
    ]


def test_rule_4_a_read_of_a_partition_links_to_it_or_to_the_whole_whichever_is_newer() -> None:
    entries = [write(1, "a", data()), write(2, "b", data("p1")), write(3, "c", data("p2"))]
    assert links_of(*entries, read(5, data("p1"))) == [("newest", key("b"))]
    assert links_of(*entries, write(4, "d"), read(5, data("p1"))) == [("newest", key("d"))]


def test_rule_5_a_version_with_other_known_content_is_not_linked_nor_is_the_next_rule_used() -> (
    None
):
    entries = [write(1, "old"), write(2, "a", data(version="v1"))]
    reader = read(5, data(version="v2"), dag_run="r1", upstream="['a']")
    assert links_of(*entries, reader) == [("observed", None)]
    unknown = [write(1, "old", data(version="v1")), write(2, "a")]
    assert links_of(*unknown, reader) == [("same_dag_run", key("a"))]


def test_rule_5_reads_that_find_nothing_share_an_observed_version() -> None:
    facts = derive(
        [
            read(5, data(version="v1", verified=False)),
            read(3, data(version="v1", verified=False), task="other"),
            read(4, data(verified=False), task="unpinned"),
            read(6, data(), task="unpinned_too"),
        ]
    )
    observed = {(v["content_id"], v["first_seen"], v["verified"]) for v in facts["versions"]}
    assert observed == {(None, us(4), True), ("v1", us(3), False)}
    assert len(facts["versions"]) == 2
    assert {link["rule"] for link in facts["links"]} == {"observed"}


def test_a_run_does_not_read_what_it_writes() -> None:
    both = task_event("COMPLETE", 2, "t", inputs=[data()], outputs=[data()])
    assert links_of(both) == [("observed", None)]
    assert links_of(write(1, "a"), both) == [("newest", key("a"))]


# ---- What was installed --------------------------------------------------------------------------


def installed_of(*manifests: Json) -> list[Any]:
    found: list[Any] = derive(
        event("START", second, "j", {"airflowProvenance_manifest": manifest})
        for second, manifest in enumerate(manifests)
    )["dependencies"]
    return found


# Of the text "a==1\nb==2\n".
HASH_OF_A_AND_B = "913f6e401ad06e0320887eef9ef4dfecb5098d4a55775ff40a415044cdbc22c0"


def test_a_list_is_a_fact_once_by_its_hash() -> None:
    both = {"environment": {"dependenciesHash": HASH_OF_A_AND_B}, "dependencies": ["a==1", "b==2"]}
    told_only = {"environment": {"dependenciesHash": HASH_OF_A_AND_B}}
    assert installed_of(both, both, told_only) == [[HASH_OF_A_AND_B, ["a==1", "b==2"]]]


def test_a_list_that_is_not_what_its_hash_says_is_no_fact() -> None:
    environment = {"dependenciesHash": HASH_OF_A_AND_B}
    listed = ["a==1", "b==2"]
    for wrong in (
        {"environment": environment, "dependencies": listed[:1]},
        {"environment": environment, "dependencies": ["a==1\nb==2"]},
        {"environment": environment, "dependencies": None},
        {"environment": {}, "dependencies": listed},
        {"dependencies": listed},
    ):
        assert installed_of(wrong) == []


# ---- Jobs, datasets, and the whole --------------------------------------------------------------


def test_jobs_and_datasets_are_those_of_every_kind_of_entry() -> None:
    job = {"eventTime": at(1), "job": {"namespace": "air", "name": "j"}, "inputs": [data()]}
    dataset = {"eventTime": at(1), "dataset": data(name="catalogued")}
    facts = derive(
        [
            ("E", json.dumps(job).encode()),
            ("E", json.dumps(dataset).encode()),
            note("state_override", 1, task=None, state="FAIL"),
        ]
    )
    assert facts["jobs"] == [["air", "d"], ["air", "j"]]
    assert facts["datasets"] == [["pg", "catalogued"], DATA]


def test_offsets_are_converted_and_digits_beyond_microseconds_are_cut_off() -> None:
    body = json.loads(task_event("START", 1, "t")[1])
    body["eventTime"] = "2026-01-05T11:45:01.000000999+05:45"
    assert run_of(("E", json.dumps(body).encode()))["started_at"] == us(1)


def test_order_and_repetition_do_not_matter_to_the_oracle() -> None:
    rng = random.Random(7)
    entries = story(rng, 60)
    shuffled = [*entries, *rng.choices(entries, k=20)]
    rng.shuffle(shuffled)
    assert derive(shuffled) == derive(entries)


def test_stories_reach_every_rule_status_state_and_kind_of_run() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        facts = derive(story(random.Random(seed), 80))
        seen.update(link["rule"] for link in facts["links"])
        seen.update(version["status"] for version in facts["versions"])
        seen.update(run["state"] for run in facts["runs"])
        seen.update(run["key"][0] for run in facts["runs"])
        seen.update(field for run in facts["runs"] for field, value in run.items() if value)
        seen["append"] += len(facts["appends"])
        seen.update(f"installed_{len(listed)}" for _, listed in facts["dependencies"])
    expected = (
        "named asset_event same_dag_run newest observed good open suspect "
        "RUNNING COMPLETE FAIL ABORT SKIPPED UP_FOR_RETRY UPSTREAM_FAILED REMOVED "
        "task dag_run run retry_of superseded_by override hostname parent append "
        "installed_0 installed_1 installed_2 installed_3"
    )
    assert {name: seen[name] for name in expected.split() if seen[name] < 10} == {}
