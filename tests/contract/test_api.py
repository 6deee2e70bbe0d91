"""Every route: what it answers, to whom, and what it refuses. See `airflow_provenance.api`."""

from __future__ import annotations

import gzip
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openapi_spec_validator
import pytest
from fastapi.testclient import TestClient

from airflow_provenance.api.app import create_app
from airflow_provenance.api.body import BodyLimits
from airflow_provenance.api.taking import Taking
from airflow_provenance.api.tokens import Token, TokenSecurity, hash_token
from airflow_provenance.domain.clock import FixedClock
from airflow_provenance.formats.spool_line import CONTENT_TYPE, encode_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.store.base import Store

LIMITS = BodyLimits(event=200_000, request=400_000)
ROUTES = ["runs", "runs/1", "jobs", "datasets", "versions?namespace=n&name=x", "versions/1",
          "events", "lineage?subject=run:1", "openapi.json"]  # fmt: skip
RECORDED = Path(__file__).parents[1] / "benchmarks" / "recorded_events.ndjson.gz"
TOKENS = [
    Token("all", hash_token("all"), ["read", "admin", "ingest"], ["*"]),
    Token("one", hash_token("one"), ["read"], [], ["one_dag"]),
    Token("demo", hash_token("demo"), ["ingest"], ["demo*"]),
]


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    clock = FixedClock(1_800_000_000_000_000)
    app = create_app(lambda: store, TokenSecurity(TOKENS), LIMITS, clock)
    store.close = lambda: None  # type: ignore[method-assign] - the fixture's is used again
    with TestClient(app, raise_server_exceptions=False) as one:
        yield one


def ask(client: TestClient, path: str, who: str | None = "all", **more: Any) -> Any:
    headers = {"Authorization": f"Bearer {who}"} if who else {}
    return client.get(f"/api/v1/{path}", headers=headers, **more)


def send(client: TestClient, body: object, who: str | None = "all", **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if who:
        headers["Authorization"] = f"Bearer {who}"
    return client.post("/api/v1/lineage", content=content, headers=headers)


def event(number: int, kind: str = "COMPLETE", dag: str | None = None, **more: Any) -> Any:
    """An event of a producer's run; with a DAG, of the try of its task."""
    run: dict[str, Any] = {"runId": f"00000000-0000-7000-8000-{number:012d}"}
    name = f"job{number:02d}"
    if dag is not None:
        name = f"{dag}.t{number}"
        run["facets"] = {
            "airflow": {
                "_producer": "https://example.com",
                "_schemaURL": "https://example.com/a.json",
                "dag": {"dag_id": dag},
                "dagRun": {"run_id": "r1"},
                "task": {"task_id": f"t{number}"},
                "taskInstance": {"try_number": 1, "map_index": -1},
            }
        }
    return {
        "eventTime": f"2026-01-01T00:{number:02d}:00Z",
        "producer": "https://example.com",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "eventType": kind,
        "run": run,
        "job": {"namespace": "demo", "name": name},
        "inputs": [],
        "outputs": [],
        **more,
    }


def data(name: str) -> list[dict[str, str]]:
    return [{"namespace": "n", "name": name}]


def chain(client: TestClient) -> None:
    """Data of three DAGs' tasks: one_dag reads what secret_dag made from what one_dag wrote."""
    batch = [
        event(1, dag="one_dag", outputs=data("first")),
        event(2, dag="secret_dag", inputs=data("first"), outputs=data("hidden_name")),
        event(3, dag="one_dag", inputs=data("hidden_name"), outputs=data("last")),
        event(4, dag="secret_dag", outputs=data("only_secret")),
        event(5),
    ]
    assert send(client, batch).json()["accepted"] == 5


@pytest.mark.parametrize("route", ROUTES)
def test_a_stranger_gets_401_on_every_route(client: TestClient, route: str) -> None:
    for token in (None, "wrong", ""):
        refused = ask(client, route, token)
        assert refused.status_code == 401, refused.text
        assert refused.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json", "api/v1/docs"])
def test_there_are_no_pages_for_strangers(client: TestClient, path: str) -> None:
    assert client.get(f"/{path}").status_code == 404


@pytest.mark.parametrize("route", ROUTES[:-1])
def test_reading_needs_its_scope(client: TestClient, route: str) -> None:
    assert ask(client, route, "demo").status_code == 403


def test_ingesting_needs_a_token_its_scope_and_its_namespace(
    client: TestClient, store: Store
) -> None:
    elsewhere = event(2, job={"namespace": "prod", "name": "x"})

    assert send(client, event(1), None).status_code == 401
    assert send(client, event(1), "one").status_code == 403
    assert send(client, [event(1), elsewhere], "demo").status_code == 403
    assert store.counts()["entries"] == 0
    assert send(client, event(1), "demo").status_code == 200


def test_each_event_has_its_verdict_and_the_good_part_is_kept(
    client: TestClient, store: Store
) -> None:
    naive = {**event(3), "eventTime": "2026-01-01T00:00:00"}
    answer = send(client, [event(1), naive, event(1), {"a": 1}, event(2)])

    assert answer.status_code == 200
    told = [(one["verdict"], one["reason"]) for one in answer.json()["events"]]
    assert told == [
        ("accepted", None),
        ("quarantined", "no_time_zone"),
        ("repeated", None),
        ("quarantined", "invalid_event"),
        ("accepted", None),
    ]
    assert store.counts()["entries"] == 2
    assert {one.source for one in store.quarantine()} == {"http:all"}


@pytest.mark.parametrize("body", [b"{", b"[1, 2", b"null", b"\xff", b'{"a": 1}', b"[[]]"])
def test_what_is_no_event_is_422_and_in_the_quarantine(
    client: TestClient, store: Store, body: bytes
) -> None:
    assert send(client, body).status_code == 422
    assert len(store.quarantine()) == 1


def test_an_empty_body_is_422(client: TestClient) -> None:
    assert send(client, b" ").status_code == 422


def test_a_batch_is_the_same_as_an_array(client: TestClient) -> None:
    headers = {"Authorization": "Bearer all"}
    answer = client.post("/api/v1/lineage/batch", json=[event(1), event(2)], headers=headers)
    assert answer.json()["accepted"] == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"a": "' + b"x" * 200_001 + b'"}', 413),
        (b"[" + b" " * 399_998 + b"]", 200),
        (b"[" + b" " * 400_001 + b"]", 413),
    ],
    ids=["one event", "just right", "a batch"],
)
def test_a_body_over_its_limit_is_413(client: TestClient, body: bytes, status: int) -> None:
    assert send(client, body).status_code == status
    packed = {"Content-Encoding": "gzip"}
    assert send(client, gzip.compress(body), **packed).status_code == status


def test_a_body_that_unpacks_without_end_is_given_up(client: TestClient) -> None:
    bomb = gzip.compress(b"[" + b" " * 300_000_000)
    assert len(bomb) < LIMITS.request
    assert send(client, bomb, **{"Content-Encoding": "gzip"}).status_code == 413


@pytest.mark.parametrize("packed", [b"no gzip", gzip.compress(b"[]")[:-4]], ids=["no gzip", "cut"])
def test_a_body_that_is_not_packed_as_it_says_is_422(client: TestClient, packed: bytes) -> None:
    assert send(client, packed, **{"Content-Encoding": "gzip"}).status_code == 422
    assert send(client, b"[]", **{"Content-Encoding": "br"}).status_code == 422


def test_every_route_answers_of_real_events(client: TestClient) -> None:
    lines = gzip.decompress(RECORDED.read_bytes()).splitlines()
    packed = gzip.compress(b"[" + b",".join(lines) + b"]")
    assert send(client, packed, "demo", **{"Content-Encoding": "gzip"}).json()["accepted"] == 11

    runs = ask(client, "runs").json()["runs"]
    one = next(run for run in runs if run["job"]["name"] == "flights.enrich")
    told = ask(client, f"runs/{one['id']}", params={"facets": "true"}).json()
    version = dict(told["outputs"][0])
    assert version.pop("reason") is None  # what there is to say of its content
    named = version["dataset"]
    assert told["state"] == "COMPLETE"
    assert told["inputs"]
    assert "airflow" in told["facets"]["run"]
    assert ask(client, f"versions/{version['id']}").json() == version
    assert ask(client, "versions", params=named).json()["versions"] == [version]
    assert named in [
        {"namespace": found["namespace"], "name": found["name"]}
        for found in ask(client, "datasets").json()["datasets"]
    ]
    jobs = {job["name"]: job for job in ask(client, "jobs").json()["jobs"]}
    assert jobs["flights.enrich"]["runs"] == 1
    assert jobs["flights.enrich"]["dag_ids"] == ["flights"]
    raw = ask(client, "events", params={"raw": "true"}).json()["events"]
    assert [found["raw"] for found in raw] == [json.loads(line) for line in lines]
    graph = ask(client, "lineage", params={"subject": f"run:{one['id']}"}).json()
    assert one["id"] in [run["id"] for run in graph["runs"]]
    assert graph["hidden"] == []


@pytest.mark.parametrize(
    ("route", "status"),
    [
        ("runs/nobody", 404), ("versions/99", 404), ("versions?namespace=n&name=no", 404),
        ("lineage?subject=run:99", 404), ("lineage?subject=nonsense", 404), ("events?run=no", 404),
        ("runs?limit=0", 422), ("runs?limit=1001", 422), ("runs?state=WELL", 422),
        ("runs?since=yesterday", 422), ("runs?cursor=%00", 422), ("runs?cursor=WyJhIl0", 422),
        ("jobs?cursor=WzFd", 422), ("jobs?cursor=WyJcdTAwMDAiLCJiIl0", 422), ("versions/x", 422),
        ("versions/99999999999999999999", 422), ("runs?job=%00", 422), ("versions", 422),
        ("lineage", 422), ("lineage?subject=run:1&direction=back", 422), ("runs/%00", 422),
    ],
)  # fmt: skip
def test_a_wrong_question_is_told_apart_from_one_without_answer(
    client: TestClient, route: str, status: int
) -> None:
    answer = ask(client, route)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize("kind", ["runs", "jobs", "datasets", "events"])
def test_pages_hold_every_row_once_also_while_rows_come_in(client: TestClient, kind: str) -> None:
    first = [event(number, outputs=data(f"d{number:02d}")) for number in range(10, 20)]
    send(client, first)
    before = ask(client, kind, params={"limit": 1000}).json()[kind]
    seen, cursor, number = [], None, 20
    while True:
        params = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        answer = ask(client, kind, params=params).json()
        seen += answer[kind]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
        send(client, event(number))
        number += 1

    assert len(before) == 10
    assert [one for one in seen if one in before] == before


def test_lists_and_counts_are_of_what_may_be_seen(client: TestClient) -> None:
    chain(client)

    runs = ask(client, "runs", "one").json()["runs"]
    assert {run["job"]["name"] for run in runs} == {"one_dag.t1", "one_dag.t3"}
    assert len(ask(client, "runs").json()["runs"]) == 5
    jobs = ask(client, "jobs", "one").json()["jobs"]
    assert {(job["name"], job["runs"]) for job in jobs} == {("one_dag.t1", 1), ("one_dag.t3", 1)}
    datasets = ask(client, "datasets", "one").json()["datasets"]
    assert {(one["name"], one["writes"], one["reads"]) for one in datasets} == {
        ("first", 1, 0),
        ("hidden_name", 0, 1),
        ("last", 1, 0),
    }
    assert len(ask(client, "events", "one", params={"raw": "true"}).json()["events"]) == 2
    versions = {"namespace": "n", "name": "hidden_name"}
    assert ask(client, "versions", "one", params=versions).json()["versions"] == []
    assert ask(client, "versions", params=versions).json()["versions"] != []


def test_one_who_may_not_see_a_run_is_told_what_one_is_told_of_no_run(client: TestClient) -> None:
    chain(client)
    for run in ask(client, "runs").json()["runs"]:
        is_mine = run["job"]["name"].startswith("one_dag.")
        for route in (f"runs/{run['id']}", f"lineage?subject=run:{run['id']}"):
            assert ask(client, route, "one").status_code == (200 if is_mine else 404)
    assert ask(client, "runs?dag_id=secret_dag", "one").json()["runs"] == []
    assert ask(client, "lineage?subject=dataset:n/only_secret", "one").status_code == 404


def test_a_path_goes_on_through_placeholders(client: TestClient) -> None:
    chain(client)
    whole = ask(client, "lineage?subject=dataset:n/last").json()
    limited = ask(client, "lineage?subject=dataset:n/last", "one")

    part = limited.json()
    assert part["edges"] == whole["edges"]
    assert len(part["hidden"]) == 2
    assert {one["kind"] for one in part["hidden"]} == {"run", "version"}
    assert all(set(one) == {"id", "kind", "hidden"} for one in part["hidden"])
    assert "first" in [one["dataset"]["name"] for one in part["versions"]]
    assert "secret" not in limited.text
    [reader] = [run for run in part["runs"] if run["job"]["name"] == "one_dag.t3"]
    told = ask(client, f"runs/{reader['id']}", "one")
    assert [one["hidden"] for one in told.json()["inputs"][0]["versions"]] == [True]
    assert "secret" not in told.text


def test_lineage_stops_where_it_is_told_to(client: TestClient) -> None:
    chain(client)
    route = "lineage?subject=dataset:n/last"
    assert ask(client, route).json()["truncated"] is False
    cut = ask(client, f"{route}&max_nodes=3").json()
    assert cut["truncated"] is True
    assert len(cut["runs"]) + len(cut["versions"]) == 3
    assert ask(client, f"{route}&depth=1").json()["truncated"] is True


def test_the_openapi_document_is_for_those_who_are_known(client: TestClient) -> None:
    document = ask(client, "openapi.json", "demo").json()
    paths = set(document["paths"])
    assert {"/api/v1/lineage", "/api/v1/lineage/batch", "/api/v1/runs/{run}"} <= paths
    openapi_spec_validator.validate(document)
    assert document["servers"] == [{"url": "/"}]
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert all(one["security"] for one in operations)


def test_a_method_that_a_path_does_not_know_is_told_which_it_knows(client: TestClient) -> None:
    for path, methods in (("lineage", "GET, POST"), ("lineage/batch", "POST"), ("runs", "GET")):
        answer = client.delete(f"/api/v1/{path}", headers={"Authorization": "Bearer all"})
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)


def test_a_store_that_cannot_be_used_is_503_and_says_nothing_of_where_it_is() -> None:
    from airflow_provenance.store.sql.store import SqlStore

    app = create_app(
        lambda: SqlStore("sqlite:////no/such/folder/x.db"), TokenSecurity(TOKENS), LIMITS
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = ask(client, "runs")
    assert answer.status_code == 503
    assert "folder" not in answer.text


# ---- Lines of a spool ---------------------------------------------------------------------------


def note(dag_run: str, namespace: str = "demo") -> Any:
    return {
        "kind": "dag_run",
        "namespace": namespace,
        "dagId": "flights",
        "runId": dag_run,
        "at": "2026-01-01T00:00:00Z",
        "state": "COMPLETE",
    }


def line(value: object, kind: Kind = "E") -> bytes:
    return encode_line(kind, json.dumps(value).encode())


def send_lines(client: TestClient, *lines: bytes, who: str = "all", **headers: str) -> Any:
    headers = {"Content-Type": CONTENT_TYPE, "Authorization": f"Bearer {who}"} | headers
    return client.post("/api/v1/spool", content=b"".join(lines), headers=headers)


def test_lines_of_a_spool_are_events_and_notes_with_a_verdict_each(
    client: TestClient, store: Store
) -> None:
    torn = line(event(3))[:-20] + b"\n"
    lines = [line(event(1)), line(note("r1"), "N"), torn, line(event(2)), line({"no": 1}, "N")]
    answer = send_lines(client, *lines)
    assert answer.status_code == 200
    told = answer.json()
    assert [one["verdict"] for one in told["events"]] == [
        *("accepted", "accepted", "quarantined", "accepted", "quarantined")
    ]
    assert told["events"][2]["reason"] == "torn_line"
    assert (told["received"], told["accepted"], told["quarantined"]) == (5, 3, 2)
    # Sent again, as events or as lines, the same bytes are the same event.
    assert send(client, json.dumps(event(1)).encode()).json()["repeated"] == 1
    assert send_lines(client, *lines).json()["repeated"] == 3
    assert store.counts()["entries"] == 3
    assert store.counts()["quarantined"] == 2


def test_a_line_of_another_namespace_is_refused_alone_a_note_as_well(
    client: TestClient, store: Store
) -> None:
    other = event(2) | {"job": {"namespace": "others", "name": "x"}}
    lines = [line(other), line(note("r1", "others"), "N"), line(note("r2"), "N"), line(event(1))]
    told = send_lines(client, *lines, who="demo").json()
    assert [one["verdict"] for one in told["events"]] == [
        *("refused", "refused", "accepted", "accepted")
    ]
    assert "not for the namespace 'others'" in told["events"][0]["message"]
    assert told["refused"] == 2
    assert store.counts()["entries"] == 2
    assert store.counts()["quarantined"] == 0


def test_a_spool_needs_scope_type_and_something_in_it(client: TestClient, store: Store) -> None:
    good = line(event(1))
    assert send_lines(client, good, who="one").status_code == 403
    assert send_lines(client, good, who="nobody").status_code == 401
    assert send_lines(client).status_code == 422
    assert send_lines(client, good, **{"Content-Type": "application/json"}).status_code == 422
    assert send_lines(client, *[b"x" * 100 + b"\n"] * 4200).status_code == 413
    assert send_lines(client, *[b"x\n"] * 10_001).status_code == 413
    assert store.counts()["entries"] + store.counts()["quarantined"] == 0


def test_many_lines_may_be_larger_than_one_event(client: TestClient, store: Store) -> None:
    lines = [line(event(number, pad="x" * 9_000)) for number in range(30)]
    body = gzip.compress(b"".join(lines))
    assert sum(map(len, lines)) > LIMITS.event
    assert send_lines(client, body, **{"Content-Encoding": "gzip"}).json()["accepted"] == 30


# ---- Requests that arrive together --------------------------------------------------------------


class Slow:
    """A store whose first ingest waits until it is let go, and that counts its transactions."""

    def __init__(self, store: Store) -> None:
        self.store, self.batches = store, list[int]()
        self.begun, self.may_go = threading.Event(), threading.Event()

    def ingest(self, entries: Any, **more: Any) -> Any:
        self.batches.append(len(entries))
        self.begun.set()
        assert self.may_go.wait(30)
        if any(b"poison" in raw for _, raw in entries):
            raise RuntimeError("poison")
        return self.store.ingest(entries, **more)


def test_requests_that_wait_for_each_other_share_a_transaction_and_each_gets_its_own_verdict(
    store: Store,
) -> None:
    slow = Slow(store)
    taking = Taking(lambda: slow, lambda: 1_800_000_000_000_000)  # type: ignore[arg-type,return-value]

    def raw(number: int, **more: Any) -> bytes:
        return json.dumps(event(number, **more)).encode()

    def take(source: str, *raws: bytes) -> Any:
        return taking.take(source, [("E", one) for one in raws], [])

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(take, "a", raw(1))
        assert slow.begun.wait(30)
        twice = [pool.submit(take, "a", raw(2)), pool.submit(take, "a", raw(2))]
        wrong = pool.submit(take, "a", b'{"no": "event"}', raw(3))
        other = pool.submit(take, "b", raw(5))
        while len(taking._waiting) < 4:
            time.sleep(0.01)
        slow.may_go.set()
        assert first.result().accepted == {raw(1)}
        assert sorted(len(one.result().accepted) for one in twice) == [0, 1]
        assert wrong.result().accepted == {raw(3)}
        assert [one.reason for one in wrong.result().refused.values()] == ["invalid_event"]
        assert other.result().accepted == {raw(5)}
    # One of another sender goes alone.
    assert sorted(slow.batches) == [1, 1, 4]
    assert store.counts()["entries"] == 4


def test_a_request_that_breaks_a_transaction_breaks_no_other_request(store: Store) -> None:
    slow = Slow(store)
    taking = Taking(lambda: slow, lambda: 1_800_000_000_000_000)  # type: ignore[arg-type,return-value]

    def take(number: int, pad: str = "") -> Any:
        return taking.take("a", [("E", json.dumps(event(number, pad=pad)).encode())], [])

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(take, 1)
        assert slow.begun.wait(30)
        poisoned, good = pool.submit(take, 2, "poison"), pool.submit(take, 3)
        while len(taking._waiting) < 2:
            time.sleep(0.01)
        slow.may_go.set()
        assert len(first.result().accepted) == len(good.result().accepted) == 1
        with pytest.raises(RuntimeError, match="poison"):
            poisoned.result()
    assert sorted(slow.batches) == [1, 1, 1, 2]
    assert store.counts()["entries"] == 2
