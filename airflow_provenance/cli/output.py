"""How answers are written: stable text for people, stable JSON for programs."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import TYPE_CHECKING

from tabulate import tabulate

from airflow_provenance.domain.identity import TaskRunKey
from airflow_provenance.lineage.short import Names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.store.base import ProvenanceReader, RunView


# Names come from anywhere: none may break a line, or send codes to the terminal.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MAX_NUMBER = (1 << 63) - 1  # what a database can be asked for


def one_line(text: object) -> str:
    """Return a text with its control characters escaped."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def say(text: str = "") -> None:
    """Write a line to stdout."""
    sys.stdout.write(f"{one_line(text)}\n")


def tell(text: str) -> None:
    """Write a line to stderr: progress and warnings, so that stdout holds the answer alone."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def say_json(value: object) -> None:
    """Write JSON with sorted keys to stdout."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    sys.stdout.write(f"{text}\n")


def say_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table without lines: every row is one line, whatever the width of the screen."""
    cells = [list(map(one_line, row)) for row in rows]
    sys.stdout.write(f"{tabulate(cells, list(headers), 'plain', disable_numparse=True)}\n")


def count(text: str) -> int:
    """Return a whole number of 0 or more, for an option."""
    if not (text.isdecimal() and int(text) <= MAX_NUMBER):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def add_common(parser: argparse.ArgumentParser, *, with_json: bool = True) -> None:
    """Add ``--store`` and ``--json``."""
    parser.add_argument(
        "--store",
        metavar="URL",
        help="the store's SQLAlchemy URL, instead of [provenance] store",
    )
    if with_json:
        parser.add_argument("--json", action="store_true", help="answer as JSON")


def add_long(parser: argparse.ArgumentParser) -> None:
    """Add ``--long``."""
    parser.add_argument(
        "--long", action="store_true", help="names, hashes and times whole; --json always has them"
    )


def names_of(store: ProvenanceReader, options: argparse.Namespace) -> Names:
    """Return how the answer names things: short, or with ``--long`` whole."""
    return Names(() if options.long else store.dataset_names(), is_long=options.long)


def run_name(run: RunView) -> str:
    """Return the short name of a run: its job, mapped index and try where they say something."""
    if not isinstance(run.key, TaskRunKey):
        return run.job[1]
    mapped = f"[{run.key.map_index}]" if run.key.map_index >= 0 else ""
    attempt = f" try {run.key.try_number}" if run.key.try_number != 1 else ""
    return f"{run.job[1]}{mapped}{attempt}"
