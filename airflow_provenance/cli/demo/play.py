"""Run DAGs one after the other in one Airflow: ``python -m ...play LOG DAG DATE DAG DATE ...``.

Each is what ``airflow dags test DAG DATE`` does, without loading Airflow again, which takes longer
than the DAG. A line on stdout for each says how it ended; all other output is in the log.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path


def main(log: str, *pairs: str) -> int:
    """Run the DAGs; return how many of them failed."""
    progress = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with Path(log).open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from airflow.cli.cli_parser import get_parser

    parser = get_parser()
    failed = 0
    for dag_id, date in zip(pairs[::2], pairs[1::2], strict=True):
        began = time.monotonic()
        arguments = parser.parse_args(["dags", "test", dag_id, date])
        try:
            arguments.func(arguments)
            ended = "ok"
        except SystemExit as error:  # how it says that a DAG run failed
            ended = "ok" if not error.code else "failed"
        except Exception:  # noqa: BLE001 - the next one may work
            traceback.print_exc()
            ended = "failed"
        failed += ended != "ok"
        progress.write(f"{ended} {time.monotonic() - began:.1f}\n")
        progress.flush()
    return failed


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 1))
