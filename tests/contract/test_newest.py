"""What delivery asks a store: what is newest now, and who looked at it. One suite, every store."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.collect.feeds.checks import checked_versions, complete_facet, outcomes_of
from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.formats.shaping.event import facet_of
from tests.support.entries import dag_run, data, note, put_all, task
from tests.support.stories import checked

if TYPE_CHECKING:
    from airflow_provenance.store.base import RunView, Store

JOB = ("air", "d.t")
TOTALS = DatasetRef("pg", "totals")


def ident(run: RunView | None) -> str | None:
    return None if run is None else run.run_uuid


@pytest.mark.parametrize("seed", range(4))
def test_the_newest_run_of_a_job_is_the_last_to_end_of_those_that_ran(
    store: Store, seed: int
) -> None:
    said = [
        *(task(kind, at, "t", dag_run=f"r{run}", run=run)
          for run, start, end in ((1, 10, 50), (2, 20, 40), (3, 60, 0))
          for kind, at in (("START", start), ("COMPLETE", end)) if at),
        task("START", 70, "t", dag_run="r1", run=4, attempt=2),
        note("task_run", 80, attempt=2, state="SKIPPED"),
        task("COMPLETE", 90, "other", dag_run="r1", run=5),
    ]  # fmt: skip
    put_all(store, *random.Random(seed).sample(said, len(said)))

    assert ident(store.newest_run(JOB)) == "00000000-0000-4000-8000-000000000001"
    assert store.newest_run(("air", "d.none")) is None
    assert store.newest_run(("elsewhere", "d.t")) is None


@pytest.mark.parametrize("seed", range(4))
def test_a_dataset_is_what_its_newest_good_write_made_of_it(store: Store, seed: int) -> None:
    said = [
        task(kind, at, "t", dag_run=f"r{run}", run=run, outputs=[data()])
        for run, start, kind, end in (
            (1, 10, "COMPLETE", 50), (2, 20, "COMPLETE", 40), (3, 60, "FAIL", 70),
        )
        for kind, at in (("START", start), (kind, end))
    ]  # fmt: skip
    put_all(store, *random.Random(seed).sample(said, len(said)))

    version = store.newest_version(TOTALS)
    assert version is not None
    writer = store.runs_by_id([version.run_id or 0]).popitem()[1]
    assert ident(writer) == "00000000-0000-4000-8000-000000000001"


def test_a_dataset_that_nobody_writes_is_what_was_read_last(store: Store) -> None:
    for number, content in enumerate(("a", "b", "a")):
        of = {"dag_run": f"r{number}", "run": number, "inputs": [data(version=content)]}
        put_all(store, task("START", number * 10, "t", **of))
        put_all(store, task("COMPLETE", number * 10 + 1, "t", **of))

    version = store.newest_version(TOTALS)
    assert version is not None
    assert (version.content_id, version.run_id) == ("a", None)
    found = [ident(one) for one in store.readers(version.id, 10)]
    assert found == [f"00000000-0000-4000-8000-{number:012x}" for number in (2, 0)]
    assert [ident(one) for one in store.readers(version.id, 1)] == found[:1]
    assert store.newest_version(DatasetRef("pg", "none")) is None


@pytest.mark.parametrize("seed", range(4))
def test_the_outcomes_of_every_task_that_checked_a_version_are_told_together(
    store: Store, seed: int
) -> None:
    said = checked()
    put_all(store, *random.Random(seed).sample(said, len(said)), dag_run("START", 90))

    versions = store.newest_version(TOTALS)
    assert versions is not None
    facet = complete_facet(outcomes_of(store, TOTALS, [versions]))
    rows = facet_of({"it": facet} if facet else {}, "it")
    assert rows is not None
    found = [(one.get("name") or one["assertion"], one["success"]) for one in rows["assertions"]]
    assert found == [
        ("late", False), ("null", True), ("unique", True), ("late", True), ("has_rows", True),
    ]  # fmt: skip


def test_what_a_reader_checked_is_shown_with_what_the_backend_has_by_then(store: Store) -> None:
    put_all(store, *checked())
    runs = sorted(
        (one for one in store.runs_named("r0") if one.job[1] == "d.check_1"),
        key=lambda one: one.id,
    )
    newest = store.newest_version(TOTALS)
    assert newest is not None
    shown = checked_versions(store, runs[0], TOTALS, store.last_seq(), is_output=False)
    assert [one.id for one in shown] == [newest.id]
    early = checked_versions(store, runs[0], TOTALS, 10, is_output=False)
    assert newest.id not in {one.id for one in early}
    assert len(early) == 1
