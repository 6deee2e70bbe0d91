"""``sla import`` and ``sla export``; OpenSLO documents wherever promises are read (A2)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from airflow_provenance.cli import main
from airflow_provenance.sla.files import read_files
from tests.support.sla_events import dag_run, jsonl
from tests.unit.test_openslo_read import SHOP

if TYPE_CHECKING:
    from pathlib import Path

OWN = """\
promises:
  - id: orders-by-nine
    target: {dag: orders, task: load}
    objective: {kind: deadline, at: "09:00", zone: Europe/Berlin}
    severity: page
    notify: [data-oncall]
    on_failure: breach_now
    calendar: {weekdays: [mon, tue], off: ["2026-12-24"]}
  - id: orders-mostly
    target: {dag: orders}
    objective: {kind: success_ratio, at_least: 0.9, window: 7d, slice: 1d, slice_at_least: 0.5}
    for: 30m
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.yaml"
    file.write_text(OWN)
    return file


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP)
    return file


def test_promises_are_the_same_after_an_export_and_an_import(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported, back = tmp_path / "openslo.yaml", tmp_path / "back.yaml"

    assert main(["sla", "export", str(own), "--output", str(exported)]) == 0
    assert main(["sla", "import", str(exported), "--output", str(back)]) == 0

    assert capsys.readouterr() == ("", f"{exported} is written.\n{back} is written.\n")
    promised = [[one.policy for one in read_files([file])[0]] for file in (own, exported, back)]
    assert len(promised[0]) == 2
    assert promised[0] == promised[1] == promised[2]


def test_an_import_writes_promises_and_tells_what_it_leaves(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sla", "import", str(shop)]) == 0

    out, err = capsys.readouterr()
    assert out.startswith("promises:\n  - id: search-works\n    target:\n      dag: index\n")
    told = err.splitlines()
    assert len(told) == 8
    assert all(line.startswith(f"{shop}:") for line in told)
    assert told[0].startswith(
        f"{shop}:15: SLO 'search-works': the metric of Prometheus is not read"
    )


def test_of_a_bad_file_nothing_is_imported(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, output = tmp_path / "bad.yaml", tmp_path / "never.yaml"
    bad.write_text(SHOP.replace("search-works", "other").replace("severity: sev1", "severity: 1"))

    assert main(["sla", "import", str(shop), str(bad), "--output", str(output)]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert f"{bad}:75: spec.severity: 1 is not of type 'string'\n" in err
    assert not output.exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SHOP.replace("airflow-provenance/target", "target"), "no SLO of these files can be a"),
        ("", "no SLO of these files can be a promise"),
        (OWN, ":1: apiVersion is None: only openslo/v1 is read"),
        ("[1, 2]", ":1: it is no object with apiVersion, kind and metadata"),
        ("a: [", "it is no YAML"),
    ],
)
def test_what_holds_nothing_to_import_is_an_error_in_a_line(
    text: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "some.yaml"
    file.write_text(text)

    assert main(["sla", "import", str(file)]) == 1

    assert reason in capsys.readouterr().err


def test_a_file_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sla", "import", "/no/such.yaml"]) == 1
    assert "/no/such.yaml:1: it cannot be read" in capsys.readouterr().err


def test_lint_reads_documents_and_tells_what_is_not_taken_over(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = f"sqlite:///{tmp_path / 'provenance.db'}"
    events = tmp_path / "events.jsonl"
    due = "2026-03-02T06:00:00"
    events.write_text(jsonl(dag_run("index", "r1", due, start=due, end="2026-03-02T06:01:00")))
    assert main(["ingest", str(events), "--store", store]) == 0
    capsys.readouterr()

    assert main(["sla", "lint", str(shop), "--store", store]) == 0

    out, err = capsys.readouterr()
    assert out == "1 promises, nothing wrong.\n"
    assert len(err.splitlines()) == 8
    # And it is judged as any other.
    at = ["--at", "2026-03-02T07:00:00Z", "--file", str(shop), "--store", store]
    assert main(["sla", "evaluate", *at]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["search-works", "ok", "100"]


def test_an_export_has_the_promises_of_the_settings(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"sqlite:///{tmp_path / 'provenance.db'}"
    monkeypatch.setenv("AIRFLOW__PROVENANCE__SLA_FILES", f"{tmp_path}/*.yaml")
    assert main(["db", "migrate", "--store", store]) == 0
    capsys.readouterr()

    assert main(["sla", "export", "--no-airflow", "--store", store]) == 0

    out = capsys.readouterr().out
    assert out.count("kind: SLO\n") == 2
    assert 'airflow-provenance/objective: \'{"kind": "deadline"' in out


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        (
            "{openslo/indicator: '{\"a\": 1}'}",
            "orders-by-nine: annotations: with openslo/... of them",
        ),
        ("{openslo/service: 'no name'}", "spec.service: a name has letters, digits"),
        ("{my board: b}", "own.yaml:7: annotations is named 'my board'"),
        ("{board: 1}", "own.yaml:7: annotations is {'board': 1}: write a text for each name"),
    ],
)
def test_what_somebody_writes_for_openslo_and_is_none_is_refused(
    annotations: str, reason: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = OWN.replace("    calendar:", f"    annotations: {annotations}\n    calendar:")
    own.write_text(text.replace("    on_failure: breach_now\n", "", 1))
    assert "annotations" in own.read_text()

    assert main(["sla", "export", str(own)]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err
    assert len(err.splitlines()) == 1


def test_a_window_of_the_calendar_is_judged(tmp_path: Path) -> None:
    """Two of March's three runs failed; by the last 30 days, February's would count, too."""
    from airflow_provenance.domain.run import RunState
    from airflow_provenance.sla.evaluate import evaluate
    from airflow_provenance.sla.facts import RunFact
    from airflow_provenance.sla.objectives import Aligned, SuccessRatio
    from airflow_provenance.sla.plain import PlainProvenance
    from airflow_provenance.sla.policy import Policy, Target
    from tests.support.sla_events import us

    runs = [
        RunFact(
            id=number,
            job="d",
            run_id=f"r{number}",
            started_us=us(at),
            ended_us=us(at),
            run_type="scheduled",
            state=state,
        )
        for number, (at, state) in enumerate(
            [
                ("2026-02-28T12:00:00", RunState.COMPLETE),
                ("2026-02-28T22:30:00", RunState.FAIL),  # half past eleven in Berlin
                ("2026-02-28T23:00:00", RunState.FAIL),
                ("2026-03-01T12:00:00", RunState.FAIL),
                ("2026-03-02T12:00:00", RunState.COMPLETE),
            ],
            1,
        )
    ]
    aligned = Aligned(start="2026-01-01", every="1M")
    for objective, expected in (
        (SuccessRatio(at_least=0.3, aligned=aligned), (1, 3)),
        (SuccessRatio(at_least=0.3, window=timedelta(days=30)), (2, 5)),
    ):
        policy = Policy(id="p", target=Target(dag="d"), objective=objective, zone="Europe/Berlin")
        at_us = us("2026-03-03T00:00:00")
        one, *_ = evaluate(policy, PlainProvenance(dag_runs=runs), at_us)
        assert one.observed == pytest.approx(expected[0] / expected[1])
        assert len(one.runs) == expected[1]
