"""The OpenAPI document is true: whatever is asked, each answer is one that the document shows.

Schemathesis derives the questions from the document: right ones, and ones with one thing wrong.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from airflow_provenance.alerts.lifecycle import Rules, advance
from airflow_provenance.alerts.routes import parse_routes
from airflow_provenance.api.app import Stores, create_app
from airflow_provenance.api.body import BodyLimits
from airflow_provenance.api.tokens import Token, TokenSecurity, hash_token
from airflow_provenance.domain.alert import Action, AlertState
from airflow_provenance.domain.evaluation_change import EvaluationChange
from airflow_provenance.formats.spool_line import CONTENT_TYPE
from airflow_provenance.sla.policy import from_plain
from airflow_provenance.store.memory import MemoryStore
from airflow_provenance.store.promises import PolicyRow
from tests.contract.support import RECEIVED_US
from tests.contract.test_api import RECORDED

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store

TOKENS = [
    Token("all", hash_token("all"), ["read", "admin", "ingest", "act"], ["*"]),
    Token("some", hash_token("some"), ["read", "act"], [], ["flights"]),
]
APP = create_app(MemoryStore, TokenSecurity(TOKENS), BodyLimits(50_000, 100_000))
DOCUMENT = schemathesis.openapi.from_asgi(
    "/api/v1/openapi.json",
    APP,
    headers={"Authorization": "Bearer all"},
    config=SchemathesisConfig(),  # the defaults, whatever schemathesis.toml there may be
)


@schemathesis.serializer(CONTENT_TYPE)
def spool_lines(_: Any, value: Any) -> bytes:
    """Send what was made up as it is: no line of it is one of a spool."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def promise(store: Store) -> None:
    """Two promises in force, one of them broken, told and silenced."""
    (report,) = store.datasets_named("/data/flights/report.parquet")
    target, run = "/".join(report), store.versions(report)[0].run_id
    bodies = [
        {"id": "0", "target": {"dataset": target}, "objective": {"kind": "volume", "at_least": 9}},
        {"id": "1", "target": {"dag": "flights"}, "objective": {"kind": "deadline", "at": "01:00"}},
    ]
    rows = [
        PolicyRow(
            policy_id=str(one["id"]),
            revision=from_plain(one).revision,
            source="file",
            place="here:1",
            body=json.dumps(one),
        )
        for one in bodies
    ]
    store.put_policies(rows, RECEIVED_US)
    broken = EvaluationChange(
        policy_id="0",
        revision=rows[0].revision,
        period="p",
        state="breached",
        target=f"dataset:{target}",
        breached_us=RECEIVED_US,
        runs=() if run is None else (run,),
    )
    changes = store.add_changes([broken], {}, RECEIVED_US)
    rules = Rules(parse_routes("[]", ["oncall"]))
    after = advance(AlertState(), changes, rules, RECEIVED_US)
    store.put_alert_state(after.state, after.notices)
    said = Action(kind="ack", matchers=('policy="0"',), author="a", reason="r", at_us=RECEIVED_US)
    store.add_action(said)


@pytest.fixture
def full(store: Store) -> None:
    """The application answers from each kind of store, with real events in it."""
    lines = gzip.decompress(RECORDED.read_bytes()).splitlines()
    entries: Any = [("E", line) for line in lines]
    assert store.ingest(entries, received_us=RECEIVED_US).ingested == 11
    promise(store)
    APP.state.stores = Stores(lambda: store)


def test_every_route_of_promises_is_in_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    routes = [
        f"`{method.upper()} {path.removeprefix('/api/v1')}`"
        for path, methods in APP.openapi()["paths"].items()
        for method in methods
        if "/sla/" in path
    ]
    assert len(routes) > 10
    assert [one for one in routes if f"| {one} |" not in page] == []


@DOCUMENT.parametrize()
@hypothesis.settings(
    max_examples=12,
    derandomize=True,  # a failure is everybody's, and the next run's
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.usefixtures("full")
def test_every_answer_is_as_the_document_says(case: schemathesis.Case) -> None:
    for token in ("all", "some"):
        case.call_and_validate(
            headers={"Authorization": f"Bearer {token}"},
            # No schema can say what is a cursor of this list, or an event to be accepted; and
            # parameters that nobody knows are not looked at. `test_api` has what is to be refused.
            excluded_checks=[negative_data_rejection, positive_data_acceptance],
        )


@pytest.mark.usefixtures("full")
def test_answers_of_what_there_is_are_as_the_document_says(store: Store) -> None:
    # Nothing that is made up meets the number of a run or the name of a dataset.
    runs = range(1, store.counts()["runs"] + 1)
    [report] = store.datasets_named("/data/flights/report.parquet")
    [version] = store.versions(report)
    asked: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        *(("runs/{run}", {"run": str(one)}, {"facets": "true"}) for one in runs),
        ("versions/{version}", {"version": version.id}, {}),
        ("versions", {}, {"namespace": report.namespace, "name": report.name}),
        ("lineage", {}, {"subject": f"dataset:{'/'.join(report)}"}),
        ("lineage", {}, {"subject": f"run:{runs[-1]}", "direction": "downstream"}),
        ("events", {}, {"raw": "true"}),
        ("sla/promises", {}, {}),
        ("sla/promises", {}, {"limit": "1"}),
        ("sla/alerts", {}, {}),
        *(("sla/report", {}, {"format": one}) for one in ("json", "csv", "html")),
        *(
            (f"sla/promises/{{policy}}{more}", {"policy": policy}, query)
            for policy in "01"
            for more, query in (
                ("", {}),
                ("/evaluations", {"at": "1970-01-01T00:00:00Z"}),
                ("/evaluations", {"at": "2013-02-02T00:00:00Z"}),
                ("/backtest", {"since": "1970-01-01T00:00:00Z", "every": "10000d"}),
            )
        ),
    ]
    for path, path_parameters, query in asked:
        operation = DOCUMENT[f"/api/v1/{path}"]["GET"]
        case = operation.Case(path_parameters=path_parameters, query=query)
        headers = {"Authorization": "Bearer all"}
        assert case.call_and_validate(headers=headers).status_code == 200
