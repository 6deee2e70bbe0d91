"""What is installed in this Python: the list of distributions, and which of them holds a module.

Names and versions are taken from the names of the metadata folders, as installers write them: to
parse every metadata file, as ``importlib.metadata`` does, would take a task 50 ms more, not 1.
"""

from __future__ import annotations

import os
import re
import sys
from functools import lru_cache
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import NamedTuple

from airflow_provenance.formats.dependencies import listed

_SEPARATORS = re.compile(r"[-_.]+")
# Where the name of a distribution does not follow from the name of its modules.
_SPECIAL = {("airflow", "sdk"): "apache-airflow-task-sdk", ("airflow",): "apache-airflow-core"}


_Place = tuple[str, int]  # a folder, and when names in it last changed, in nanoseconds


class Installed(NamedTuple):
    """A distribution, and the folder that its modules are in."""

    name: str
    version: str
    site: str
    metadata: str


def distributions() -> dict[str, Installed]:
    """Return what is installed, by normalised name; of two with one name what an import finds."""
    return _distributions(_places())


def dependency_list() -> tuple[str, ...]:
    """Return ``name==version`` of everything installed, sorted.

    A process that forks tasks asks once before: its forks then need not look.
    """
    return _dependency_list(_places())


@lru_cache(maxsize=4)
def dependencies_hash(dependencies: tuple[str, ...]) -> str:
    """Return the hash of a list of dependencies."""
    return listed(dependencies).hash


def distribution_of(module: str) -> Installed | None:
    """Return the distribution that a loaded module belongs to; None for one that has none."""
    return _distribution_of(module, _places())


def _places() -> tuple[_Place, ...]:
    """Return where modules are looked for, and since when each is as it is."""
    return tuple((path, _modified_ns(path)) for path in sys.path)


def _modified_ns(path: str) -> int:
    # A scheduler lives for weeks, and what it knew must not be told of a task after an upgrade.
    try:
        return os.stat(path or ".").st_mtime_ns  # noqa: PTH116 - for every task
    except OSError:
        return 0


@lru_cache(maxsize=4)
def _distributions(places: tuple[_Place, ...]) -> dict[str, Installed]:
    found: dict[str, Installed] = {}
    for path, _ in places:
        try:
            with os.scandir(path or ".") as entries:
                names = sorted(entry.name for entry in entries)
        except OSError:
            continue  # a zip file, or a folder that is not there
        for name in names:
            one = _installed(path, name)
            if one is not None:
                found.setdefault(one.name, one)
    return found


@lru_cache(maxsize=4)
def _dependency_list(places: tuple[_Place, ...]) -> tuple[str, ...]:
    return tuple(sorted(f"{one.name}=={one.version}" for one in _distributions(places).values()))


def _installed(site: str, folder: str) -> Installed | None:
    stem, _, suffix = folder.rpartition(".")
    if suffix == "dist-info":
        name, _, version = stem.rpartition("-")
    elif suffix == "egg-info":
        metadata = PathDistribution(Path(site, folder))
        name, version = metadata.metadata["Name"] or "", metadata.version or ""
    else:
        return None
    if not name or name.startswith("~"):  # a "~" is what an interrupted pip leaves behind
        return None
    return Installed(_normalised(name), version, site, os.path.join(site, folder))  # noqa: PTH118 - 166 times


def _normalised(name: str) -> str:
    return _SEPARATORS.sub("-", name).lower()


@lru_cache(maxsize=64)
def _distribution_of(module: str, places: tuple[_Place, ...]) -> Installed | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    known = _distributions(places)
    # The innermost: a project may hold its own virtual environment.
    sites = sorted({one.site for one in known.values()}, key=len, reverse=True)
    site = next((one for one in sites if file and Path(file).is_relative_to(one)), None)
    if file is None or site is None:
        return None
    parts = module.split(".")
    for count in range(len(parts), 0, -1):
        head = parts[:count]
        prefix = ["apache"] if parts[0] == "airflow" and count > 1 else []
        name = _SPECIAL.get(tuple(head)) or _normalised("-".join([*prefix, *head]))
        if name in known and known[name].site == site:
            return known[name]
    return _by_record(file, site, known)


def _by_record(file: str, site: str, known: dict[str, Installed]) -> Installed | None:
    """Look the file up in what every distribution says it has installed."""
    line = f"{Path(file).relative_to(site).as_posix()},"
    for one in known.values():
        try:
            record = Path(one.metadata, "RECORD").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if record.startswith(line) or f"\n{line}" in record:
            return one
    return None
