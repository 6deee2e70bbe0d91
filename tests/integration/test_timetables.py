"""Which runs a schedule asks for: by the DAG's own timetable, across changes of the clocks (A4)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
CHAIN = """
import json, sys
from datetime import timedelta
from types import SimpleNamespace
import pendulum
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DataInterval
from airflow_provenance.collect.airflow_expected import _chain
from airflow_provenance.domain.clock import format_time, parse_time

def told(schedule, zone, first, until, end=None):
    dag = DAG("d", schedule=schedule, start_date=pendulum.datetime(2026, 1, 1, tz=zone),
              end_date=end and pendulum.parse(end))
    at = pendulum.parse(first)
    model = SimpleNamespace(dag_id="d", next_dagrun=at, next_dagrun_create_after=at,
        next_dagrun_data_interval=DataInterval.exact(at), next_dagrun_partition_key=None,
        next_dagrun_partition_date=None)
    chain = _chain(DagSerialization.from_dict(DagSerialization.to_dict(dag)), model,
                   parse_time(until))
    return [format_time(row.due_us)[:16] for row in chain]

print(json.dumps([
    told("30 2 * * *", "Europe/Paris", "2026-03-28T01:30:00Z", "2026-03-31T00:00:00Z"),
    told("30 2 * * *", "Europe/Paris", "2026-10-24T00:30:00Z", "2026-10-27T00:00:00Z"),
    told(timedelta(hours=7), "UTC", "2026-03-27T01:30:00Z", "2026-03-28T00:00:00Z"),
    told("0 * * * *", "UTC", "2026-03-27T01:00:00Z", "2026-03-28T00:00:00Z",
         "2026-03-27T02:00:00Z"),
]))
"""


def test_a_schedule_is_followed_from_the_run_that_airflow_is_to_make_next(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHAIN],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        # 02:30 in Paris does not exist on 29 March, and comes twice on 25 October.
        ["2026-03-28T01:30", "2026-03-29T01:30", "2026-03-30T00:30"],
        ["2026-10-24T00:30", "2026-10-25T01:30", "2026-10-26T01:30"],
        ["2026-03-27T01:30", "2026-03-27T08:30", "2026-03-27T15:30", "2026-03-27T22:30"],
        ["2026-03-27T01:00", "2026-03-27T02:00"],
    ]
