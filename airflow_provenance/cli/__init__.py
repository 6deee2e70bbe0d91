"""``airflow-provenance``: the command line.

Answers go to stdout, as text or with ``--json`` as JSON; errors go to stderr, one line each that
says what to do. Exit codes: 0 all is well, 1 the answer is a problem, 2 wrong usage or settings.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from airflow_provenance import __version__
from airflow_provenance.errors import ProvenanceError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every command; each command's is its ``function`` default."""
    # Imported here, so that `airflow_provenance.cli` stays cheap to import for Airflow.
    from airflow_provenance.cli import (
        database,
        demo,
        doctor,
        events,
        ingest,
        init,
        quarantine,
        runs,
        trace,
    )

    parser = argparse.ArgumentParser(
        prog="airflow-provenance",
        description="Which data, code and run made which data: provenance of Airflow's task runs.",
    )
    parser.add_argument("--version", action="version", version=f"airflow-provenance {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (demo, init, doctor, database, ingest, events, quarantine, runs, trace):
        module.register(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        code = int(options.function(options))
        sys.stdout.flush()
    except ProvenanceError as error:
        print(f"airflow-provenance: {error}", file=sys.stderr)  # noqa: T201 - the error channel
        return 2 if isinstance(error, SettingsError) else 1
    except BrokenPipeError:
        # The reader went away (`| head`): not an error; keep the interpreter from flushing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    else:
        return code
