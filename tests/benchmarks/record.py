"""Record the events that the benchmarks multiply: one run of a five-task DAG, as Airflow emits it.

    python -m tests.benchmarks.record

runs ``airflow dags test`` with the official provider and its file transport, in a home of its own,
and writes ``recorded_events.ndjson.gz`` anew. Airflow loads this file as the DAG file, too.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RECORDED = Path(__file__).with_name("recorded_events.ndjson.gz")
DAG_ID = "flights"
# What takes the place of this machine's folders.
DATA, DAGS = "/data", "/opt/airflow/dags"
_DATA_VARIABLE = "PROVENANCE_BENCHMARK_DATA"


def make_dag(folder: str) -> None:
    """Define the DAG. Its tasks only declare data: under `dags test` hooks would add up."""
    import pendulum
    from airflow.sdk import Asset, dag, task

    def asset(name: str) -> Asset:
        return Asset(f"file://{folder}/{name}")

    steps = {
        "ingest": (["shared/flights.csv"], ["flights/raw.parquet"]),
        "validate": (["flights/raw.parquet"], ["flights/valid.parquet"]),
        "enrich": (
            ["flights/valid.parquet", "shared/airports.csv", "before/report.parquet"],
            ["flights/enriched.parquet"],
        ),
        "aggregate": (["flights/enriched.parquet"], ["flights/daily.parquet"]),
        "load": (["flights/daily.parquet"], ["flights/report.parquet"]),
    }

    @dag(
        dag_id=DAG_ID,
        schedule="@daily",
        start_date=pendulum.datetime(2026, 1, 1),
        catchup=False,
        params={"month": 3},
        tags=["flights", "benchmark"],
    )
    def flights() -> None:
        previous = None
        for name, (inlets, outlets) in steps.items():

            @task(
                task_id=name,
                inlets=[asset(one) for one in inlets],
                outlets=[asset(one) for one in outlets],
            )
            def step() -> None:
                """Do nothing."""

            current = step()
            if previous is not None:
                previous >> current
            previous = current

    flights()


def record() -> list[bytes]:
    """Run the DAG once and return its events, without this machine's paths and names."""
    with tempfile.TemporaryDirectory(prefix="provenance-record-") as name:
        home = Path(name)
        events, data, dags = home / "events.ndjson", home / "data", home / "dags"
        dags.mkdir()
        (dags / "flights.py").write_text(Path(__file__).read_text())
        transport = {"type": "file", "log_file_path": str(events), "append": True}
        environment = os.environ | {
            "AIRFLOW_HOME": name,
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "demo",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
            _DATA_VARIABLE: str(data),
        }
        airflow = Path(sys.executable).with_name("airflow")
        for command in (["db", "migrate"], ["dags", "test", DAG_ID, "2026-03-01"]):
            subprocess.run([airflow, *command], cwd=home, env=environment, check=True)
        text = events.read_text().replace(str(data), DATA).replace(str(dags), DAGS)
    if name in text:
        raise ValueError(f"the events name {name}")
    return text.encode().splitlines()


if os.environ.get(_DATA_VARIABLE) and __name__ != "__main__":
    make_dag(os.environ[_DATA_VARIABLE])
elif __name__ == "__main__":
    with gzip.GzipFile(RECORDED, "wb", mtime=0) as file:
        file.write(b"\n".join(record()) + b"\n")
