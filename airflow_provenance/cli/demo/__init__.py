"""``demo``: the flights story, really run by Airflow, and what provenance tells of it.

``home`` is the folder it lives in, ``play`` runs the DAGs in an Airflow process of their own,
``report`` asks the store, and ``stay`` leaves Airflow running to look around.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from airflow_provenance import wiring
from airflow_provenance.cli.demo.home import (
    dags_folder,
    demo_environment,
    enter,
    log_file,
    write_airflow_cfg,
)
from airflow_provenance.cli.output import tell
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.errors import ProvenanceError

__all__ = ["demo_environment", "register"]

_MONTHS = ("2013-01", "2013-02", "2013-07")
# The first runs for each month; the others once, for the last one, where they are among the DAGs.
_DAG_ID = "flights_month"
_THEN = ("flights_delay_model",)


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("demo", help="run the flights pipeline and trace it (SQLite)")
    parser.add_argument(
        "--home",
        type=Path,
        default=Path("airflow-provenance-demo"),
        help="folder for its Airflow, data and store (./airflow-provenance-demo)",
    )
    parser.add_argument(
        "--months",
        nargs="+",
        type=_month,
        default=list(_MONTHS),
        metavar="2013-MM",
        help="which to run",
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="then leave Airflow's page and our HTTP running, until Ctrl-C",
    )
    parser.set_defaults(function=_run)


def _month(text: str) -> str:
    if not re.fullmatch(r"2013-(0[1-9]|1[0-2])", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no month of the data: 2013-01 to 2013-12")
    return text


def _run(options: argparse.Namespace) -> int:
    # Here: other commands need no tables and no pictures.
    from airflow_provenance.cli.demo.promises import judge
    from airflow_provenance.cli.demo.report import report

    began, began_us = time.monotonic(), SystemClock().now_us()
    home: Path = options.home.absolute()
    enter(home)
    tell(f"Working in {home}")
    _migrate(home)
    write_airflow_cfg(home)
    failed = _play(home, options.months)
    store = wiring.open_store(create=True)
    try:
        tell("Draining the spool into the store ...")
        drained = wiring.open_drain(store).run_once()
        tell(f"  {drained.ingested} events and notes ingested, {drained.quarantined} quarantined")
        tell("Judging the promises of the DAGs by what was recorded ...")
        notices = judge(store, home, began_us)
        checked = report(store, home, began_us, notices)
    finally:
        store.close()
    tell(f"Done in {time.monotonic() - began:.0f} s.")
    if options.serve:
        from airflow_provenance.cli.demo.stay import stay

        sys.stdout.flush()
        stay(home)
    else:
        tell("With --serve, Airflow's page and our HTTP stay open to look around.")
    return 0 if checked and not failed and not drained.quarantined else 1


def _migrate(home: Path) -> None:
    began = time.monotonic()
    tell("Making Airflow's database ...")
    log = log_file(home, "migrate")
    # The same Python's Airflow, whatever is first on the PATH.
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    with log.open("wb") as file:
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
        )
    if done.returncode:
        raise ProvenanceError(f"airflow db migrate failed: {log} says why")
    tell(f"  {time.monotonic() - began:.1f} s")


def _play(home: Path, months: list[str]) -> int:
    """Run the story in one Airflow process, telling how it goes on; return how much failed."""
    story = [(_DAG_ID, month) for month in months]
    story += [(dag_id, months[-1]) for dag_id in _THEN if _is_there(dag_id)]
    log = log_file(home, "dags")
    log.unlink(missing_ok=True)
    pairs = [text for dag_id, month in story for text in (dag_id, f"{month}-01")]
    command = [sys.executable, "-m", "airflow_provenance.cli.demo.play", str(log), *pairs]
    ended = []
    with subprocess.Popen(  # noqa: S603 - our own arguments
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        for dag_id, month in story:
            tell(f"Running the DAG {dag_id} for {month} in Airflow ...")
            line = process.stdout.readline().split()
            if not line:
                break
            ended.append(line[0])
            failed = "" if line[0] == "ok" else f", FAILED: {log} says why"
            tell(f"  {line[1]} s{failed}")
    if "ok" not in ended:
        raise ProvenanceError(f"no DAG ran to its end: {log} says why")
    return len(story) - ended.count("ok")


def _is_there(dag_id: str) -> bool:
    files = dags_folder().glob("**/*.py")
    return any(dag_id in file.read_text(encoding="utf-8") for file in files)
