"""Definitions of checks: what is refused where it is written, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance import checks
from airflow_provenance.capture.dataset_checks import Plan, check_dataset, conclude
from airflow_provenance.capture.sql_checks import _tables
from airflow_provenance.capture.table_names import table_ref
from airflow_provenance.checks import (
    AcceptedValues,
    Expression,
    FailingRows,
    ForeignKey,
    Freshness,
    Measure,
    NotNull,
    Pattern,
    Range,
    RowCount,
    Table,
    Unique,
)
from airflow_provenance.checks.definitions import checked
from airflow_provenance.checks.sampling import Hasher
from airflow_provenance.checks.sources.database import name_parts
from airflow_provenance.domain.identity import DatasetRef, TaskRef
from airflow_provenance.emit import notes
from airflow_provenance.emit.notes import TaskRunNotes
from airflow_provenance.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("duckdb", "sqlglot", "narwhals", "pandas", "polars", "pyarrow", "sqlalchemy.orm")
DAY = datetime(2013, 1, 1)  # noqa: DTZ001 - what is tested


MISUSED: dict[str, Callable[[], Any]] = {
    "no bound": lambda: Range("miles"),
    "above max": lambda: Range("miles", min=2, max=1),
    "different kinds": lambda: Range("miles", min=2, max="z"),
    "time zone": lambda: Range("at", min=DAY, max=DAY.replace(tzinfo=UTC)),
    "True or False": lambda: Range("miles", min=True),
    "none to compare with": lambda: Range("miles", max=float("nan")),
    "is empty": lambda: AcceptedValues("dest", []),
    "is one text": lambda: AcceptedValues("dest", "IAH"),
    "none to compare": lambda: AcceptedValues("dest", ["IAH", None]),  # type: ignore[list-item]
    "no column": lambda: NotNull(""),
    "is no column": lambda: NotNull("a\0b"),
    "there is no column": lambda: Unique([]),
    "named twice": lambda: Unique(["id", "id"]),
    "no regular expression": lambda: Pattern("dest", "("),
    "no number of rows": lambda: RowCount(min=-1),
    "there is no bound": lambda: RowCount(),
    "equal stands beside": lambda: RowCount(min=1, equal=2),
    "no other dataset": lambda: ForeignKey("dest", ""),
    "above zero": lambda: Freshness("at", timedelta(0)),
    "no SQL": lambda: Expression(" ; "),
    "there is no SQL": lambda: FailingRows(""),
    "no number: give": lambda: Measure("SELECT 1", min="1"),  # type: ignore[arg-type]
    "severity is 'bad'": lambda: NotNull("dest", severity="bad"),
    "name is no text": lambda: NotNull("dest", name=""),
    "checks is empty": lambda: checked([]),
    "checks is one check": lambda: checked(NotNull("dest")),
    "is no check": lambda: checked(["dest"]),
    "two checks are called not_null": lambda: checked([NotNull("dest"), NotNull("dest")]),
    "on_failure is 'stop'": lambda: Plan.of([NotNull("dest")], None, "stop", ()),
    "null_values is one text": lambda: Plan.of([NotNull("dest")], None, "fail", "NA"),
}


@pytest.mark.parametrize("problem", MISUSED)
def test_what_could_never_work_is_refused_in_one_line(problem: str) -> None:
    with pytest.raises(CheckError) as caught:
        MISUSED[problem]()

    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_definition_compares_by_value_and_never_changes() -> None:
    check = Range("miles", min=0, max=5)

    assert check == Range("miles", min=0, max=5) != Range("miles", min=0)
    with pytest.raises(FrozenInstanceError):
        check.min = 1  # type: ignore[misc]


def test_templates_are_rendered_in_other_datasets_and_in_sql_alone() -> None:
    def render(text: str) -> str:
        return text.replace("{{ ds }}", "2013-01-01")

    assert ForeignKey("{{ ds }}", "a_{{ ds }}.csv").rendered(render) == ForeignKey(
        "{{ ds }}", "a_2013-01-01.csv"
    )
    assert Expression("day = '{{ ds }}'").rendered(render).condition == "day = '2013-01-01'"
    assert Pattern("dest", "{{ ds }}").rendered(render).regex == "{{ ds }}"


def test_every_name_of_the_package_is_one_for_dag_authors() -> None:
    kinds = {
        getattr(checks, name).kind for name in checks.__all__ if name not in ("Check", "Table")
    }

    assert "" not in kinds
    assert set(checks.__all__) <= set(vars(checks))


@pytest.mark.parametrize(
    "module", ["operators.dataset_check", "decorators.dataset_check", "checks"]
)
def test_a_dag_file_that_imports_them_loads_nothing_heavy(module: str) -> None:
    # What Airflow's own BaseOperator brings in is not ours to save.
    code = (
        "import sys; from airflow.sdk import BaseOperator, task; before = set(sys.modules)\n"
        f"import airflow_provenance.{module}\n"
        f"print(sorted(set({HEAVY}) & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        ("flights", ("flights",)),
        ("air.flights", ("air", "flights")),
        ('air."2013.flights"', ("air", "2013.flights")),
        ('"a""b".c', ('a"b', "c")),
        ('a"b', ('a"b',)),
        ("my flights", ("my flights",)),
    ],
)
def test_a_name_in_quotes_may_hold_a_dot(table: str, parts: tuple[str, ...]) -> None:
    assert name_parts(table) == parts


@pytest.mark.parametrize("table", ["", ".", "a.", ".a", "a..b"])
def test_what_is_no_table_is_refused(table: str) -> None:
    with pytest.raises(CheckError, match="is no table"):
        name_parts(table)


def postgres_hook(**info: Any) -> Any:
    known = {"scheme": "postgres", "authority": "db:5432", "database": "air"}
    return SimpleNamespace(
        conn_type="postgres",
        get_conn_id=lambda: "air",
        get_connection=lambda _: None,
        get_openlineage_database_info=lambda _: SimpleNamespace(
            **{**known, "is_uppercase_names": False, **info}
        ),
        get_openlineage_default_schema=lambda: "public",
    )


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("flights", "air.public.flights"),
        ("raw.flights", "air.raw.flights"),
        ("other.raw.flights", "other.raw.flights"),
    ],
)
def test_a_table_is_named_as_the_official_provider_names_it(table: str, name: str) -> None:
    assert table_ref(postgres_hook(), table) == DatasetRef("postgres://db:5432", name)


def test_a_table_of_a_hook_that_says_nothing_has_no_name() -> None:
    hook = postgres_hook()
    hook.get_openlineage_database_info = lambda _: None

    assert table_ref(hook, "flights") is None


def test_a_table_of_sqlite_is_named_by_its_file(tmp_path: Path) -> None:
    hook = SimpleNamespace(conn_type="sqlite", get_uri=lambda: f"sqlite:///{tmp_path}/a.db?mode=ro")

    assert table_ref(hook, "main.flights") == DatasetRef(f"sqlite://{tmp_path}/a.db", "flights")
    hook.get_uri = lambda: "sqlite:///:memory:"
    assert table_ref(hook, "flights") is None


def test_the_tables_of_a_query_are_found_and_its_own_names_are_not() -> None:
    sql = 'WITH late AS (SELECT * FROM Raw.Flights) SELECT 1 FROM late JOIN "Planes" p ON true'

    assert set(_tables(SimpleNamespace(conn_type="postgres"), sql)) == {
        '"raw"."flights"',
        '"Planes"',
    }


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> TaskRunNotes:
    noted = TaskRunNotes(TaskRef("flights_month", "manual__1", "check", -1, 1))
    monkeypatch.setattr(notes, "_current", noted)
    return noted


def plan(*found: checks.Check, on_failure: str = "fail") -> Plan:
    return Plan.of(found, "id", on_failure, ("",))


def test_without_a_setting_samples_are_keyed_by_the_run(
    noted: TaskRunNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__HASH_KEY", "")
    rows = [{"id": 1, "dest": None}]

    check_dataset(plan(NotNull("dest")), rows, "s3://raw/flights")

    ((told,),) = (one.values() for one in noted.observed.checks.values())
    assert told.params is not None
    assert told.params["sample"]["keyed"] == "run"
    assert Hasher.of("").hash(["1"]) != Hasher.of("").hash(["1"])


def test_a_frame_without_a_name_is_checked_and_told_of_nothing(noted: TaskRunNotes) -> None:
    summary, failure = check_dataset(plan(NotNull("id")), [{"id": 1}])

    assert (summary["dataset"], summary["passed"], failure) == ("a list", 1, None)
    assert noted.observed.checks == {}


@pytest.mark.parametrize(
    "data",
    ["/no/such/file.csv", "/etc/hostname", Table("no_such_connection", "flights"), 1.5],
    ids=str,
)
def test_a_dataset_that_cannot_be_opened_is_an_error_of_every_check(
    data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_current", None)

    summary, failure = check_dataset(plan(NotNull("id"), RowCount(min=1, severity="warn")), data)

    assert (summary["not_run"], summary["failed"], summary["warned"]) == (2, 1, 1)
    assert failure is not None


def test_only_checks_of_severity_error_fail_and_as_the_author_says() -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowSkipException

    rows = [{"id": None}]
    warned = plan(NotNull("id", severity="warn"))
    assert conclude(warned, *check_dataset(warned, rows))["warned"] == 1
    for on_failure, error in (("fail", AirflowException), ("skip", AirflowSkipException)):
        failing = plan(NotNull("id"), on_failure=on_failure)
        with pytest.raises(error, match=r"1 of 1 checks of a list failed: not_null\(id\): 1 of 1"):
            conclude(failing, *check_dataset(failing, rows))
    failing = plan(NotNull("id"), on_failure="warn")
    assert conclude(failing, *check_dataset(failing, rows))["failed"] == 1


def test_an_object_in_a_store_is_checked_and_nothing_beside_it(
    noted: TaskRunNotes, tmp_path: Path
) -> None:
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem

    store = MemoryFileSystem()
    attach(protocol="memory", fs=store)
    store.pipe("/lake/flights.csv", b"id,dest\n1,IAH\n007,\n")
    store.pipe("/lake/secret.csv", b"id\n1\n")
    (tmp_path / "secret.csv").write_text("id\n1\n")
    path = ObjectStoragePath("memory://lake/flights.csv")
    reading = [
        FailingRows(f"SELECT * FROM read_csv('{one}')", name=one)
        for one in ("memory://lake/secret.csv", str(tmp_path / "secret.csv"))
    ]

    summary, failure = check_dataset(plan(Pattern("id", "^0"), NotNull("dest"), *reading), path)

    assert (summary["rows"], summary["failed"], summary["not_run"]) == (2, 4, 2)
    assert failure is not None
    ((ref, told),) = noted.observed.checks.items()
    assert ref == DatasetRef("memory://lake", "flights.csv")
    assert {one.failed_rows for one in told.values()} == {1, None}
