"""Checks in a real run, ours and Airflow's own: verdicts, events, and no value that leaks."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from airflow_provenance.formats import facets
from tests.integration.test_flights_dag import Airflow, Spooled, airflow, read_spool
from tests.support.facet_schemas import openlineage_validator

if TYPE_CHECKING:
    from subprocess import CompletedProcess

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
__all__ = ["airflow"]

# Four people; two share a number, one has no name, one no possible age, one comes from nowhere.
PEOPLE = [
    (4711, "Zephyrine Quackenbush", 33, "EWR", "2013-01-01 08:00:00"),
    (4711, "Bartholomew Crumpet", 151, "JFK", "2013-01-01 09:00:00"),
    (4712, None, 61, "QQX", "2013-01-02 08:00:00"),
    (4713, "Wilhelmina Snodgrass", 61, "LGA", "2013-01-02 09:00:00"),
]
PERSONAL = ("Zephyrine", "Quackenbush", "Bartholomew", "Crumpet", "Wilhelmina", "4711", "4713")
PERSONAL_VALUES = ("QQX", "151")


@pytest.fixture(scope="module")
def run(airflow: Airflow) -> tuple[Spooled, CompletedProcess[str]]:
    data, spool_dir = airflow.home / "data", airflow.home / "spool-checks"
    rows = [",".join("" if one is None else str(one) for one in row) for row in PEOPLE]
    header = "id,name,age,origin,seen_at"
    (data / "passengers_2013-01-02.csv").write_text("\n".join([header, *rows]) + "\n")
    (data / "airports_2013-01-02.csv").write_text("faa\nEWR\nJFK\nLGA\n")
    database = sqlite3.connect(data / "people.db")
    database.execute(f"CREATE TABLE passengers ({header})")
    database.executemany("INSERT INTO passengers VALUES (?, ?, ?, ?, ?)", PEOPLE)
    database.execute("UPDATE passengers SET seen_at = substr(seen_at, 1, 10)")
    database.commit()
    done = airflow.run(
        *("dags", "test", "checks_data", "2013-01-02"),
        AIRFLOW__PROVENANCE__SPOOL_DIR=str(spool_dir),
        AIRFLOW__PROVENANCE__HASH_KEY="a key of this test",
        AIRFLOW_CONN_PEOPLE=json.dumps({"conn_type": "sqlite", "host": str(data / "people.db")}),
    )
    return read_spool(spool_dir, data), done


def terminal(spooled: Spooled, task_id: str) -> list[dict[str, Any]]:
    return [
        event
        for event in spooled.events
        if event["job"]["name"] == f"checks_data.{task_id}" and event["eventType"] != "START"
    ]


def asserted(spooled: Spooled, task_id: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    (event,) = terminal(spooled, task_id)
    return {
        (one["namespace"], one["name"]): one["inputFacets"]["dataQualityAssertions"]["assertions"]
        for one in event["inputs"]
        if "dataQualityAssertions" in one["inputFacets"]
    }


def verdicts(assertions: list[dict[str, Any]]) -> dict[tuple[str, str | None], tuple[Any, ...]]:
    return {
        (one["name"], one.get("column")): (
            one["success"],
            one["severity"],
            one.get("params", {}).get("failedRows"),
        )
        for one in assertions
    }


EXPECTED = {
    ("not_null", "name"): (False, "error", 1),
    ("unique", "id"): (False, "error", 2),
    ("accepted_range", "age"): (False, "error", 1),
    ("accepted_values", "origin"): (False, "warn", 1),
    ("foreign_key", "origin"): (False, "error", 1),
    ("freshness", "seen_at"): (True, "error", None),
    ("not_null", "no_such_column"): (False, "warn", None),
    ("row_count", None): (True, "error", None),
}


@pytest.mark.parametrize(
    ("task_id", "event_type", "state"),
    [
        ("fails", "FAIL", "FAIL"),
        ("skips", "COMPLETE", "SKIPPED"),
        ("warns", "COMPLETE", "COMPLETE"),
        ("only_warned", "COMPLETE", "COMPLETE"),
    ],
)
def test_what_becomes_of_the_task_is_what_its_author_said(
    run: tuple[Spooled, Any], task_id: str, event_type: str, state: str
) -> None:
    (event,) = terminal(run[0], task_id)

    assert event["eventType"] == event_type
    assert event["run"]["facets"][facets.RUN]["state"] == state


@pytest.mark.parametrize("task_id", ["fails", "skips", "warns"])
def test_every_outcome_is_told_of_the_dataset_however_the_task_ends(
    run: tuple[Spooled, Any], task_id: str
) -> None:
    spooled, _ = run
    ((dataset, assertions),) = asserted(spooled, task_id).items()

    assert dataset == ("file", f"{spooled.data}/passengers_2013-01-02.csv")
    assert verdicts(assertions) == EXPECTED
    (event,) = terminal(spooled, task_id)
    reads = {one["name"]: one for one in event["inputs"]}
    # What a foreign key is looked up in was read, too.
    assert len(reads) == 2
    read = reads[dataset[1]]
    assert read["inputFacets"]["inputStatistics"]["rowCount"] == len(PEOPLE)
    content = (spooled.data / "passengers_2013-01-02.csv").read_bytes()
    assert read["facets"][facets.CONTENT]["digest"] == hashlib.sha256(content).hexdigest()


def test_failing_rows_can_be_found_again_by_who_has_the_key(run: tuple[Spooled, Any]) -> None:
    (assertions,) = asserted(run[0], "warns").values()
    (unique,) = (one for one in assertions if one["name"] == "unique")
    digest = hmac.new(b"a key of this test", b'["4711"]', hashlib.sha256).hexdigest()

    assert unique["params"]["sample"] == {
        "columns": ["id"],
        "keyed": "setting",
        "hmacSha256": [digest, digest],
    }


def test_a_check_that_cannot_run_says_why_and_stops_no_other(run: tuple[Spooled, Any]) -> None:
    spooled, done = run
    (assertions,) = asserted(spooled, "warns").values()
    (missing,) = (one for one in assertions if one.get("column") == "no_such_column")

    assert missing["params"]["error"] == "there is no column 'no_such_column'"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR  not_null" in line]
    assert len(lines) == 3  # in fails, skips and warns


def test_a_line_in_the_log_tells_of_each_check(run: tuple[Spooled, Any]) -> None:
    said = run[1].stdout + run[1].stderr

    assert re.search(r"FAIL {3}unique\(id\) +2 of 4 rows fail", said)
    assert re.search(r"WARN {3}accepted_values\(origin\) +1 of 4 rows fail", said)
    assert re.search(r"PASS {3}row_count +4 rows", said)
    assert "4 of 8 checks of " in said


def test_a_table_is_named_and_checked(run: tuple[Spooled, Any]) -> None:
    spooled, _ = run
    ((dataset, assertions),) = asserted(spooled, "table").items()

    assert dataset == (f"sqlite://{spooled.data}/people.db", "passengers")
    assert verdicts(assertions) == {
        ("unique", "id"): (False, "error", 2),
        ("expression_is_true", None): (True, "error", 0),
        ("seen_later", None): (True, "error", 0),
    }


def test_a_mapped_operator_checks_each_file(run: tuple[Spooled, Any]) -> None:
    ended = terminal(run[0], "mapped")

    assert [event["eventType"] for event in ended] == ["COMPLETE", "COMPLETE"]


def test_what_a_decorated_function_returns_is_checked(run: tuple[Spooled, Any]) -> None:
    spooled, _ = run

    (frame,) = asserted(spooled, "frame").items()
    assert frame[0] == ("s3://crm", "passengers")
    assert all(one["success"] for one in frame[1])
    (table,) = asserted(spooled, "reference").items()
    assert table[0] == (f"sqlite://{spooled.data}/people.db", "passengers")
    assert table[1][0]["actual"] == "4"


OWN = {
    "column": {
        "passes": {"name.null_check": True, "age.max": True, "age.distinct_check": True},
        "fails": {"name.null_check": False, "age.max": True, "age.distinct_check": True},
    },
    "table": {"passes": {"row_count": True}, "fails": {"row_count": False}},
    "check": {"passes": {"check_passes": True}, "fails": {"check_fails": False}},
    "value": {"passes": {"value_passes": True}, "fails": {"value_fails": False}},
    "threshold": {"passes": {"threshold_passes": True}, "fails": {"threshold_fails": False}},
    "interval": {
        "passes": {"interval_COUNT(*)": True},
        "fails": {"interval_COUNT(*)": False},
    },
}


@pytest.mark.parametrize("suffix", ["passes", "fails"])
@pytest.mark.parametrize("kind", OWN)
def test_what_airflows_own_checks_find_is_told_of_the_table(
    run: tuple[Spooled, Any], kind: str, suffix: str
) -> None:
    spooled, _ = run
    ((dataset, assertions),) = asserted(spooled, f"{kind}_{suffix}").items()

    assert dataset == (f"sqlite://{spooled.data}/people.db", "passengers")
    assert {one["name"]: one["success"] for one in assertions} == OWN[kind][suffix]


def test_counts_are_told_of_airflows_checks_and_values_are_not(run: tuple[Spooled, Any]) -> None:
    (assertions,) = asserted(run[0], "column_passes").values()
    by_name = {one["name"]: one for one in assertions}

    assert by_name["name.null_check"]["actual"] == "1"
    assert by_name["name.null_check"]["assertion"] == "accepted_values"  # the author allows one
    assert "actual" not in by_name["age.max"]
    assert by_name["age.max"]["expected"] == ">= 100"


def test_every_event_is_valid_openlineage(run: tuple[Spooled, Any]) -> None:
    validate = openlineage_validator()
    if validate is None:
        pytest.skip("the OpenLineage schemas are absent")

    assert [problem for event in run[0].events for problem in validate(event)] == []


def test_what_airflow_itself_tells_of_its_checks_quotes_no_value(run: tuple[Spooled, Any]) -> None:
    (event,) = terminal(run[0], "column_fails")
    facets_ = event["run"]["facets"]
    by_name = {one["name"]: one for one in facets_["test"]["tests"]}

    assert facets_["errorMessage"]["message"] == "Checks failed: name.null_check"
    assert by_name["age.max"]["status"] == "pass"
    assert by_name["age.max"]["expected"] == ">= 100"
    assert not any("actual" in one for one in by_name.values())
    (interval,) = terminal(run[0], "interval_passes")
    (test,) = interval["run"]["facets"]["test"]["tests"]
    assert set(test) >= {"name", "status"}
    assert not set(test) & {"actual", "content"}
    assert test["params"] == {"tested_table": "passengers"}


def test_no_value_of_the_data_is_in_an_event_or_a_log_line(run: tuple[Spooled, Any]) -> None:
    spooled, done = run
    said = (done.stdout + done.stderr).splitlines()
    # What Airflow's own operators write into the log is theirs.
    lines = [one for one in said if "airflow_provenance" in one or " checks of " in one]
    assert len(lines) > 20

    for text in (*map(json.dumps, spooled.events), *lines):
        for value in (*PERSONAL, *PERSONAL_VALUES):
            # Hashes and times are digits, too.
            found = re.search(rf".{{0,80}}(?<![\w.:-]){value}(?![\w.:-]).{{0,40}}", text)
            assert found is None, found


def test_a_table_of_postgresql_is_one_dataset_for_our_checks_and_airflows(
    airflow: Airflow, postgres_url: str
) -> None:
    url = postgres_url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url) as database:
        database.execute("CREATE TABLE passengers (name text, age integer)")
        database.execute("INSERT INTO passengers VALUES (NULL, 33), ('Zephyrine', 15151)")
    spool_dir = airflow.home / "spool-checks-postgres"

    done = airflow.run(
        *("dags", "test", "checks_postgres"),
        AIRFLOW__PROVENANCE__SPOOL_DIR=str(spool_dir),
        AIRFLOW_CONN_WAREHOUSE=url,
    )

    spooled = read_spool(spool_dir, airflow.home)
    ended = {
        event["job"]["name"].partition(".")[2]: event
        for event in spooled.events
        if event["eventType"] != "START" and "." in event["job"]["name"]
    }
    assert {name for name in ended if "query" not in name} == {"ours", "column", "value"}, done
    named = {
        name: {(one["namespace"], one["name"]) for one in ended[name]["inputs"]}
        for name in ("ours", "column", "value")
    }
    assert named["ours"] == named["column"] == named["value"]
    ((namespace, name),) = named["ours"]
    assert namespace.startswith("postgres://")
    assert name.endswith(".public.passengers")
    (read,) = ended["ours"]["inputs"]
    assert verdicts(read["inputFacets"]["dataQualityAssertions"]["assertions"]) == {
        ("not_null", "name"): (False, "warn", 1),
        ("pattern", "name"): (True, "error", 0),
        ("row_count", None): (True, "error", None),
    }
    # The provider tells of its column checks on the table itself: ours take their place there.
    (read,) = ended["column"]["inputs"]
    assert "inputFacets" not in read
    assertions = read["facets"]["dataQualityAssertions"]["assertions"]
    assert [(one["name"], one["success"], one.get("actual")) for one in assertions] == [
        ("name.null_check", True, "1"),
        ("age.max", True, None),
    ]
    assert not [one for one in spooled.events if re.search("Zephyrine|15151", json.dumps(one))]
    validate = openlineage_validator()
    assert validate is None or [p for one in spooled.events for p in validate(one)] == []
