"""The rules that link a read to versions, one by one; all of them together are the oracle's."""

from __future__ import annotations

from typing import Any

from airflow_provenance.domain.linking import (
    LinkRule,
    Read,
    Version,
    VersionIndex,
    predecessors,
    resolve_read,
    task_distances,
)
from airflow_provenance.domain.run import VersionStatus

DAG_RUN, OTHER_DAG_RUN = b"run 1", b"run 2"
UPSTREAM = {"report": ["load"], "load": ["clean"], "clean": ["extract"]}


def version(number: int, ended: int, **given: Any) -> Version:
    """Return a good write of the whole dataset by a run of its own."""
    task_id = given.get("task_id")
    standard = {
        "partition": None,
        "run_id": 100 + number,
        "run_key": b"key %d" % number,
        "status": VersionStatus.GOOD,
        "content_id": None,
        "replaces": False,
        "job_id": 1,
        "flow": DAG_RUN if task_id else None,
        "task_id": None,
        "map_index": -1,
    }
    return Version(id=number, dataset_id=1, ended_us=ended, **(standard | given))


def read(as_of: int = 50, **given: Any) -> Read:
    standard = {
        "partition": None,
        "named": None,
        "verified": True,
        "flow": None,
        "task_id": None,
        "consumed": [],
    }
    return Read(id=1, run_id=1, dataset_id=1, as_of_us=as_of, **(standard | given))


def linked(one: Read, *versions: Version) -> tuple[LinkRule, set[int]]:
    rule, ids = resolve_read(
        one, VersionIndex(versions), lambda _, task_id: task_distances(task_id, UPSTREAM)
    )
    return rule, set(ids)


def test_rule_1_the_version_that_the_run_named() -> None:
    old, new = version(1, 10, content_id="a"), version(2, 20, content_id="b")

    assert linked(read(named="a"), old, new) == (LinkRule.NAMED, {1})


def test_a_named_version_that_ended_after_the_reader_started_is_not_what_it_read() -> None:
    late = version(1, 60, content_id="a")

    assert linked(read(named="a"), late) == (LinkRule.OBSERVED, set())


def test_a_failed_write_is_linked_only_by_name_and_only_for_want_of_a_good_one() -> None:
    failed = version(1, 20, content_id="a", status=VersionStatus.SUSPECT)
    good = version(2, 10, content_id="a")

    assert linked(read(named="a"), failed) == (LinkRule.NAMED, {1})
    assert linked(read(named="a"), failed, good) == (LinkRule.NAMED, {2})
    assert linked(read(), failed) == (LinkRule.OBSERVED, set())


def test_rule_2_the_asset_event_that_was_consumed() -> None:
    consumed = version(1, 10, task_id="load", flow=OTHER_DAG_RUN)
    newer = version(2, 20)

    assert linked(read(consumed=[(OTHER_DAG_RUN, "load", -1)]), consumed, newer) == (
        LinkRule.ASSET_EVENT,
        {1},
    )


def test_rule_3_the_nearest_upstream_writer_of_the_same_dag_run() -> None:
    near, far = version(1, 10, task_id="load"), version(2, 20, task_id="clean")
    beside, elsewhere = version(3, 30, task_id="beside"), version(4, 40)
    one = read(flow=DAG_RUN, task_id="report")

    assert linked(one, near, far, beside, elsewhere) == (LinkRule.SAME_DAG_RUN, {1})
    assert linked(one, far, beside, elsewhere) == (LinkRule.SAME_DAG_RUN, {2})
    assert linked(one, beside, elsewhere) == (LinkRule.NEWEST, {4})


def test_an_upstream_writer_whose_end_was_told_late_is_linked_all_the_same() -> None:
    first, second = version(1, 60, task_id="load"), version(2, 70, task_id="load")

    assert linked(read(as_of=50, flow=DAG_RUN, task_id="report"), first, second) == (
        LinkRule.SAME_DAG_RUN,
        {1},
    )


def test_rule_4_the_newest_good_write_that_ended_when_the_reader_started() -> None:
    versions = [version(number, number * 10) for number in (3, 1, 5, 6)]

    assert linked(read(as_of=50), *versions) == (LinkRule.NEWEST, {5})


def test_a_read_of_no_partition_links_the_newest_of_each() -> None:
    monday = [version(1, 10, partition="mon"), version(2, 20, partition="mon")]
    tuesday = version(3, 15, partition="tue")

    assert linked(read(), *monday, tuesday) == (LinkRule.NEWEST, {2, 3})
    assert linked(read(partition="tue"), *monday, tuesday) == (LinkRule.NEWEST, {3})


def test_a_read_links_every_member_of_a_mapped_group_and_of_each_the_latest_try() -> None:
    members = [
        version(1, 10, task_id="load", map_index=0),
        version(2, 12, task_id="load", map_index=1),
        version(3, 14, task_id="load", map_index=0),
    ]

    assert linked(read(), *members) == (LinkRule.NEWEST, {2, 3})


def test_a_run_does_not_read_its_own_write() -> None:
    before, own = version(1, 10), version(2, 20, run_id=1)

    assert linked(read(), before, own) == (LinkRule.NEWEST, {1})


def test_rule_5_what_contradicts_the_name_is_a_version_observed() -> None:
    other, unknown = version(1, 10, content_id="b"), version(2, 10)

    assert linked(read(named="a"), other) == (LinkRule.OBSERVED, set())
    assert linked(read(named="a"), unknown) == (LinkRule.NEWEST, {2})
    assert resolve_read(read(), None, lambda *_: {}).rule == LinkRule.OBSERVED


def test_a_write_is_put_on_the_newest_one_before_it_unless_it_replaces() -> None:
    first, failed = version(1, 10), version(2, 20, status=VersionStatus.SUSPECT)
    third, fourth = version(3, 30), version(4, 40, replaces=True)
    index = VersionIndex([first, failed, third, fourth])

    assert predecessors(first, index) == set()
    assert predecessors(failed, index) == {1}
    assert predecessors(third, index) == {1}
    assert predecessors(fourth, index) == set()


def test_mapped_siblings_are_put_on_what_was_before_them_not_on_each_other() -> None:
    before = version(1, 10)
    members = [version(number, 20 + number, task_id="load", map_index=number) for number in (2, 3)]
    retry = version(4, 40, task_id="load", map_index=2)
    after = version(5, 50)
    index = VersionIndex([before, *members, retry, after])

    assert [predecessors(one, index) for one in members] == [{1}, {1}]
    assert predecessors(retry, index) == {2}
    assert predecessors(after, index) == {3, 4}


def test_distances_are_steps_upstream_also_around_a_cycle() -> None:
    assert task_distances("report", UPSTREAM) == {"load": 1, "clean": 2, "extract": 3}
    assert task_distances("a", {"a": ["b"], "b": ["a"]}) == {"b": 1, "a": 2}
    assert task_distances("alone", UPSTREAM) == {}
