"""Why data is as it is: which checks count, and how the evidence for a cause is ranked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from airflow_provenance.cli.why import why_lines
from airflow_provenance.lineage.answers import why_json
from airflow_provenance.lineage.causes import WEIGHTS
from airflow_provenance.lineage.overview import overview
from airflow_provenance.lineage.short import Names
from airflow_provenance.lineage.trace import trace
from airflow_provenance.lineage.why import Finding, Why, why
from airflow_provenance.store.base import RunQuery
from airflow_provenance.store.memory import MemoryStore

Json = dict[str, Any]
START = datetime(2013, 1, 1, tzinfo=UTC)


class Shop:
    """A store, filled run by run by a producer that is no Airflow."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.minutes = 0

    def run(self, job: str, reads: list[Json], writes: list[Json], ended: str = "COMPLETE") -> None:
        uuid = str(uuid5(NAMESPACE_URL, f"{job}{self.minutes}"))
        entries = []
        for kind in ("START", ended):
            self.minutes += 1
            event = {
                "eventType": kind,
                "eventTime": (START + timedelta(minutes=self.minutes)).isoformat(),
                "run": {"runId": uuid},
                "job": {"namespace": "shop", "name": job},
                "inputs": reads,
                "outputs": writes if kind != "START" else [],
                "producer": "https://example.org/shop",
                "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
            }
            entries.append(("E", json.dumps(event).encode()))
        report = self.store.ingest(entries, received_us=self.minutes)
        assert report.ingested == 2, self.store.quarantine()

    def why(self, *subjects: str) -> Why:
        return why(self.store, [f"dataset:shop/{one}" for one in subjects])


def data(name: str, version: str = "1", **facets: Any) -> Json:
    members = {"version": {"datasetVersion": version}, **facets}
    of_all = {"_producer": "https://example.org/shop", "_schemaURL": "https://example.org/a.json"}
    told = {one: {**of_all, **facet} for one, facet in members.items()}
    return {"namespace": "shop", "name": name, "facets": told}


def columns(*names: str) -> Json:
    return {"fields": [{"name": one} for one in names]}


def failed(name: str, rows: int, column: str | None = None, **members: Any) -> Json:
    params = {"failedRows": rows, **members.pop("params", {})}
    return assertions(
        {"assertion": name, "success": False, "column": column, "params": params, **members}
    )


def passed(name: str, column: str | None = None) -> Json:
    return assertions({"assertion": name, "success": True, "column": column})


def assertions(*told: Json) -> Json:
    known = [{key: value for key, value in one.items() if value is not None} for one in told]
    return {"dataQualityAssertions": {"assertions": known}}


def only(answer: Why) -> Finding:
    (finding,) = answer.findings
    return finding


def rules(finding: Finding) -> dict[str, list[str]]:
    return {one.dataset.name: [told.rule for told in one.evidence] for one in finding.candidates}


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_what_a_check_compares_with_goes_before_all_other_evidence(shop: Shop) -> None:
    shop.run("load", [data("orders.raw", schema=columns("who"))], [data("orders")])
    compared = {"comparedWith": [{"namespace": "shop", "name": "people", "column": "id"}]}
    check = failed("foreign_key", 7, "who", params=compared)
    shop.run("check", [data("orders", **check), data("people"), data("who_is_who")], [])

    finding = only(shop.why("orders"))

    first = finding.candidates[0]
    assert (first.dataset.name, finding.failed_rows) == ("people", 7)
    assert [one.rule for one in first.evidence] == ["compared", "source", "read"]
    assert "column id" in first.evidence[0].text
    assert rules(finding)["orders.raw"] == ["column", "source", "read"]
    # Nobody made orders of people: the way ends at who compared the two.
    assert [type_of(shop, node) for node in first.path] == ["people", "check"]


def test_what_a_failed_check_behind_it_compares_the_column_with_goes_first(shop: Shop) -> None:
    compared = {"comparedWith": [{"namespace": "shop", "name": "people", "column": "id"}]}
    colours = {"comparedWith": [{"namespace": "shop", "name": "colours", "column": "hue"}]}
    shop.run("load", [data("post")], [data("orders", schema=columns("who", "hue"))])
    told = [
        {"assertion": "foreign_key", "success": False, "column": "who", "params": compared},
        {"assertion": "foreign_key", "success": False, "column": "hue", "params": colours},
    ]
    checked = data("orders", **assertions(*told))
    shop.run("check", [checked, data("people"), data("colours")], [])
    out = data("out", **failed("has_a_buyer", 7, "who"))
    shop.run("join", [data("orders"), data("people"), data("colours")], [out])

    finding = next(one for one in shop.why("out").findings if one.outcome.name == "has_a_buyer")

    first, second, third = finding.candidates
    assert first.dataset.name == "people"
    assert [one.rule for one in first.evidence] == ["compared", "source", "read"]
    assert first.evidence[0].text == (
        "the failed foreign_key of column who of orders looks here (column id)"
    )
    # Nobody compared who with colours; and the check of hue says nothing about who.
    assert (second.dataset.name, third.dataset.name) == ("orders", "colours")
    assert second.evidence[0].text == "its own check failed: foreign_key of column who"
    assert [one.rule for one in third.evidence] == ["source", "read"]
    assert [type_of(shop, node) for node in first.path] == ["people", "join", "out"]


def test_a_failed_check_of_another_column_says_nothing(shop: Shop) -> None:
    shop.run("check", [data("a", **failed("not_null", 4, "hue"))], [])
    shop.run("make", [data("a"), data("b")], [data("out", **failed("has_a_buyer", 2, "who"))])
    shop.run("count", [data("c")], [data("all", **failed("row_count", 1))])
    shop.run("join", [data("all"), data("d")], [data("end", **failed("not_null", 2, "who"))])

    findings = {one.job[1]: rules(one) for one in shop.why("out", "end").findings}

    assert findings["make"] == {"a": ["source", "read"], "b": ["source", "read"]}
    # A check of the whole speaks of every column.
    assert findings["join"]["all"] == ["failed", "read"]


def test_what_was_compared_further_back_is_a_candidate_though_the_run_did_not_read_it(
    shop: Shop,
) -> None:
    compared = {"comparedWith": [{"namespace": "shop", "name": "people", "column": "id"}]}
    shop.run("load", [data("post")], [data("orders")])
    shop.run(
        "check",
        [data("orders", **failed("in_list", 7, "who", params=compared)), data("people")],
        [],
    )
    shop.run("copy", [data("orders")], [data("between")])
    shop.run("sum", [data("between")], [data("out", **failed("has_a_buyer", 7, "who"))])

    finding = next(one for one in shop.why("out").findings if one.outcome.name == "has_a_buyer")

    assert rules(finding)["people"][0] == "compared"
    assert finding.candidates[0].dataset.name == "people"


def type_of(shop: Shop, node: int) -> str:
    runs = shop.store.runs_by_id([node])
    return runs[node].job[1] if runs else shop.store.versions_by_id([node])[node].dataset.name


def test_the_way_leads_over_what_failed_to_what_was_asked_about(shop: Shop) -> None:
    check = failed("has_airport", 3)
    shop.run("enrich", [data("flights"), data("airports.csv")], [data("enriched", **check)])
    shop.run("sum", [data("enriched")], [data("delays")])

    finding = only(shop.why("delays"))

    (first, second) = finding.candidates
    assert [one.rule for one in first.evidence] == ["named", "source", "read"]
    assert [type_of(shop, node) for node in first.path] == [
        *("airports.csv", "enrich", "enriched", "sum", "delays")
    ]
    assert second.dataset.name == "flights"


def test_a_candidate_that_a_run_wrote_names_the_sources_behind_it(shop: Shop) -> None:
    shop.run("load", [data("airports.csv")], [data("airports")])
    check = failed("has_airport", 3)
    shop.run("enrich", [data("flights"), data("airports")], [data("enriched", **check)])

    first = only(shop.why("enriched")).candidates[0]

    assert first.dataset.name == "airports"
    assert [type_of(shop, node) for node in first.origins] == ["airports.csv"]


def test_what_changed_since_the_check_passed_is_evidence(shop: Shop) -> None:
    reads = [data("a"), data("b", "old")]
    shop.run("make", reads, [data("out", "1", **passed("is_whole"))])
    shop.run("make", [data("a"), data("b", "new")], [data("out", "2", **failed("is_whole", 1))])

    finding = only(shop.why("out"))

    assert rules(finding) == {"b": ["changed", "source", "read"], "a": ["source", "read"]}


def test_what_all_failing_runs_read_alike_is_told_apart_from_what_each_read_alone(
    shop: Shop,
) -> None:
    for month in ("jan", "feb"):
        check = failed("is_known", 5)
        shop.run("make", [data("codes"), data(month)], [data(f"{month}.out", **check)])

    finding = only(shop.why("jan.out", "feb.out"))

    assert (len(finding.failures), finding.failed_rows) == (2, 10)
    assert rules(finding) == {
        "codes": ["unchanged", "source", "read"],
        "feb": ["source", "read"],
        "jan": ["source", "read"],
    }


def test_the_columns_behind_a_column_are_evidence(shop: Shop) -> None:
    field = {"namespace": "shop", "name": "a", "field": "x"}
    lineage = {"fields": {"who": {"inputFields": [field]}}}
    out = data("out", columnLineage=lineage, **failed("not_null", 2, "who"))
    shop.run("make", [data("a"), data("b")], [out])

    assert rules(only(shop.why("out"))) == {
        "a": ["lineage", "source", "read"],
        "b": ["source", "read"],
    }


def test_of_one_check_of_one_version_the_last_outcome_counts(shop: Shop) -> None:
    shop.run("make", [data("a")], [data("out", **failed("is_whole", 1))])
    shop.run("check", [data("out", **passed("is_whole"))], [])

    answer = shop.why("out")

    assert (answer.checked, answer.passed, answer.findings) == (1, 1, [])


def test_a_check_of_another_version_does_not_count(shop: Shop) -> None:
    shop.run("make", [data("a")], [data("out", "1", **failed("is_whole", 1))])
    anew = {"lifecycleStateChange": {"lifecycleStateChange": "OVERWRITE"}}
    shop.run("make", [data("a")], [data("out", "2", **passed("is_whole"), **anew)])

    assert shop.why("out").findings == []
    assert only(shop.why("out@1")).failed_rows == 1


def test_a_source_that_fails_its_own_check_is_the_candidate(shop: Shop) -> None:
    shop.run("check", [data("a", **failed("is_whole", 4))], [])

    first = only(shop.why("a")).candidates[0]

    assert first.dataset.name == "a"
    assert [one.rule for one in first.evidence] == ["failed", "source", "read"]


def test_sources_that_were_read_in_two_contents_are_told(shop: Shop) -> None:
    shop.run("left", [data("a", "1")], [data("l")])
    shop.run("right", [data("a", "2")], [data("r")])
    shop.run("join", [data("l"), data("r")], [data("out")])

    answer = shop.why("out")

    assert [ref.name for ref in answer.changed] == ["a"]
    assert len(answer.sources) == 2


def test_a_version_whose_writer_failed_is_told(shop: Shop) -> None:
    shop.run("make", [data("a")], [data("out")], ended="FAIL")

    answer = shop.why("out")

    assert len(answer.bad_versions) == 1
    assert [run.job[1] for run in answer.bad_tries] == ["make"]


def test_the_answer_as_json_holds_every_rule_with_its_words(shop: Shop) -> None:
    shop.run("make", [data("a")], [data("out", **failed("is_whole", 1))])

    answer = json.loads(json.dumps(why_json(shop.why("out"))))

    (finding,) = answer["findings"]
    (candidate,) = finding["candidates"]
    assert {one["rule"] for one in candidate["evidence"]} <= WEIGHTS.keys()
    nodes = {one["id"] for one in (*answer["graph"]["runs"], *answer["graph"]["versions"])}
    assert {*candidate["path"], *candidate["versions"], *answer["roots"]} <= nodes


def test_runs_of_another_producer_are_not_folded_by_their_names() -> None:
    from airflow_provenance.lineage.fold import fold
    from airflow_provenance.lineage.trace import trace

    shop = Shop()
    shop.run("load", [data("a")], [data("t")])
    shop.run("load.query.1", [data("t")], [data("u")])
    answer = trace(shop.store, "dataset:shop/u", "upstream")

    # Of another producer's runs nobody says that one is within the other.
    folded = fold(shop.store, answer)
    assert (folded.members, folded.trace.runs) == ({}, answer.runs)
    assert len(overview(shop.store, 0).jobs) == 2


def test_an_end_is_what_nothing_else_was_made_from_though_it_was_checked(shop: Shop) -> None:
    shop.run("make", [data("a")], [data("between")])
    shop.run("sum", [data("between")], [data("out")])
    shop.run("check", [data("out", **passed("is_whole"))], [])

    seen = overview(shop.store, 0)

    assert [line.job[1] for line in seen.jobs] == ["make", "sum", "check"]
    assert [type_of(shop, node) for node in seen.ends] == ["out"]


# ---- What speaks for a cause, and what does not --------------------------------------------------


def month_of_flights(shop: Shop) -> None:
    """Ingest flights, check them beside two lists, and write the weather for their hours."""
    compared = {"comparedWith": [{"namespace": "shop", "name": "airports", "column": "faa"}]}
    shop.run("ingest", [data("zip")], [data("flights", schema=columns("dest", "delay"))])
    told = [
        {"assertion": "foreign_key", "success": False, "column": "dest", "params": compared},
        {"assertion": "not_null", "success": False, "column": "delay"},
    ]
    seen = [data("flights", **assertions(*told)), data("airports"), data("planes")]
    shop.run("validate", seen, [])
    hours = failed("every_hour", 3)
    shop.run("weather", [data("flights"), data("weather.raw")], [data("weather", **hours)])


def named(answer: Why, check: str) -> Finding:
    (finding,) = (one for one in answer.findings if one.outcome.name == check)
    return finding


def test_a_check_without_a_column_takes_nothing_from_checks_of_columns_of_other_data(
    shop: Shop,
) -> None:
    month_of_flights(shop)

    finding = named(shop.why("weather"), "every_hour")

    assert rules(finding) == {"weather.raw": ["source", "read"], "flights": ["read"]}
    assert all(one.path for one in finding.candidates)


def test_a_check_without_a_column_is_spoken_for_by_one_of_a_column_it_was_made_from(
    shop: Shop,
) -> None:
    compared = {"comparedWith": [{"namespace": "shop", "name": "people", "column": "id"}]}
    field = {"namespace": "shop", "name": "orders", "field": "who"}
    lineage = {"fields": {"buyer": {"inputFields": [field]}}}
    shop.run("load", [data("post")], [data("orders")])
    check = failed("foreign_key", 7, "who", params=compared)
    shop.run("check", [data("orders", **check), data("people")], [])
    out = data("out", columnLineage=lineage, **failed("is_whole", 7))
    shop.run("join", [data("orders"), data("more")], [out])

    first, *_ = named(shop.why("out"), "is_whole").candidates

    assert first.dataset.name == "people"
    assert first.evidence[0].rule == "compared"
    # Nobody made out of people: the way ends at who compared them.
    assert [type_of(shop, node) for node in first.path] == ["people", "check"]


def test_what_only_the_checking_task_read_is_no_candidate_unless_the_check_is_tied_to_it(
    shop: Shop,
) -> None:
    month_of_flights(shop)
    answer = shop.why("flights")

    assert rules(named(answer, "not_null")) == {"zip": ["source", "read"]}
    tied = named(answer, "foreign_key").candidates
    assert [one.dataset.name for one in tied] == ["airports", "zip"]
    assert tied[0].evidence[-1].text == "read by the run that checked"


def test_of_two_for_which_as_much_speaks_what_the_writer_read_goes_first(shop: Shop) -> None:
    shop.run("load", [data("z_orders")], [data("orders")])
    check = failed("orders_are_whole", 2)
    shop.run("check", [data("orders", **check), data("a_orders")], [])

    first, second = only(shop.why("orders")).candidates

    assert (first.score, second.score) == (36, 36)
    assert (first.dataset.name, second.dataset.name) == ("z_orders", "a_orders")


def test_what_failed_of_the_subject_itself_goes_before_what_failed_behind_it(shop: Shop) -> None:
    shop.run("make", [data("a")], [data("between", **failed("is_whole", 900))])
    shop.run("sum", [data("between")], [data("out", **failed("has_sums", 2))])

    def told(*subjects: str) -> list[tuple[str, bool]]:
        findings = shop.why(*subjects).findings
        return [(one.outcome.name, one.is_own) for one in findings]

    assert told("out") == [("has_sums", True), ("is_whole", False)]
    assert told("between") == [("is_whole", True)]
    assert told("out", "between") == [("is_whole", True), ("has_sums", True)]


def test_a_run_that_only_checks_has_found_what_failed_itself(shop: Shop) -> None:
    shop.run("make", [data("a")], [data("out", **failed("is_whole", 900))])
    shop.run("check", [data("out", **failed("not_null", 1, "who"))], [])
    (check,) = (run for run, _ in shop.store.scan_runs() if run.job[1] == "check")

    findings = why(shop.store, [f"run:{check.id}"]).findings

    assert [(one.outcome.name, one.is_own) for one in findings] == [
        ("not_null", True),
        ("is_whole", False),
    ]


def lines_of(shop: Shop, subject: str) -> str:
    return "\n".join(why_lines(shop.why(subject), Names(shop.store.dataset_names())))


def test_a_writer_of_which_nobody_said_what_it_read_is_told(shop: Shop) -> None:
    shop.run("dump", [], [data("a")])
    shop.run("make", [data("a"), data("b")], [data("out")])

    answer = shop.why("out")

    assert [answer.graph.runs[one].job[1] for one in answer.read_nothing] == ["dump"]
    assert (
        "v3 a was written by run 1 (dump), which read nothing that is known: "
        "declare inlets, or call observe.input in the task"
    ).replace("v3", f"v{version_of(shop, 'a')}") in lines_of(shop, "out").replace(
        ", 2013-01-01T00:01:00Z", ""
    )
    assert "read nothing" not in lines_of(shop, "b")


def version_of(shop: Shop, name: str) -> int:
    (found,) = (one.id for one in shop.store.scan_versions() if one.dataset.name == name)
    return found


# An asset that is only a name, as every month's task has it among its outlets.
READY = {"namespace": "airflow://shop", "name": "orders_ready", "facets": {}}


@pytest.mark.parametrize("subject", ["run:join", "run:report"])
def test_what_an_assets_name_told_of_before_is_not_what_a_run_was_made_from(
    shop: Shop, subject: str
) -> None:
    for month in ("01", "02"):
        raw = data(f"{month}/raw", **failed("not_null", 7, "who"))
        shop.run("check", [raw], [])
        shop.run("join", [data(f"{month}/raw")], [data(f"{month}/orders"), READY])
    shop.run("report", [READY], [])
    newest = shop.store.runs(RunQuery(job=subject.removeprefix("run:")))[0].id

    answer = why(shop.store, [f"run:{newest}"])

    assert only(answer).failed_rows == 7
    assert {one.dataset.name for one in answer.graph.versions.values()} == {
        *("02/raw", "02/orders", "orders_ready")
    } - ({"02/orders"} if subject == "run:report" else set())
    traced = trace(shop.store, f"run:{newest}", "upstream").versions.values()
    assert "01/raw" not in {one.dataset.name for one in traced}


def test_data_that_was_added_to_is_made_from_what_was_there_though_no_content_is_known(
    shop: Shop,
) -> None:
    table = {"namespace": "shop", "name": "orders", "facets": {}}
    for month in ("01", "02"):
        shop.run("check", [data(f"{month}/raw", **failed("not_null", 7, "who"))], [])
        shop.run("load", [data(f"{month}/raw")], [table])

    assert only(shop.why("orders")).failed_rows == 14


def test_a_run_that_failed_says_so_before_its_checks(shop: Shop) -> None:
    shop.run("make", [data("a")], [data("out")], ended="FAIL")
    (run,) = shop.store.runs(RunQuery(job="make"))

    lines = list(why_lines(why(shop.store, [f"run:{run.id}"]), Names()))

    assert lines[0] == f"Run {run.id} make ended as FAIL: no error is known"
    assert not [one for one in lines if one.startswith("A try went wrong")]


def test_a_check_of_the_whole_says_what_it_found_and_what_was_wanted(shop: Shop) -> None:
    few = {"assertion": "row_count", "success": False, "actual": "3", "expected": ">= 10"}
    shop.run("check", [data("a", **assertions(few))], [])

    assert "row_count failed (error): found 3; expected: >= 10" in lines_of(shop, "a")
