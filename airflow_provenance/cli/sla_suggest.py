"""``sla suggest``: promises that the past would have kept, as YAML to start from."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from airflow_provenance import wiring
from airflow_provenance.cli.output import add_common, tell
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.calendar import find_zone
from airflow_provenance.sla.openslo import promises_text
from airflow_provenance.sla.policy import Target
from airflow_provenance.sla.recorded import RecordedProvenance
from airflow_provenance.sla.suggest import LEAST_RUNS, suggest


def register(actions: Any) -> None:
    """Add the command."""
    parser = actions.add_parser("suggest", help="promises that the past would have kept, as YAML")
    parser.add_argument("dag", metavar="DAG", help="its id")
    parser.add_argument("task", metavar="TASK", nargs="?", help="one of its tasks")
    parser.add_argument("--zone", default="UTC", help="of a deadline's local time (UTC)")
    parser.add_argument(
        "--kept", type=_part, default=0.99, metavar="PART", help="of the past runs (0.99)"
    )
    add_common(parser, with_json=False)
    parser.set_defaults(function=_run)


def _part(text: str) -> float:
    try:
        part = float(text)
    except ValueError:
        part = 0.0
    if not 0 < part <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no part of 1, such as 0.95")
    return part


def _run(options: argparse.Namespace) -> int:
    find_zone(options.zone)
    target = Target(dag=options.dag, task=options.task)
    store = wiring.open_store(options.store)
    try:
        found = suggest(
            RecordedProvenance(store),
            target,
            SystemClock().now_us(),
            options.zone,
            options.kept,
        )
    finally:
        store.close()
    if not found:
        raise PolicyError(
            f"{target} has fewer than {LEAST_RUNS} runs that succeeded in the last 40 days: "
            "'airflow-provenance runs' lists what there is"
        )
    for one in found:
        tell(f"{one.policy.id}: {one.why}")
    sys.stdout.write(promises_text(one.policy for one in found))
    return 0
