"""Who sees what in a real API server with FAB's users: the rules of SEMANTICS "Who may see what".

All that a user of `one_dag` alone must not see has `secret` in its name, and no answer may hold
that word: neither lists nor graphs, details, events and refusals.
"""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from airflow_provenance.sla.policy import from_plain
from airflow_provenance.store.promises import PolicyRow
from airflow_provenance.store.sql.store import SqlStore
from tests.contract.test_api import data, event
from tests.support import postgres
from tests.support.airflow_standalone import Airflow

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

BASE = "/provenance/api/v1"
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
PASSWORD = "a-long-password-of-tests"  # noqa: S105 - of a server on loopback, gone with the test
UNKNOWN = 987654
# one_dag reads `shared`, which secret_dag made from what one_dag wrote.
EVENTS = [
    event(1, dag="one_dag", outputs=data("first")),
    event(2, dag="secret_dag", inputs=data("first"), outputs=data("shared")),
    event(3, dag="one_dag", inputs=data("shared"), outputs=data("last")),
    event(4, dag="secret_dag", inputs=data("secret_source"), outputs=data("secret_data")),
    event(5, job={"namespace": "secret_space", "name": "secret_job"}, outputs=data("secret_own")),
    # Airflow knows nothing of this DAG, nor does a role; and this one's name means any DAG to it.
    event(6, dag="secret_gone", outputs=data("first")),
    event(7, dag="~", inputs=data("secret_source")),
]
HIDDEN_UUIDS = [one["run"]["runId"] for one in EVENTS if "one_dag" not in one["job"]["name"]]
# Of a role, as FAB names them: this DAG, and of the DAGs that may be read also their runs.
RESOURCES = ["DAG:one_dag", "DAG Runs"]
PROMISES = [
    {"id": "one", "target": {"dag": "one_dag"}},
    {"id": "shared", "target": {"dataset": "n/first"}},  # what secret_gone writes, too
    {"id": "secret", "target": {"dag": "secret_dag"}},
]
DAG = """
from airflow.sdk import DAG
one = DAG("one_dag")
"""


class Served(NamedTuple):
    """A server, and a client for each who asks."""

    airflow: Airflow
    url: str
    admin: httpx.Client
    limited: httpx.Client
    editor: httpx.Client
    runs: dict[str, int]
    versions: dict[int, str]

    def stranger(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    @property
    def seen(self) -> set[int]:
        return {number for uuid, number in self.runs.items() if uuid not in HIDDEN_UUIDS}


def ask(client: httpx.Client, route: str, **params: Any) -> Any:
    return client.get(f"{BASE}/{route}", params=params)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("rights") / "home"
    home.mkdir()
    (dag := home.parent / "one.py").write_text(DAG)
    options = {
        "AIRFLOW__CORE__AUTH_MANAGER": FAB,
        "AIRFLOW__PROVENANCE__STORE": f"sqlite:///{home}/provenance.db",
        # An environment may trust proxies of its own; the server must be reached as it is.
        "AIRFLOW__FAB__ENABLE_PROXY_FIX": "False",
    }
    with (
        postgres.new_database(postgres_server) as database,
        Airflow.start(
            home, database, dags=[dag], components=["api-server"], environment=options
        ) as airflow,
    ):
        names = ["-f", "Ann", "-l", "Admin", "-e", "ann@example.com", "-p", PASSWORD]
        airflow.command("users", "create", "-u", "ann", "-r", "Admin", *names)
        url = f"http://127.0.0.1:{airflow.port}"
        with closing(logged_in(url, "ann")) as admin:
            make_user(admin)
            sent = admin.post(f"{BASE}/lineage", json=EVENTS)
            assert sent.json()["accepted"] == len(EVENTS), sent.text
            promise(options["AIRFLOW__PROVENANCE__STORE"])
            runs = ask(admin, "runs").json()["runs"]
            named = ask(admin, "datasets").json()["datasets"]
            names_only = [{key: one[key] for key in ("namespace", "name")} for one in named]
            versions = {
                version["id"]: one["name"]
                for one in names_only
                for version in ask(admin, "versions", **one).json()["versions"]
            }
            numbers = {run["run_uuid"]: run["id"] for run in runs}
            with (
                closing(logged_in(url, "lim")) as limited,
                closing(logged_in(url, "edi")) as editor,
            ):
                yield Served(airflow, url, admin, limited, editor, numbers, versions)


def promise(url: str) -> None:
    """Put promises in force, as the service does."""
    store = SqlStore(url)
    rows = []
    for one in PROMISES:
        plain = {**one, "objective": {"kind": "deadline", "at": "09:00"}}
        revision = from_plain(plain).revision
        place = {"policy_id": str(one["id"]), "source": "file", "place": "here:1"}
        rows.append(PolicyRow(revision=revision, body=json.dumps(plain), **place))
    store.put_policies(rows, 1_800_000_000_000_000)
    store.close()


def logged_in(url: str, user: str) -> httpx.Client:
    client = httpx.Client(base_url=url, trust_env=False, timeout=60)
    answer = client.post("/auth/token", json={"username": user, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    client.cookies.clear()
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


def make_user(admin: httpx.Client) -> None:
    """Make users who may read the runs of one DAG, and one of them edit it, by FAB's own API."""
    readable = [{"action": {"name": "can_read"}, "resource": {"name": one}} for one in RESOURCES]
    editable = [{"action": {"name": "can_edit"}, "resource": {"name": RESOURCES[0]}}]
    for user, role, more in (("lim", "Reader", []), ("edi", "Editor", editable)):
        body: dict[str, Any] = {"name": role, "actions": readable + more}
        made = admin.post("/auth/fab/v1/roles", json=body)
        assert made.status_code == 200, made.text
        names = {"first_name": user, "last_name": "Ited", "email": f"{user}@example.com"}
        body = {"username": user, "password": PASSWORD, "roles": [{"name": role}], **names}
        made = admin.post("/auth/fab/v1/users", json=body)
        assert made.status_code == 200, made.text


def cookie_of(url: str, user: str) -> dict[str, str]:
    """Log in as a browser does, by FAB's form; return the cookie that Airflow knows a user by."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60, follow_redirects=True) as browser:
        form = browser.get("/auth/login/").text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form)
        assert token, form[:2000]
        fields = {"username": user, "password": PASSWORD, "csrf_token": token[1]}
        browser.post("/auth/login/", data=fields)
        return {"_token": browser.cookies["_token"]}


def test_a_stranger_gets_401_on_every_route(served: Served) -> None:
    document = ask(served.admin, "openapi.json").json()
    routes = [
        (method, f"/provenance{path.replace('{run}', '1').replace('{version}', '1')}")
        for path, methods in document["paths"].items()
        for method in methods
    ]
    assert len(routes) > 9
    known = served.admin.headers["Authorization"]
    with served.stranger() as stranger:
        for method, route in [*routes, ("get", f"{BASE}/openapi.json")]:
            for wrong in (
                {},
                {"Authorization": "Bearer x"},
                {"Authorization": f"{known[:-4]}AAAA"},
            ):
                answer = stranger.request(method, route, headers=wrong)
                assert answer.status_code == 401, (method, route, answer.text)
                assert "secret" not in answer.text


def test_lists_and_aggregates_are_of_the_dag_that_may_be_read(served: Served) -> None:
    def lists(client: httpx.Client) -> Any:
        jobs = ask(client, "jobs").json()["jobs"]
        datasets = ask(client, "datasets").json()["datasets"]
        return (
            {run["job"]["name"] for run in ask(client, "runs").json()["runs"]},
            {(one["name"], one["runs"]) for one in jobs},
            {one["name"]: (one["writes"], one["reads"]) for one in datasets},
            len(ask(client, "events").json()["events"]),
        )

    runs, jobs, datasets, events = lists(served.limited)
    assert runs == {"one_dag.t1", "one_dag.t3"}
    assert jobs == {("one_dag.t1", 1), ("one_dag.t3", 1)}
    assert datasets == {"first": (1, 0), "last": (1, 0), "shared": (0, 1)}
    assert events == 2
    runs, jobs, datasets, events = lists(served.admin)
    assert (len(runs), len(jobs), events) == (7, 7, 7)
    assert datasets["first"] == (2, 1)
    assert datasets["secret_source"] == (0, 2)


def test_a_graph_has_placeholders_for_what_is_hidden(served: Served) -> None:
    whole = ask(served.admin, "lineage", subject="dataset:n/last").json()
    part = ask(served.limited, "lineage", subject="dataset:n/last").json()
    assert part["edges"] == whole["edges"]
    hidden = {number for number, name in served.versions.items() if name == "shared"}
    hidden |= {served.runs[EVENTS[1]["run"]["runId"]]}
    assert {one["id"] for one in part["hidden"]} == hidden
    assert all(set(one) == {"id", "kind", "hidden"} for one in part["hidden"])
    assert {run["id"] for run in part["runs"]} == served.seen


def test_no_answer_tells_a_name_of_what_is_hidden(served: Served) -> None:
    subjects = [f"run:{number}" for number in served.runs.values()]
    subjects += [f"dataset:n/{name}" for name in ("first", "shared", "last")]
    subjects += [f"dataset:n/shared@v{number}" for number in served.versions]
    asked: list[tuple[str, dict[str, Any]]] = [
        ("lineage", {"subject": subject, "direction": direction})
        for subject in subjects
        for direction in ("upstream", "downstream")
    ]
    for number in range(1, max(served.versions) + 2):
        asked += [(f"runs/{number}", {"facets": True}), (f"versions/{number}", {})]
        asked += [("events", {"run": number, "raw": True})]
    asked += [(route, {"limit": 1000}) for route in ("runs", "jobs", "datasets")]
    asked += [("events", {"raw": True})]
    asked += [("versions", {"namespace": "n", "name": one}) for one in ("first", "shared", "last")]
    answers = [ask(served.limited, route, **params) for route, params in asked]

    told = [answer for answer in answers if answer.status_code == 200]
    assert len(told) > 20
    assert {answer.status_code for answer in answers} == {200, 404}
    assert [answer.url for answer in answers if "secret" in answer.text] == []
    assert any("secret" in ask(served.admin, route, **params).text for route, params in asked)


def test_what_is_hidden_is_refused_as_what_does_not_exist(served: Served) -> None:
    def refused(route: str, name: str, /, **params: Any) -> tuple[int, str]:
        named = {key: str(value).replace("NAME", name) for key, value in params.items()}
        answer = ask(served.limited, route.replace("NAME", name), **named)
        return answer.status_code, answer.text.replace(name, "NAME")

    hidden = [str(served.runs[uuid]) for uuid in HIDDEN_UUIDS]
    first = ask(served.limited, "versions", namespace="n", name="first").json()["versions"]
    seen = {one["id"] for one in first}
    seen |= {one for one, name in served.versions.items() if name == "last"}
    hidden += [str(one) for one in served.versions if one not in seen]
    assert len(hidden) == 10
    for name in [*hidden, *HIDDEN_UUIDS]:
        unknown = str(UNKNOWN) if name.isdecimal() else "00000000-0000-7000-8000-aaaaaaaaaaaa"
        for route, params in [
            ("runs/NAME", {}),
            ("events", {"run": "NAME"}),
            ("lineage", {"subject": "run:NAME"}),
            ("lineage", {"subject": "dataset:n/first@NAME"}),
            ("lineage", {"subject": "dataset:n/shared@vNAME"}),
            *([("versions/NAME", {})] if name.isdecimal() else []),
        ]:
            answer = refused(route, name, **params)
            assert answer == refused(route, unknown, **params), (route, params, name)
            assert answer[0] == 404, (route, params, name)
    for name, unknown in (("secret_data", "nodata"), ("secret_own", "nodata")):
        for route, params in [
            ("versions", {"namespace": "n", "name": "NAME"}),
            ("lineage", {"subject": "dataset:n/NAME"}),
            ("lineage", {"subject": "dataset:NAME"}),
        ]:
            answer = refused(route, name, **params)
            assert answer == refused(route, unknown, **params), (route, params, name)
            assert answer[0] == 404
    for params in ({"dag_id": "NAME"}, {"job": "NAME"}, {"job": "NAME.t2"}):
        assert refused("runs", "secret_dag", **params) == refused("runs", "no_dag", **params)
    assert refused("runs", "~", dag_id="NAME") == refused("runs", "no_dag", dag_id="NAME")


def test_events_are_taken_from_those_who_may_send_alone(served: Served) -> None:
    for route in ("lineage", "lineage/batch"):
        answer = served.limited.post(f"{BASE}/{route}", json=[event(20)])
        assert answer.status_code == 403
    assert len(ask(served.admin, "events").json()["events"]) == len(EVENTS)


def say(client: httpx.Client, *matchers: str) -> httpx.Response:
    body = {"kind": "silence", "matchers": matchers, "reason": "moving", "until": "2h"}
    return client.post(f"{BASE}/sla/actions", json=body)


def test_promises_are_seen_and_silenced_by_who_may_read_and_edit_their_dag(
    served: Served,
) -> None:
    def listed(client: httpx.Client) -> list[str]:
        return [one["policy"] for one in ask(client, "sla/promises").json()["promises"]]

    assert listed(served.admin) == ["one", "secret", "shared"]
    assert listed(served.limited) == listed(served.editor) == ["one", "shared"]
    for route in ("sla/promises/one", "sla/promises/shared", "sla/alerts", "sla/report"):
        assert "secret" not in ask(served.limited, route).text
    assert ask(served.limited, "sla/promises/secret").status_code == 404

    for matcher in ("one", "dag=one_dag", "shared", "secret", "severity=ticket"):
        assert say(served.limited, matcher).status_code == 403
    for matcher in ("shared", "secret", "dag=secret_dag", "dag=~", "severity=ticket"):
        assert say(served.editor, matcher).status_code == 403
    said = say(served.editor, "one")
    assert (said.status_code, said.json()["by"]) == (201, "airflow:edi"), said.text
    number = said.json()["id"]
    wide = say(served.admin, "dag=~.*secret.*").json()["id"]
    assert [one["id"] for one in ask(served.limited, "sla/alerts").json()["actions"]] == [number]
    ends = [(served.limited, number, 403), (served.editor, wide, 404), (served.editor, number, 200)]
    for client, which, status in [*ends, (served.admin, wide, 200)]:
        answer = client.delete(f"{BASE}/sla/actions/{which}")
        assert answer.status_code == status, answer.text


def test_another_site_cannot_send_with_a_users_cookie(served: Served) -> None:
    cookies = cookie_of(served.url, "ann")
    other_site = [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": served.url, "Sec-Fetch-Site": "cross-site"},
    ]
    with httpx.Client(base_url=served.url, cookies=cookies, trust_env=False) as browser:
        assert len(ask(browser, "events").json()["events"]) == len(EVENTS)
        for method, route in (
            ("post", "lineage"),
            ("post", "lineage/batch"),
            ("post", "sla/actions"),
            ("post", "sla/lint"),
            ("delete", "sla/actions/1"),
        ):
            for headers in other_site:
                # What a form of another site can send, too: no preflight asks for this.
                for kind in ("application/json", "text/plain"):
                    sent = {"Content-Type": kind, **headers}
                    body = json.dumps([event(21)])
                    answer = browser.request(method, f"{BASE}/{route}", content=body, headers=sent)
                    assert answer.status_code == 403, (route, sent, answer.text)
        assert len(ask(browser, "events").json()["events"]) == len(EVENTS)
        # The same bytes from this site: known already, so nothing changes for other tests.
        for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": served.url}):
            answer = browser.post(f"{BASE}/lineage", json=EVENTS[:1], headers=headers)
            assert (answer.status_code, answer.json()["repeated"]) == (200, 1), answer.text
