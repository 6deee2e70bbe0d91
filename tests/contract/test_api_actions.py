"""``/sla/alerts`` and ``/sla/actions``: who is told what is broken, and who may say what of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from airflow_provenance.alerts.lifecycle import Rules, advance
from airflow_provenance.alerts.listing import Routing, alert_json
from airflow_provenance.alerts.routes import parse_routes
from airflow_provenance.domain.alert import Action
from tests.contract.test_api_promises import NOW, Asking, ask  # noqa: F401 - a fixture
from tests.support.sla_events import us

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.store.base import Store

    Acted = Callable[..., tuple[int, Any]]

ROUTES = parse_routes("[]", ["oncall"])
SILENCE = {"kind": "silence", "matchers": ["quick"], "reason": "we load twice", "until": "2h"}
# What another site can make a browser send with a cookie; see `tests.integration.test_api_rights`.
OTHER_SITE: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "https://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": "http://testserver", "Sec-Fetch-Site": "cross-site"},
]


@pytest.fixture
def told(ask: Asking, store: Store) -> Asking:  # noqa: F811 - the fixture
    """What is broken has been told in the channel."""
    ask.client.app.state.routing = lambda: Routing(ROUTES, ["oncall"])  # type: ignore[attr-defined]
    for _ in range(2):
        before = store.alert_state()
        changes = store.evaluation_changes(before.cursor)
        now_us = us(NOW) + 3_600_000_000 * before.version
        after = advance(before, changes, Rules(ROUTES, channels=["oncall"]), now_us)
        assert store.put_alert_state(after.state, after.notices)
    return ask


@pytest.fixture
def acted(told: Asking) -> Acted:
    def send(token: str, method: str = "POST", number: int | None = None, **body: Any) -> Any:
        path = "/api/v1/sla/actions" + ("" if number is None else f"/{number}")
        headers = {"Authorization": f"Bearer {token}"}
        content = {"json": {**SILENCE, **body}} if method == "POST" else {}
        answer = told.client.request(method, path, headers=headers, **content)
        return answer.status_code, answer.json()

    return send


def test_alerts_are_told_to_who_may_see_their_promises(told: Asking) -> None:
    whole, part = told.good("all", "alerts"), told.good("shop", "alerts")
    assert {one["policy"] for one in whole["alerts"]} == {
        *("quick", "totals", "middle", "fresh", "secret-dag", "secret-data")
    }
    alerts = {one["policy"]: one for one in part["alerts"]}
    assert set(alerts) == {"quick", "totals", "middle", "fresh"}
    assert (alerts["quick"]["told"], alerts["quick"]["period"]) == ("oncall", "shop.load/r4")
    assert alerts["middle"]["period"] == ""
    assert "secret" not in str(part)
    assert [one["channel"] for one in whole["channels"]] == ["oncall"]
    assert part["channels"] == []
    assert told.good("bank", "alerts")["alerts"] == []


def test_who_may_act_on_a_dag_silences_its_promise_by_its_own_name(
    told: Asking, acted: Acted
) -> None:
    status, said = acted("acts")
    assert (status, said["by"], said["alerts"]) == (201, "acts", ["quick"])
    assert said["matchers"] == ['policy="quick"', 'target="task:shop.load"']
    assert said["until"] == "2026-03-04T14:00:00.000000Z"
    listed = told.good("shop", "alerts")
    assert [one["id"] for one in listed["actions"]] == [said["id"]]
    quick = next(one for one in listed["alerts"] if one["policy"] == "quick")
    assert quick["told"] == f"silence {said['id']} by acts: we load twice"
    assert told.good("bank", "alerts")["actions"] == []
    assert acted("acts", by="somebody else")[0] == 422


@pytest.mark.parametrize(
    ("token", "matchers"),
    [
        ("acts", ["totals"]),
        ("acts", ["dag=shop", "severity!=page"]),
        ("acts", ["shop-by-nine", "severity=page"]),
        ("boss", ["policy=~.*"]),
        ("boss", ["dag=secret"]),
    ],
)
def test_what_may_be_said(acted: Acted, token: str, matchers: list[str]) -> None:
    assert acted(token, matchers=matchers)[0] == 201


@pytest.mark.parametrize(
    ("token", "matchers"),
    [
        ("shop", ["quick"]),  # may only read
        ("all", ["quick"]),  # may only read, though all
        ("sends", ["quick"]),
        ("acts", ["secret-dag"]),
        ("acts", ["middle"]),  # what another DAG writes
        ("acts", ["dag=secret"]),
        ("acts", ["dag!=shop"]),
        ("acts", ["dag="]),
        ("acts", ["severity=ticket"]),
        ("acts", ["owner=sales"]),
        ("acts", ["quick", "policy=~.*"]),
        ("acts", ["dag=~shop"]),
    ],
)
def test_what_may_not_be_said(acted: Acted, store: Store, token: str, matchers: list[str]) -> None:
    for kind in ("ack", "silence", "excuse"):
        assert acted(token, kind=kind, matchers=matchers)[0] == 403
    assert store.actions() == []


def test_a_hidden_promise_is_refused_as_one_that_is_not_there(acted: Acted) -> None:
    assert acted("acts", matchers=["secret-dag"]) == acted("acts", matchers=["nothing"])
    assert acted("acts", matchers=["dag=secret"]) == acted("acts", matchers=["dag=nothing"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"until": None}, "until: say when this silence ends"),
        ({"until": "2020-01-01T00:00:00Z"}, "it is over already"),
        ({"until": "99999999w"}, "until"),
        ({"until": "soon"}, "until: 'soon'"),
        ({"matchers": ["color=red"]}, "is no matcher"),
        ({"matchers": []}, "matchers"),
        ({"reason": "  "}, "say who and why"),
        ({"reason": "a\0b"}, "reason"),
        ({"kind": "ack", "matchers": ["shop-by-nine"]}, "nothing that is broken matches"),
    ],
)
def test_what_cannot_be_meant_is_said_in_a_line(acted: Acted, body: Any, words: str) -> None:
    status, said = acted("acts", **body)
    assert (status, words in said["detail"]) == (404 if "ack" in body.values() else 422, True), said


def test_an_excuse_is_of_what_is_broken_since_it_broke(acted: Acted, told: Asking) -> None:
    assert acted("acts", kind="excuse", reason="a test")[0] == 201
    told.client.app.state.clock.us += 1  # type: ignore[attr-defined] - what is told is before it
    lines = told.good("shop", "report", policy=["quick"])["lines"]
    assert [(one["broken"], one["excused"]) for one in lines] == [(0, 1)]


def test_what_was_said_is_ended_by_who_may_say_it_and_hidden_from_others(
    told: Asking, acted: Acted, store: Store
) -> None:
    mine = acted("acts")[1]["id"]
    theirs = acted("boss", matchers=["dag=secret"])[1]["id"]
    wide = acted("boss", matchers=["policy=~.*"])[1]["id"]
    assert [one["id"] for one in told.good("shop", "alerts")["actions"]] == [mine]
    unknown = acted("acts", "DELETE", 9999)
    for hidden in (theirs, wide):
        answer = acted("acts", "DELETE", hidden)
        assert (answer[0], answer[1]["detail"].replace(str(hidden), "9999")) == (
            404,
            unknown[1]["detail"],
        )
    for token, status in (("shop", 403), ("all", 403), ("bank", 403), ("nobody", 401)):
        assert acted(token, "DELETE", mine)[0] == status
    assert acted("acts", "DELETE", mine)[0] == 200
    assert acted("acts", "DELETE", mine)[0] == 404
    assert acted("boss", "DELETE", wide)[0] == 200
    assert [one.id for one in store.actions(us(NOW))] == [theirs]


class Cookie:
    """A user whose browser sends the credentials by itself."""

    name, is_by_cookie, can_read, can_ingest, can_act = "ann", True, True, True, True

    async def identify(self, _: Any) -> Cookie:
        return self

    def is_admin(self) -> bool:
        return True

    def may_read(self, _: str) -> bool:
        return True

    def may_act(self, _: str | None) -> bool:
        return True


@pytest.mark.parametrize("headers", OTHER_SITE)
def test_another_site_changes_nothing_with_a_users_cookie(
    told: Asking, store: Store, headers: dict[str, str]
) -> None:
    kept = store.add_action(
        Action(
            kind="silence", matchers=('dag="shop"',), author="ann", reason="r",
            at_us=us(NOW), until_us=us(NOW) + 10**9,
        )
    )  # fmt: skip
    client = told.client
    client.app.state.security = Cookie()  # type: ignore[attr-defined]
    for kind in ("application/json", "text/plain"):
        sent = {"Content-Type": kind, **headers}
        added = client.post("/api/v1/sla/actions", json=SILENCE, headers=sent)
        ended = client.delete(f"/api/v1/sla/actions/{kept.id}", headers=sent)
        linted = client.post("/api/v1/sla/lint", content="a", headers=sent)
        assert [one.status_code for one in (added, ended, linted)] == [403] * 3
    assert store.actions(us(NOW)) == [kept]
    own = {"Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/v1/sla/actions", json=SILENCE, headers=own).status_code == 201
    assert client.delete(f"/api/v1/sla/actions/{kept.id}", headers=own).status_code == 200


def test_an_alert_with_a_hidden_one_upstream_does_not_name_it(told: Asking, store: Store) -> None:
    state = store.alert_state()
    by_policy = {one.change.policy_id: one for one in state.alerts.values()}
    root = by_policy["secret-dag"]
    one = replace(by_policy["totals"], absorbed_by=root.fingerprint)
    assert alert_json(one, state, ROUTES, ())["told"] == "with secret-dag, which is upstream"
    told_of = alert_json(one, state, ROUTES, (), lambda _: False)["told"]
    assert told_of == "with another, which is upstream"
