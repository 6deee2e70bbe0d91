"""``runs`` lists runs; ``run`` tells all that is known of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance import wiring
from airflow_provenance.cli.output import (
    add_common,
    count,
    duration_text,
    run_name,
    say,
    say_json,
    say_table,
)
from airflow_provenance.domain.clock import format_time, parse_time
from airflow_provenance.domain.run import RunState
from airflow_provenance.errors import EventError, SettingsError
from airflow_provenance.lineage.answers import describe_run, record_json, run_json
from airflow_provenance.lineage.subject import find_run
from airflow_provenance.store.base import RunQuery

if TYPE_CHECKING:
    import argparse


def register(commands: Any) -> None:
    """Add the commands."""
    runs = commands.add_parser("runs", help="list runs, newest first")
    runs.add_argument("--dag", metavar="DAG_ID", help="only this DAG's runs and its tasks'")
    runs.add_argument("--job", metavar="NAME", help="only runs of this job")
    runs.add_argument("--state", choices=[state.name for state in RunState])
    runs.add_argument("--since", metavar="TIME", help="ISO 8601 with a zone")
    runs.add_argument("--limit", type=count, default=50, help="at most so many (50)")
    add_common(runs)
    runs.set_defaults(function=_list)
    run = commands.add_parser("run", help="tell all that is known of a run")
    run.add_argument("id", metavar="ID", help="a runId, a number from 'runs', or an Airflow run_id")
    run.add_argument("--facets", action="store_true", help="with the facets of the run and its job")
    add_common(run)
    run.set_defaults(function=_show)


def _list(options: argparse.Namespace) -> int:
    query = RunQuery(
        dag_id=options.dag,
        job=options.job,
        state=RunState[options.state] if options.state else None,
        since_us=_since(options.since),
        limit=options.limit,
    )
    store = wiring.open_store(options.store)
    runs = store.runs(query)
    docs = store.run_docs([run.id for run in runs]) if options.json else {}
    store.close()
    if options.json:
        say_json([{**run_json(run), **record_json(docs[run.id])} for run in runs])
    elif not runs and query != RunQuery(limit=options.limit):
        say("No such runs. Without options, 'airflow-provenance runs' lists all.")
    elif not runs:
        say("No runs. 'airflow-provenance ingest --spool' takes in what tasks have spooled.")
    else:
        say_table(
            ["RUN", "STARTED", "STATE", "TOOK", "JOB", "AIRFLOW RUN", "RUN ID"],
            [
                (
                    run.id,
                    format_time(run.started_us) or "",
                    run.state.name,
                    duration_text(run),
                    run_name(run),
                    getattr(run.key, "run_id", ""),
                    run.run_uuid or "",
                )
                for run in runs
            ],
        )
    return 0


def _since(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except EventError as error:
        raise SettingsError(f"--since: {error}") from error


def _show(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    try:
        answer = describe_run(store, find_run(store, options.id), with_facets=options.facets)
    finally:
        store.close()
    if options.json:
        say_json(answer)
    else:
        _say_run(answer, with_facets=options.facets)
    return 0


def _say_run(answer: dict[str, Any], *, with_facets: bool) -> None:
    job = answer["job"]
    say(f"Run {answer['id']}: {job['name']} ({job['namespace']})")
    state = answer["state"]
    if answer["override"] is not None:
        override = answer["override"]
        state += f", set by {override['who'] or 'somebody'} at {override['at']}"
    took = answer["duration_seconds"]
    rows = [
        ("state", state),
        ("Airflow run", answer["airflow_run_id"]),
        ("runId", answer["run_uuid"]),
        ("scheduled", answer["scheduled_at"]),
        ("queued", answer["queued_at"]),
        ("started", answer["started_at"]),
        ("ended", answer["ended_at"]),
        ("took", None if took is None else f"{took:.2f}s"),
        ("host", answer["hostname"]),
        ("synthesised", ", ".join(answer["synthesised"]) or None),
        ("error", answer["error"]),
    ]
    for name, value in rows:
        if value is not None:
            say(f"  {name:<12} {value}")
    for title, lines in (
        ("read", _input_lines(answer["inputs"])),
        ("wrote", [_version_line(version) for version in answer["outputs"]]),
        ("checked", [_check_line(check) for check in answer["checks"]]),
        (
            "tries",
            [
                f"{one['try_number']}: run {one['id']} {one['state']}"
                + (f", then {one['followed_by']}" if one["followed_by"] else "")
                for one in answer["tries"]
                if len(answer["tries"]) > 1
            ],
        ),
        (
            "children",
            [f"run {c['id']} {c['job']['name']} {c['state']}" for c in answer["children"]],
        ),
    ):
        if lines:
            say(f"  {title}")
            for line in lines:
                say(f"    {line}")
    if with_facets:
        say_json(answer["facets"])


def _input_lines(inputs: list[dict[str, Any]]) -> list[str]:
    lines = []
    for one in inputs:
        # A table is looked at after it was read, which does not say that it changed.
        unverified = "" if one["verified"] else ", unverified"
        lines += [f"{_version_line(v)}  ({one['rule']}{unverified})" for v in one["versions"]]
    return lines


def _check_line(check: dict[str, Any]) -> str:
    dataset = check["dataset"]
    what = check.get("name") or check["assertion"]
    column = f" of {check['column']}" if check.get("column") else ""
    params = check.get("params") or {}
    if check["success"]:
        return f"{dataset['namespace']}/{dataset['name']}  {what}{column}: passed"
    severity = f"({check.get('severity', 'error')})"
    if params.get("error"):  # that says nothing of the data
        outcome, found = f"could not be made {severity}", f": {params['error']}"
    else:
        rows = params.get("failedRows")
        outcome, found = f"failed {severity}", f", {rows} rows" if rows else ""
    return f"{dataset['namespace']}/{dataset['name']}  {what}{column}: {outcome}{found}"


def _version_line(version: dict[str, Any]) -> str:
    dataset = version["dataset"]
    partition = f" [{version['partition']}]" if version["partition"] is not None else ""
    reason = version.get("reason")
    content = version["content_id"] or (f"no content id: {reason}" if reason else "no content id")
    name = f"v{version['id']} {dataset['namespace']}/{dataset['name']}{partition}"
    return f"{name}  {content}  {version['status'].lower()}"
