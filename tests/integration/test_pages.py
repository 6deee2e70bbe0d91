"""The commands that README and docs/ tell to type, in a home that the demo has left."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_demo import Demo, users_environment
from tests.support.pages import NOT_RUN, blocks, typed

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

MONTH = "2013-07"  # that of the README's example
# What a page names that is elsewhere here.
ELSEWHERE = "/data/flights"
COMMANDS = sorted({one for one in typed() if one not in NOT_RUN})


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    home = tmp_path_factory.mktemp("pages") / "home"
    users = users_environment(home)
    clean = {
        name: value
        for name, value in users.items()
        if not name.startswith(("AIRFLOW_", "OPENLINEAGE_"))
    }
    first = Demo(home, subprocess.CompletedProcess([], 0), clean)
    done = first.run("airflow_provenance.cli", "demo", "--home", home.name, "--months", MONTH)
    assert done.returncode == 0, done.stdout + done.stderr
    return Demo(home, done, {**clean, "AIRFLOW_HOME": str(home)})


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_page_does_what_it_says(demo: Demo, command: str) -> None:
    path = f"PATH={Path(sys.executable).parent}:$PATH"
    done = subprocess.run(
        ["sh", "-c", f"{path}; {command.replace(ELSEWHERE, f'{demo.home}/flights')}"],
        env=demo.environment,
        cwd=demo.home.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout or command == "airflow db migrate"
    assert "Traceback" not in done.stderr


def test_the_answer_that_the_readme_shows_is_the_one_that_is_given(demo: Demo) -> None:
    """But for numbers, which differ with the months that are run."""
    (shown,) = (one.text for one in blocks() if "look at data/airports.csv" in one.text)
    lines = [line.strip() for line in shown.splitlines()]
    answer = lines[next(n for n, line in enumerate(lines) if line.startswith("1. look at")) :]
    told = {no_numbers(line.strip()) for line in demo.done.stdout.splitlines()}

    assert len(answer) >= 10
    wanted = [no_numbers(line) for line in answer]
    # Of one month there is nothing that several have in common: a rule less, and no periods.
    missing = [line for line in wanted if line not in told]
    assert {line.split()[0] for line in missing} <= {"unchanged", "[ticket]"}
    for line in ("data/weather.csv", "data/airports.csv", "What ran, and where time went"):
        assert line in demo.done.stdout


def no_numbers(line: str) -> str:
    return re.sub(r"[\d,.]*\d", "9", re.sub(r"[\d-]+/", "", line))


def test_the_event_that_the_readme_shows_is_one_that_is_emitted(demo: Demo) -> None:
    (shown,) = (json.loads(one.text) for one in blocks() if one.language == "json")
    (said,) = (
        output
        for event in demo.events()
        if event["job"]["name"] == "flights_month.enrich" and event["eventType"] == "COMPLETE"
        for output in event["outputs"]
        if output["name"].endswith("flights_enriched.csv")
    )

    said["name"] = said["name"].replace(str(demo.home), "...")
    fields = said["facets"]["schema"]["fields"]
    assert len(fields) == shown["facets"]["airflowProvenance_content"]["columnCount"]
    fields[:] = [one for one in fields if one["name"] == "dest"]
    assert without_what_differs(said) == without_what_differs(shown)


def without_what_differs(value: Any) -> Any:
    left_out = ("_producer", "_schemaURL", "modifiedAt")
    if isinstance(value, dict):
        return {k: without_what_differs(one) for k, one in value.items() if k not in left_out}
    return [without_what_differs(one) for one in value] if isinstance(value, list) else value
