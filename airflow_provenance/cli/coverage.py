"""``coverage``: what Airflow ran and provenance lacks; ``--repair`` fills it in."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from airflow_provenance import wiring
from airflow_provenance.cli.output import add_common, add_long, count, say, say_json, say_table
from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.identity import TaskRunKey, key_list
from airflow_provenance.domain.run import RunState
from airflow_provenance.lineage.short import short_run_id

if TYPE_CHECKING:
    import argparse

    from airflow_provenance.collect.reconcile import Coverage, Gap


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "coverage", help="what Airflow ran and provenance lacks, by Airflow's own database"
    )
    parser.add_argument("--repair", action="store_true", help="fill it in, marked as synthesised")
    parser.add_argument(
        "--grace",
        type=count,
        metavar="SECONDS",
        help="leave out what changed so lately: its events may be on their way "
        "([provenance] reconcile_grace_seconds)",
    )
    add_long(parser)
    add_common(parser)
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    # Airflow logs to standard output, where the answer must stand alone.
    with contextlib.redirect_stdout(sys.stderr):
        found = _compare(options)
    if options.json:
        say_json(
            {
                "runs": found.runs,
                "missing": found.missing,
                "repaired": found.repaired,
                "gaps": [_gap_json(gap) for gap in found.gaps],
            }
        )
    else:
        _say(found.gaps, is_long=options.long)
        say(
            f"{found.runs} tries and DAG runs that have ended: {found.missing} events missing, "
            f"{len(found.gaps)} not as in Airflow's database, {found.repaired} notes written."
        )
        if found.gaps and not options.repair:
            say("'airflow-provenance coverage --repair' fills them in.")
    return 1 if found.missing and not options.repair else 0


def _compare(options: argparse.Namespace) -> Coverage:
    store = wiring.open_store(options.store, create=True)
    try:
        reconciler = wiring.open_reconciler(store, grace_seconds=options.grace)
        horizon_us = wiring.retention_horizon_us()
        return reconciler.compare(horizon_us, horizon_us, repair=options.repair)
    finally:
        store.close()


def _say(gaps: list[Gap], *, is_long: bool) -> None:
    if gaps:
        say_table(
            ["RUN", "AIRFLOW RUN", "MISSING", "FILLED", "DIFFERS"],
            [
                (
                    _name(gap),
                    gap.key.run_id if is_long else short_run_id(gap.key.run_id),
                    ", ".join(gap.missing),
                    ", ".join(gap.filled),
                    ", ".join(gap.differs),
                )
                for gap in gaps
            ],
        )


def _name(gap: Gap) -> str:
    if not isinstance(gap.key, TaskRunKey):
        return gap.key.job_name
    mapped = f"[{gap.key.map_index}]" if gap.key.map_index >= 0 else ""
    return f"{gap.key.job_name}{mapped} try {gap.key.try_number}"


def _gap_json(gap: Gap) -> dict[str, Any]:
    return {
        "key": key_list(gap.key),
        "missing": gap.missing,
        "filled": gap.filled,
        "differs": {
            name: {"store": _shown(here), "airflow": _shown(there)}
            for name, (here, there) in gap.differs.items()
        },
    }


def _shown(value: Any) -> Any:
    if isinstance(value, RunState):
        return value.name
    return format_time(value) if isinstance(value, int) else value
