"""Promises that the past would have kept: they hold for it, and for no run that was longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml

from airflow_provenance.cli import main
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.sla.evaluate import evaluate
from airflow_provenance.sla.objectives import Deadline, Duration
from airflow_provenance.sla.policy import Target
from airflow_provenance.sla.recorded import RecordedProvenance
from airflow_provenance.sla.suggest import suggest
from tests.contract.support import ingest_all
from tests.contract.test_sla_why import at, day_of
from tests.support.sla_events import dag_run, jsonl, us

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.store.base import Store

NOW = us(at(21, 0))


def lived(store: Store, days: int) -> RecordedProvenance:
    lines = "".join(day_of(day) for day in range(1, days + 1))
    ingest_all(store, [("E", line.encode()) for line in lines.splitlines()], [])
    return RecordedProvenance(store)


def test_a_task_and_a_dag_are_promised_what_they_did(store: Store) -> None:
    provenance = lived(store, 20)

    (task,) = suggest(provenance, Target(dag="shop", task="load"), NOW)
    dag, done = suggest(provenance, Target(dag="shop"), NOW)

    # It takes 60 to 64 minutes: a tenth more, to the next five.
    assert task.policy.objective == Duration(at_most=timedelta(minutes=75))
    assert task.why == "20 runs took 1h2m at the median, 1h4m at most; 20 keep it"
    assert dag.policy.objective == Duration(at_most=timedelta(minutes=75))
    assert done.policy.objective == Deadline(at="06:10")
    assert done.why == "on 20 days it was done by 06:06 (UTC); 20 keep it"
    for one in (task, dag, done):
        verdicts = evaluate(one.policy, provenance, NOW, us(at(1, 0)))
        assert {each.state.value for each in verdicts} <= {"ok", "pending"}


def test_a_part_may_break_it_and_a_deadline_is_local(store: Store) -> None:
    provenance = lived(store, 20)
    _, done = suggest(provenance, Target(dag="shop"), NOW, "Europe/Berlin", 0.5)
    assert done.policy.objective == Deadline(at="07:05", zone="Europe/Berlin")
    assert done.why.startswith("on 20 days it was done by 07:04 (Europe/Berlin)")


def test_four_runs_suggest_nothing_and_ends_after_midnight_no_deadline(store: Store) -> None:
    assert suggest(lived(store, 4), Target(dag="shop"), NOW) == []
    nights = [
        dag_run("night", f"r{day}", at(day, 1380), start=at(day, 1380), end=at(day + 1, 30))
        for day in range(1, 10)
    ]
    lines = jsonl(*nights).splitlines()
    ingest_all(store, [("E", line.encode()) for line in lines], [])
    (one,) = suggest(RecordedProvenance(store), Target(dag="night"), NOW)
    assert isinstance(one.policy.objective, Duration)


def test_the_command_writes_a_file_of_promises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, events = f"sqlite:///{tmp_path}/p.db", tmp_path / "events.jsonl"
    now = datetime.fromtimestamp(SystemClock().now_us() / 1e6, UTC)
    first = now.replace(hour=3, minute=0, second=0, microsecond=0, tzinfo=None)
    groups = []
    for back in range(1, 9):
        due = first - timedelta(days=back)
        times = {"start": due.isoformat(), "end": (due + timedelta(minutes=10)).isoformat()}
        groups.append(dag_run("shop", f"r{back}", due.isoformat(), **times))
    events.write_text(jsonl(*groups))
    main(["ingest", str(events), "--store", store])
    capsys.readouterr()

    assert main(["sla", "suggest", "shop", "--store", store]) == 0

    out, err = capsys.readouterr()
    file = tmp_path / "promises.yaml"
    file.write_text(out)
    told = yaml.safe_load(out)["promises"]
    assert [one["objective"]["kind"] for one in told] == ["duration", "deadline"]
    assert "shop.duration: 8 runs took 10m at the median" in err
    assert main(["sla", "lint", str(file), "--store", store]) == 0
    capsys.readouterr()
    assert main(["sla", "suggest", "nobody", "--store", store]) == 1
    assert "has fewer than 5 runs" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["sla", "suggest", "shop", "--kept", "2", "--store", store])
