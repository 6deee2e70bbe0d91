"""What importing the package costs, what it ships, and what the repository does not say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import airflow_provenance

ROOT = Path(__file__).resolve().parents[2]

# Put together here, so that this file does not break its own rule.
PLACES = ["/".join(("", *parts)) for parts in (["root", ""], ["work", ""], ["tmp", "env"])]
REGISTRIES = [".".join(("pypi", "org/simple")), ".".join(("files", "pythonhosted", "org"))]

REPORT = """
import importlib, json, sys, threading
importlib.import_module(sys.argv[1])
print(json.dumps({"modules": sorted(sys.modules), "threads": threading.active_count()}))
"""


@pytest.fixture
def airflow_home(tmp_path: Path) -> Path:
    return tmp_path / "airflow"


def import_alone(module: str, airflow_home: Path) -> tuple[set[str], int]:
    """Import a module in a new process; return all modules that brought in, and its threads."""
    env = {**os.environ, "AIRFLOW_HOME": str(airflow_home)}
    done = subprocess.run(
        [sys.executable, "-c", REPORT, module], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    return set(report["modules"]), report["threads"]


def test_importing_the_package_imports_nothing_heavy(airflow_home: Path) -> None:
    modules, threads = import_alone("airflow_provenance", airflow_home)

    assert not modules & {"airflow", "sqlalchemy", "pandas", "openlineage"}
    assert threads == 1
    assert not airflow_home.exists()


def test_importing_the_plugin_opens_no_store_and_starts_nothing(airflow_home: Path) -> None:
    modules, threads = import_alone("airflow_provenance.plugin", airflow_home)

    assert not modules & {"airflow_provenance.store.sql", "pandas", "pyarrow", "psycopg"}
    assert threads == 1
    assert not list(airflow_home.rglob("*.db"))


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(airflow_provenance.__file__).with_name("py.typed").is_file()


def test_no_file_names_a_place_on_a_machine_or_a_package_registry() -> None:
    ignoring = ["--exclude-standard"]  # and so the files that are about to be committed count too
    # safe.directory: the checkout may belong to somebody else than who runs the tests.
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", *ignoring],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode and os.environ.get("CI") != "true":
        pytest.skip("not a git checkout, so what belongs to the repository is not known")
    assert listing.returncode == 0, listing.stderr

    files = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    named = {
        f"{path.relative_to(ROOT)}: {word}"
        for path in files
        if path.is_file()
        for word in (*PLACES, *REGISTRIES)
        if word.encode() in path.read_bytes()
    }
    assert files
    assert named == set()


# ---- What is shipped -----------------------------------------------------------------------------


def build(folder: Path) -> dict[str, Path]:
    """Build an sdist, and the wheel from it; return each by how its name ends."""
    command = ["build", "--quiet", "--no-build-isolation", "--out-dir", str(folder), str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-m", "uv", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {path.suffix: path for path in folder.iterdir() if path.suffix in (".whl", ".gz")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(tmp_path_factory.mktemp("built"))


def in_wheel(built: dict[str, Path]) -> set[str]:
    with zipfile.ZipFile(built[".whl"]) as wheel:
        return set(wheel.namelist())


def test_the_wheel_has_the_package_whole_its_examples_and_its_license(
    built: dict[str, Path],
) -> None:
    package = Path(airflow_provenance.__file__).parent
    shipped = {
        f"airflow_provenance/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    examples = {
        f"airflow_provenance/example_dags/{path.relative_to(ROOT / 'dags')}"
        for path in (ROOT / "dags").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    names = in_wheel(built)

    assert examples
    assert any(name.endswith("Facet.json") for name in shipped)
    own = {name for name in names if ".dist-info/" not in name}
    assert own == shipped | examples
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_is_small(built: dict[str, Path]) -> None:
    assert built[".whl"].stat().st_size < 1024 * 1024


def test_the_sdist_has_what_make_test_needs(built: dict[str, Path]) -> None:
    with tarfile.open(built[".gz"]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}

    assert {"Makefile", "LICENSE", "pyproject.toml", "requirements.lock"} <= names
    for folder in ("airflow_provenance", "dags", "scripts", "tests"):
        wanted = {
            str(path.relative_to(ROOT))
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted <= names


def test_the_same_files_make_the_same_wheel_and_sdist(
    built: dict[str, Path], tmp_path: Path
) -> None:
    again = build(tmp_path)

    assert {end: path.read_bytes() for end, path in built.items()} == {
        end: path.read_bytes() for end, path in again.items()
    }
