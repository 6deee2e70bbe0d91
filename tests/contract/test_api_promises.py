"""``/sla/...`` over HTTP: what the command line tells of promises, to who may see what they are of.

All that who may read `shop` alone must not see has ``secret`` in its name; no answer has that word.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from airflow_provenance.api.app import create_app
from airflow_provenance.api.body import BodyLimits
from airflow_provenance.api.promises import SeenPromises
from airflow_provenance.api.routes.promises import _cause
from airflow_provenance.api.tokens import Token, TokenSecurity, hash_token
from airflow_provenance.api.visible import VisibleReader
from airflow_provenance.cli import main
from airflow_provenance.collect.evaluator import Evaluator
from airflow_provenance.collect.promise_sources import PromiseSources
from airflow_provenance.domain.clock import FixedClock
from airflow_provenance.sla.attribution import Hop
from tests.support.sla_events import dag_run, dataset, read, task_run, us

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provenance.store.base import Store

PROMISES = """\
promises:
  - id: quick
    target: {dag: shop, task: load}
    owner: sales
    objective: {kind: duration, at_most: 10m}
  - id: shop-by-nine
    target: {dag: shop}
    owner: sales
    objective: {kind: deadline, at: "09:00"}
  - id: totals
    target: {dataset: pg/totals}
    owner: sales
    objective: {kind: volume, at_least: 100}
  - id: fresh
    target: {dataset: pg/totals}
    owner: sales
    objective: {kind: end_to_end_latency, source: pg/secret, at_most: 1h}
  - id: middle
    target: {dataset: pg/middle}
    owner: sales
    objective: {kind: volume, at_least: 100}
  - id: secret-data
    target: {dataset: pg/secret}
    owner: secret-owner
    objective: {kind: volume, at_least: 100}
  - id: secret-nowhere
    target: {dataset: pg/secret_planned}
    objective: {kind: volume, at_least: 100}
  - id: secret-dag
    target: {dag: secret}
    owner: secret-owner
    objective: {kind: duration, at_most: 10m}
"""
TOKENS = [
    Token("all", hash_token("all"), ["admin"]),
    Token("boss", hash_token("boss"), ["admin", "act"]),
    Token("acts", hash_token("acts"), ["read", "act"], [], ["shop"]),
    Token("shop", hash_token("shop"), ["read"], [], ["shop"]),
    Token("bank", hash_token("bank"), ["read"], [], ["bank"]),
    Token("sends", hash_token("sends"), ["ingest"], ["*"]),
]
NOW = "2026-03-04T12:00:00"


def events() -> list[Any]:
    """Two days: `secret` makes what `shop` reads."""
    found = []
    for day, minutes in ((3, 5), (4, 40)):
        of = f"2026-03-{day:02}T0"
        times = {"start": f"{of}7:00:00", "end": f"{of}7:{minutes:02}:00"}
        early = {"start": f"{of}6:00:00", "end": f"{of}6:30:00"}
        late = {"start": f"{of}8:00:00", "end": f"{of}9:30:00"}
        due = times["start"]
        found += [
            dag_run("secret", f"secret{day}", early["start"], **early),
            task_run(
                *("secret", "dig", f"secret{day}", early["start"]),
                **early,
                outputs=[dataset("pg/secret", rows=3)],
            ),
            task_run(
                *("secret", "make", f"secret{day}", early["start"]),
                start=f"{of}6:30:00",
                end=f"{of}6:40:00",
                inputs=[read("pg/secret")],
                outputs=[dataset("pg/middle", rows=3)],
            ),
            task_run(
                *("shop", "load", f"r{day}", due),
                **times,
                inputs=[read("pg/middle")],
                outputs=[dataset("pg/totals", rows=10)],
            ),
            dag_run("shop", f"r{day}", due, start=due, end=late["end"]),
        ]
    return [event for group in found for event in group]


class Asking:
    def __init__(self, client: TestClient) -> None:
        self.client = client

    def __call__(self, token: str, path: str, **params: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        answer = self.client.get(f"/api/v1/sla/{path}", params=params or None, headers=headers)
        is_json = answer.headers["content-type"] == "application/json"
        return answer.status_code, answer.json() if is_json else answer.text

    def good(self, token: str, path: str, **params: Any) -> Any:
        status, said = self(token, path, **params)
        assert status == 200, said
        return said


@pytest.fixture
def ask(store: Store, tmp_path: Path) -> Iterator[Asking]:
    (file := tmp_path / "promises.yaml").write_text(PROMISES)
    clock = FixedClock(us("2026-03-01T00:00:00"))
    evaluator = Evaluator(store, PromiseSources(str(file), None, []), None, clock)
    evaluator.run_once()
    entries = [("E", json.dumps(one).encode()) for one in events()]
    store.ingest(entries, received_us=us("2026-03-03T00:00:00"))  # type: ignore[arg-type]
    for day in (3, 4):
        clock.us = us(f"2026-03-{day:02}T12:00:00")
        evaluator.run_once()
    app = create_app(lambda: store, TokenSecurity(TOKENS), BodyLimits(9_999, 9_999), clock)
    with TestClient(app) as client:
        client.app.state.stores.close = lambda: None  # type: ignore[attr-defined]
        yield Asking(client)


def test_promises_are_listed_as_they_stand_to_who_may_see_what_they_are_of(ask: Asking) -> None:
    whole = ask.good("all", "promises")
    assert whole["evaluated_at"] == f"{NOW}.000000Z"
    assert {one["policy"]: one["state"] for one in whole["promises"]} == {
        "fresh": "breached",
        "middle": "breached",
        "quick": "breached",
        "secret-dag": "breached",
        "secret-data": "breached",
        "secret-nowhere": "no_data",
        "shop-by-nine": "recovered",
        "totals": "breached",
    }
    part = {one["policy"]: one for one in ask.good("shop", "promises")["promises"]}
    assert list(part) == ["fresh", "middle", "quick", "shop-by-nine", "totals"]
    assert (part["quick"]["state"], part["quick"]["period"]) == ("breached", "shop.load/r4")
    assert part["quick"]["where"].endswith("promises.yaml:2")
    assert part["shop-by-nine"]["next_due_at"] == "2026-03-05T09:00:00.000000Z"
    assert part["totals"]["last_broken_period"] == "shop.load/r4"
    hidden = ("state", "period", "runs", "last_broken_period")
    assert [part["middle"][one] for one in hidden] == ["breached", "", [], None]
    assert part["fresh"]["promise"]["objective"]["source"] is None
    assert ask.good("bank", "promises")["promises"] == []
    first = ask.good("shop", "promises", limit=3)
    rest = ask.good("shop", "promises", limit=3, cursor=first["next_cursor"])
    assert [one["policy"] for one in first["promises"] + rest["promises"]] == list(part)


def test_a_promise_tells_its_periods_newest_first_in_pages(ask: Asking) -> None:
    told = ask.good("shop", "promises/quick", limit=1)
    assert told["promise"]["objective"] == {"kind": "duration", "at_most": "PT600S"}
    more = ask.good("shop", "promises/quick", limit=1, cursor=told["next_cursor"])
    periods = [(one["period"], one["state"]) for one in told["periods"] + more["periods"]]
    assert periods == [("shop.load/r4", "breached"), ("shop.load/r3", "ok")]
    last = ask.good("shop", "promises/quick", cursor=more["next_cursor"])
    assert ([one["state"] for one in last["periods"]], last["next_cursor"]) == (["no_data"], None)


def test_a_promise_is_evaluated_at_a_moment_as_on_the_command_line(ask: Asking) -> None:
    then = ask.good("shop", "promises/quick/evaluations", at="2026-03-03T12:00:00Z")
    assert [(one["period"], one["state"]) for one in then["evaluations"]] == [
        ("shop.load/r3", "ok")
    ]
    now = ask.good("shop", "promises/quick/evaluations", since="2026-03-04T00:00:00Z")
    assert [one["state"] for one in now["evaluations"]] == ["breached"]
    (one,) = now["evaluations"]
    assert (one["observed"], one["threshold"], len(one["runs"])) == (2400.0, 600.0, 1)


def test_verdicts_by_hidden_runs_are_told_without_them(ask: Asking) -> None:
    whole = ask.good("all", "promises/fresh/evaluations")["evaluations"]
    part = ask.good("shop", "promises/fresh/evaluations")["evaluations"]
    assert [one["state"] for one in whole] == [one["state"] for one in part]
    assert [len(one["runs"]) for one in whole] == [2, 2]
    assert [(len(one["runs"]), one["period"]) for one in part] == [(1, ""), (1, "")]


def test_why_a_promise_broke_is_told_with_what_is_seen(ask: Asking) -> None:
    late = ask.good("shop", "promises/quick/why")
    assert late["period"] == "shop.load/r4"
    assert late["causes"][0]["job"] == "shop.load"
    assert late["downstream"]["promises"] == ["fresh", "quick", "shop-by-nine", "totals"]
    data = ask.good("shop", "promises/totals/why", period="shop.load/r4")
    assert {run["job"]["name"] for run in data["why"]["graph"]["runs"]} == {"shop.load"}
    whole = ask.good("all", "promises/totals/why")
    assert {run["job"]["name"] for run in whole["why"]["graph"]["runs"]} > {"secret.make"}
    assert ask("shop", "promises/quick/why", period="shop.load/r3")[0] == 200
    assert ask("shop", "promises/quick/why", period="never")[0] == 404


def test_a_backtest_tells_changes_as_they_were_known(ask: Asking) -> None:
    asked = {"since": "2026-03-04T00:00:00Z", "every": "30m"}
    told = ask.good("shop", "promises/quick/backtest", **asked)
    assert told["moments"] == 25
    fresh = ask.good("shop", "promises/fresh/backtest", **asked)
    assert fresh["moments"] == 25
    whole = ask.good("all", "promises/middle/backtest", **asked)["changes"]
    part = ask.good("shop", "promises/middle/backtest", **asked)["changes"]
    assert [one["state"] for one in whole] == [one["state"] for one in part]
    assert {one["period"].partition("/")[0] for one in whole if one["runs"]} == {"secret.make"}
    assert not any(one["runs"] or "secret" in one["period"] for one in part)
    for wrong, words in (
        ({"since": "2026-01-01T00:00:00Z", "every": "1m"}, "300 at most"),
        ({"since": "2026-03-04T00:00:00Z", "every": "0s"}, "every is more than 0"),
        ({"since": "2026-03-04T00:00:00Z", "every": "often"}, "no length of time"),
        ({"since": "yesterday"}, "since: 'yesterday' is not an ISO 8601 time"),
    ):
        status, said = ask("shop", "promises/quick/backtest", **wrong)
        assert (status, words in said["detail"]) == (422, True), said


def test_the_report_is_of_what_is_seen_and_so_are_its_sums(ask: Asking) -> None:
    whole, part = ask.good("all", "report"), ask.good("shop", "report")
    assert {one["owner"] for one in whole["owners"]} == {"sales", "secret-owner", None}
    (sales,) = part["owners"]
    assert (sales["owner"], sales["promises"], sales["kept"]) == ("sales", 5, 2)
    assert {one["policy"] for one in ask.good("shop", "report", policy=["quick"])["lines"]} == {
        "quick"
    }
    csv = ask.good("shop", "report", format="csv")
    assert csv.splitlines()[0].startswith("policy,target,owner")
    html = ask.good("shop", "report", format="html", by="day")
    assert html.startswith("<!doctype html>")
    assert ask("shop", "report", policy=["secret-dag"])[0] == 404
    assert ask("shop", "report", since=f"{NOW}Z", until="2026-03-01T00:00:00Z")[0] == 422


def test_no_answer_names_what_is_hidden_and_that_is_refused_as_what_is_not_there(
    ask: Asking,
) -> None:
    def refused(path: str, **params: Any) -> tuple[int, str]:
        status, said = ask("shop", path, **params)
        return status, json.dumps(said).replace("secret-dag", "X").replace("nothing", "X")

    of_one = ["", "/evaluations", "/why"]
    paths = [
        f"promises/{one}{more}" for one in ("quick", "fresh", "middle", "totals") for more in of_one
    ]
    paths += [f"promises/{one}/backtest?since=2026-03-04T00:00:00Z" for one in ("middle", "fresh")]
    paths += ["promises", "report", "report?format=csv", "report?format=html&by=day"]
    for path in paths:
        status, said = ask("shop", path)
        assert (status, "secret" in json.dumps(said)) in [(200, False), (404, False)], (path, said)
    for more in [*of_one, "/backtest?since=2026-03-04T00:00:00Z"]:
        hidden = refused(f"promises/secret-dag{more}")
        assert hidden == refused(f"promises/nothing{more}")
        assert hidden[0] == 404
    for token, status in (("sends", 403), ("nobody", 401)):
        assert {ask(token, path)[0] for path in paths} == {status}


def lint(ask: Asking, text: str | bytes, token: str = "shop") -> Any:  # noqa: S107 - of a test
    content = text.encode() if isinstance(text, str) else text
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/yaml"}
    return ask.client.post("/api/v1/sla/lint", content=content, headers=headers)


def test_lint_tells_line_and_reason_and_hidden_targets_as_unknown(ask: Asking) -> None:
    good = PROMISES.partition("  - id: secret")[0].partition("  - id: fresh")[0]
    told = lint(ask, good).json()
    assert (len(told["promises"]), told["problems"]) == (3, [])
    wrong = f"{good}  - id: late\n    target: {{dag: shop}}\n    objective: {{kind: lateness}}\n"
    ((line, reason),) = [tuple(one.values()) for one in lint(ask, wrong).json()["problems"]]
    assert (line, "lateness" in reason) == (16, True)
    twice = lint(ask, good + good.removeprefix("promises:\n")).json()["problems"]
    assert [one["line"] for one in twice] == [14, 18, 22]
    hidden = "promises:\n- {id: a, target: {dag: DAG}, objective: {kind: duration, at_most: 1h}}\n"
    one, other = (
        lint(ask, hidden.replace("DAG", dag)).json()["problems"] for dag in ("secret", "nothing")
    )
    assert one[0]["reason"].replace("secret", "nothing") == other[0]["reason"]


@pytest.mark.parametrize(
    "text",
    [
        b"\xff", b"a: [", 'promises: ["\\0"]', 'promises: [{id: "\\ud800"}]', "[" * 5000, "",
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi",
                                                                             strict=True)),
    ],
)  # fmt: skip
def test_no_text_breaks_lint(ask: Asking, text: str | bytes) -> None:
    answer = lint(ask, text)
    assert answer.status_code == (422 if text == b"\xff" else 200), answer.text
    assert text == b"\xff" or answer.json()["problems"]


@pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)
def test_the_command_line_says_the_same(
    ask: Asking, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = store._engine.url.render_as_string(hide_password=False)  # type: ignore[attr-defined]
    capsys.readouterr()
    at = ("--at", f"{NOW}Z", "--json", "--store", url)
    assert main(["sla", "evaluate", str(tmp_path / "promises.yaml"), "--policy", "quick", *at]) == 1
    said = json.loads(capsys.readouterr().out)
    told = ask.good("all", "promises/quick/evaluations", at=f"{NOW}Z")["evaluations"]
    assert [{key: one[key] for key in said[0]} for one in told] == said


def test_a_hop_where_one_may_not_look_has_its_time_and_no_name(store: Store) -> None:
    admin, some = (TokenSecurity(TOKENS).find(one) for one in ("all", "shop"))
    assert admin
    assert some
    hop = Hop(
        kind="run", job="secret.make", dag="secret", run_id="secret4", from_us=0, until_us=9,
        usual_us=4, hostname="secret-host", reads=("pg/secret",), dag_version="secret2",
    )  # fmt: skip
    plain = {"job": hop.job, "run_id": hop.run_id, "took_seconds": 9.0, "dag_version": "secret2"}
    for viewer, is_hidden in ((admin, False), (some, True)):
        seen = SeenPromises(VisibleReader(store, viewer), store, viewer)
        told = _cause(seen, hop, plain)
        assert (told["hidden"], "secret" in str(told)) == (is_hidden, not is_hidden)
        assert told["took_seconds"] == 9.0
