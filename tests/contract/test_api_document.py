"""The OpenAPI document is true: whatever is asked, each answer is one that the document shows.

Schemathesis derives the questions from the document: right ones, and ones with one thing wrong.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from airflow_provenance.api.app import Stores, create_app
from airflow_provenance.api.body import BodyLimits
from airflow_provenance.api.tokens import Token, TokenSecurity, hash_token
from airflow_provenance.formats.spool_line import CONTENT_TYPE
from airflow_provenance.store.memory import MemoryStore
from tests.contract.support import RECEIVED_US
from tests.contract.test_api import RECORDED

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store

TOKENS = [
    Token("all", hash_token("all"), ["read", "admin", "ingest"], ["*"]),
    Token("some", hash_token("some"), ["read"], [], ["flights"]),
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


@pytest.fixture
def full(store: Store) -> None:
    """The application answers from each kind of store, with real events in it."""
    lines = gzip.decompress(RECORDED.read_bytes()).splitlines()
    entries: Any = [("E", line) for line in lines]
    assert store.ingest(entries, received_us=RECEIVED_US).ingested == 11
    APP.state.stores = Stores(lambda: store)


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
    ]
    for path, path_parameters, query in asked:
        operation = DOCUMENT[f"/api/v1/{path}"]["GET"]
        case = operation.Case(path_parameters=path_parameters, query=query)
        headers = {"Authorization": "Bearer all"}
        assert case.call_and_validate(headers=headers).status_code == 200
