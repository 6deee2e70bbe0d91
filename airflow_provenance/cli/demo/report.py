"""What the demo ends with: a page on what ran, its data and checks, one answer, and a picture.

Everything in it is asked of the store, as a user would ask; only the question that it leads to is
the story's own.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from tabulate import tabulate

from airflow_provenance.cli.demo.promises import how_they_stand, notice_lines, notices_file
from airflow_provenance.cli.output import one_line, say
from airflow_provenance.cli.why import finding_lines, how_many
from airflow_provenance.domain.linking import LinkRule
from airflow_provenance.domain.run import RunState
from airflow_provenance.errors import ProvenanceError
from airflow_provenance.lineage.checks import facet_of
from airflow_provenance.lineage.fold import fold
from airflow_provenance.lineage.outcomes import failed_checks
from airflow_provenance.lineage.overview import JobLine, Overview, overview
from airflow_provenance.lineage.picture import draw, notes_of
from airflow_provenance.lineage.short import Names, many
from airflow_provenance.lineage.trace import Trace, trace_nodes
from airflow_provenance.lineage.why import Finding, Why, why_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.lineage.causes import Failure
    from airflow_provenance.store.base import RunView, Store, VersionView

_WIDTH, _BAR, _MOST_LETTERS = 100, 20, 36
_MOST_JOBS, _MOST_CHECKS, _MOST_SOURCES = 5, 5, 6
_HOW_TRIES_ENDED = {RunState.UP_FOR_RETRY: "retried", RunState.FAIL: "failed"}
# The story's question is about this column; see `_question`.
_COLUMN = "dest"


def report(store: Store, home: Path, since_us: int, notices: Sequence[dict[str, Any]]) -> bool:
    """Print the report; return whether what was read is what the sources still hold."""
    seen = overview(store, since_us)
    if not seen.written:
        raise ProvenanceError(f"the DAGs wrote nothing: {home}/logs/demo-dags.log says why")
    answer = why_nodes(store, seen.ends, since_us)  # not what an earlier demo here found
    names = Names(store.dataset_names())
    say(_in_a_sentence(seen, answer))
    _say_runs(seen)
    is_unchanged = _say_data(seen, answer, names)
    _say_checks(store, answer)
    finding = _asked_about(answer)
    if finding is not None:
        _title(_question(finding))
        asked = f"'airflow-provenance why run:{finding.failures[-1].outcome.run_id}' has more"
        for line in finding_lines(answer, finding, names, 1, asked):
            say(f"  {line}")
    _title(how_they_stand(store, since_us))
    for line in (line for notice in notices for line in notice_lines(notice)):
        say(f"  {line}")
    if notices:
        say(f"  told in {notices_file(home)}")
    picture = _draw(store, home, seen, finding, names)
    _say_commands(home, seen, finding, answer, picture, notices)
    return is_unchanged


def _title(text: str) -> None:
    say()
    is_bold = sys.stdout.isatty()
    sys.stdout.write(f"\x1b[1m{one_line(text)}\x1b[0m\n" if is_bold else f"{one_line(text)}\n")


def _in_a_sentence(seen: Overview, answer: Why) -> str:
    states = sum(seen.dag_runs.values(), Counter[RunState]())
    bad = states.total() - states[RunState.COMPLETE]
    ended = f"{bad} of {states.total()} DAG runs did not end well" if bad else ""
    ended = ended or f"All {states.total()} DAG runs ended well"
    retries = sum(line.retries for line in seen.jobs)
    after = f", after {many(retries, 'retry')}" if retries else ""
    failed = answer.checked - answer.passed
    errors = sum(len(one.failures) for one in answer.findings if one.outcome.severity == "error")
    fault = (
        f"{failed} of {answer.checked} checks found fault with data, {errors or 'none'} an error"
        if failed
        else f"all {answer.checked} checks of the data passed"
    )
    return f"{ended}{after}; {fault}."


def _say_runs(seen: Overview) -> None:
    told = []
    for dag_id, states in seen.dag_runs.items():
        ended = ", ".join(f"{count} {state.name.lower()}" for state, count in states.items())
        told.append(f"{dag_id} {ended}")
    _title(f"What ran, and where time went  (DAG runs: {'; '.join(told)})")
    longest = max((line.total for line in seen.jobs), default=0.0) or 1.0
    jobs = sorted(seen.jobs, key=lambda line: -line.total)
    shown, rest = jobs[:_MOST_JOBS], jobs[_MOST_JOBS:]
    rows = []
    for line in shown:
        bar = "#" * max(round(line.total / longest * _BAR), 1) if line.seconds else ""
        rows.append(
            (
                _cut(one_line(line.job[1]), _MOST_LETTERS),
                _ended(line),
                f"{line.median:.2f}s" if line.median is not None else "",
                f"{max(line.seconds):.2f}s" if line.seconds else "",
                f"{line.total:.1f}s" if line.seconds else "",
                bar,
            )
        )
    headers = ("TASK", "ENDED", "P50", "MAX", "ALL", "")
    aligned = ("left", "left", "right", "right", "right", "left")
    table = tabulate(rows, headers, "plain", colalign=aligned, disable_numparse=True)
    for text in table.splitlines():
        sys.stdout.write(f"  {text.rstrip()}\n")
    if rest:
        took = sum(line.total for line in rest)
        listed = "'airflow-provenance runs --limit 0' lists all"
        say(f"  and {len(rest)} more tasks, {took:.1f}s: {listed}")


def _cut(name: str, most: int) -> str:
    """Shorten a name, never a number: its end tells it from others."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _ended(line: JobLine) -> str:
    names = {RunState.COMPLETE: "ok", RunState.UP_FOR_RETRY: "retried"}
    return ", ".join(
        f"{count} {names.get(state, state.name.lower().replace('_', ' '))}"
        for state, count in sorted(line.states.items())
    )


def _say_data(seen: Overview, answer: Why, names: Names) -> bool:
    written = {one.dataset for one in seen.written}
    rows = sum(answer.rows.get(one.id, 0) for one in seen.written)
    _title(
        f"Data: {len(seen.written)} versions of {len(written)} datasets written, {rows:,} rows; "
        f"{len(answer.sources)} sources read",
    )
    is_unchanged = True
    for number in answer.sources[:_MOST_SOURCES]:
        version = answer.graph.versions[number]
        count = f"{answer.rows[number]:>7,} rows" if number in answer.rows else " " * 12
        same = _is_same(version)
        is_unchanged = is_unchanged and same is not False
        said = {True: "is what was read", False: "is NOT what was read", None: ""}[same]
        name, content = names.dataset(version.dataset), names.content(version.content_id)
        say(f"  v{number:<4} {name:<28} {count}  {content}  {said}")
    return is_unchanged


def _is_same(version: VersionView) -> bool | None:
    """Compare a file's recorded hash with the file's, as ``sha256sum`` gives it."""
    path = Path(version.dataset.name)
    if version.dataset.namespace != "file" or version.content_id is None or not path.is_file():
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return version.content_id == f"sha256:{digest}"


def _say_checks(store: Store, answer: Why) -> None:
    _title(f"Checks: {answer.checked} made, {answer.passed} passed")
    for finding in sorted(answer.findings, key=lambda one: one.badness)[:_MOST_CHECKS]:
        check, failed = finding.outcome, finding.failed_rows
        rows = "" if failed is None else many(failed, "row")
        by = finding.job[1].rpartition(".")[2]
        title = _cut(one_line(check.title), _MOST_LETTERS)
        say(f"  {check.severity:<5}  {title:<{_MOST_LETTERS}} {rows:>12}  found by {by}")
    if len(answer.findings) > _MOST_CHECKS:
        say(f"  and {len(answer.findings) - _MOST_CHECKS} more")
    tries: dict[tuple[str, RunState], list[RunView]] = defaultdict(list)
    for run in answer.bad_tries:
        tries[run.job[1], run.state].append(run)
    for (job, state), runs in tries.items():
        how = _HOW_TRIES_ENDED.get(state, f"ended as {state.name}")
        those = f"{len(runs)} tries of {job} were" if len(runs) > 1 else f"A try of {job} was"
        error = facet_of(store.run_doc(runs[0].id).run_facets, "errorMessage").get("message")
        said = str(error or "why is not known").strip().splitlines()[0]
        say(f"  {those} {how}, the first as:")
        say(f"    {said[: _WIDTH - 4]}")


def _asked_about(answer: Why) -> Finding | None:
    """Return the finding the story asks about, else the worst; one that leads farther first."""
    about = [one for one in answer.findings if one.outcome.column == _COLUMN]
    about.sort(key=lambda one: -len(one.candidates[0].path) if one.candidates else 0)
    return next(iter((*about, *answer.findings)), None)


def _question(finding: Finding) -> str:
    rows = finding.failed_rows
    if finding.outcome.column == _COLUMN and rows:
        return f"Why do {rows:,} flights have no destination airport?"
    return f"Why did {finding.outcome.title} fail?"


def _draw(store: Store, home: Path, seen: Overview, finding: Finding | None, names: Names) -> Path:
    """Draw the newest data that fails the check, what it was made from, and what was made of it."""
    roots, way = seen.ends, []
    title, said = "Where the data came from", ""
    if finding is not None:
        way = finding.candidates[0].path if finding.candidates else []
        failure = next(
            (one for one in finding.failures if one.version in way), finding.failures[-1]
        )
        roots = _made_of_it_alone(store, seen, finding, failure.version) or [failure.version]
        title, said = _question(finding), _what_is_drawn(finding, failure, names)
    answer = _without_what_was_there(trace_nodes(store, roots, "upstream"))
    notes = notes_of(failed_checks(store, answer.versions))
    path = home / "lineage.svg"
    drawing = draw(fold(store, answer), title, said=said, notes=notes, way=way)
    path.write_text(drawing, encoding="utf-8")
    return path


def _what_is_drawn(finding: Finding, failure: Failure, names: Names) -> str:
    """Say which part of those that fail a check a drawing shows, and of how many."""
    check, rows = finding.outcome, failure.outcome.failed_rows
    where = names.dataset(failure.outcome.dataset)
    if rows is None or len(finding.failures) == 1:
        return f"Drawn: {where}, of which {how_many(finding)} fail {check.name}."
    return (
        f"Drawn: {rows:,} of the {finding.failed_rows:,} rows that fail {check.name}, in {where}."
    )


def _without_what_was_there(answer: Trace) -> Trace:
    """Leave out the earlier versions that data was added to, and what only these came from."""
    edges = [edge for edge in answer.edges if edge.rule != LinkRule.APPENDED]
    whole = msgspec.structs.replace(answer, edges=edges)
    beside, seen = whole.edges_beside(), dict.fromkeys(answer.roots)
    for node in (queue := [*seen]):  # grows while it is walked
        new = [edge.src for edge in beside.get(node, ()) if edge.src not in seen]
        seen |= dict.fromkeys(new)
        queue += dict.fromkeys(new)
    return msgspec.structs.replace(
        whole,
        runs={node: run for node, run in answer.runs.items() if node in seen},
        versions={node: one for node, one in answer.versions.items() if node in seen},
        edges=[edge for edge in edges if edge.dst in seen],
    )


def _made_of_it_alone(store: Store, seen: Overview, finding: Finding, version: int) -> list[int]:
    """Return the ends that a version led to, and no other one that fails the same check."""
    others = {one.version for one in finding.failures} - {version}
    touched = trace_nodes(store, [version], "downstream").versions
    return [
        end
        for end in seen.ends
        if end in touched and not others & trace_nodes(store, [end], "upstream").versions.keys()
    ]


def _say_commands(
    home: Path,
    seen: Overview,
    finding: Finding | None,
    answer: Why,
    picture: Path,
    notices: Sequence[dict[str, Any]],
) -> None:
    _title("What to look at next: the picture, and these commands (exports once per shell)")
    say(f"  {picture}")
    say(f"  export AIRFLOW_HOME={_quoted(home)}")
    scripts = Path(sys.executable).parent
    if Path(shutil.which("airflow-provenance") or "").parent != scripts:
        say(f'  export PATH={_quoted(scripts)}:"$PATH"')
    last = next((one for one in seen.written if one.id == seen.ends[-1]), seen.written[-1])
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
    if command := next((one["next_step"] for one in notices if one["next_step"]), None):
        say(f"  {command}")
    say("  airflow-provenance sla report")
    say("  airflow-provenance doctor")


def _job(seen: Overview, version: VersionView) -> tuple[str, str] | None:
    return next((run.job for run in seen.runs if run.id == version.run_id), None)


def _quoted(text: object) -> str:
    value = str(text)
    return f"'{value}'" if " " in value else value
