"""The command line on SQLite: what each command answers, as text and as JSON, and how it fails."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import pytest

from airflow_provenance import settings, wiring
from airflow_provenance.cli import main
from airflow_provenance.formats.spool_line import encode_line
from tests.contract.generate import story

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = dict[str, Any]
FULL = Path("/dev/full")
TRANSPORT = '{"type": "airflow_provenance.emit.transport.ProvenanceTransport"}'
HASHES = {name: f"sha256:{digit * 64}" for name, digit in zip("abcdef", "123456", strict=True)}


class Answer(NamedTuple):
    """What a command wrote."""

    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli(NamedTuple):
    """Runs commands in an Airflow home of the test's own."""

    capsys: pytest.CaptureFixture[str]
    home: Path

    def __call__(self, *arguments: object, code: int = 0) -> Answer:
        self.capsys.readouterr()
        found: object
        try:
            found = main([str(one) for one in arguments])
        except SystemExit as usage:  # argparse's own way out
            found = usage.code
        answer = Answer(*self.capsys.readouterr())
        assert found == code, answer
        return answer

    def ingest(self, *events: bytes) -> None:
        path = self.home / "events.ndjson"
        path.write_bytes(b"".join(event + b"\n" for event in events))
        self("ingest", path)

    def error(self, *arguments: object, code: int = 1) -> str:
        """Run a command that must fail; return its one line."""
        answer = self(*arguments, code=code)
        assert answer.out == ""
        (line,) = answer.err.splitlines()
        assert line.startswith("airflow-provenance: ")
        return line.removeprefix("airflow-provenance: ")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith(("AIRFLOW_", "OPENLINEAGE_")):
            monkeypatch.delenv(name)
    # A test before this one may have imported it, and it keeps the configuration it was born with.
    monkeypatch.delitem(sys.modules, "airflow", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys, home)


@pytest.fixture
def told(cli: Cli) -> Cli:
    """A store with one small story: raw -> load -> orders -> two reports -> summary."""
    cli.ingest(*STORY)
    return cli


def uuid(number: int) -> str:
    return str(UUID(int=number))


def facet(**body: object) -> Json:
    schema = "https://openlineage.io/spec/facets/1-0-0/Facet.json"
    return {"_producer": "https://example.com", "_schemaURL": schema, **body}


def dataset(
    name: str, *, namespace: str = "file", part: str | None = None, hashed: str = ""
) -> Json:
    facets: Json = {"version": facet(datasetVersion=HASHES[hashed])} if hashed else {}
    if part:
        facets["airflowProvenance_partition"] = facet(key=part)
    return {"namespace": namespace, "name": name, "facets": facets}


def event(
    number: int,
    job: str,
    reads: Iterable[Json] = (),
    writes: Iterable[Json] = (),
    task: tuple[str, str, str] | None = None,
    kind: str = "COMPLETE",
) -> bytes:
    """Return an event of run `number`, which ended at that second; `task` is DAG, run_id, task."""
    facets = {}
    if task is not None:
        names = dict(zip(("dagId", "runId", "taskId"), task, strict=True))
        facets["airflowProvenance_task"] = facet(**names, mapIndex=-1, tryNumber=1)
    hours, minutes, seconds = number // 3600, number // 60 % 60, number % 60
    body = {
        "eventTime": f"2026-01-01T{hours:02}:{minutes:02}:{seconds:02}Z",
        "eventType": kind,
        "job": {"namespace": "shop", "name": job},
        "run": {"runId": uuid(number), "facets": facets},
        "producer": "https://example.com",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "inputs": list(reads),
        "outputs": list(writes),
    }
    return json.dumps(body, ensure_ascii=False).encode()


RAW, ORDERS, SUMMARY = (
    dataset(f"/data/{name}.csv", hashed=hashed)
    for name, hashed in (("raw", "a"), ("orders", "b"), ("summary", "e"))
)
DAILY, WEEKLY = dataset("daily", hashed="c"), dataset("weekly", hashed="d")
STORY = (
    event(1, "etl.load", [RAW], [ORDERS], ("etl", "manual__1", "load")),
    event(2, "etl.daily", [ORDERS], [DAILY], ("etl", "manual__1", "daily")),
    event(3, "weekly", [ORDERS], [WEEKLY]),
    event(4, "summary", [DAILY, WEEKLY], [SUMMARY]),
)


# ---- Answers -------------------------------------------------------------------------------------

ENTRY_KEYS = {"seq", "event_id", "time", "received_at", "kind", "event_type", "run"}
RUN_KEYS = {
    *("id", "key", "job", "run_uuid", "airflow_run_id", "state", "execution_state"),
    *("started_at", "ended_at", "duration_seconds", "hostname", "override"),
}
VERSION_KEYS = {
    *("id", "dataset", "partition", "writer_run", "content_id", "status", "replaces"),
    *("ended_at", "first_seen_at", "verified"),
}
LISTED_KEYS = RUN_KEYS | {"scheduled_at", "queued_at", "synthesised"}
TOLD_KEYS = LISTED_KEYS | {
    *("inputs", "outputs", "checks", "tries", "children", "error", "facet_names"),
    *("manifest", "dag_version_number", "libraries"),
}
COMPARE_KEYS = {
    *("differs", "left", "right", "manifest_hashes", "manifest", "dependencies"),
    *("inputs", "outputs", "state", "duration_seconds", "remarks"),
}
TRACE_KEYS = {"direction", "roots", "runs", "versions", "edges"}
QUERIES: dict[str, set[str]] = {
    "db check": {"ok", "counts"},
    "events": ENTRY_KEYS,
    "events --run 1": ENTRY_KEYS,
    "quarantine list": set(),
    "runs": LISTED_KEYS,
    "runs --dag etl": LISTED_KEYS,
    "runs --job weekly --state COMPLETE --since 2026-01-01T00:00:00Z": LISTED_KEYS,
    "run 1": TOLD_KEYS,
    "run 1 --facets": TOLD_KEYS | {"facets"},
    "compare 1 2": COMPARE_KEYS,
    "trace upstream run:4": TRACE_KEYS,
    "trace downstream dataset:file//data/raw.csv": TRACE_KEYS,
    "trace upstream dataset:file/weekly --depth 1": TRACE_KEYS,
}
CHANGES: dict[str, set[str]] = {
    "init": {"transport", "execute_in_thread", "written"},
    "init --write": {"transport", "execute_in_thread", "written"},
    "db migrate": {"before", "after"},
    "db expire": {"dropped", "before", "evaluation_changes"},
    "ingest --spool": {
        *("received", "ingested", "repeated", "quarantined", "refused_again", "warnings")
    },
    "quarantine replay": {"released", "refused"},
}


@pytest.mark.parametrize("command", {**QUERIES, **CHANGES})
def test_every_command_answers_as_json_with_the_same_keys(told: Cli, command: str) -> None:
    answer = told(*command.split(), "--json").json
    keys = {**QUERIES, **CHANGES}[command]

    for one in answer if isinstance(answer, list) else [answer]:
        assert set(one) == keys


@pytest.mark.parametrize("command", QUERIES)
def test_a_query_writes_the_same_text_for_the_same_store(told: Cli, command: str) -> None:
    first = told(*command.split())

    assert first.out
    assert first.err == ""
    assert told(*command.split()) == first


def test_help_and_version_are_no_errors(cli: Cli) -> None:
    assert "trace" in cli("--help").out
    assert cli("--version").out.startswith("airflow-provenance 0.")


def test_migrate_makes_a_store_and_says_so_once(cli: Cli) -> None:
    assert "from revision (empty)" in cli("db", "migrate").out
    assert "already" in cli("db", "migrate").out
    assert cli("db", "check", "--json").json["counts"]["entries"] == 0


def test_expire_drops_what_is_older_than_the_setting_and_keeps_its_facts(
    told: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = told("trace", "upstream", "run:4")
    monkeypatch.setenv("AIRFLOW__PROVENANCE__RAW_RETENTION_DAYS", "1")

    assert told("db", "expire", "--json").json["dropped"] == len(STORY)
    assert told("events", "--json").json == []
    assert told("trace", "upstream", "run:4") == before


def test_runs_are_listed_newest_first_and_narrowed(told: Cli) -> None:
    def jobs(*options: str) -> list[str]:
        return [run["job"]["name"] for run in told("runs", "--json", *options).json]

    assert jobs() == ["summary", "weekly", "etl.daily", "etl.load"]
    assert jobs("--limit", "1") == ["summary"]
    assert jobs("--dag", "etl") == ["etl.daily", "etl.load"]
    assert jobs("--job", "weekly") == ["weekly"]
    assert jobs("--state", "FAIL") == []
    assert jobs("--since", "2100-01-01T00:00:00+01:00") == []
    assert "No such runs" in told("runs", "--state", "FAIL").out
    assert "The newest 3 are shown" in told("runs", "--limit", "3").err
    assert "shown" not in told("runs", "--limit", "4").err
    assert jobs("--limit", "0") == jobs()


def test_a_run_tells_what_it_read_and_wrote_and_by_which_rule(told: Cli) -> None:
    answer = told("run", uuid(2), "--json").json

    (read,), (written,) = answer["inputs"], answer["outputs"]
    assert (read["rule"], read["named_version"]) == ("named", HASHES["b"])
    assert [version["content_id"] for version in read["versions"]] == [HASHES["b"]]
    assert (written["content_id"], written["writer_run"]) == (HASHES["c"], answer["id"])
    assert answer["key"] == ["task", "shop", "etl", "manual__1", "daily", -1, 1]


def test_a_read_that_nothing_verified_is_not_said_to_have_changed(cli: Cli) -> None:
    content = facet(verified=False, reason="looked at after the task had read it")
    table = dataset("orders", namespace="sqlite:///shop.db", hashed="a")
    table["facets"]["airflowProvenance_content"] = content
    cli.ingest(event(1, "report", [table]))

    assert "(observed, unverified)" in cli("run", uuid(1)).out


def test_a_run_tells_what_was_checked_and_what_came_out(cli: Cli) -> None:
    assertions = [
        {"assertion": "row_count", "success": True},
        {
            "assertion": "accepted_values",
            "name": "dest_has_airport",
            "column": "dest",
            "success": False,
            "severity": "warn",
            "params": {"failedRows": 7},
        },
        {"assertion": "unique", "success": False, "params": {"error": "needs DuckDB"}},
    ]
    checked = {
        **ORDERS,
        "inputFacets": {"dataQualityAssertions": facet(assertions=assertions)},
    }
    cli.ingest(event(1, "check", [checked]))

    lines = cli("run", uuid(1)).out.splitlines()

    assert lines[lines.index("  checked") + 1 :][:3] == [
        "    data/orders.csv  row_count: passed",
        "    data/orders.csv  dest_has_airport of dest: failed (warn), 7 rows",
        "    data/orders.csv  unique: could not be made (error): needs DuckDB",
    ]
    why = cli("why", f"run:{uuid(1)}").out
    assert "unique could not be made (error): needs DuckDB" in why
    where = {"dataset": {"namespace": "file", "name": "/data/orders.csv"}, "partition": None}
    checks = cli("run", uuid(1), "--json").json["checks"]
    assert checks == [{**where, **one} for one in assertions]


def test_a_comparison_tells_the_data_that_differed(told: Cli) -> None:
    answer = told("compare", uuid(1), uuid(2), "--json").json

    datasets = {
        side: {one["dataset"]["name"]: (one["left"], one["right"]) for one in answer[side]}
        for side in ("inputs", "outputs")
    }
    assert answer["differs"]
    assert datasets == {
        "inputs": {
            "/data/raw.csv": ([HASHES["a"]], None),
            "/data/orders.csv": (None, [HASHES["b"]]),
        },
        "outputs": {
            "/data/orders.csv": ([HASHES["b"]], None),
            "daily": (None, [HASHES["c"]]),
        },
    }
    both = ("compare", uuid(1), uuid(2))
    said = told(*both).out
    assert f"daily: (not at all) -> {HASHES['c'][:19]}\n" in said
    assert f"file/daily: (not at all) -> {HASHES['c']}\n" in told(*both, "--long").out
    assert "has no manifest" in said


def test_a_run_does_not_differ_from_itself(told: Cli) -> None:
    answer = told("compare", uuid(1), uuid(1)).out

    assert "Nothing that could be compared differed." in answer


def test_doctor_says_what_to_do_until_all_is_well(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def levels(code: int) -> dict[str, str]:
        findings = cli("doctor", "--json", code=code).json
        assert all(set(finding) == {"level", "check", "message"} for finding in findings)
        return {finding["check"]: finding["level"] for finding in findings}

    found = levels(code=1)
    assert (found["transport"], found["spool"], found["store"]) == ("fail", "ok", "warn")

    assert found["environment"] == "warn"

    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", TRANSPORT)
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD", "True")
    cli("db", "migrate")
    with sqlite3.connect(cli.home / "airflow.db") as airflow:
        airflow.execute("CREATE TABLE dag_run (id INTEGER)")
    airflow.close()
    assert set(levels(code=0).values()) == {"ok"}

    monkeypatch.setenv("AIRFLOW__CORE__TASK_SUCCESS_OVERTIME", "12")
    assert levels(code=0)["budgets"] == "warn"

    monkeypatch.setenv("AIRFLOW__PROVENANCE__STORE", "mysql://host/db")
    assert levels(code=1)["store"] == "fail"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("redact_patterns", "("),  # with it, tasks spool nothing at all
        ("hash_timeout_seconds", "soon"),
        ("table_max_rows", "many"),
        ("raw_retention_days", "0"),
        ("granularity", "* everything"),
    ],
)
def test_doctor_reads_settings_that_only_tasks_use(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, option: str, value: str
) -> None:
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", TRANSPORT)
    cli("db", "migrate")
    monkeypatch.setenv(settings.OPTIONS[option].env_var, value)

    findings = cli("doctor", "--json", code=1).json
    (bad,) = [finding for finding in findings if finding["level"] == "fail"]
    assert bad["check"] == "settings"
    assert option in bad["message"]


def test_doctor_names_a_spool_that_cannot_be_written(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cli.home / "file").touch()
    monkeypatch.setenv("AIRFLOW__PROVENANCE__SPOOL_DIR", str(cli.home / "file" / "spool"))

    assert f"spool: cannot write to {cli.home}/file/spool" in cli("doctor", code=1).out


# ---- Ingest --------------------------------------------------------------------------------------

FIRST, SECOND = STORY[:2]
FILES = {  # what is in a file: how many are ingested and how many quarantined
    "lines": (FIRST + b"\n" + SECOND + b"\n", 2, 0),
    "lines without an end": (FIRST + b"\n" + SECOND, 2, 0),
    "lines of Windows": (b"\xef\xbb\xbf" + FIRST + b"\r\n\r\n" + SECOND + b"\r\n", 2, 0),
    "an array": (b" [\n" + FIRST + b",\n" + SECOND + b"\n]\n", 2, 0),
    "a pretty event": (json.dumps(json.loads(FIRST), indent=2).encode(), 1, 0),
    "an event": (FIRST, 1, 0),
    "nothing": (b"", 0, 0),
    "blank lines": (b"\n \n\n", 0, 0),
    "a broken line in the middle": (FIRST + b'\n{"eventTime": \n' + SECOND + b"\n", 2, 1),
    "a broken line at the start": (b'{"eventTime": \n' + FIRST + b"\n" + SECOND, 2, 1),
    "an array with others in it": (b"[3, " + FIRST + b', "x"]', 1, 2),
    "an array without an end": (b"[" + FIRST + b",", 0, 1),
    "no JSON": (random.Random(1).randbytes(5000), 0, 1),
}


@pytest.mark.parametrize("kind", FILES)
def test_the_good_part_of_a_file_is_ingested_and_the_rest_quarantined(cli: Cli, kind: str) -> None:
    content, ingested, quarantined = FILES[kind]
    path = cli.home / "file"
    path.write_bytes(content)

    report = cli("ingest", path, "--json", code=1 if quarantined else 0).json

    assert (report["ingested"], report["quarantined"]) == (ingested, quarantined)
    assert report["received"] == ingested + quarantined
    assert len(cli("quarantine", "list", "--json").json) == quarantined


def test_the_same_file_again_is_known_already(told: Cli) -> None:
    assert "0 ingested, 4 known already" in told("ingest", told.home / "events.ndjson").out


def test_standard_input_is_ingested(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(STORY))))

    assert "4 received: 4 ingested" in cli("ingest", "-").out


def spool(home: Path, *events: bytes, name: str = "worker") -> Path:
    folder = home / "provenance" / "spool"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.spool"
    path.write_bytes(b"".join(encode_line("E", event) for event in events))
    return path


def test_the_spool_is_drained_and_its_files_removed(cli: Cli) -> None:
    path = spool(cli.home, *STORY)

    assert "4 received: 4 ingested" in cli("ingest", "--spool").out
    assert not path.exists()
    assert "0 received" in cli("ingest", "--spool").out


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "airflow_provenance.cli", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **options)


def test_following_the_spool_goes_on_until_it_is_interrupted(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The story is old, and a drain that goes on drops what is past its retention.
    monkeypatch.setenv("AIRFLOW__PROVENANCE__RAW_RETENTION_DAYS", "10000")
    cli("db", "migrate")
    spool(cli.home, *STORY[:2])
    with start("ingest", "--spool", "--follow", "--json") as process:
        try:
            wait_for_entries(2)
            # A file of its own, as a process has: the first is being removed.
            spool(cli.home, *STORY[2:], name="another")
            wait_for_entries(4)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()

    assert (process.returncode, json.loads(out)["ingested"]) == (0, 4)
    assert "Traceback" not in err


def wait_for_entries(count: int) -> None:
    deadline = time.monotonic() + 60
    with closing(wiring.open_store()) as store:
        while store.counts()["entries"] < count:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_what_is_exported_is_what_was_ingested_and_makes_an_equal_store(cli: Cli) -> None:
    # The seed's story has runs that retry, absorb others and clash; only once each, as a log has.
    events = dict.fromkeys(raw for kind, raw in story(random.Random(4), 120) if kind == "E")
    cli.ingest(*events)

    exported = cli("events", "--export").out.encode()
    assert exported == (cli.home / "events.ndjson").read_bytes()

    (cli.home / "exported.ndjson").write_bytes(exported)
    other = f"sqlite:///{cli.home}/other.db"
    cli("ingest", cli.home / "exported.ndjson", "--store", other)
    with closing(wiring.open_store()) as one, closing(wiring.open_store(other)) as two:
        assert one.dump_facts() == two.dump_facts()


def test_a_part_of_the_log_is_exported(told: Cli) -> None:
    def export(*options: str) -> list[bytes]:
        return told("events", "--export", *options).out.encode().splitlines()

    assert export("--after", "1", "--limit", "2") == [*STORY[1:3]]
    assert export("--run", uuid(3)) == [STORY[2]]


def test_what_was_too_large_is_replayed_once_the_limit_is_raised(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cli.home / "events.ndjson").write_bytes(b"{]\n" + FIRST)
    monkeypatch.setenv("AIRFLOW__PROVENANCE__MAX_EVENT_BYTES", "100")
    cli("ingest", cli.home / "events.ndjson", code=1)
    reasons = {one["id"]: one["reason"] for one in cli("quarantine", "list", "--json").json}
    assert sorted(reasons.values()) == ["invalid_json", "too_large"]
    (large,) = (number for number, reason in reasons.items() if reason == "too_large")
    shown = cli("quarantine", "show", large).out
    assert "raise that setting" in shown
    assert FIRST.decode() in shown

    monkeypatch.delenv("AIRFLOW__PROVENANCE__MAX_EVENT_BYTES")
    assert cli("quarantine", "replay", "--json", code=1).json["released"] == [large]
    assert "0 ingested, 1 still refused" in cli("quarantine", "replay", code=1).out
    assert cli("quarantine", "show", large, code=1).out == ""
    assert len(cli("runs", "--json").json) == 1


# ---- Traces --------------------------------------------------------------------------------------


def roots(cli: Cli, subject: str) -> list[int]:
    found: list[int] = cli("trace", "upstream", subject, "--json").json["roots"]
    return found


def test_a_dataset_version_is_named_in_many_ways(told: Cli) -> None:
    (version,) = roots(told, "dataset:file/weekly")

    assert roots(told, "dataset:weekly") == [version]
    assert roots(told, f"dataset:weekly@{HASHES['d']}") == [version]
    assert roots(told, f"dataset:weekly@{HASHES['d'][:13]}") == [version]
    assert roots(told, f"dataset:file/weekly@{'4' * 6}") == [version]
    assert roots(told, f"dataset:weekly@v{version}") == [version]
    assert roots(told, f"dataset:weekly@{uuid(3)}") == [version]
    assert roots(told, "file/weekly") == [version]


def test_a_run_is_named_in_many_ways(told: Cli) -> None:
    (run,) = roots(told, f"run:{uuid(1)}")

    assert roots(told, f"run:{run}") == [run]
    assert len(roots(told, "run:manual__1")) == 2
    # As 'trace' takes it, and as answers write it.
    assert told("run", f"run:{run}", "--json").json["id"] == run


def test_all_partitions_that_a_run_wrote_are_named_by_its_run_id(cli: Cli) -> None:
    days = [dataset("sales", part=f"2026-01-0{n}", hashed="abc"[n]) for n in (1, 2)]
    cli.ingest(event(1, "partitions", [], days))

    assert len(roots(cli, f"dataset:sales@{uuid(1)}")) == 2
    assert len(roots(cli, "dataset:sales")) == 2


def test_the_start_of_two_hashes_is_refused(cli: Cli) -> None:
    cli.ingest(event(1, "one", [], [RAW]), event(2, "two", [], [{**ORDERS, "name": RAW["name"]}]))

    assert "2 versions of" in cli.error("trace", "upstream", "dataset:/data/raw.csv@sha256")


TREE = f"""\
v8 file//data/summary.csv  {HASHES["e"]}  good
  run 4 summary  COMPLETE  not started
    v6 file/daily  {HASHES["c"]}  good  <named>
      run 2 etl.daily  COMPLETE  not started
        v5 file//data/orders.csv  {HASHES["b"]}  good  <named>
          run 1 etl.load  COMPLETE  not started
            v9 file//data/raw.csv  {HASHES["a"]}  observed  <observed>
    v7 file/weekly  {HASHES["d"]}  good  <named>
      run 3 weekly  COMPLETE  not started
        v5 file//data/orders.csv  {HASHES["b"]}  good  <named>  (unfolded above)
"""


def test_a_trace_is_a_tree_that_unfolds_each_node_once(told: Cli) -> None:
    assert told("trace", "upstream", "dataset:file//data/summary.csv", "--long").out == TREE


def test_what_is_printed_short_is_a_subject_as_it_is_printed(told: Cli) -> None:
    lines = told("trace", "upstream", "/data/summary.csv").out.splitlines()

    assert max(map(len, lines)) < 100
    for line in lines:
        number, name, *rest = line.split()
        if number.startswith("v"):
            content = next((one for one in rest if one.startswith("sha256:")), number)
            assert content == number or len(content) == len("sha256:") + 12
            for subject in (number, f"{name}@{content}", f"dataset:{name}@{number}"):
                assert int(number[1:]) in roots(told, subject), subject
            assert roots(told, name)


def test_a_short_name_is_long_enough_to_mean_one_dataset(cli: Cli) -> None:
    names = ("/a/2013-01/flights.csv", "/b/2013-01/flights.csv", "/a/2013-02/flights.csv")
    cli.ingest(event(1, "write", [], [dataset(one, hashed="f") for one in names]))

    shown = [line.split()[1] for line in cli("trace", "downstream", "run:1").out.splitlines()[1:]]

    of_two = ["a/2013-01/flights.csv", "b/2013-01/flights.csv"]
    assert sorted(shown) == ["2013-02/flights.csv", *of_two]
    assert all(len(roots(cli, one)) == 1 for one in shown)
    line = cli.error("why", "2013-01/flights.csv")
    assert line.startswith("2 datasets are named '2013-01/flights.csv': write one of dataset:file/")


def test_the_depth_of_a_trace_is_counted_in_runs_and_versions(told: Cli) -> None:
    tree = told("trace", "upstream", "run:4", "--depth", "2").out
    assert [line.split()[0] for line in tree.splitlines()] == ["run", "v6", "run", "v7", "run"]


def test_upstream_and_downstream_go_over_the_same_edges(told: Cli) -> None:
    up = told("trace", "upstream", "dataset:file//data/summary.csv", "--json").json
    down = told("trace", "downstream", "dataset:file//data/raw.csv", "--json").json

    assert up["edges"] == down["edges"]
    assert all(set(edge) == {"src", "dst", "rule"} for edge in up["edges"])
    assert set(up["runs"][0]) == RUN_KEYS
    assert set(up["versions"][0]) == VERSION_KEYS


@pytest.mark.slow
def test_a_chain_may_be_deeper_than_pythons_stack(cli: Cli) -> None:
    steps = 3_000
    names = [dataset(f"d{number}") for number in range(steps + 1)]
    cli.ingest(*(event(n + 1, f"job{n}", [names[n]], [names[n + 1]]) for n in range(steps)))

    tree = cli("trace", "upstream", f"dataset:d{steps}").out.splitlines()

    assert len(tree) == 2 * steps + 1
    assert tree[-1].split()[1] == "d0"
    assert len(tree[-1]) - len(tree[-1].lstrip()) == 4 * steps


NAMES = ("my file.csv", "a@b", "a@b@v3", "été/ß 数据.csv", '100%\'s "x"; --', "run:1", "@", "-x")


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_of_any_name_is_found(cli: Cli, name: str) -> None:
    cli.ingest(event(1, name, [], [dataset(name, hashed="f")]))

    (version,) = roots(cli, f"dataset:file/{name}")
    assert roots(cli, f"dataset:{name}") == [version]
    assert roots(cli, f"dataset:{name}@{HASHES['f']}") == [version]
    assert f"file/{name}" in cli("trace", "downstream", "run:1", "--long").out
    (line,) = cli("trace", "downstream", "run:1").out.splitlines()[1:]
    assert roots(cli, line.strip().removeprefix(f"v{version} ").partition("  ")[0]) == [version]
    assert [run["job"]["name"] for run in cli("runs", "--json", f"--job={name}").json] == [name]


def test_no_name_breaks_a_line_or_reaches_the_terminal_as_a_code(cli: Cli) -> None:
    name = "two\nlines\x1b[31m\u2028\x9b"
    cli.ingest(event(1, name, [], [dataset(name)]))

    for command in ("runs", "run 1", "trace upstream run:1"):
        text = cli(*command.split()).out
        assert r"two\nlines\x1b[31m\u2028\x9b" in text
        assert not set("\x1b\u2028\x9b") & set(text)
    assert cli("run", "1", "--json").json["job"]["name"] == name


# ---- Errors --------------------------------------------------------------------------------------

ERRORS = {
    "run nobody": "no run is named 'nobody': 'airflow-provenance runs' lists runs",
    "run 99999999999999999999999": "no run is named",
    "run manual__1": "2 runs are named 'manual__1': name one by number: 1, 2",
    "events --run nobody": "no run is named 'nobody'",
    "compare nobody nobody": "no run is named 'nobody'",
    "trace upstream run:nobody": "no run is named 'nobody'",
    "trace upstream dataset:nobody": "no dataset is named 'nobody'",
    "trace upstream dataset:weekly@nobody": "no version of file/weekly matches 'nobody'",
    "trace upstream monthly": "'monthly' is no subject, nor the name of a dataset: write dataset:",
    "trace upstream v999": "there is no dataset version v999: 'run ID' shows those of a run",
    "compare weekly weekly": "no run is named 'weekly', but data is: 'airflow-provenance runs'",
    "trace upstream ./weekly.csv": "run:ID or /path/of/a/file",
    "trace upstream run:": "'run:' is no subject",
    "trace upstream dataset:": "'dataset:' is no subject",
    "quarantine show 7": "7 is not in the quarantine: 'quarantine list' shows what is",
    "quarantine replay 7 8": "not in the quarantine: [7, 8]",
    "ingest no-such-file": "cannot read no-such-file: No such file or directory",
    "ingest .": "cannot read .: Is a directory",
}
WRONG_USAGE = {
    "ingest": "name files to ingest, or --spool",
    "ingest --follow": "name files to ingest, or --spool",
    "ingest file --spool": "name files to ingest, or --spool",
    "runs --since yesterday": "--since: 'yesterday' is not an ISO 8601 time",
    "runs --since 2026-01-01": "has no zone: add one",
    "runs --store nonsense": "use sqlite:////absolute/path.db or postgresql://",
    "runs --store sqlite://": "store needs a file",
    "runs --store mysql://host/db": "only sqlite and postgresql (by psycopg) are supported",
    "run \udcff": "is not UTF-8",
}


@pytest.mark.parametrize("command", ERRORS)
def test_an_error_is_one_line_that_says_what_to_do(told: Cli, command: str) -> None:
    assert ERRORS[command] in told.error(*command.split())


@pytest.mark.parametrize("command", WRONG_USAGE)
def test_wrong_usage_is_one_line_and_another_exit_code(told: Cli, command: str) -> None:
    assert WRONG_USAGE[command] in told.error(*command.split(), code=2)


@pytest.mark.parametrize(
    "command",
    [
        *("", "no-such-command", "db", "quarantine", "trace sideways run:1"),
        *("runs --limit -1", "runs --limit 99999999999999999999", "runs --state GONE"),
        *("events --after -1", "trace upstream run:1 --depth -1", "quarantine show x"),
        *("demo --months 2014-01", "compare 1", "why", "trace upstream"),
    ],
)
def test_what_the_parser_refuses_is_wrong_usage_in_one_line(cli: Cli, command: str) -> None:
    answer = cli(*command.split(), code=2)

    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("airflow-provenance")
    assert line.endswith(" --help' says how it is used")


def test_a_dataset_of_two_namespaces_is_named_by_either(cli: Cli) -> None:
    cli.ingest(event(1, "both", [], [dataset("x", namespace=one) for one in ("s3://a", "pg")]))

    line = cli.error("trace", "upstream", "dataset:x")

    assert "2 datasets are named 'x'" in line
    for subject in ("dataset:s3://a/x", "dataset:pg/x"):
        assert subject in line
        assert roots(cli, subject)


@pytest.mark.parametrize("command", ["runs", "events", "db check", "quarantine list", "run 1"])
def test_a_store_that_is_not_there_is_to_be_migrated(cli: Cli, command: str) -> None:
    assert "run 'airflow-provenance db migrate'" in cli.error(*command.split())


@pytest.mark.parametrize("command", ["runs", "db migrate", "ingest --spool"])
def test_a_newer_store_is_left_alone(told: Cli, command: str) -> None:
    path = told.home / "provenance" / "provenance.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE airflow_provenance_version SET version_num = '9999'")
        connection.commit()

    assert "at revision 9999, which a newer release made: upgrade" in told.error(*command.split())


@pytest.mark.parametrize("command", ["db migrate", "ingest --spool"])
def test_a_store_that_cannot_be_made_says_where(cli: Cli, command: str) -> None:
    # A file in its place: a directory without rights would not stop root.
    (cli.home / "file").touch()
    url = f"sqlite:///{cli.home}/file/provenance.db"

    line = cli.error(*command.split(), "--store", url)

    assert f"{cli.home}/file" in line
    assert "set [provenance] store to another place" in line


def test_asking_makes_no_store(cli: Cli) -> None:
    assert "there is no store at" in cli.error("runs", "--store", f"sqlite:///{cli.home}/typo.db")
    assert not (cli.home / "typo.db").exists()


def test_the_same_bad_event_again_is_a_problem_again(cli: Cli, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"eventTime": 1}')

    assert "1 newly quarantined, 0 in the quarantine already" in cli("ingest", str(bad), code=1).out
    assert "0 newly quarantined, 1 in the quarantine already" in cli("ingest", str(bad), code=1).out


def test_a_file_is_a_subject_as_a_person_knows_it(told: Cli) -> None:
    for name in ("/data/none.csv", "file:///data/none.csv"):
        assert "no dataset is named" in told.error("trace", "upstream", name)


def test_a_file_that_is_no_database_is_not_a_store(cli: Cli) -> None:
    (cli.home / "text").write_text("no database " * 100)

    assert "file is not a database" in cli.error("runs", "--store", f"sqlite:///{cli.home}/text")


def test_a_password_is_not_told(cli: Cli) -> None:
    line = cli.error("runs", "--store", "postgresql://ann:geheim@127.0.0.1:1/x")

    assert "check that the server runs" in line
    assert "geheim" not in line


def test_a_setting_that_cannot_be_used_is_wrong_usage(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__MAX_EVENT_BYTES", "many")

    assert "[provenance] max_event_bytes is 'many'" in cli.error("runs", code=2)


def test_an_airflow_cfg_that_is_broken_is_one_line(cli: Cli) -> None:
    (cli.home / "airflow.cfg").write_text("no section\nat all\n")
    settings._parsed.cache_clear()

    assert f"{cli.home}/airflow.cfg cannot be read" in cli.error("runs", code=2)
    assert "airflow.cfg cannot be read" in cli("doctor", code=1).out


@pytest.fixture
def large(cli: Cli) -> Iterator[Cli]:
    """A store whose export is more than a pipe holds."""
    cli.ingest(*(event(n, f"job{n}", [dataset("x" * 1000)]) for n in range(1, 200)))
    return cli


def test_a_reader_that_goes_away_is_no_error(large: Cli) -> None:
    with start("events", "--export") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == ""

    assert process.returncode == 0


@pytest.mark.skipif(not FULL.exists(), reason="this system has no disk that is always full")
def test_an_answer_that_cannot_be_written_is_one_line(told: Cli) -> None:
    command = [sys.executable, "-m", "airflow_provenance.cli", "runs"]
    with FULL.open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "No space left on device" in done.stderr


def test_letters_that_the_terminal_lacks_are_escaped(cli: Cli) -> None:
    cli.ingest(event(1, "été", [], []))

    with start("runs", env={**os.environ, "PYTHONIOENCODING": "ascii"}) as process:
        out, _ = process.communicate(timeout=60)

    assert r"\xe9t\xe9" in out
    assert process.returncode == 0
