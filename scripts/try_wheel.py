"""Build the wheel, install it into an environment of its own, and use it far from the checkout.

    .venv/bin/python scripts/try_wheel.py [PYTHON ...]

runs, with each PYTHON (this one by default), what a newcomer runs after ``pip install``: the demo,
and Airflow's list of providers. Versions are those of ``requirements.lock``. Exit 1: it failed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bootstrap import LOCK, ROOT, SetupError, for_uv, pip_settings

UV = [sys.executable, "-m", "uv"]
# What would make the checkout, or the user's own Airflow, be used after all.
OF_THE_USER = ("AIRFLOW_", "OPENLINEAGE_", "PYTHONPATH", "VIRTUAL_ENV")


def main(pythons: list[str]) -> int:
    """Try the wheel with each Python."""
    # The base: an environment's own link would bring its packages into no other, but its name.
    base = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    with tempfile.TemporaryDirectory(prefix="provenance-wheel-") as name:
        folder = Path(name)
        try:
            wheel = build(folder)
            for number, python in enumerate(pythons or [str(base)]):
                use(wheel, python, folder / f"try {number}")
        except SetupError as error:
            print(f"try_wheel: {error}", file=sys.stderr)
            return 1
    return 0


def build(folder: Path) -> Path:
    """Build an sdist, and the wheel from it, as a package index has it; return the wheel."""
    run(
        [*UV, "build", "--quiet", "--no-build-isolation", "--out-dir", str(folder), str(ROOT)],
        ROOT,
        dict(os.environ),
    )
    (wheel,) = folder.glob("*.whl")
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes", flush=True)
    return wheel


def use(wheel: Path, python: str, folder: Path) -> None:
    """Install the wheel for a Python, and run the demo in an empty folder."""
    place, empty = folder / "environment", folder / "empty"
    empty.mkdir(parents=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(OF_THE_USER)}
    # Like a user with nothing: no settings of a home are found.
    environment = {**clean, **for_uv(pip_settings()), "AIRFLOW_HOME": str(folder / "airflow")}
    began = time.monotonic()
    run([*UV, "venv", "--quiet", "--python", python, str(place)], empty, environment)
    wanted = f"airflow-provenance[demo] @ {wheel.as_uri()}"
    install = ["pip", "install", "--quiet", "--python", str(place), "--constraint", str(LOCK)]
    run([*UV, *install, wanted], empty, environment)
    version = run([f"{place}/bin/python", "--version"], empty, environment).strip()
    print(f"{version}: installed in {time.monotonic() - began:.0f} s", flush=True)

    found = run([f"{place}/bin/python", "-c", _WHERE], empty, environment).strip()
    if not Path(found).is_relative_to(place):
        raise SetupError(f"{found} was imported, which is not in {place}")
    listed = run([f"{place}/bin/airflow", "providers", "list"], empty, environment)
    providers = [line for line in listed.splitlines() if re.match(r"airflow-provenance\s", line)]
    if not providers:
        raise SetupError(f"airflow providers list does not show it: {listed}")
    print(f"{version}: airflow providers list: {' '.join(providers[0].split())}", flush=True)

    began = time.monotonic()
    command = [f"{place}/bin/airflow-provenance", "demo", "--months", "2013-01"]
    told = run(command, empty, {**environment, "AIRFLOW_HOME": str(folder / "not the demo's")})
    if "flights.csv.zip" not in told:
        raise SetupError(f"the demo's answer does not lead to the raw file: {told}")
    print(f"{version}: the demo works, {time.monotonic() - began:.0f} s", flush=True)


_WHERE = "import airflow_provenance as one; print(one.__file__)"


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a command to its end, and return what it said on its standard output."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SetupError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
