"""``runs`` lists runs; ``run`` tells all that is known of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance import wiring
from airflow_provenance.cli.manifest import manifest_lines
from airflow_provenance.cli.output import (
    MAX_NUMBER,
    add_common,
    add_long,
    count,
    names_of,
    run_name,
    say,
    say_json,
    say_table,
    tell,
)
from airflow_provenance.domain.clock import parse_time
from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.domain.run import RunState
from airflow_provenance.errors import EventError, SettingsError
from airflow_provenance.lineage.answers import describe_run, record_json, run_json
from airflow_provenance.lineage.short import Names, duration_text, many, short_run_id, short_time
from airflow_provenance.lineage.subject import find_run
from airflow_provenance.store.base import RunQuery

if TYPE_CHECKING:
    import argparse

    from airflow_provenance.store.base import RunView


def register(commands: Any) -> None:
    """Add the commands."""
    runs = commands.add_parser("runs", help="list runs, newest first")
    runs.add_argument("--dag", metavar="DAG_ID", help="only this DAG's runs and its tasks'")
    runs.add_argument("--job", metavar="NAME", help="only runs of this job")
    runs.add_argument("--state", choices=[state.name for state in RunState])
    runs.add_argument("--since", metavar="TIME", help="ISO 8601 with a zone")
    runs.add_argument("--limit", type=count, default=50, help="at most so many (50); 0: all")
    add_long(runs)
    add_common(runs)
    runs.set_defaults(function=_list)
    run = commands.add_parser("run", help="tell all that is known of a run")
    run.add_argument("id", metavar="ID", help="a runId, a number from 'runs', or an Airflow run_id")
    run.add_argument("--facets", action="store_true", help="with the facets of the run and its job")
    add_long(run)
    add_common(run)
    run.set_defaults(function=_show)


def _list(options: argparse.Namespace) -> int:
    most = min(options.limit or MAX_NUMBER, MAX_NUMBER - 1)
    query = RunQuery(
        dag_id=options.dag,
        job=options.job,
        state=RunState[options.state] if options.state else None,
        since_us=_since(options.since),
        limit=most + 1,  # one more tells that there are more
    )
    store = wiring.open_store(options.store)
    found = store.runs(query)
    runs = found[:most]
    docs = store.run_docs([run.id for run in runs]) if options.json else {}
    store.close()
    if options.json:
        say_json([{**run_json(run), **record_json(docs[run.id])} for run in runs])
    elif not runs and query != RunQuery(limit=query.limit):
        say("No such runs. 'airflow-provenance runs --limit 0' lists all.")
    elif not runs:
        say("No runs. 'airflow-provenance ingest --spool' takes in what tasks have spooled.")
    else:
        _say_table(runs, is_long=options.long)
    if len(found) > most:
        tell(f"The newest {most} are shown: --limit N for more, --limit 0 for all.")
    return 0


def _say_table(runs: list[RunView], *, is_long: bool) -> None:
    names = Names(is_long=is_long)
    headers = ["RUN", "STARTED", "STATE", "TOOK", "JOB", "AIRFLOW RUN"]
    say_table(
        [*headers, "RUN ID"] if is_long else headers,
        [
            (
                run.id,
                names.time(run.started_us) or "",
                run.state.name,
                names.took(run),
                run_name(run),
                _airflow_run(getattr(run.key, "run_id", ""), is_long=is_long),
                *((run.run_uuid or "",) if is_long else ()),
            )
            for run in runs
        ],
    )


def _airflow_run(run_id: str, *, is_long: bool) -> str:
    return run_id if is_long else short_run_id(run_id)


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
        names = names_of(store, options)
    finally:
        store.close()
    if options.json:
        say_json(answer)
    else:
        _say_run(answer, names, with_facets=options.facets)
    return 0


def _say_run(answer: dict[str, Any], names: Names, *, with_facets: bool) -> None:
    job = answer["job"]
    say(f"Run {answer['id']}: {job['name']} ({job['namespace']})")
    for name, value in (*_times(answer, names), *manifest_lines(answer, is_long=names.is_long)):
        if value is not None:
            say(f"  {name:<12} {value}")
    for title, lines in (
        ("read", _input_lines(answer["inputs"], names)),
        ("wrote", [_version_line(version, names) for version in answer["outputs"]]),
        ("checked", [_check_line(check, names) for check in answer["checks"]]),
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
            [_child_line(child) for child in answer["children"]],
        ),
    ):
        if lines:
            say(f"  {title}")
            for line in lines:
                say(f"    {line}")
    if with_facets:
        say_json(answer["facets"])


def _child_line(child: dict[str, Any]) -> str:
    kind, *key = child["key"]
    mapped, attempt = "", ""
    if kind == "task":
        number, try_number = key[-2:]
        mapped = f"[{number}]" if number >= 0 else ""
        attempt = f" try {try_number}" if try_number != 1 else ""
    return f"run {child['id']} {child['job']['name']}{mapped}{attempt} {child['state']}"


def _times(answer: dict[str, Any], names: Names) -> list[tuple[str, str | None]]:
    """Return which run it is, when it ran and how it ended."""

    def time(name: str) -> str | None:
        at: str | None = answer[name]
        return at if names.is_long else short_time(at)

    state = answer["state"]
    if answer["override"] is not None:
        override = answer["override"]
        at = override["at"] if names.is_long else short_time(override["at"])
        state += f", set by {override['who'] or 'somebody'} at {at}"
    took = answer["duration_seconds"]
    if took is not None:
        took = f"{took:f}s" if names.is_long else duration_text(took)
    run_id = answer["airflow_run_id"]
    return [
        ("state", state),
        ("Airflow run", run_id and _airflow_run(run_id, is_long=names.is_long)),
        ("runId", answer["run_uuid"]),
        ("scheduled", time("scheduled_at")),
        ("queued", time("queued_at")),
        ("started", time("started_at")),
        ("ended", time("ended_at")),
        ("took", took),
        ("host", None if answer["manifest"] else answer["hostname"]),
        ("synthesised", ", ".join(answer["synthesised"]) or None),
        ("error", answer["error"]),
    ]


def _input_lines(inputs: list[dict[str, Any]], names: Names) -> list[str]:
    lines = []
    for one in inputs:
        # A table is looked at after it was read, which does not say that it changed.
        unverified = "" if one["verified"] else ", unverified"
        lines += [
            f"{_version_line(v, names)}  ({one['rule']}{unverified})" for v in one["versions"]
        ]
    return lines


def _check_line(check: dict[str, Any], names: Names) -> str:
    dataset = names.dataset(DatasetRef(**check["dataset"]))
    what = check.get("name") or check["assertion"]
    column = f" of {check['column']}" if check.get("column") else ""
    params = check.get("params") or {}
    if check["success"]:
        return f"{dataset}  {what}{column}: passed"
    severity = f"({check.get('severity', 'error')})"
    if params.get("error"):  # that says nothing of the data
        outcome, found = f"could not be made {severity}", f": {params['error']}"
    else:
        rows = params.get("failedRows")
        found = f", {many(rows, 'row')}" if isinstance(rows, int) and rows else ""
        if rows is None and (actual := check.get("actual")) is not None:
            found = f", found {actual}"
            found += f", wanted {check['expected']}" if check.get("expected") else ""
        outcome = f"failed {severity}"
    return f"{dataset}  {what}{column}: {outcome}{found}"


def _version_line(version: dict[str, Any], names: Names) -> str:
    dataset = names.dataset(DatasetRef(**version["dataset"]))
    partition = f" [{version['partition']}]" if version["partition"] is not None else ""
    reason = version.get("reason")
    content = names.content(version["content_id"])
    content = f"no content id: {reason}" if reason and not version["content_id"] else content
    return f"v{version['id']} {dataset}{partition}  {content}  {version['status'].lower()}"
