"""``airflow-provenance``: the command line.

Answers go to stdout, as text or with ``--json`` as JSON; errors go to stderr, one line each that
says what to do. Exit codes: 0 all is well, 1 the answer is a problem, 2 wrong usage or settings.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from airflow_provenance import __version__
from airflow_provenance.errors import ProvenanceError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every command; each command's is its ``function`` default."""
    # Imported here, so that `airflow_provenance.cli` stays cheap to import for Airflow.
    from airflow_provenance.cli import (
        compare,
        coverage,
        database,
        demo,
        doctor,
        events,
        feeds,
        ingest,
        init,
        quarantine,
        runs,
        serve,
        service,
        sla,
        trace,
        why,
    )

    parser = _Parser(
        prog="airflow-provenance",
        description="Which data, code and run made which data: provenance of Airflow's task runs.",
    )
    parser.add_argument("--version", action="version", version=f"airflow-provenance {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (
        *(demo, init, doctor, database, service, ingest, events, feeds),
        *(quarantine, runs, trace, why, compare, coverage, sla, serve),
    ):
        module.register(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """Tells wrong usage in one line, as every other error; its commands' parsers are of it, too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}: '{self.prog} --help' says how it is used\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal has no letters for is better escaped than no answer.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(arguments)
    try:
        _refuse_what_is_no_text(options)
        code = int(options.function(options))
        sys.stdout.flush()
    except ProvenanceError as error:
        return _complain(str(error), 2 if isinstance(error, SettingsError) else 1)
    except BrokenPipeError:
        _let_go_of_stdout()  # the reader went away (`| head`): not an error
        return 0
    except OSError as error:
        _let_go_of_stdout()
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror}: check the disk and the rights", 1)
    except KeyboardInterrupt:
        return 130
    else:
        return code


def _refuse_what_is_no_text(options: argparse.Namespace) -> None:
    """Refuse bytes that are no UTF-8, which Python hides in arguments: no store has such names."""
    for value in vars(options).values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not text.isascii():
                try:
                    text.encode()
                except UnicodeEncodeError as error:
                    raise SettingsError(f"{text!a} is not UTF-8: write it so") from error


def _complain(text: str, code: int) -> int:
    from airflow_provenance.cli.output import one_line, tell

    tell(f"airflow-provenance: {one_line(text)}")
    return code


def _let_go_of_stdout() -> None:
    """Keep the interpreter from failing at its end to write what cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
