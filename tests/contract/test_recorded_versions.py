"""Versions that are read for many promises together are those that each would have read alone."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.sla.policy import Target
from airflow_provenance.sla.recorded import RecordedProvenance
from airflow_provenance.sla.recorded_versions import Asked, RecordedVersions
from airflow_provenance.store.base import newest_of
from tests.support.entries import data, event, put_all, us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.store.base import Store, VersionView

_TIMES = (0.0, 3.0, 4.5, 8.0, 20.0)


@pytest.fixture
def written(store: Store) -> Store:
    """Two datasets, of which runs wrote ten versions; some failed, and the last goes on."""
    states = ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE", "FAIL", *["COMPLETE"] * 3]
    for second, state in enumerate([*states, "RUNNING"], start=1):
        outputs = [data("a"), data("b")] if second % 3 else [data("a")]
        put_all(store, event(state, second, "load", second, outputs=outputs))
    return store


def ids(versions: Sequence[VersionView]) -> list[int]:
    return [one.id for one in versions]


@pytest.mark.parametrize("before", [0, 1, 3, 50])
def test_versions_of_many_datasets_since_a_time_are_the_newest_of_each(
    written: Store, before: int
) -> None:
    refs = written.dataset_names()
    for second in _TIMES:
        found = written.versions_since(refs, us(second), before)
        each = {ref: newest_of(written.versions(ref), us(second), before) for ref in refs}
        assert found == {ref: versions for ref, versions in each.items() if versions}


@pytest.mark.parametrize(("since", "before"), itertools.product(_TIMES, [0, 2, 50]))
def test_what_was_prepared_answers_as_the_store_does(
    written: Store, since: float, before: int
) -> None:
    alone = RecordedVersions(written)
    for second, count in itertools.product(_TIMES, [0, 1, 4]):
        together = RecordedVersions(written)
        together.prepare(dict.fromkeys("ab", Asked(us(since), before)))
        for name in "ab":
            looked_at = us(second)
            every = ids(alone.good(name, None, 0))
            good = ids(alone.good(name, looked_at, count))
            assert good == every[len(every) - len(good) :]
            assert ids(together.good(name, looked_at, count)) == good
            ended = ids(alone.ended_since(name, looked_at))
            assert ids(together.ended_since(name, looked_at)) == ended
            assert ids(together.good(name, None, 0)) == every


def test_checks_that_were_prepared_are_those_of_each_dataset_by_whatever_name(
    written: Store,
) -> None:
    for second, name in ((11, "a"), (12, "b"), (13, "a")):
        told = [{"assertion": "unique", "success": second == 12}]
        seen = {**data(name), "inputFacets": {"dataQualityAssertions": {"assertions": told}}}
        put_all(written, event("COMPLETE", second, "check", second, inputs=[seen]))
    names = ["a", "pg/a", "b", "nowhere"]
    together = RecordedProvenance(written)
    together.prepare((Target(dataset=one), Asked(us(12.5), 0, True)) for one in names)

    # What is prepared may go further back than was asked.
    late = {one: together.assertions(one, us(12.5)) for one in names}
    late = {one: [it for it in facts if it.at_us >= us(12.5)] for one, facts in late.items()}
    alone = {one: RecordedProvenance(written).assertions(one, us(12.5)) for one in names}
    assert late == alone
    assert [len(alone[one]) for one in names] == [1, 1, 0, 0]
    assert [len(together.assertions(one, us(0))) for one in names] == [2, 2, 1, 0]
