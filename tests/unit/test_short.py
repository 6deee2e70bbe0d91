"""Short forms of what answers name: they tell things apart, and are short."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.lineage.short import (
    Names,
    duration_text,
    is_named,
    short_content,
    short_paths,
    short_run_id,
    short_time,
)

PART = st.sampled_from(["a", "b", "2013-01", "flights.csv", "run:1", "v3", "-x", "@"])
NAME = st.lists(PART, min_size=1, max_size=5).map("/".join)
REF = st.builds(
    DatasetRef, st.sampled_from(["file", "s3://lake"]), st.builds("/".__add__, NAME) | NAME
)


@given(st.sets(REF, min_size=1, max_size=8))
def test_a_short_name_means_the_one_dataset_that_it_is_of(refs: set[DatasetRef]) -> None:
    names = Names(refs)

    for ref in refs:
        shown = names.dataset(ref)
        others = {one for one in refs if is_named(one, shown)} - {ref}
        assert is_named(ref, shown)
        # One whose whole name this is: a name that no name of ours can be told from.
        assert not others or shown == "/".join(ref)
        assert not shown.startswith(("run:", "-", "@"))


def test_a_name_is_its_last_two_parts_or_whole_with_long() -> None:
    ref = DatasetRef("file", "/data/flights/2013-01/flights.csv")
    other = DatasetRef("file", "/data/weather/2013-01/flights.csv")

    assert Names([ref]).dataset(ref) == "2013-01/flights.csv"
    assert Names([ref, other]).dataset(ref) == "flights/2013-01/flights.csv"
    assert Names([ref], is_long=True).dataset(ref) == "file//data/flights/2013-01/flights.csv"
    table, twin = DatasetRef("pg", "totals"), DatasetRef("my", "totals")
    assert Names([table]).dataset(table) == "totals"
    assert Names([table, twin]).dataset(table) == "pg/totals"


def test_a_digest_is_cut_and_what_is_no_digest_is_not() -> None:
    assert short_content(f"sha256:{'0123456789abcdef' * 4}") == "sha256:0123456789ab"
    assert short_content("0123456789abcdef" * 2) == "0123456789ab"
    # Of a table it begins with the number of rows, in zeros.
    assert short_content(f"sha256-rows:000000000000697c{'ee9b861611b6eae7' * 2}") == (
        "sha256-rows:697cee9b8616"
    )
    for whole in ("etag-1", "2013-01-01T00:00:00Z", "s3:version:17", ""):
        assert short_content(whole) == whole


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0.00s"), (0.357, "0.36s"), (59.4, "59.40s"), (59.7, "1m 00s"), (125, "2m 05s")),
        *((3599.9, "1h 00m"), (3720, "1h 02m"), (90_000, "1d 01h")),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_times_are_to_the_second_and_what_is_no_time_stays() -> None:
    assert short_time("2026-01-05T06:00:01.123456Z") == "2026-01-05T06:00:01Z"
    assert short_time("2026-01-05T06:00:01Z") == "2026-01-05T06:00:01Z"
    assert short_time(None) is None
    assert short_run_id("manual__2026-01-05T06:00:01.123456+00:00") == "manual__2026-01-05T06:00:01"
    assert short_run_id("manual__2026-01-05T06:00:01+01:00") == "manual__2026-01-05T06:00:01+01:00"
    assert short_run_id("my run") == "my run"


def test_paths_in_a_text_are_cut_and_words_are_not() -> None:
    assert short_paths("in faa of file:///srv/x/data/airports.csv") == "in faa of data/airports.csv"
    assert short_paths("a/b, and/or not_null(x/y)") == "a/b, and/or not_null(x/y)"
