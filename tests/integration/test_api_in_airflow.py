"""The HTTP interface inside Airflow's real API server application, with Airflow's users."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own: Airflow reads its settings when it is imported.
SCRIPT = """
import json, sys
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi.testclient import TestClient
from airflow_provenance.formats.spool_line import CONTENT_TYPE, encode_line
from tests.contract.test_api import event, data

app = create_app(apps="core")
client = TestClient(app, raise_server_exceptions=False)
manager = get_auth_manager()
def token(name, role):
    user = SimpleAuthManagerUser(username=name, role=role, teams=[])
    return manager.generate_jwt(user, expiration_time_in_seconds=300)
root, lim, none = token("root", "admin"), token("lim", "viewer"), token("none", "viewer")
base = "/provenance/api/v1/"
found = {}
def get(name, path, **kw):
    answer = client.get(base + path, **kw)
    found[name] = [answer.status_code, answer.json()]
def post(name, body, **kw):
    answer = client.post(base + "lineage", json=body, **kw)
    found[name] = [answer.status_code, answer.json()]
def bearer(one):
    return {"headers": {"Authorization": "Bearer " + one}}
batch = [
    event(1, dag="one_dag", outputs=data("first")),
    event(2, dag="secret_dag", inputs=data("first"), outputs=data("hidden_name")),
    event(3, dag="one_dag", inputs=data("hidden_name"), outputs=data("last")),
    event(5), event(6, dag="~"),
]
get("stranger", "runs")
get("stranger document", "openapi.json")
get("garbage", "runs", **bearer("garbage"))
post("viewer sends", batch, **bearer(lim))
post("admin sends", batch, **bearer(root))
post("producer sends", event(9), **bearer("spark-token"))
get("admin", "runs", **bearer(root))
get("limited", "runs", **bearer(lim))
get("limited jobs", "jobs", **bearer(lim))
get("limited ~", "runs?dag_id=~", **bearer(lim))
get("none", "runs", **bearer(none))
get("path", "lineage?subject=dataset:n/last", **bearer(lim))
get("document", "openapi.json", **bearer(lim))
spooled = encode_line("E", json.dumps(event(10)).encode())
kind = {"Content-Type": CONTENT_TYPE, "Authorization": "Bearer spark-token"}
answer = client.post(base + "spool", content=spooled, headers=kind)
found["worker sends its spool"] = [answer.status_code, answer.json()]
client.cookies.set("_token", root)
get("cookie reads", "runs")
post("cookie, silent", event(7))
post("cookie, other site", event(7), headers={"Sec-Fetch-Site": "cross-site"})
post("cookie, other origin", event(7), headers={"Origin": "https://evil.example"})
post("cookie, same site", event(7), headers={"Sec-Fetch-Site": "same-origin"})
post("cookie, same origin", event(8), headers={"Origin": "http://testserver"})
print("ANSWERS" + json.dumps(found))
"""

MANAGER = """
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

class LimitedAuthManager(SimpleAuthManager):
    readable = {"lim": {"one_dag"}}

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        if user.role.lower() == "admin":
            return True
        ok = self.readable.get(user.username, set())
        if method != "GET":
            return False
        # As Airflow's own check has it: any DAG will do where none is named.
        return bool(ok) if details is None or details.id in (None, "~") else details.id in ok
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, dict]]:
    from airflow_provenance.api.tokens import hash_token

    home = tmp_path_factory.mktemp("airflow")
    (home / "limited_auth.py").write_text(MANAGER)
    spark = {
        "name": "spark",
        "sha256": hash_token("spark-token"),
        "scopes": ["ingest"],
        "namespaces": ["demo"],
    }
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__AUTH_MANAGER": "limited_auth.LimitedAuthManager",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64,
        "AIRFLOW__PROVENANCE__API_TOKENS": json.dumps([spark]),
        "PYTHONPATH": os.pathsep.join([str(home), str(Path(__file__).parents[2])]),
    }
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=env, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(one for one in done.stdout.splitlines() if one.startswith("ANSWERS"))
    found: dict[str, tuple[int, dict]] = json.loads(line.removeprefix("ANSWERS"))
    return found


def jobs(answer: tuple[int, dict]) -> set[str]:
    assert answer[0] == 200, answer
    return {run["job"]["name"] for run in answer[1]["runs"]}


def test_strangers_and_bad_tokens_get_401(answers: dict[str, tuple[int, dict]]) -> None:
    for name in ("stranger", "stranger document", "garbage"):
        assert answers[name][0] == 401


def test_who_may_send_are_administrators_and_tokens(answers: dict[str, tuple[int, dict]]) -> None:
    assert answers["viewer sends"][0] == 403
    assert answers["admin sends"] == [200, answers["admin sends"][1]]
    assert answers["admin sends"][1]["accepted"] == 5
    assert answers["producer sends"][1]["accepted"] == 1


def test_a_worker_sends_its_spool(answers: dict[str, tuple[int, dict]]) -> None:
    status, answer = answers["worker sends its spool"]
    assert (status, answer["accepted"]) == (200, 1)


def test_a_user_of_one_dag_sees_its_runs_alone(answers: dict[str, tuple[int, dict]]) -> None:
    assert jobs(answers["admin"]) >= {"one_dag.t1", "secret_dag.t2", "job05"}
    assert jobs(answers["limited"]) == {"one_dag.t1", "one_dag.t3"}
    names = {job["name"] for job in answers["limited jobs"][1]["jobs"]}
    assert names == {"one_dag.t1", "one_dag.t3"}
    assert jobs(answers["none"]) == set()


def test_a_dag_named_as_all_dags_opens_nothing(answers: dict[str, tuple[int, dict]]) -> None:
    assert jobs(answers["limited ~"]) == set()


def test_the_path_goes_on_through_placeholders(answers: dict[str, tuple[int, dict]]) -> None:
    status, graph = answers["path"]
    assert status == 200
    assert sorted(one["kind"] for one in graph["hidden"]) == ["run", "version"]
    assert "secret" not in json.dumps(graph)
    status, document = answers["document"]
    assert (status, document["servers"]) == (200, [{"url": "/provenance"}])


def test_with_a_cookie_only_this_site_may_change_anything(
    answers: dict[str, tuple[int, dict]],
) -> None:
    assert answers["cookie reads"][0] == 200
    for name in ("cookie, silent", "cookie, other site", "cookie, other origin"):
        assert answers[name][0] == 403, name
    for name in ("cookie, same site", "cookie, same origin"):
        assert answers[name][0] == 200, name
