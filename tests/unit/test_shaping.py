"""Each rule of each backend does what it is for, and nothing else does it for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid5

import msgspec
import pytest

from airflow_provenance.formats.shaping import datahub, marquez, openlineage
from airflow_provenance.formats.shaping.event import Facts, KnownDataset, apply_rules, read, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.formats.shaping.event import Rule

Json = dict[str, Any]
RUN = "00000000-0000-4000-8000-000000000001"
PARENT = "00000000-0000-4000-8000-000000000002"
OTHER_ID = str(uuid5(UUID(RUN), "manual__2"))
PARENT_ID = str(uuid5(UUID(PARENT), "manual__2"))
PARENT_RUN = {"run": {"runId": PARENT}, "job": {"namespace": "air", "name": "d"}}
SPACED = {"namespace": "file", "name": "/data/a b[1]%.csv"}


def event(kind: str | None = "COMPLETE", at: str = "06:00:10", **members: Any) -> Json:
    facets = members.pop("facets", {"processing_engine": {"name": "Airflow"}})
    whole = {
        "eventType": kind,
        "eventTime": f"2026-01-05T{at}Z",
        "producer": "https://p",
        "run": {"runId": RUN, "facets": facets},
        "job": {"namespace": "air", "name": "d.t", "facets": {}},
        "inputs": [],
        "outputs": [],
        **members,
    }
    return {name: value for name, value in whole.items() if value is not None}


def bytes_of(one: Json) -> bytes:
    return json.dumps(one).encode()


def raws(**facets: Any) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(facet).encode()) for name, facet in facets.items()}


def shaped(rules: tuple[Rule, ...], one: Json, facts: Facts) -> Json | None:
    found = apply_rules(rules, read(bytes_of(one)), facts)
    result: Json | None = None if found is None else json.loads(write(found))
    return result


def checks(*assertions: Json) -> Json:
    return {"dataQualityAssertions": {"assertions": list(assertions)}}


ENDED = Facts(terminal=bytes_of(event()))
KNOWN = Facts(
    inputs=[KnownDataset("pg", "in", facets=raws(version={"datasetVersion": "7"}))],
    outputs=[KnownDataset("pg", "out")],
)
NAMED = [{"name": name, "assertion": "sql", "success": True} for name in ("has_airport", "late")]
UNNAMED = [{"assertion": "not_null", "success": ok} for ok in (True, False)]


class Case(NamedTuple):
    backend: Any
    rule: Rule
    event: Json
    facts: Facts
    is_right: Callable[[Json | None], bool]


def texts(one: Json | None, member: str = "inputFacets") -> list[str]:
    facet = (one or {})["inputs"][0].get(member, {}).get("dataQualityAssertions", {})
    return [check["assertion"] for check in facet.get("assertions", [])]


def names(one: Json | None, side: str) -> list[str]:
    return [data["name"] for data in (one or {}).get(side, [])]


LATE = [
    # START and RUNNING after the end, and a weaker end after the stronger.
    (event("START", "06:00:00", facets={"late": {"x": 1}}), ENDED),
    (event("RUNNING", "06:00:20", inputs=[{"namespace": "pg", "name": "in"}]), ENDED),
    (event("OTHER", "06:00:20"), ENDED),
    (event("FAIL", "06:00:09"), ENDED),
]
CASES = [
    *(
        Case(
            backend,
            backend.late_rides_on_terminal,
            late,
            facts,
            lambda one: one is not None and one["eventType"] == "COMPLETE",
        )
        for backend in (marquez, datahub, openlineage)
        for late, facts in LATE
    ),
    *(
        Case(
            backend,
            backend.late_rides_on_terminal,
            event("START"),
            Facts(is_over=True),
            lambda one: one is None,
        )
        for backend in (marquez, datahub, openlineage)
    ),
    *(
        Case(
            backend,
            backend.own_run_ids,
            event(facets={"parent": PARENT_RUN}),
            Facts(run_id=OTHER_ID, parent_run_id=PARENT_ID),
            lambda one: (
                one is not None
                and one["run"]["runId"] == OTHER_ID
                and one["run"]["facets"]["parent"]["run"]["runId"] == PARENT_ID
            ),
        )
        for backend in (marquez, datahub)
    ),
    *(
        Case(
            backend,
            backend.whole_io,
            event(),
            KNOWN,
            lambda one: names(one, "inputs") == ["in"] and names(one, "outputs") == ["out"],
        )
        for backend in (marquez, datahub)
    ),
    Case(
        marquez,
        marquez.whole_assertions,
        event(inputs=[{"namespace": "pg", "name": "in", "facets": checks(*NAMED)}]),
        Facts(),
        lambda one: len(texts(one)) == 2 and not texts(one, "facets"),
    ),
    Case(
        marquez,
        marquez.whole_assertions,
        event(outputs=[{"namespace": "pg", "name": "o", "outputFacets": checks(*NAMED)}]),
        Facts(),
        lambda one: "dataQualityAssertions" in (one or {})["outputs"][0].get("facets", {}),
    ),
    Case(
        marquez,
        marquez.unique_assertions,
        event(inputs=[{"namespace": "pg", "name": "in", "inputFacets": checks(*NAMED)}]),
        Facts(),
        lambda one: texts(one) == ["has_airport", "late"],
    ),
    Case(
        marquez,
        marquez.unique_assertions,
        event(inputs=[{"namespace": "pg", "name": "in", "inputFacets": checks(*UNNAMED)}]),
        Facts(),
        lambda one: texts(one) == ["not_null", "not_null #2"],
    ),
    *(
        Case(
            backend,
            backend.io_on_task,
            event(facets={"airflowProvenance_task": {"ioOnTask": True}}, outputs=[SPACED]),
            Facts(),
            lambda one: names(one, "outputs") == [],
        )
        for backend in (marquez, datahub)
    ),
    Case(
        marquez,
        marquez.start_first,
        event("RUNNING"),
        Facts(awaits_start=True),
        lambda one: one is None,
    ),
    *(
        Case(marquez, marquez.outputs_at_the_end, one, facts, lambda one: not names(one, "outputs"))
        for one, facts in (
            (event("START", outputs=[SPACED]), Facts()),
            (event(outputs=[SPACED]), Facts(never_ran=True)),
        )
    ),
    Case(
        marquez,
        marquez.whole_assertions,
        event(inputs=[{"namespace": "pg", "name": "in", "inputFacets": checks(NAMED[0])}]),
        Facts(
            checks={
                ("inputs", "pg", "in"): msgspec.Raw(
                    json.dumps(checks(*NAMED)["dataQualityAssertions"]).encode()
                )
            }
        ),
        lambda one: len(texts(one)) == 2,
    ),
    *(
        Case(datahub, datahub.only_run_events, one, Facts(), lambda one: one is None)
        for one in (event(None, run=None), event(None))
    ),
    Case(datahub, datahub.no_dag_runs, event(), Facts(is_dag_run=True), lambda one: one is None),
    Case(
        datahub,
        datahub.no_other,
        event("OTHER"),
        Facts(),
        lambda one: one is not None and one["eventType"] == "RUNNING",
    ),
    Case(
        datahub,
        datahub.whole_facets,
        event("START"),
        Facts(run_facets=raws(mine={"n": 1}), job_facets=raws(sql={"query": "q"})),
        lambda one: (
            one is not None and "mine" in one["run"]["facets"] and "sql" in one["job"]["facets"]
        ),
    ),
    Case(
        datahub,
        datahub.engine_named,
        event(facets={}),
        Facts(),
        lambda one: (
            one is not None
            and one["run"]["facets"].get("processing_engine", {}).get("name") == "Airflow"
        ),
    ),
    Case(
        datahub,
        datahub.valid_uris,
        event(inputs=[SPACED]),
        Facts(),
        lambda one: names(one, "inputs") == ["/data/a%20b%5B1%5D%25.csv"],
    ),
]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.backend.__name__.split('.')[-1]}.{case.rule.__name__}"
)
def test_a_rule_does_its_part_and_without_it_nobody_does(case: Case) -> None:
    rules = case.backend.RULES
    others = tuple(rule for rule in rules if rule is not case.rule)
    assert len(others) == len(rules) - 1

    assert case.is_right(shaped(rules, case.event, case.facts))
    try:
        without = case.is_right(shaped(others, case.event, case.facts))
    except KeyError:  # a rule after it found what must not come that far
        without = False
    assert not without


@pytest.mark.parametrize("backend", [marquez, datahub, openlineage])
def test_every_rule_has_a_case(backend: Any) -> None:
    assert {case.rule for case in CASES if case.backend is backend} == set(backend.RULES)


def test_what_came_late_rides_on_the_terminal_event() -> None:
    late = event(
        "START",
        "06:00:00",
        facets={"late": {"x": 1}},
        inputs=[{"namespace": "pg", "name": "in", "inputFacets": {"rows": {"n": 3}}}],
    )
    facts = Facts(terminal=bytes_of(event()), run_facets=raws(known={"y": 2}))

    one = shaped(openlineage.RULES, late, facts)

    assert one is not None
    assert (one["eventType"], one["eventTime"]) == ("COMPLETE", "2026-01-05T06:00:10Z")
    assert one["run"]["facets"].keys() == {"processing_engine", "late", "known"}
    assert one["inputs"] == [{"namespace": "pg", "name": "in", "inputFacets": {"rows": {"n": 3}}}]


def test_a_stronger_end_is_sent_after_a_weaker_one() -> None:
    for later in (event("FAIL"), event("COMPLETE", "06:00:11"), event("ABORT", "06:00:11")):
        one = shaped(marquez.RULES, later, ENDED)
        assert one is not None
        assert (one["eventType"], one["eventTime"]) == (later["eventType"], later["eventTime"])


def test_an_abort_stays_one_for_datahub() -> None:
    one = shaped(datahub.RULES, event("ABORT"), Facts())
    assert one is not None
    assert one["eventType"] == "ABORT"


def test_facets_leave_as_the_text_that_came() -> None:
    odd = b'{"n": 1.50e3,  "u":"\\u00e9", "big": 123456789012345678901234567890}'
    raw = bytes_of(event(facets={"odd": 1})).replace(b'"odd": 1', b'"odd": ' + odd)
    for backend in (marquez, datahub, openlineage):
        sent = apply_rules(backend.RULES, read(raw), Facts())
        assert sent is not None
        assert odd in write(sent)


def test_the_grand_parent_keeps_its_id_and_a_root_that_is_the_parent_gets_its() -> None:
    facts = Facts(parent_run_id=PARENT_ID)
    for root, expected in ((PARENT, PARENT_ID), (RUN, RUN)):
        parent = {**PARENT_RUN, "root": {**PARENT_RUN, "run": {"runId": root}}}
        one = shaped(marquez.RULES, event(facets={"parent": parent}), facts)
        assert one is not None
        assert one["run"]["facets"]["parent"]["root"]["run"]["runId"] == expected


def test_partitions_of_one_dataset_stay_apart_and_get_their_own_facets() -> None:
    def part(key: str, **facets: Any) -> dict[str, msgspec.Raw]:
        return raws(airflowProvenance_partition={"key": key}, **facets)

    facts = Facts(outputs=[KnownDataset("pg", "o", key, part(key, v=key)) for key in ("a", "b")])
    own = {"namespace": "pg", "name": "o", "facets": {"airflowProvenance_partition": {"key": "a"}}}

    one = shaped(marquez.RULES, event(outputs=[own]), facts)

    assert one is not None
    assert [data["facets"]["v"] for data in one["outputs"]] == ["a", "b"]


def test_a_job_event_reaches_marquez_as_it_came() -> None:
    job = event(None, run=None)
    assert shaped(marquez.RULES, job, Facts()) == job


def test_an_engine_that_datahub_knows_keeps_its_name() -> None:
    spark = "https://github.com/OpenLineage/OpenLineage/tree/1.54.0/integration/spark"
    for one in (
        event(facets={}, producer=spark),
        event(facets={"processing_engine": {"name": "spark", "version": "4"}}),
    ):
        sent = shaped(datahub.RULES, one, Facts())
        assert sent is not None
        assert sent["run"]["facets"] == one["run"]["facets"]


def test_a_name_that_is_no_path_is_left_alone() -> None:
    table = {"namespace": "postgres://host:5432", "name": "db.a table"}
    sent = shaped(datahub.RULES, event(inputs=[table]), Facts())
    assert sent is not None
    assert sent["inputs"] == [table]
