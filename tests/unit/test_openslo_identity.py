"""Promises -> OpenSLO -> promises is the identity, for every kind and whatever is said of them."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla import objectives as kinds
from airflow_provenance.sla.calendar import Calendar, Excusal
from airflow_provenance.sla.files import read_files
from airflow_provenance.sla.openslo import openslo_text, promises_text, read_openslo
from airflow_provenance.sla.policy import _TARGETS, RUN_TYPES, Policy, Target, from_plain, to_plain

if TYPE_CHECKING:
    from pathlib import Path

# What YAML can hold: also words and numbers that readers take for something else.
TEXT = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"))),
    st.sampled_from(
        ["no", "null", "~", "1e5", "09:00", "10:30", "0x1f", "a: b", "# x", "two\nlines"]
    ),
)
NAME = TEXT.filter(lambda text: bool(text))
LENGTH = st.one_of(
    st.integers(1, 10**6).map(lambda n: timedelta(minutes=n)),
    st.integers(1, 10**12).map(lambda n: timedelta(microseconds=n)),
)
PART = st.floats(0, 1, exclude_min=True)
NUMBER = st.floats(1e-6, 1e12)
DAY = st.dates(date(2020, 1, 1), date(2030, 1, 1))
WEEKDAYS = st.sets(st.sampled_from(["mon", "wed", "sat", "sun"]), min_size=1).map(tuple)
OF = st.sampled_from(["rows", "bytes"])


def of(made: type, **fields: Any) -> st.SearchStrategy[Any]:
    return st.builds(made, **fields)


RATIO = st.builds(
    kinds.SuccessRatio,
    at_least=st.one_of(PART, st.just(1.0), st.just(0.99999), st.just(0.999999)),
    window=LENGTH,
    min_events=st.integers(1, 100),
    page_on_one=st.booleans(),
    slice=st.none() | LENGTH,
    aligned=st.none()
    | st.builds(
        kinds.Aligned,
        start=st.sampled_from(["2026-01-01", "2026-01-31T06:30", "2025-12-31T23:59:59"]),
        every=st.sampled_from(["1M", "1m", "2w", "1Q", "1Y", "12h"]),
    ),
)
REPEATABLE = st.one_of(
    of(kinds.Duration, at_most=LENGTH, over=st.sampled_from(["try", "retries"])),
    of(
        kinds.Deadline,
        at=st.times().map(lambda one: one.strftime("%H:%M:%S")),
        zone=st.sampled_from([None, "Europe/Berlin", "UTC"]),
        ambiguous=st.sampled_from(["first", "second"]),
    ),
    of(kinds.StartDelay, at_most=LENGTH),
    of(kinds.QueueLatency, at_most=LENGTH),
    of(kinds.MissingRun, grace=LENGTH | st.just(timedelta(0))),
    of(kinds.Volume, at_least=NUMBER, of=OF, baseline=st.sampled_from(["none", "weekday"])),
    of(kinds.Completeness, at_least=PART, key_format=NAME, days=st.integers(1, 9)),
    of(kinds.Throughput, at_least=NUMBER, of=OF),
    of(kinds.DataQuality, at_least=PART, assertions=st.lists(TEXT).map(tuple)),
    of(kinds.SchemaContract, columns=st.dictionaries(NAME, TEXT)),
    of(kinds.Cost, at_most=NUMBER, price=NUMBER, unit=TEXT),
)
OBJECTIVE = st.one_of(
    RATIO,
    REPEATABLE,
    of(kinds.Freshness, at_most=LENGTH, clock=st.sampled_from(["write", "event_time"])),
    of(kinds.EndToEndLatency, source=NAME, at_most=LENGTH),
    of(kinds.ConsecutiveMisses, count=st.integers(2, 9), of=st.none() | REPEATABLE),
)
EXCUSAL = of(
    Excusal,
    start=st.integers(0, 10**9).map(lambda s: datetime.fromtimestamp(s, UTC)),
    end=st.just(datetime(2031, 1, 1, tzinfo=UTC)),
    author=NAME.filter(str.strip),
    reason=NAME.filter(str.strip),
    counts=st.booleans(),
)


@st.composite
def policies(draw: st.DrawFn, objective: st.SearchStrategy[Any] = OBJECTIVE) -> Policy:
    promised = draw(objective)
    if isinstance(promised, kinds.SuccessRatio) and promised.slice and draw(st.booleans()):
        import msgspec

        promised = msgspec.structs.replace(promised, slice_at_least=draw(PART))
    allowed = _TARGETS[type(promised)]
    if nested := getattr(promised, "of", None):
        allowed = allowed & _TARGETS.get(type(nested), allowed)
    kind = draw(st.sampled_from(sorted(allowed)))
    name = draw(NAME)
    target = {"dag": name, "task": draw(NAME)} if kind == "task" else {kind: name}
    can_be_at_risk = isinstance(promised, kinds.Duration | kinds.Deadline)
    made = Policy(
        id=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", fullmatch=True)),
        target=Target(**target),
        objective=promised,
        severity=draw(st.sampled_from(["page", "ticket"])),
        owner=draw(st.none() | TEXT),
        notify=tuple(draw(st.lists(NAME | st.just("by-matchers"), unique=True, max_size=3))),
        on_failure=draw(st.sampled_from(["breach_now", "at_deadline", "ignore"])),
        runs=tuple(draw(st.lists(st.sampled_from(RUN_TYPES), min_size=1, unique=True))),
        zone=draw(st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"])),
        calendar=draw(of(Calendar, weekdays=WEEKDAYS, off=st.lists(DAY).map(tuple))),
        excusals=tuple(draw(st.lists(EXCUSAL, max_size=2))),
        hold=draw(LENGTH | st.just(timedelta(0))),
        expires_after=draw(LENGTH),
        description=draw(TEXT | st.just("long " * 300)),
        at_risk=draw(st.none() | st.floats(0.01, 0.99)) if can_be_at_risk else None,
    )
    return from_plain(to_plain(made))  # datasets are named as events name them


def there_and_back(made: list[Policy], folder: Path) -> list[Policy]:
    file = folder / "promises.openslo.yaml"
    file.write_text(openslo_text(made), encoding="utf-8")
    told = read_openslo([file])
    assert (told.problems, told.left_out, told.notes) == ([], [], [])
    return [one.policy for one in told.declared]


@pytest.mark.parametrize("objective", [RATIO, OBJECTIVE], ids=["ratio", "any kind"])
@settings(max_examples=100, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_a_promise_comes_back_as_it_was(
    objective: Any, data: st.DataObject, tmp_path: Path
) -> None:
    made = data.draw(
        st.lists(policies(objective), min_size=1, max_size=3, unique_by=lambda p: p.id)
    )

    assert there_and_back(made, tmp_path) == made


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(made=st.lists(policies(), min_size=1, max_size=3, unique_by=lambda p: p.id))
def test_a_file_of_promises_reads_as_it_was_written(made: list[Policy], tmp_path: Path) -> None:
    file = tmp_path / "promises.yaml"
    file.write_text(promises_text(made), encoding="utf-8")

    found, problems = read_files([file])

    assert problems == []
    assert [one.policy for one in found] == made


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(made=st.lists(policies(), min_size=1, max_size=3, unique_by=lambda p: p.id))
def test_other_tools_can_read_what_is_written(made: list[Policy]) -> None:
    """By OpenSLO's own words: names of RFC 1123, unique by kind, references that lead somewhere."""
    documents = list(yaml.safe_load_all(openslo_text(made)))
    names = [(one["kind"], one["metadata"]["name"]) for one in documents]

    assert len(set(names)) == len(names)
    for name in {name for _, name in names}:
        assert len(name) <= 63
        assert not name.strip("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert not name.startswith("-")
        assert not name.endswith("-")
    for one in documents:
        annotations = one["metadata"].get("annotations", {})
        assert all(isinstance(text, str) for text in annotations.values())
        spec = one["spec"]
        if one["kind"] == "SLO":
            assert 0 <= spec["objectives"][0]["target"] < 1
            assert len(spec.get("description", "")) <= 1050
            assert ("Service", spec["service"]) in names
            assert all(
                ("AlertPolicy", ref["alertPolicyRef"]) in names for ref in spec["alertPolicies"]
            )
        if one["kind"] == "AlertPolicy":
            for ref in spec["notificationTargets"]:
                assert ("AlertNotificationTarget", ref["targetRef"]) in names


def test_two_routes_that_other_tools_would_name_alike_stay_two(tmp_path: Path) -> None:
    objective = kinds.SuccessRatio(at_least=0.9)
    made = [
        Policy(id=f"p{number}", target=Target(dag="d"), objective=objective, notify=notify)
        for number, notify in enumerate([("Ops",), ("ops",), ("by-matchers",), ()])
    ]

    assert there_and_back(made, tmp_path) == made


def test_what_another_tool_changes_wins_over_our_annotation(tmp_path: Path) -> None:
    objective = kinds.SuccessRatio(at_least=1.0, window=timedelta(seconds=90))
    file = tmp_path / "o.yaml"
    text = openslo_text([Policy(id="Mostly", target=Target(dag="d"), objective=objective)])
    changes = [("target: 0.99999", "target: 0.5"), ("duration: 2m", "duration: 3h")]
    for old, new in [*changes, ("name: mostly-", "name: hardly-")]:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)

    (one,) = read_openslo([file]).declared

    assert one.policy.id.startswith("hardly-")
    assert one.policy.objective == kinds.SuccessRatio(at_least=0.5, window=timedelta(hours=3))


def test_no_two_names_meet() -> None:
    from airflow_provenance.sla.openslo.plain import name_of

    some = ["a b", "a-b", "A-B", "a.b", "a_b", "-", "é", "x" * 64, "x" * 65]
    assert all(name_of(a) != name_of(b) for a, b in itertools.combinations(some, 2))


def test_a_calendar_window_needs_a_zone_that_is_one() -> None:
    with pytest.raises(PolicyError, match="every is '1y'"):
        kinds.Aligned(start="2026-01-01", every="1y")
