"""What ``demo --serve`` reports and leaves running, and ``why`` on what its Airflow ran."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import psutil
import pytest

from tests.integration.test_demo import DAGS, Demo, users_environment

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

MONTHS = ("2013-01", "2013-02")
# By reading the files alone: flights whose `dest` is not in airports.csv, and all flights.
UNMATCHED = {"2013-01": (680, 27_004), "2013-02": (608, 24_951)}
UP = "Airflow is up"


class Served(NamedTuple):
    demo: Demo
    report: str
    where: str
    runs: Any
    dags: set[str]
    started: list[psutil.Process]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Run the demo, use what it serves, and end it by Ctrl-C."""
    home = tmp_path_factory.mktemp("served") / "home"
    environment = users_environment(home)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "airflow_provenance.cli", "demo", "--home", home.name),
            *("--months", *MONTHS, "--serve"),
        ],
        env={**environment, "NO_PROXY": "*", "no_proxy": "*"},
        cwd=home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # its Ctrl-C is not ours
    )
    started: list[psutil.Process] = []
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Bearer $TOKEN" in line:
                break
        else:
            pytest.fail("".join(lines) + process.stderr.read())  # type: ignore[union-attr]
        said = "".join(lines)
        report, _, where = said.partition(UP)
        started = psutil.Process(process.pid).children(recursive=True)
        (url,) = set(re.findall(r"http://127\.0\.0\.1:\d+", where))
        token = ask(f"{url}/auth/token", data=login(where))["access_token"]
        runs = ask(f"{url}/provenance/api/v1/runs", token)
        dags = {one["dag_id"] for one in ask(f"{url}/api/v2/dags", token)["dags"]}
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)
    shell = {
        name: value
        for name, value in environment.items()
        if not name.startswith(("AIRFLOW_", "OPENLINEAGE_"))
    }
    done = subprocess.CompletedProcess([], process.returncode, report, "")
    demo = Demo(home, done, {**shell, "AIRFLOW_HOME": str(home)})
    return Served(demo, report, where, runs, dags, started)


def login(where: str) -> bytes:
    (body,) = re.findall(r"-d '(\{.*?\})'", where)
    return str(body).encode()


def ask(url: str, token: str = "", data: bytes | None = None) -> Any:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - http, of our own
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        return json.load(response)


def test_airflows_page_and_our_http_answer_to_the_login_that_is_printed(served: Served) -> None:
    assert "flights_month" in served.dags
    named = {run["job"]["name"] for run in served.runs["runs"]}
    assert "flights_month.enrich" in named


def test_it_ends_with_promises_that_the_data_breaks_their_cause_and_their_notice(
    served: Served,
) -> None:
    assert "Promises: 3 judged, 1 kept, 2 broken" in served.report
    file = served.demo.home / "provenance" / "notices.jsonl"
    notices = [json.loads(line) for line in file.read_text().splitlines()]
    by_title = {one["title"]: one for one in notices}
    assert by_title.keys() == {
        "[ticket] destinations-known is broken in 2 periods",
        "[ticket] model-data is broken",
    }
    notice = by_title["[ticket] destinations-known is broken in 2 periods"]
    observed = [float(one["observed"].removesuffix(" %")) for one in notice["firing"]]
    known = [100 * (1 - missing / rows) for missing, rows in UNMATCHED.values()]
    assert observed == pytest.approx(known, abs=1e-4)
    assert {one["owner"] for one in notice["firing"]} == {"airports"}
    assert all("airports.csv" in one["explanation"] for one in notice["firing"])
    # What the model does not learn from are the flights without a delay, and no others.
    (model,) = by_title["[ticket] model-data is broken"]["firing"]
    assert "left out 1,340 of 24,951 rows: not_null of column arr_delay" in model["explanation"]
    assert "look at" in served.report
    assert "data/airports.csv" in served.report
    assert any(one["next_step"] in served.report for one in notices)
    why = served.demo.tell("sla", "why", "destinations-known")
    (run,) = why["runs"]
    assert why["why"]["findings"][0]["check"] == "dest_has_airport"
    assert run


def test_ctrl_c_ends_it_well_and_leaves_nothing_running(served: Served) -> None:
    assert served.demo.done.returncode == 0
    assert len(served.started) >= 3
    deadline = time.monotonic() + 10
    while (left := [one for one in served.started if one.is_running()]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.2)
    assert left == []


def test_the_report_is_a_page_of_plain_text(served: Served) -> None:
    lines = served.report.splitlines()

    assert len(lines) <= 72
    is_path = re.compile(r"(/\S+){4,}")  # a command with a path is not broken in two
    assert [one for one in lines if len(one) > 100 and not is_path.search(one)] == []
    assert "\x1b" not in served.report
    assert all(line == line.rstrip() for line in lines)


def test_the_report_says_what_ran_and_what_was_read(served: Served) -> None:
    assert f"flights_month {len(MONTHS)} complete" in served.report
    assert re.search(
        r"flights_month\.ingest +2 ok +\d+\.\d\ds +\d+\.\d\ds +\d+\.\ds  #", served.report
    )
    assert ".query." not in served.report  # a task's statements are part of it
    assert re.search(r"\d tries of flights_month\.weather were retried", served.report)
    assert "lacks 1 hours as yet" in served.report
    assert served.report.count("is what was read") == 4


def test_the_question_is_answered_by_the_store_with_the_file_that_lacks_airports(
    served: Served,
) -> None:
    missing = sum(one for one, _ in UNMATCHED.values())
    flights = sum(one for _, one in UNMATCHED.values())

    assert f"Why do {missing:,} flights have no destination airport?" in served.report
    assert f"{missing:,} of {flights:,} rows" in served.report
    assert re.search(r"1\. look at data/airports\.csv  \(v\d+, 1,458 rows\)", served.report)


def test_why_leads_from_a_result_to_the_file_through_the_runs_that_made_it(
    served: Served,
) -> None:
    month = MONTHS[0]
    answer = served.demo.tell("why", f"{served.demo.home}/flights/{month}/delays.csv")

    findings = {one["check"]: one for one in answer["findings"] if one["column"] == "dest"}
    assert {*findings} == {"foreign_key", "dest_has_airport"}
    for finding in findings.values():
        first = finding["candidates"][0]
        assert first["evidence"][0]["rule"] == "compared"
        assert Path(first["dataset"]["name"]).name == "airports.csv"
    finding = findings["dest_has_airport"]
    first = finding["candidates"][0]
    assert finding["failed_rows"] == UNMATCHED[month][0]
    runs = {one["id"]: one["job"]["name"] for one in answer["graph"]["runs"]}
    versions = {one["id"]: Path(one["dataset"]["name"]).name for one in answer["graph"]["versions"]}
    way = [runs.get(node) or versions[node] for node in first["path"]]
    assert (way[0], way[-1]) == ("airports.csv", "delays.csv")
    assert "flights_month.enrich" in way
    edges = {(one["src"], one["dst"]) for one in answer["graph"]["edges"]}
    assert {*zip(first["path"], first["path"][1:], strict=False)} <= edges


def test_hours_without_weather_lead_to_the_weather_and_to_nothing_that_other_checks_look_up(
    served: Served,
) -> None:
    answer = served.demo.tell("why", f"{served.demo.home}/flights/{MONTHS[0]}/delays.csv")

    (finding,) = (one for one in answer["findings"] if one["check"] == "every_hour")
    names = [Path(one["dataset"]["name"]).name for one in finding["candidates"]]
    assert names == ["weather.csv", "flights.csv"]
    assert all(one["path"] for one in finding["candidates"])


def test_answers_fit_a_screen_and_what_they_print_can_be_asked_for(served: Served) -> None:
    (run, *_) = served.demo.tell("runs", "--job", "flights_month.enrich")
    for command in (["run", run["id"]], ["why", f"run:{run['id']}"], ["runs"]):
        done = served.demo.run("airflow_provenance.cli", *command)
        assert done.returncode == 0, done.stderr
        assert max(map(len, done.stdout.splitlines())) <= 120
        assert str(served.demo.home) not in done.stdout
        # A content id and a run's own UUID apart, nothing is longer than a person reads.
        assert not re.search(r"[0-9a-f]{13,}", done.stdout.replace(run["run_uuid"], ""))
    told = served.demo.run("airflow_provenance.cli", "run", run["id"]).stdout
    for line in re.findall(r"^    (v\d+) (\S+)  (sha256\S+)", told, re.MULTILINE):
        number, name, content = line
        roots = served.demo.tell("trace", "upstream", f"{name}@{content}")["roots"]
        assert int(number[1:]) in roots


def test_the_picture_shows_what_failed_and_the_way_to_it(served: Served) -> None:
    svg = (served.demo.home / "lineage.svg").read_text()
    root = ET.fromstring(svg)  # noqa: S314 - our own

    texts = "\n".join(one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}title"))
    for name in ("airports.csv", "flights_enriched.csv", "delays.csv", "enrich"):
        assert name in texts
    missing, (newest, _) = sum(one for one, _ in UNMATCHED.values()), UNMATCHED[MONTHS[-1]]
    of_month = f"{MONTHS[-1]}/flights_enriched.csv"
    assert (
        f"Drawn: {newest} of the {missing:,} rows that fail dest_has_airport, in {of_month}" in svg
    )
    assert f"dest_has_airport: {newest} rows" in svg
    assert "4 checks failed, up to " in svg  # of flights.csv, which another task checked
    assert 'class="s"' in svg


def test_trace_draws_what_it_answers(served: Served, tmp_path: Path) -> None:
    drawn = tmp_path / "trace.svg"
    answer = served.demo.tell("trace", "upstream", served.demo.result, "--svg", drawn)

    svg = drawn.read_text()
    assert all(f"run {one['id']}: " in svg for one in answer["runs"])
    assert all(f"v{one['id']}: " in svg for one in answer["versions"])


def test_a_foreign_key_names_what_it_looked_values_up_in_whatever_that_is_called(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "parts.csv").write_text("part,maker\n1,a\n2,b\n3,c\n")
    (tmp_path / "zz9.csv").write_text("id\na\n")
    done = served.demo.run(
        *("airflow", "dags", "test", "looks_up"),
        AIRFLOW__CORE__DAGS_FOLDER=str(DAGS),
        LOOKS_UP_IN=str(tmp_path),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert served.demo.tell("ingest", "--spool")["quarantined"] == 0

    (finding,) = served.demo.tell("why", f"{tmp_path}/copy.csv")["findings"]

    assert (finding["check"], finding["column"], finding["failed_rows"]) == (
        "foreign_key",
        "maker",
        2,
    )
    first, second = finding["candidates"]
    assert first["dataset"]["name"] == str(tmp_path / "zz9.csv")
    assert [one["rule"] for one in first["evidence"]] == ["compared", "source", "read"]
    assert second["dataset"]["name"] == str(tmp_path / "parts.csv")
    # What was looked up in is an input of the run that checked, by its content.
    (read,) = served.demo.tell("trace", "upstream", f"{tmp_path}/zz9.csv")["versions"]
    assert read["content_id"].startswith("sha256:")
