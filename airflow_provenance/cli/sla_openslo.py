"""``sla import`` and ``sla export``: OpenSLO v1 documents as promises, promises as documents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provenance import wiring
from airflow_provenance.cli.output import add_common, tell
from airflow_provenance.errors import PolicyError, SettingsError
from airflow_provenance.sla.files import read_files
from airflow_provenance.sla.openslo import (
    is_openslo,
    openslo_text,
    promises_text,
    read_openslo,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from airflow_provenance.sla.files import Declared, Problem
    from airflow_provenance.store.base import Store

    Read = Callable[[argparse.Namespace, Store], tuple[list[Declared], list[str]]]


def register(actions: Any, read: Read) -> None:
    """Add the commands; ``read`` gives the promises of settings and DAGs."""
    bring = actions.add_parser("import", help="write OpenSLO v1 documents as promises")
    bring.add_argument("files", nargs="+", metavar="FILE", help="YAML file of OpenSLO documents")
    bring.set_defaults(function=_import)
    export = actions.add_parser("export", help="write promises as OpenSLO v1 documents")
    export.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="YAML file of promises, instead of [provenance] sla_files and the DAGs'",
    )
    export.add_argument(
        "--no-airflow",
        action="store_true",
        help="do not ask Airflow's database for the promises of DAGs",
    )
    add_common(export, with_json=False)
    export.set_defaults(function=lambda options: _export(options, read), more_files=None)
    for one in (bring, export):
        one.add_argument("--output", metavar="FILE", help="write there; else to standard output")


def notes(files: Iterable[str]) -> list[Problem]:
    """Return what OpenSLO files among these say that is not taken over."""
    paths = [path for path in map(Path, files) if is_openslo(path)]
    return read_openslo(paths).notes if paths else []


def _import(options: argparse.Namespace) -> int:
    found = read_openslo(map(Path, options.files))
    for one in (*found.problems, *found.left_out, *found.notes):
        tell(str(one))
    if found.problems:
        return 1
    _refuse_twice(found.declared)
    if not found.declared:
        raise PolicyError("no SLO of these files can be a promise")
    _write(promises_text(one.policy for one in found.declared), options.output)
    return 0


def _export(options: argparse.Namespace, read: Read) -> int:
    if options.files:
        found, wrong = read_files(map(Path, options.files))
        problems = list(map(str, wrong))
    else:
        store = wiring.open_store(options.store)
        try:
            found, problems = read(options, store)
        finally:
            store.close()
    for one in problems:
        tell(one)
    if problems:
        return 1
    if not found:
        raise PolicyError("there is no promise to write")
    _write(openslo_text(one.policy for one in found), options.output)
    return 0


def _refuse_twice(declared: Iterable[Declared]) -> None:
    where: dict[str, str] = {}
    for one in declared:
        first = where.setdefault(one.policy.id, one.where)
        if first != one.where:
            raise PolicyError(f"{one.where}: id {one.policy.id!r} is taken, by {first}")


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--output {output}: {error.strerror}") from error
    tell(f"{output} is written.")
