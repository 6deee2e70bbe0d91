"""``POST /sla/evaluate``: a verdict for who may see what it is about, and no word for others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from airflow_provenance.api.app import create_app
from airflow_provenance.api.body import BodyLimits
from airflow_provenance.api.tokens import Token, TokenSecurity, hash_token
from airflow_provenance.domain.clock import FixedClock
from airflow_provenance.sla.policy import from_plain
from airflow_provenance.store.promises import PolicyRow
from tests.contract.support import ingest_all
from tests.support.sla_events import dataset, task_run, us

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provenance.store.base import Store

LARGE = {
    "id": "large",
    "target": {"dataset": "pg/orders"},
    "objective": {"kind": "volume", "at_least": 100},
}
QUICK = {
    "id": "quick",
    "target": {"dag": "shop", "task": "load"},
    "objective": {"kind": "duration", "at_most": "10m"},
}
TOKENS = [
    Token("all", hash_token("all"), ["admin"]),
    Token("shop", hash_token("shop"), ["read"], [], ["shop"]),
    Token("bank", hash_token("bank"), ["read"], [], ["bank"]),
    Token("sends", hash_token("sends"), ["ingest"], ["*"]),
]


class Asking:
    def __init__(self, client: TestClient) -> None:
        self.client = client

    def __call__(self, token: str, **body: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        answer = self.client.post("/api/v1/sla/evaluate", json=body, headers=headers)
        return answer.status_code, answer.json()


@pytest.fixture
def ask(store: Store) -> Iterator[Asking]:
    times = {"start": "2026-03-02T07:00:00", "end": "2026-03-02T07:20:00"}
    written = [dataset("pg/orders", rows=10)]
    events = task_run("shop", "load", "r1", times["start"], **times, outputs=written)
    ingest_all(store, [("E", json.dumps(one).encode()) for one in events], [])
    rows = [
        PolicyRow(
            policy_id=str(one["id"]), revision=from_plain(one).revision, source="file",
            place="here", body=json.dumps(one),
        )
        for one in (LARGE, QUICK)
    ]  # fmt: skip
    store.put_policies(rows, us("2026-03-01T00:00:00"))
    clock = FixedClock(us("2026-03-02T08:00:00"))
    app = create_app(lambda: store, TokenSecurity(TOKENS), BodyLimits(9_999, 9_999), clock)
    with TestClient(app) as client:
        client.app.state.stores.close = lambda: None  # type: ignore[attr-defined]
        yield Asking(client)


def states(answer: tuple[int, Any]) -> dict[str, str]:
    assert answer[0] == 200, answer
    return {one["policy"]: one["state"] for one in answer[1]["promises"]}


@pytest.mark.parametrize("token", ["all", "shop"])
def test_promises_in_force_and_others_are_judged_now(ask: Asking, token: str) -> None:
    assert states(ask(token, ids=["large", "quick"])) == {"large": "breached", "quick": "breached"}
    assert states(ask(token, target="dataset:pg/orders")) == {"large": "breached"}
    small = {**LARGE, "id": "small", "objective": {"kind": "volume", "at_least": 5}}
    (one,) = ask(token, policies=[small])[1]["promises"]
    assert (one["state"], one["observed"], one["period"]) == ("ok", 10.0, "shop.load/r1")
    assert len(one["runs"]) == 1


def test_what_somebody_may_not_see_is_as_if_it_were_not_there(ask: Asking) -> None:
    for asked in ({"ids": ["large"]}, {"target": "dataset:pg/orders"}, {"ids": ["never"]}):
        status, said = ask("bank", **asked)
        assert (status, "in force" in said["detail"]) == (422, True)
    hidden = ask("bank", policies=[LARGE, QUICK])
    nowhere = ask("bank", policies=[{**LARGE, "target": {"dataset": "pg/nowhere"}}])
    assert states(hidden) == {"large": "no_data", "quick": "no_data"}
    assert states(nowhere) == {"large": "no_data"}
    assert not any(one["runs"] for one in hidden[1]["promises"])
    assert ask("sends", ids=["large"])[0] == 403
    assert ask("nobody", ids=["large"])[0] == 401


def test_who_asks_is_told_what_is_not_recorded_yet(ask: Asking) -> None:
    upstream = {"dag": "shop", "run_id": "r1", "tasks": ["load", "later"]}
    assert ask("shop", ids=["quick"], upstream=upstream)[1]["waiting"] == ["later"]
    assert ask("bank", policies=[QUICK], upstream=upstream)[0] == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "nothing is asked"),
        ({"ids": ["never"]}, "no promise 'never' is in force"),
        ({"policies": [{"id": "x"}]}, "target is missing"),
        ({"idz": ["x"]}, "idz"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_line(ask: Asking, body: Any, words: str) -> None:
    status, said = ask("all", **body)
    assert (status, words in said["detail"]) == (422, True), said
