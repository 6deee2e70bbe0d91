"""A real Airflow runs everything: what is emitted has its facets, what is stored is what happened.

One scheduler runs `dags/everything.py` with a rerun of two cleared tasks; what it spooled is
ingested into SQLite by the command line and read by the store's reader. Expectations are written by
hand: `golden/facets.json` and `expected_everything`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from sqlalchemy import make_url

from airflow_provenance.domain.identity import TaskRunKey
from airflow_provenance.formats import facets
from airflow_provenance.formats.spool_line import decode_line
from airflow_provenance.store.sql.store import SqlStore
from tests.integration.expected_everything import DAG_RUNS, RUNS, WITH_CHILDREN
from tests.support import postgres
from tests.support.airflow_standalone import Airflow
from tests.support.event_kinds import dataset_kinds, event_kinds
from tests.support.facet_schemas import (
    OPENLINEAGE_VALIDATOR,
    openlineage_validator,
    own_facet_problems,
    own_facets,
)
from tests.support.stored_facts import dag_runs_of, facts_of, runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provenance.store.base import ProvenanceReader

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

HERE = Path(__file__).resolve().parent
GOLDEN = json.loads((HERE.parent / "golden" / "facets.json").read_text())
REDACTED = "hunter2-hunter2"

Json = dict[str, Any]


class Cli(NamedTuple):
    """Our command line, with the store and the spool of the run."""

    home: Path
    store: str

    def __call__(self, *arguments: str) -> Any:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "airflow_provenance.cli", *arguments),
                *("--json", "--store", self.store),
            ],
            env={
                **os.environ,
                "AIRFLOW_HOME": str(self.home),
                "AIRFLOW__PROVENANCE__SPOOL_DIR": str(self.home / "spool"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class Ran(NamedTuple):
    """What is left of the run."""

    lines: list[tuple[str, bytes]]
    events: list[Json]
    store: ProvenanceReader
    cli: Cli
    names: dict[str, str]  # what stands for this run's folder, server and run_ids


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("everything")
    home, data = folder / "home", folder / "data"
    home.mkdir()
    data.mkdir()
    with (
        postgres.new_database(postgres_server) as metadata,
        postgres.new_database(postgres_server) as tables,
    ):
        names = run(home, data, metadata, tables)
        lines = [
            decode_line(line)
            for path in (home / "spool").glob("*.spool")
            for line in filter(None, path.read_bytes().split(b"\n"))
        ]
        cli = Cli(home, f"sqlite:///{folder / 'store.db'}")
        report = cli("ingest", "--spool")
        assert (report["quarantined"], report["warnings"]) == (0, [])
        store = SqlStore(cli.store)
        events = [json.loads(raw) for kind, raw in lines if kind == "E"]
        yield Ran(lines, events, store, cli, names)
        store.close()


def run(home: Path, data: Path, metadata: str, tables: str) -> dict[str, str]:
    """Run everything; return what stands for the names of this run."""
    server = make_url(tables)
    environment = {
        "EVERYTHING_DATA": str(data),
        "AIRFLOW_CONN_EVERYTHING_SQLITE": json.dumps(
            {"conn_type": "sqlite", "host": str(data / "everything.db")}
        ),
        "AIRFLOW_CONN_EVERYTHING_POSTGRES": json.dumps(
            {
                "conn_type": "postgres",
                "host": server.host,
                "port": server.port,
                "login": server.username,
                "password": server.password,
                "schema": server.database,
            }
        ),
    }
    dags = [HERE / "dags" / "everything.py"]
    with Airflow.start(home, metadata, dags=dags, environment=environment) as airflow:
        airflow.trigger("everything_partitions")
        run_id = airflow.trigger("everything", logical_date="2013-01-01T00:00:00Z")
        assert airflow.wait_for_run("everything", run_id) == "failed"
        airflow.clear("everything", run_id, ["cleared", "retried"])
        assert airflow.wait_for_run("everything", run_id) == "failed"
        regions = airflow.wait_for_runs("everything_by_region", 2)
    return {
        str(data): "{data}",
        f"postgres://{server.host}:{server.port}": "{postgres}",
        str(server.database): "{database}",
        **{one["dag_run_id"]: one["partition_key"] for one in regions},
    }


# ---- Events --------------------------------------------------------------------------------------


def test_every_event_is_valid_openlineage(ran: Ran) -> None:
    validate = openlineage_validator()
    if validate is None:
        pytest.skip(f"the OpenLineage schemas are not at {OPENLINEAGE_VALIDATOR}")

    assert [problem for event in ran.events for problem in validate(event)] == []


def test_every_facet_of_ours_is_valid_by_our_schemas(ran: Ran) -> None:
    ours = [named for event in ran.events for named in own_facets(event)]

    assert [problem for name, facet in ours for problem in own_facet_problems(name, facet)] == []


@pytest.mark.parametrize("kind", GOLDEN["events"])
def test_an_event_has_the_facets_of_its_kind(kind: str, ran: Ran) -> None:
    of_kind = [event for event in ran.events if kind in event_kinds(event)]

    assert of_kind
    missing = {
        f"{event['eventType']} {event['job']['name']}: {holder} {name}"
        for event in of_kind
        for holder in ("run", "job")
        for name in GOLDEN["events"][kind][holder]
        if name not in (event[holder].get("facets") or {})
    }
    assert missing == set()


def test_every_event_is_of_a_kind(ran: Ran) -> None:
    of_none = [event["job"]["name"] for event in ran.events if not [*event_kinds(event)]]

    assert {name for name in of_none if name.count(".") == 0} <= {
        "everything_partitions",
        "everything_by_region",
    }
    assert {name for name in of_none if name.count(".")} <= {"everything_partitions.writes_regions"}


@pytest.mark.parametrize("kind", GOLDEN["datasets"])
def test_a_dataset_has_the_facets_of_its_kind(kind: str, ran: Ran) -> None:
    of_kind = [
        (event["job"]["name"], dataset)
        for event in ran.events
        for one, dataset in dataset_kinds(event)
        if one == kind
    ]

    assert of_kind
    missing = {
        f"{job}: {dataset['name']} {slot} {name}"
        for job, dataset in of_kind
        for slot, names in GOLDEN["datasets"][kind].items()
        for name in names
        if name not in (dataset.get(slot) or {})
    }
    assert missing == set()


def of_task(ran: Ran, task_id: str, attempt: int = 1, event_type: str = "COMPLETE") -> Json:
    (event,) = (
        event
        for event in ran.events
        if event["job"]["name"] == f"everything.{task_id}"
        and event["eventType"] == event_type
        and event["run"]["facets"][facets.TASK]["tryNumber"] == attempt
    )
    return event


@pytest.mark.parametrize(
    ("task_id", "attempt", "relation"),
    [("retried", 2, "retryOf"), ("retried", 3, "supersedes"), ("cleared", 2, "supersedes")],
)
def test_a_later_try_names_the_one_before(
    task_id: str, attempt: int, relation: str, ran: Ran
) -> None:
    before = of_task(ran, task_id, attempt - 1, "START")["run"]["runId"]

    for event_type in ("START", "COMPLETE"):
        facet = of_task(ran, task_id, attempt, event_type)["run"]["facets"][facets.RUN]
        named = facet.get(relation) or {}
        assert (named.get("runId"), named.get("tryNumber")) == (before, attempt - 1)
        assert not {"retryOf", "supersedes"} - {relation} & set(facet)


def test_a_first_try_names_none(ran: Ran) -> None:
    for task_id in ("writes_files", "cleared"):
        facet = of_task(ran, task_id)["run"]["facets"][facets.RUN]
        assert not {"retryOf", "supersedes"} & set(facet)


@pytest.mark.parametrize(
    ("task_id", "upstream"),
    [
        ("cleared", ["everything.writes_files"]),
        ("after_cleared", ["everything.cleared"]),
        ("postgres_hook", ["everything.postgres_load"]),
        ("mapped", ["everything.writes_files"]),
    ],
)
def test_a_task_names_the_jobs_it_comes_after(task_id: str, upstream: list[str], ran: Ran) -> None:
    named = {
        json.dumps(
            sorted(
                (one["job"]["namespace"], one["job"]["name"])
                for one in (event["run"]["facets"].get("jobDependencies", {}).get("upstream") or [])
            )
        )
        for event in ran.events
        if event["job"]["name"] == f"everything.{task_id}"
    }

    assert named == {json.dumps([("flights", name) for name in upstream])}


def test_a_query_says_that_its_data_is_told_by_the_task(ran: Ran) -> None:
    children = [event for event in ran.events if "query child" in event_kinds(event)]

    # The official provider names no datasets of SQLite, so there is nothing to say of them.
    with_data = [event for event in children if event.get("inputs") or event.get("outputs")]
    assert with_data
    assert {event["run"]["facets"][facets.TASK].get("ioOnTask") for event in with_data} == {True}


def test_a_run_that_an_asset_triggered_names_who_wrote_it(ran: Ran) -> None:
    consumed = [
        event["run"]["facets"][facets.RUN].get("consumedAssetEvents")
        for event in ran.events
        if "triggered by an asset" in event_kinds(event)
    ]

    assert len(consumed) == 4
    for (source,) in consumed:
        assert (source["dagId"], source["taskId"]) == ("everything_partitions", "writes_regions")


def test_an_asset_event_is_told_with_its_extra(ran: Ran) -> None:
    (orders,) = (one for one in of_task(ran, "named")["outputs"] if one["name"] == "orders")

    facet = orders["facets"]["airflowProvenance_asset"]

    assert facet["extra"] == {"rows": 3, "source": "shop"}
    assert "orders" in facet.values()


def test_no_secret_is_spooled(ran: Ran) -> None:
    assert [raw for _, raw in ran.lines if REDACTED.encode() in raw] == []


# ---- The store -----------------------------------------------------------------------------------


def test_every_run_is_stored_and_no_other(ran: Ran) -> None:
    assert set(runs_of(ran.store, ran.names)) == set(RUNS)
    assert dag_runs_of(ran.store, ran.names) == DAG_RUNS


@pytest.mark.parametrize("name", RUNS)
def test_the_facts_of_a_run_are_what_happened(name: str, ran: Ran) -> None:
    run = runs_of(ran.store, ran.names)[name]
    expected = RUNS[name]

    found = facts_of(ran.store, run, ran.names)

    assert (found["state"], found["retry_of"], found["superseded_by"]) == (
        expected.get("state", "COMPLETE"),
        expected.get("retry_of"),
        expected.get("superseded_by"),
    )
    for side in ("reads", "writes"):
        wanted = expected.get(side, {})
        # A fact that is not written down is not looked at: which version a table has, for one.
        seen = {
            dataset: {fact: value for fact, value in has.items() if fact in wanted.get(dataset, ())}
            for dataset, has in found[side].items()
        }
        assert seen == wanted


def test_a_querys_run_is_its_tasks_child_and_makes_no_version(ran: Ran) -> None:
    runs = runs_of(ran.store, ran.names)
    children = {name: ran.store.children(run.id) for name, run in runs.items()}

    assert {name: len(children[name]) for name in WITH_CHILDREN} == WITH_CHILDREN
    for child in (child for those in children.values() for child in those):
        assert not isinstance(child.key, TaskRunKey)
        assert ran.store.versions_of_run(child.id) == []


def test_the_trace_leads_from_a_file_to_what_it_was_made_of(ran: Ran) -> None:
    data = next(path for path, name in ran.names.items() if name == "{data}")

    answer = ran.cli("trace", "upstream", f"dataset:file/{data}/cleared.csv")

    jobs = {one["job"]["name"] for one in answer["runs"]}
    assert {"everything.cleared", "everything.writes_files"} <= jobs
    assert not {"everything.mapped", "everything.after_cleared"} & jobs
