"""What is planted in a real run leaves by no way: spool, store, command line, our log lines."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from airflow_provenance.emit.quoted import of_message
from airflow_provenance.formats import facets
from airflow_provenance.formats.spool_line import decode_line
from tests.support.facet_schemas import openlineage_validator, own_facet_problems, own_facets

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAGS = Path(__file__).resolve().parent / "dags"
TRANSPORT = {"type": "airflow_provenance.emit.transport.ProvenanceTransport"}
REGISTERED, TOKEN = "r3gistered-and-planted", "ghp_" + "plantedT0ken" * 3
CONF = {
    "password": "planted-conf-password",
    "card": 5500005555555559,
    "note": {"name": "planted.conf@example.org", "iban": "DE89 3704 0044 0532 0130 00"},
}
# Pieces, so that what is found whatever stands around it.
PLANTED = (
    REGISTERED,
    "plantedT0ken",
    "planted-uri-password",
    "planted-conf-password",
    "planted-key",
    "planted-argument",
    "planted literal",
    "planted comment",
    "planted parameter",
    "planted in error",
    "planted.param",
    "planted.conf",
    "planted.argument",
    "4111 1111",
    "5500005555555559",
    "DE89 3704",
)
Json = dict[str, Any]
Done = subprocess.CompletedProcess[str]


class Planted(NamedTuple):
    """A home in which the DAG has run and its spool was ingested."""

    home: Path
    done: Done
    spooled: bytes
    ingested: Done

    @property
    def events(self) -> list[Json]:
        lines = (decode_line(line) for line in self.spooled.split(b"\n") if line)
        return [json.loads(payload) for kind, payload in lines if kind == "E"]

    def of(self, job: str, event_type: str) -> Json:
        (event,) = (
            one
            for one in self.events
            if (one["job"]["name"], one["eventType"]) == (f"planted.{job}", event_type)
        )
        return event


def run(home: Path, module: str, *arguments: str) -> Done:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "OPENLINEAGE"))}
    connection = {"conn_type": "sqlite", "host": str(home / "pay.db")}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={
            **clean,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(TRANSPORT),
            "AIRFLOW__OPENLINEAGE__INCLUDE_FULL_TASK_INFO": "True",
            "AIRFLOW_CONN_PLANTED_SQLITE": json.dumps(connection),
            "PLANTED_REGISTERED": REGISTERED,
            "PLANTED_TOKEN": TOKEN,
        },
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    home = tmp_path_factory.mktemp("home")
    migrated = run(home, "airflow", "db", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    done = run(home, "airflow", "dags", "test", "planted", "--conf", json.dumps(CONF))
    spooled = b"\n".join(
        path.read_bytes() for path in (home / "provenance" / "spool").glob("*.spool")
    )
    for command in (("db", "migrate"), ("ingest", "--spool")):
        ingested = run(home, "airflow_provenance.cli", *command)
        assert ingested.returncode == 0, ingested.stdout + ingested.stderr
    return Planted(home, done, spooled, ingested)


def left_in(text: str | bytes) -> list[str]:
    found = text.encode() if isinstance(text, str) else text
    return [one for one in PLANTED if one.encode() in found]


def test_the_run_did_what_it_should(planted: Planted) -> None:
    states = {
        one["job"]["name"]: one["eventType"]
        for one in planted.events
        if one["eventType"] != "START"
    }

    assert states["planted.takes"] == states["planted.pays"] == "COMPLETE", planted.done.stdout
    assert states["planted.fails"] == "FAIL"
    # What is asserted below to be nowhere is here: in the database, and in Airflow's own log.
    with sqlite3.connect(planted.home / "pay.db") as database:
        assert database.execute("select count(*) from pay").fetchone() == (2,)
    assert "planted-key" in planted.done.stdout + planted.done.stderr


def test_no_byte_of_the_spool_holds_what_was_planted(planted: Planted) -> None:
    assert planted.spooled
    assert left_in(planted.spooled) == []


def test_no_row_of_the_store_holds_what_was_planted(planted: Planted) -> None:
    path = planted.home / "provenance" / "provenance.db"
    assert left_in(path.read_bytes()) == []
    exported = run(planted.home, "airflow_provenance.cli", "events", "--export")
    assert len(exported.stdout.splitlines()) == len(planted.events)
    assert left_in(exported.stdout) == []


def test_no_answer_of_the_command_line_holds_what_was_planted(planted: Planted) -> None:
    runs = json.loads(run(planted.home, "airflow_provenance.cli", "runs", "--json").stdout)
    listed = runs if isinstance(runs, list) else runs["runs"]
    assert len(listed) >= 4
    assert left_in(planted.ingested.stdout + planted.ingested.stderr) == []
    for one in listed:
        for form in ((), ("--json",)):
            told = run(planted.home, "airflow_provenance.cli", "run", str(one["id"]), *form)
            assert told.returncode in (0, 1), told.stderr
            assert left_in(told.stdout + told.stderr) == []


def test_no_line_of_ours_in_the_tasks_logs_holds_what_was_planted(planted: Planted) -> None:
    texts = [planted.done.stdout, planted.done.stderr]
    texts += [path.read_text() for path in (planted.home / "logs").rglob("*.log")]
    ours = [line for text in texts for line in text.splitlines() if "Provenance" in line]

    assert ours, "the bad argument is a line of ours"
    assert [found for line in ours for found in left_in(line)] == []


def test_what_was_removed_is_counted_by_its_rule(planted: Planted) -> None:
    def counts(job: str, event_type: str) -> Json:
        facet: Json = planted.of(job, event_type)["run"]["facets"][facets.REDACTION]
        assert facet["total"] == sum(facet["byRule"].values())
        by_rule: Json = facet["byRule"]
        return by_rule

    # Literals: two strings, a number, a comment; of the rendered field and of the event.
    assert counts("pays", "START")["literal"] >= 4
    assert counts("pays", "COMPLETE")["value"] >= 1
    assert counts("pays", "START")["field"] >= 1
    assert counts("takes", "START")["pattern"] >= 3
    failed = counts("fails", "FAIL")
    assert failed["value"] >= 1
    assert failed["literal"] >= 1
    assert failed["pattern"] >= 4
    query = planted.of("pays.query.3", "COMPLETE")["run"]["facets"][facets.REDACTION]
    assert query["byRule"]["literal"] == 2


def test_what_is_no_secret_stays(planted: Planted) -> None:
    pays = planted.of("pays", "COMPLETE")
    rendered = pays["run"]["facets"][facets.MANIFEST]["parameters"]["rendered"]

    assert rendered["sql"][1] == "insert into pay values ('***', :who)"
    assert rendered["parameters"] == {"who": "***"}
    query = planted.of("pays.query.2", "COMPLETE")["job"]["facets"]["sql"]["query"]
    assert query == "insert into pay values ('***', :who)"
    assert pays["run"]["facets"][facets.MANIFEST]["parameters"]["params"]["month"] == "2013-01"
    error = planted.of("fails", "FAIL")["run"]["facets"]["errorMessage"]
    assert "postgres://***@db:5432/pay refused ***" in error["message"]
    assert "Key (card)=(***) already exists" in error["message"]


def test_every_event_and_facet_is_still_valid(planted: Planted) -> None:
    validate = openlineage_validator()
    for event in planted.events:
        assert validate is None or validate(event) == []
        assert [problem for one in own_facets(event) for problem in own_facet_problems(*one)] == []


def test_what_postgresql_really_says_of_a_row_is_removed(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url)
    insert = "insert into pay values (:card, 'planted literal', :n)"
    said = []
    with engine.connect() as connection:
        connection.execute(
            sa.text("create temp table pay (card text primary key, who text, n int not null)")
        )
        connection.execute(sa.text(insert), {"card": "planted-key", "n": 1})
        connection.commit()
        for statement, values in (
            (insert, {"card": "planted-key", "n": 1}),
            (insert, {"card": "planted parameter", "n": None}),
            ("select * from pay where n = 'planted literal' and card = :card", {"card": "x"}),
            ("select cast(card as int) from pay", {}),
        ):
            with pytest.raises(sa.exc.DBAPIError) as caught:
                connection.execute(sa.text(statement), values).all()
            connection.rollback()
            said.append(str(caught.value))
    engine.dispose()

    assert all(left_in(one) for one in said)
    for one in said:
        kept = of_message(one, Counter())
        assert left_in(kept) == [], kept
        assert "[SQL: " in kept
        assert kept.splitlines()[0][:20] == one[:20]
