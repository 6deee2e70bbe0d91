"""A real run of SQL by hooks and operators: tables as datasets of their tasks."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from sqlalchemy.engine import make_url

from airflow_provenance.formats import facets
from tests.integration.test_flights_dag import LOST, Airflow, Spooled, read_spool
from tests.support import postgres
from tests.support.facet_schemas import openlineage_validator, own_facet_problems, own_facets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
Json = dict[str, Any]
# The same of both databases, but for how they are named.
KINDS = ("lite", "pg")


class Ran(NamedTuple):
    """What the DAG spooled, and the databases that it left."""

    spooled: Spooled
    lite: Path
    pg: str

    def name(self, kind: str, table: str) -> tuple[str, str]:
        if kind == "lite":
            return f"sqlite://{self.lite}", table
        url = make_url(self.pg)
        return f"postgres://{url.host}:{url.port}", f"{url.database}.public.{table}"

    def of_task(self, task_id: str, event_type: str = "COMPLETE") -> Json:
        return self.spooled.of_task(task_id, event_type)

    def output(self, kind: str, task_id: str, table: str) -> Json:
        (found,) = (
            one
            for one in self.of_task(f"{kind}_{task_id}")["outputs"]
            if (one["namespace"], one["name"]) == self.name(kind, table)
        )
        return found

    def rows(self, kind: str, table: str) -> list[tuple[Any, ...]]:
        sql = f"SELECT * FROM {table}"
        if kind == "lite":
            return sqlite3.connect(self.lite).execute(sql).fetchall()
        with psycopg.connect(self.pg.replace("+psycopg", "")) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def database(postgres_server: str) -> Iterator[str]:
    with postgres.new_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, database: str) -> Ran:
    airflow = Airflow(tmp_path_factory.mktemp("airflow"))
    assert airflow.run("db", "migrate").returncode == 0
    url, lite = make_url(database), airflow.home / "lite.db"
    pg = {"conn_type": "postgres", "host": url.host, "port": url.port, "login": url.username}
    pg |= {"password": url.password or "", "schema": url.database}
    done = airflow.run(
        *("dags", "test", "with_sql"),
        AIRFLOW_CONN_PG=json.dumps(pg),
        AIRFLOW_CONN_LITE=json.dumps({"conn_type": "sqlite", "host": str(lite)}),
        AIRFLOW__PROVENANCE__SPOOL_DIR=str(airflow.home / "spool"),
        AIRFLOW__PROVENANCE__TABLE_TIMEOUT_SECONDS="30",
    )
    assert LOST not in done.stdout + done.stderr
    assert "is not complete" not in done.stdout + done.stderr
    return Ran(read_spool(airflow.home / "spool", airflow.home), lite, database)


def refs(datasets: list[Json]) -> set[tuple[str, str]]:
    return {(one["namespace"], one["name"]) for one in datasets}


@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_datasets_of_the_tasks_that_read_and_wrote_them(ran: Ran, kind: str) -> None:
    by_hook, by_operator = ran.of_task(f"{kind}_hook"), ran.of_task(f"{kind}_operator")

    three = {ran.name(kind, name) for name in ("flights", "airports", "unknown")}
    assert (refs(by_hook["inputs"]), refs(by_hook["outputs"])) == (set(), three)
    assert refs(by_operator["inputs"]) == {ran.name(kind, "flights"), ran.name(kind, "airports")}
    assert refs(by_operator["outputs"]) == {ran.name(kind, "delays"), ran.name(kind, "unknown")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_has_its_columns_its_rows_and_an_id_of_its_content(ran: Ran, kind: str) -> None:
    for task_id, table in (("hook", "flights"), ("hook", "airports"), ("operator", "delays")):
        dataset = ran.output(kind, task_id, table)
        content = dataset["facets"][facets.CONTENT]
        assert content["verified"], content
        assert content["rowCount"] == len(ran.rows(kind, table))
        assert (content["format"], content["algorithm"]) == ("table", "sha256-rows")
        version = dataset["facets"]["version"]["datasetVersion"]
        assert version == f"sha256-rows:{content['digest']}"
        assert content["digest"].startswith(f"{content['rowCount']:016x}")
    fields = ran.output(kind, "hook", "airports")["facets"]["schema"]["fields"]
    assert [one["name"] for one in fields] == ["faa", "name"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_was_written_is_counted_as_written(ran: Ran, kind: str) -> None:
    def statistics(task_id: str, table: str) -> Json:
        facet = ran.output(kind, task_id, table).get("outputFacets", {}).get("outputStatistics", {})
        return {name: value for name, value in facet.items() if not name.startswith("_")}

    assert statistics("hook", "airports") == {"rowCount": 1}
    assert statistics("hook", "flights") == {"rowCount": 3}
    # What a task made anew holds what it wrote, also where no cursor tells: Python's SQLite counts
    # no rows of CREATE, nor of a statement that begins with WITH.
    assert statistics("hook", "unknown") == {"rowCount": 0}
    assert statistics("operator", "delays") == {"rowCount": 1}
    assert statistics("operator", "unknown") == {"rowCount": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_that_is_made_replaces_and_one_that_is_added_to_does_not(
    ran: Ran, kind: str
) -> None:
    def change(task_id: str, table: str) -> str | None:
        facet = ran.output(kind, task_id, table)["facets"].get("lifecycleStateChange", {})
        return facet.get("lifecycleStateChange")

    assert change("hook", "flights") == "CREATE"
    assert change("operator", "delays") == "OVERWRITE"
    assert change("operator", "unknown") is None


@pytest.mark.parametrize("kind", KINDS)
def test_each_output_has_the_column_lineage_of_the_statement_that_wrote_it(
    ran: Ran, kind: str
) -> None:
    def lineage(table: str) -> dict[str, list[tuple[str, str, str, list[str]]]]:
        fields = ran.output(kind, "operator", table)["facets"]["columnLineage"]["fields"]
        return {
            name: [
                (
                    one["namespace"],
                    one["name"],
                    one["field"],
                    [how["subtype"] for how in one["transformations"]],
                )
                for one in field["inputFields"]
            ]
            for name, field in fields.items()
        }

    flights = ran.name(kind, "flights")
    assert lineage("delays") == {
        "carrier": [(*flights, "carrier", ["IDENTITY"])],
        "mean": [(*flights, "delay", ["AGGREGATION"])],
    }
    assert lineage("unknown") == {"dest": [(*flights, "dest", ["IDENTITY"])]}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_read_is_not_verified_for_it_was_looked_at_later(ran: Ran, kind: str) -> None:
    for dataset in ran.of_task(f"{kind}_operator")["inputs"]:
        content = dataset["facets"][facets.CONTENT]
        assert content["verified"] is False
        assert content["reason"] == "looked at after the task had read it"
        assert content["rowCount"] == len(ran.rows(kind, dataset["name"].rpartition(".")[2]))


def test_queries_name_the_tables_as_their_task_does_and_say_that_it_has_them(ran: Ran) -> None:
    own = ran.of_task("pg_hook")
    named = refs([*own["inputs"], *own["outputs"]])
    queries = [one for one in ran.spooled.events if ".pg_hook.query." in one["job"]["name"]]
    with_tables = [one for one in queries if one["outputs"]]

    assert with_tables
    assert all(one["run"]["facets"][facets.TASK]["ioOnTask"] for one in with_tables)
    named_there = set().union(*(refs([*one["inputs"], *one["outputs"]]) for one in with_tables))
    assert named <= named_there
    # The official provider takes a temporary table and a function for tables.
    assert named_there - named == {ran.name("pg", "new"), ran.name("pg", "generate_series")}
    assert all("outputStatistics" not in one.get("outputFacets", {}) for one in with_tables)


def test_what_a_failed_task_wrote_is_not_claimed(ran: Ran) -> None:
    (dataset,) = ran.of_task("fails", "FAIL")["outputs"]

    assert dataset["name"] == ran.name("pg", "unknown")[1]
    assert dataset["facets"][facets.CONTENT]["verified"] is False
    assert "rolled back" in dataset["facets"][facets.CONTENT]["reason"]
    assert "outputFacets" not in dataset


def test_every_event_is_valid(ran: Ran) -> None:
    ours = [named for event in ran.spooled.events for named in own_facets(event)]
    assert [problem for name, facet in ours for problem in own_facet_problems(name, facet)] == []
    validate = openlineage_validator()
    if validate is None:
        pytest.skip("the OpenLineage schemas are not there")
    assert [problem for event in ran.spooled.events for problem in validate(event)] == []
