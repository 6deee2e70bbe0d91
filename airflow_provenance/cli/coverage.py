"""``coverage``: what Airflow ran and provenance lacks; ``--repair`` fills it in.

MISSING are events that should have come, FILLED is what no event tells, DIFFERS what Airflow's
database has otherwise.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from airflow_provenance import settings, wiring
from airflow_provenance.cli.output import add_common, add_long, count, say, say_json, say_table
from airflow_provenance.cli.waiting import DRAIN, undrained
from airflow_provenance.collect.airflow_database import airflow_database_problem
from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.identity import TaskRunKey, key_list
from airflow_provenance.domain.run import RunState
from airflow_provenance.errors import StoreUnavailableError
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
    waiting = len(undrained(options.store))
    if options.json:
        say_json(
            {
                "runs": found.runs,
                "missing": found.missing,
                "repaired": found.repaired,
                "spool_files_waiting": waiting,
                "gaps": [_gap_json(gap) for gap in found.gaps],
            }
        )
    else:
        _say_gaps(_listed(found.gaps), is_long=options.long)
        for line in _summary(found, options, waiting):
            say(line)
    return 1 if found.missing and not options.repair else 0


def _compare(options: argparse.Namespace) -> Coverage:
    if (problem := airflow_database_problem()) is not None:
        raise StoreUnavailableError(problem)
    store = wiring.open_store(options.store, create=True)
    try:
        reconciler = wiring.open_reconciler(store, grace_seconds=options.grace)
        horizon_us = wiring.retention_horizon_us()
        return reconciler.compare(horizon_us, horizon_us, repair=options.repair)
    finally:
        store.close()


def _listed(gaps: list[Gap]) -> list[Gap]:
    """Leave out those of which only a time is not exact."""
    return [gap for gap in gaps if gap.missing or gap.filled or gap.differs]


def _say_gaps(gaps: list[Gap], *, is_long: bool) -> None:
    """Write a line for each, without the columns in which no line would say anything."""
    run_ids = [gap.key.run_id for gap in gaps]
    columns: list[tuple[str, list[str]]] = [
        ("RUN", [_name(gap) for gap in gaps]),
        ("AIRFLOW RUN", run_ids if is_long else list(map(short_run_id, run_ids))),
        ("MISSING", [", ".join(gap.missing) for gap in gaps]),
        ("FILLED", [", ".join(gap.filled) for gap in gaps]),
        ("DIFFERS", [", ".join(gap.differs) for gap in gaps]),
    ]
    shown = [(head, cells) for head, cells in columns if any(cells)]
    if gaps:
        rows = zip(*(cells for _, cells in shown), strict=True)
        say_table([head for head, _ in shown], list(rows))


def _summary(found: Coverage, options: argparse.Namespace, waiting: int) -> list[str]:
    """Return what was found, and whether anything is to be done about it."""
    gaps = _listed(found.gaps)
    lacks = f"{found.missing} events missing, {len(gaps)} of which Airflow's database knows"
    ended = f"{found.runs} tries and DAG runs that have ended"
    lines = [f"{ended}: {lacks} more, {found.repaired} notes written."]
    grace_seconds = settings.reconcile_grace_seconds() if options.grace is None else options.grace
    if not found.runs and grace_seconds:
        lines.append(f"What changed in the last {grace_seconds:g} s is left out: '--grace 0'.")
    if waiting:
        lines.append(f"{waiting} files wait in the spool, and may hold what is missing: {DRAIN}.")
    if gaps and not options.repair:
        if found.missing or any(gap.differs for gap in gaps):
            lines.append("MISSING events did not come; FILLED is what no event tells.")
        else:
            lines.append("Nothing is lost: FILLED is what no event tells.")
        lines.append("'airflow-provenance coverage --repair' adds it; so does a running service.")
    return lines


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
