"""Values of data leave the known places of an event; what tells what happened stays."""

from __future__ import annotations

import copy
import json
import logging
import traceback
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provenance.capture.rendered import without_data
from airflow_provenance.emit import failure
from airflow_provenance.emit.patterns import MASK
from airflow_provenance.emit.quoted import of_message, of_stack_trace
from airflow_provenance.emit.redact import KnownSecrets, Redactor

Json = dict[str, Any]
NOTHING_KNOWN = KnownSecrets()


def redact(event: Json, **options: bool) -> tuple[Json, Counter[str]]:
    redactor = Redactor(**options)
    as_it_came, found = redactor.redact_checks(event)  # as the transport does, before it enriches
    redacted = redactor.redact(as_it_came, NOTHING_KNOWN)
    return redacted.event, +(found + redacted.removed)


@pytest.mark.parametrize(
    ("holder", "slot", "name", "facet", "expected", "removed"),
    [
        (
            "job",
            "facets",
            "sql",
            {"query": "select 'x'", "dialect": "postgres"},
            {"query": "select '***'", "dialect": "postgres"},
            {"literal": 1},
        ),
        (
            "inputs",
            "inputFacets",
            "dataQualityMetrics",
            {
                "rowCount": 9,
                "columnMetrics": {
                    "a": {"nullCount": 1, "distinctCount": 2, "count": 3, "min": 4, "sum": 6},
                    "b": {"quantiles": {"0.5": 4}, "max": 5},
                },
            },
            {
                "rowCount": 9,
                "columnMetrics": {"a": {"nullCount": 1, "distinctCount": 2, "count": 3}, "b": {}},
            },
            {"value": 4},
        ),
        (
            "outputs",
            "facets",
            "dataQualityAssertions",
            {
                "assertions": [
                    {"assertion": "row_count", "success": False, "expected": "10", "actual": "9"},
                    {"assertion": "max", "success": True, "column": "pay", "actual": "90500"},
                    {"assertion": "null_count", "success": False, "actual": "ann"},
                    {
                        "assertion": "custom_sql",
                        "success": True,
                        "content": "select a from t where b = 'ann'",
                        "params": {"failedRows": 2, "strict": True, "like": "ann", "above": 90500},
                    },
                ]
            },
            {
                "assertions": [
                    {"assertion": "row_count", "success": False, "expected": "10", "actual": "9"},
                    {"assertion": "max", "success": True, "column": "pay", "actual": MASK},
                    {"assertion": "null_count", "success": False, "actual": MASK},
                    {
                        "assertion": "custom_sql",
                        "success": True,
                        "content": "select a from t where b = '***'",
                        "params": {"failedRows": 2, "strict": True, "like": MASK, "above": MASK},
                    },
                ]
            },
            {"literal": 1, "value": 4},
        ),
        (
            "run",
            "facets",
            "test",
            {"tests": [{"name": "t", "status": "pass", "type": "range", "expected": "1 to 9"}]},
            {"tests": [{"name": "t", "status": "pass", "type": "range", "expected": MASK}]},
            {"value": 1},
        ),
        (
            "inputs",
            "inputFacets",
            "subset",
            {
                "inputCondition": {
                    "type": "compare",
                    "comparison": "EQUAL",
                    "left": {"type": "field", "field": "name"},
                    "right": {"type": "literal", "value": "ann"},
                }
            },
            {
                "inputCondition": {
                    "type": "compare",
                    "comparison": "EQUAL",
                    "left": {"type": "field", "field": "name"},
                    "right": {"type": "literal", "value": MASK},
                }
            },
            {"value": 1},
        ),
        (
            "outputs",
            "facets",
            "columnLineage",
            {"fields": {"a": {"transformationDescription": "case when b = 'ann' then 1 end"}}},
            {"fields": {"a": {"transformationDescription": "case when b = '***' then 0 end"}}},
            {"literal": 2},
        ),
        (
            "run",
            "facets",
            "extractionError",
            {"totalTasks": 1, "errors": [{"errorMessage": "no", "task": "select 'ann'"}]},
            {"totalTasks": 1, "errors": [{"errorMessage": "no", "task": "select '***'"}]},
            {"literal": 1},
        ),
        (
            "run",
            "facets",
            "airflow",
            {"task": {"sql": "['select 1']", "parameters": {"id": "ann"}, "retries": 10}},
            {"task": {"sql": "['***']", "parameters": {"id": MASK}, "retries": 10}},
            {"literal": 1, "value": 1},
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else None,
)
def test_a_facet_loses_its_values_and_keeps_names_counts_and_outcomes(
    holder: str, slot: str, name: str, facet: Json, expected: Json, removed: Json
) -> None:
    held: Any = {"name": "n", slot: {name: facet}}
    event = {holder: [held] if holder in ("inputs", "outputs") else held}
    before = copy.deepcopy(event)

    redacted, counted = redact(event)

    found = redacted[holder][0] if isinstance(redacted[holder], list) else redacted[holder]
    assert found[slot][name] == expected
    assert counted == removed
    assert event == before
    assert redact(redacted) == (redacted, {})
    assert redact(event, keep_values=True) == (event, {})


UNIQUE = """(psycopg.errors.UniqueViolation) duplicate key value violates unique constraint "t_pkey"
DETAIL:  Key (card, name)=(planted, a (b) planted) already exists.
[SQL: INSERT INTO t (card) VALUES (%(card)s, 'planted') RETURNING t.id]
[parameters: {'card': 'planted', 'x': [1]}]
(Background on this error at: https://sqlalche.me/e/20/gkpj)"""


@pytest.mark.parametrize(
    "message",
    [
        UNIQUE,
        "null value in column violates not-null\nDETAIL:  Failing row contains (1, planted, (2)).",
        "insert or update violates\nDETAIL:  Key (a)=(planted) is not present in table u.",
        "conflicting key\nDETAIL:  Key (a)=(planted) conflicts with existing key (a)=(planted).",
        'invalid input syntax for type integer: "planted"\nLINE 1: select planted\n          ^',
        'value "planted" is out of range for type integer',
        'COPY t, line 1, column a: "planted"',
        "Duplicate entry 'planted' for key 't.PRIMARY'",
        "Incorrect integer value: 'planted' for column 'a' at row 1",
        "Cannot insert duplicate key. The duplicate key value is (planted).",
        "Numeric value 'planted' is not recognized",
        "could not convert string to float: 'planted'",
        "invalid literal for int() with base 10: 'planted'",
        "time data 'planted' does not match format '%Y'",
        "1 error for M\na\n  Input is no integer [input_value={'a': 'planted'}, input_type=dict]",
        'Unable to parse string "planted" at position 0',
        "Unknown datetime string format, unable to parse: planted, at position 0",
        "Failed to parse string: 'planted' as a scalar of type int64",
        "dict: 'planted' is not a valid Colour",
        "KeyError: 'planted'",
        "query failed: INSERT INTO t\nVALUES ('planted', 1)",
        "no such column: select a from t where b = 'planted'",
        "SQL statement: update t set a = 'planted' where b",
        "create user ann with password 'planted'",
    ],
)
def test_an_error_says_what_went_wrong_but_not_on_which_values(message: str) -> None:
    removed: Counter[str] = Counter()

    kept = of_message(message, removed)

    assert "planted" not in kept
    assert kept[:5] == message[:5]
    assert removed.total() >= 1
    again: Counter[str] = Counter()
    assert of_message(kept, again) == kept


@pytest.mark.parametrize("key", ["planted", ("planted", 1), "it's planted"])
def test_an_error_that_is_only_a_key_may_be_a_value(key: object) -> None:
    error = KeyError(key)

    assert of_message(str(error), Counter()) == "***"
    trace = "".join(traceback.format_exception_only(error))
    assert of_stack_trace(trace, Counter()) == "KeyError: ***\n"


def test_what_sqlalchemy_says_stays_readable() -> None:
    assert of_message(UNIQUE, Counter()).splitlines() == [
        UNIQUE.splitlines()[0],
        "DETAIL:  Key (card, name)=(***) already exists.",
        "[SQL: INSERT INTO t (card) VALUES (%(card)s, '***') RETURNING t.id]",
        "[parameters: ***]",
        UNIQUE.splitlines()[-1],
    ]


@pytest.mark.parametrize(
    "message",
    [
        "[Errno 28] No space left on device: '/data/flights.csv'",
        "Task received SIGTERM signal",
        "division by zero",
        "HTTP 503 from https://api.example.org/v1: it's down, retry 3 of 5",
        'relation "flights" does not exist',
    ],
)
def test_an_error_without_values_stays_as_it_is(message: str) -> None:
    removed: Counter[str] = Counter()

    assert of_message(message, removed) == message
    assert not removed


TRACE = """Traceback (most recent call last):
  File "/dags/flights.py", line 10, in load
    hook.run("insert into t values ('planted', 4111)", parameters=["planted"])
    ~~~~~~~~^^^^^^
  File "/site-packages/db.py", line 20, in run
    cursor.execute(sql)
ValueError: could not convert string to float: 'planted'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/dags/flights.py", line 30, in load
    raise RuntimeError(f'{card} planted')
RuntimeError: query failed: select a from t where b = 'planted'
"""


def test_a_stack_trace_says_where_and_how_but_quotes_nothing() -> None:
    kept = of_stack_trace(TRACE, Counter())

    assert "planted" not in kept
    assert "4111" not in kept
    for stays in (
        'File "/dags/flights.py", line 10, in load\n    hook.run(',
        'File "/site-packages/db.py", line 20, in run\n    cursor.execute(sql)\n',
        "The above exception was the direct cause",
        "ValueError: could not convert string to float: '***'",
        "RuntimeError: query failed: select a from t where b = '***'",
    ):
        assert stays in kept
    assert len(kept.splitlines()) == len(TRACE.splitlines())


@given(st.text(max_size=200))
def test_no_message_is_too_odd(text: str) -> None:
    of_message(text, Counter())
    of_stack_trace(text, Counter())


def operator(**members: Any) -> Any:
    return SimpleNamespace(**members)


def test_rendered_sql_loses_literals_and_parameters_their_values() -> None:
    removed: Counter[str] = Counter()
    task = operator(sql=["select 'x' from t"], parameters={"id": 7, "n": "ann"})
    rendered = {"sql": ["select 'x' from t"], "parameters": {"id": 7, "n": "ann"}, "conn_id": "pg"}

    assert without_data(rendered, task, removed) == {
        "sql": ["select '***' from t"],
        "parameters": {"id": MASK, "n": MASK},
        "conn_id": "pg",
    }
    assert removed == {"literal": 1, "value": 2}
    many = operator(sql="insert into t values (?)", parameters=[("ann",), ("bob",)])
    assert without_data(vars(many), many, Counter())["parameters"] == {"count": 2}


def test_sql_that_airflow_has_cut_is_read_as_it_was() -> None:
    sql = "insert into t values (" + ", ".join(f"'planted {n}'" for n in range(1000)) + ")"
    rendered = {"sql": f"Truncated. You can change this: {sql!r:.200}... "}

    kept = without_data(rendered, operator(sql=sql), Counter())["sql"]

    assert "planted" not in kept
    assert kept.startswith("insert into t values ('***', ")


def test_sql_that_a_renderer_names_is_found_where_it_stands() -> None:
    configuration = {"query": {"query": "select 'planted' from t", "useLegacySql": False}}
    task = operator(
        configuration=configuration,
        statement="select 'planted'",
        template_fields_renderers={"configuration.query.query": "sql", "statement": "postgresql"},
    )
    rendered = {
        "configuration": configuration,
        "configuration.query.query": "select 'planted' from t",
        "statement": "select 'planted'",
        "bash_command": "echo 'kept'",
    }

    kept = without_data(rendered, task, Counter())

    assert "planted" not in json.dumps(kept)
    assert kept["configuration"] == {
        "query": {"query": "select '***' from t", "useLegacySql": False}
    }
    assert kept["bash_command"] == "echo 'kept'"


def test_a_parameter_of_an_operator_without_sql_is_no_bind_parameter() -> None:
    rendered = {"parameters": {"month": "2013-01"}}

    assert without_data(rendered, operator(**rendered), Counter()) == rendered


def test_addresses_and_cards_leave_what_users_gave_and_stay_with_those_who_are_named() -> None:
    event = {
        "run": {
            "facets": {
                "airflow": {
                    "dag": {"owner": "ann@example.org"},
                    "dagRun": {
                        "conf": {"name": "ann@example.org", "card": 4111111111111111, "n": 41},
                        "triggering_user_name": "ann@example.org",
                    },
                }
            }
        },
        "job": {"facets": {"ownership": {"owners": [{"name": "ann@example.org"}]}}},
        "outputs": [
            {
                "namespace": "s3://b",
                "name": "in/4111111111111111/ann@example.org",
                "outputFacets": {"outputStatistics": {"size": 4111111111111111}},
            }
        ],
    }

    redacted, removed = redact(event)

    conf = redacted["run"]["facets"]["airflow"]["dagRun"].pop("conf")
    assert conf == {"name": MASK, "card": MASK, "n": 41}
    del event["run"]["facets"]["airflow"]["dagRun"]["conf"]  # type: ignore[index]
    assert redacted == event
    assert removed == {"pattern": 2}


def test_our_own_lines_in_a_log_quote_no_value(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(failure, "_last_line", None)
    caplog.set_level(logging.DEBUG)
    error = ValueError("Key (card)=(planted) already exists at postgres://u:planted@db/x")

    failure.report("do this", error)

    assert "planted" not in caplog.text
    assert "do this: Key (card)=(***) already exists at postgres://***@db/x" in caplog.text
    assert "Details of the above" in caplog.text
