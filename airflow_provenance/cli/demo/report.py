"""What the demo ends with: a page on what ran, its data and checks, one answer, and a picture.

Everything in it is asked of the store, as a user would ask; only the question that it leads to is
the story's own.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from airflow_provenance.cli.output import one_line, say, shortened
from airflow_provenance.cli.why import finding_lines
from airflow_provenance.domain.run import RunState
from airflow_provenance.errors import ProvenanceError
from airflow_provenance.lineage.overview import JobLine, Overview, overview
from airflow_provenance.lineage.picture import draw
from airflow_provenance.lineage.trace import trace_nodes
from airflow_provenance.lineage.why import Finding, Why, why_nodes

if TYPE_CHECKING:
    from airflow_provenance.store.base import Store, VersionView

_WIDTH, _BAR = 100, 20
_MOST_JOBS, _MOST_CHECKS, _MOST_SOURCES = 14, 5, 6
# The story's question is about this column; see `_question`.
_COLUMN = "dest"


def report(store: Store, home: Path, since_us: int) -> bool:
    """Print the report; return whether what was read is what the sources still hold."""
    is_terminal = sys.stdout.isatty()
    columns = shutil.get_terminal_size((_WIDTH, 24)).columns if is_terminal else _WIDTH
    console = Console(file=sys.stdout, width=min(columns, _WIDTH), highlight=False)
    seen = overview(store, since_us)
    if not seen.written:
        raise ProvenanceError(f"the DAGs wrote nothing: {home}/logs/demo-dags.log says why")
    answer = why_nodes(store, seen.ends)
    _say_runs(console, seen)
    is_unchanged = _say_data(console, seen, answer)
    _say_checks(console, answer)
    finding = _asked_about(answer)
    if finding is not None:
        _title(console, _question(finding))
        for line in finding_lines(answer, finding, 2, short=True):
            say(f"  {line}")
    picture = _draw(store, home, seen, finding)
    _title(console, "The picture")
    say(f"  {picture}")
    _say_commands(console, home, seen, finding, answer)
    return is_unchanged


def _title(console: Console, text: str) -> None:
    say()
    console.print(Text(one_line(text), style="bold"))


def _say_runs(console: Console, seen: Overview) -> None:
    told = []
    for dag_id, states in seen.dag_runs.items():
        ended = ", ".join(f"{count} {state.name.lower()}" for state, count in states.items())
        told.append(f"{dag_id} {ended}")
    _title(console, f"What ran, and where time went  (DAG runs: {'; '.join(told)})")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("  TASK", no_wrap=True, max_width=40)
    table.add_column("ENDED", no_wrap=True, max_width=22)
    for name in ("RETRIES", "P50", "MAX"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ALL", no_wrap=True)
    longest = max((line.total for line in seen.jobs), default=0.0) or 1.0
    for line in seen.jobs[:_MOST_JOBS]:
        bar = "#" * max(round(line.total / longest * _BAR), 1) if line.seconds else ""
        table.add_row(
            Text(f"  {one_line(line.job[1])}"),
            _ended(line),
            str(line.retries or ""),
            f"{line.median:.2f}s" if line.median is not None else "",
            f"{max(line.seconds):.2f}s" if line.seconds else "",
            Text(f"{bar} {line.total:.1f}s" if bar else "", style="cyan"),
        )
    with console.capture() as drawn:
        console.print(table)
    for text in drawn.get().splitlines():
        sys.stdout.write(f"{text.rstrip()}\n")
    if len(seen.jobs) > _MOST_JOBS:
        say(f"  and {len(seen.jobs) - _MOST_JOBS} more tasks: 'airflow-provenance runs' lists all")


def _ended(line: JobLine) -> str:
    names = {RunState.COMPLETE: "ok"}
    return ", ".join(
        f"{count} {names.get(state, state.name.lower().replace('_', ' '))}"
        for state, count in sorted(line.states.items())
    )


def _say_data(console: Console, seen: Overview, answer: Why) -> bool:
    names = {one.dataset for one in seen.written}
    rows = sum(answer.rows.get(one.id, 0) for one in seen.written)
    _title(
        console,
        f"Data: {len(seen.written)} versions of {len(names)} datasets written, {rows:,} rows; "
        f"{len(answer.sources)} sources read",
    )
    is_unchanged = True
    for number in answer.sources[:_MOST_SOURCES]:
        version = answer.graph.versions[number]
        count = f"{answer.rows[number]:>7,} rows" if number in answer.rows else " " * 12
        same = _is_same(version)
        is_unchanged = is_unchanged and same is not False
        said = {True: "is what was read", False: "is NOT what was read", None: ""}[same]
        content = (version.content_id or "no content id")[:19]
        say(f"  v{number:<4} {shortened(version.dataset.name):<28} {count}  {content}  {said}")
    return is_unchanged


def _is_same(version: VersionView) -> bool | None:
    """Compare a file's recorded hash with the file's, as ``sha256sum`` gives it."""
    path = Path(version.dataset.name)
    if version.dataset.namespace != "file" or version.content_id is None or not path.is_file():
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return version.content_id == f"sha256:{digest}"


def _say_checks(console: Console, answer: Why) -> None:
    _title(console, f"Checks: {answer.checked} made, {answer.passed} passed")
    for finding in answer.findings[:_MOST_CHECKS]:
        check, failed = finding.outcome, finding.failed_rows
        rows = "" if failed is None else f"{failed:,} rows"
        by = finding.job[1].rpartition(".")[2]
        say(f"  {check.severity:<5}  {check.title:<44} {rows:>12}  found by {by}")
    if len(answer.findings) > _MOST_CHECKS:
        say(f"  and {len(answer.findings) - _MOST_CHECKS} more")
    for run in answer.bad_tries[:_MOST_CHECKS]:
        say(f"  a try ended as {run.state.name}: run {run.id} {run.job[1]}")


def _asked_about(answer: Why) -> Finding | None:
    """Return the finding the story asks about, else the worst; one with a looked-up value first."""
    about = [one for one in answer.findings if one.outcome.column == _COLUMN]
    about.sort(key=lambda one: not one.outcome.compared_with)
    return next(iter((*about, *answer.findings)), None)


def _question(finding: Finding) -> str:
    rows = finding.failed_rows
    if finding.outcome.column == _COLUMN and rows:
        return f"Why do {rows:,} flights have no destination airport?"
    return f"Why did {finding.outcome.title} fail?"


def _draw(store: Store, home: Path, seen: Overview, finding: Finding | None) -> Path:
    """Draw what the failure touched, with all that this was made from."""
    roots, way, notes = seen.ends, [], {}
    if finding is not None:
        way = finding.candidates[0].path if finding.candidates else []
        on_way = [one for one in finding.failures if one.version in way]
        failures = on_way or finding.failures[:1]
        notes = {
            one.version: f"{one.outcome.failed_rows or 'some'} rows fail {one.outcome.name}"
            for one in finding.failures
        }
        touched = trace_nodes(store, [one.version for one in failures], "downstream")
        roots = [one for one in seen.ends if one in touched.versions] or seen.ends
    path = home / "lineage.svg"
    title = "Where the data came from" if finding is None else _question(finding)
    answer = trace_nodes(store, roots, "upstream")
    path.write_text(draw(answer, title, notes=notes, way=way), encoding="utf-8")
    return path


def _say_commands(
    console: Console, home: Path, seen: Overview, finding: Finding | None, answer: Why
) -> None:
    _title(console, "What to try next (exports once per shell)")
    say(f"  export AIRFLOW_HOME={_quoted(home)}")
    scripts = Path(sys.executable).parent
    if Path(shutil.which("airflow-provenance") or "").parent != scripts:
        say(f'  export PATH={_quoted(scripts)}:"$PATH"')
    last = next((one for one in seen.written if one.id == seen.ends[-1]), seen.written[-1])
    say("  airflow-provenance runs")
    if finding is not None:
        failed_by = finding.failures[-1].outcome.run_id
        say(f"  airflow-provenance run {failed_by}")
        say(f"  airflow-provenance why run:{failed_by}")
    say(
        f"  airflow-provenance trace upstream run:{last.run_id} --svg {_quoted(home / 'trace.svg')}"
    )
    source = next(iter(answer.sources), None)
    if finding is not None and finding.candidates:
        source = next(iter(finding.candidates[0].versions), source)
    if source is not None:
        name = answer.graph.versions[source].dataset
        subject = name.name if name.namespace == "file" else f"dataset:{'/'.join(name)}"
        say(f"  airflow-provenance trace downstream {_quoted(subject)}")
    same = [run.id for run in seen.runs if run.id != last.run_id and run.job == _job(seen, last)]
    if same:
        say(f"  airflow-provenance compare {same[-1]} {last.run_id}")
    say("  airflow-provenance events --limit 5")
    say("  airflow-provenance doctor")


def _job(seen: Overview, version: VersionView) -> tuple[str, str] | None:
    return next((run.job for run in seen.runs if run.id == version.run_id), None)


def _quoted(text: object) -> str:
    value = str(text)
    return f"'{value}'" if " " in value else value
