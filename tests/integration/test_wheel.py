"""The wheel, installed far from the checkout: the demo works, and Airflow knows the provider."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

TRY_WHEEL = Path(__file__).resolve().parents[2] / "scripts" / "try_wheel.py"


def is_there(python: str) -> bool:
    """Whether such a Python runs: a version manager has stand-ins for those that do not."""
    try:
        return (
            subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


def test_the_wheel_works_outside_the_checkout_on_every_python_that_is_there() -> None:
    mine = f"python3.{sys.version_info.minor}"
    others = [one for one in ("python3.11", "python3.13") if one != mine and is_there(one)]

    done = subprocess.run(
        [sys.executable, TRY_WHEEL, str(Path(sys.base_prefix, "bin", mine)), *others],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the demo works") == 1 + len(others)
    assert "airflow providers list: airflow-provenance" in done.stdout
