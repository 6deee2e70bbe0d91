"""``why``: why data is as it is, in words and as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance import wiring
from airflow_provenance.cli.output import (
    add_common,
    add_long,
    names_of,
    run_name,
    say,
    say_json,
)
from airflow_provenance.domain.identity import TaskRunKey
from airflow_provenance.lineage.answers import why_json
from airflow_provenance.lineage.short import many
from airflow_provenance.lineage.why import why

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from airflow_provenance.lineage.causes import Candidate
    from airflow_provenance.lineage.short import Names
    from airflow_provenance.lineage.why import Finding, Why
    from airflow_provenance.store.base import RunView

_HELP = """SUBJECT is dataset:NAMESPACE/NAME, dataset:NAMESPACE/NAME@VERSION or run:ID, or a name as
answers print it, as for 'trace'. Told are the checks that failed, of the subject first, then of
what it was made from, and for each the datasets that may be the cause, ranked, each with the
evidence that speaks for it; then tries that failed, versions nobody should trust, sources that
changed in between, and runs of which nobody said what they read."""
_MOST_CANDIDATES, _MOST_NAMED, _MOST_FOUND = 3, 5, 3


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "why", help="why data is as it is: what failed, and where to look", description=_HELP
    )
    parser.add_argument("subjects", metavar="SUBJECT", nargs="+")
    add_long(parser)
    add_common(parser)
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    try:
        answer = why(store, options.subjects)
        names = names_of(store, options)
    finally:
        store.close()
    if options.json:
        say_json(why_json(answer))
    else:
        for line in why_lines(answer, names):
            say(line)
    return 0


def why_lines(answer: Why, names: Names) -> Iterator[str]:
    """Return the answer as lines."""
    for run, error in answer.failed_runs:
        why_so = error or "no error is known"
        yield f"Run {run.id} {run_name(run)} ended as {run.state.name}: {why_so}"
    checks = "1 check" if answer.checked == 1 else f"{answer.checked} checks"
    yield f"{checks} on the way to it, {answer.passed} passed."
    own = [one for one in answer.findings if one.is_own]
    behind = [one for one in answer.findings if not one.is_own]
    for title, findings in (("Of what you asked about", own), ("Of what it was made from", behind)):
        if findings:
            yield ""
            yield f"{title}:"
        for finding in findings:
            yield ""
            yield from finding_lines(answer, finding, names)
    if answer.findings:
        yield ""
    else:
        yield "No check failed." if answer.checked else "Nothing was checked: a check would tell."
    told = {run.id for run, _ in answer.failed_runs}
    for run in (one for one in answer.bad_tries if one.id not in told):
        yield f"A try went wrong: run {run.id} {run_name(run)}  {run.state.name}"
    versions = answer.graph.versions
    for number in answer.bad_versions:
        yield f"Not to be trusted, its writer failed: v{number} {names.version(versions[number])}"
    for ref, numbers in sorted(answer.changed.items()):
        read = ", ".join(f"v{one}" for one in numbers)
        yield f"Changed in between: {names.dataset(ref)} was read as {read}"
    for number in answer.sources:
        yield f"From outside: v{number} {names.version(versions[number])}"
    yield from _read_nothing_lines(answer, names)


def _read_nothing_lines(answer: Why, names: Names) -> Iterator[str]:
    """Say where the way ends since nobody said what was read."""
    written: dict[int, list[str]] = {number: [] for number in answer.read_nothing}
    for version in answer.graph.versions.values():
        if version.run_id in written:
            written[version.run_id].append(f"v{version.id} {names.dataset(version.dataset)}")
    for number, those in list(written.items())[:_MOST_NAMED]:
        run = answer.graph.runs[number]
        when = names.time(run.started_us or run.ended_us)
        at = f", {when}" if when else ""
        who = f"run {number} ({_job_in_words(run)}{at})"
        what = f"{', '.join(those[:3])} was written by {who}, which" if those else f"The {who}"
        yield (
            f"{what} read nothing that is known: declare inlets, or call observe.input in the task"
        )
    if len(written) > _MOST_NAMED:
        yield f"So are {len(written) - _MOST_NAMED} more runs; --json has them all"


def _job_in_words(run: RunView) -> str:
    if isinstance(run.key, TaskRunKey):
        return f"task {run.key.task_id} of DAG {run.key.dag_id}"
    return run.job[1]


def finding_lines(
    answer: Why,
    finding: Finding,
    names: Names,
    most: int = _MOST_CANDIDATES,
    where_more: str = "--json has them all",
) -> Iterator[str]:
    """Return one failed check and where to look for its cause.

    Args:
        answer: that it is of.
        finding: which.
        names: how datasets are called.
        most: candidates that are shown.
        where_more: what the line on the others ends with.
    """
    check, failures = finding.outcome, finding.failures
    if check.not_run is None:
        yield f"{check.title} failed ({check.severity}): {how_many(finding)}"
    else:
        yield f"{check.title} could not be made ({check.severity}): {check.not_run}"
    where = sorted({names.dataset(one.outcome.dataset) for one in failures})
    runs = len({one.outcome.run_id for one in failures})
    most_named = 3 if len(where) <= 3 else 2
    more = f" and {len(where) - most_named} more" if len(where) > most_named else ""
    yield f"  in      {', '.join(where[:most_named])}{more}"
    yield f"  found   by {finding.job[1]}, {runs} run{'s' if runs > 1 else ''}"
    if check.expected:
        yield f"  wanted  {names.text(check.expected)}"
    for number, candidate in enumerate(finding.candidates[:most], start=1):
        yield from _candidate_lines(answer, number, candidate, names)
    if len(finding.candidates) > most:
        yield f"  {len(finding.candidates) - most} less likely; {where_more}"
    if not finding.candidates:
        yield "  Where to look is not known: nothing is known to have been read for it"


def _candidate_lines(answer: Why, number: int, candidate: Candidate, names: Names) -> Iterator[str]:
    rules = ", ".join(one.rule for one in candidate.evidence)
    versions = ", ".join(f"v{one}" for one in candidate.versions[:3])
    count = f", {many(candidate.rows, 'row')}" if candidate.rows is not None else ""
    known = f"  ({versions}{count})" if versions else ""
    score = many(candidate.score, "point") + (f": {rules}" if number > 1 else "")
    yield f"  {number}. look at {names.dataset(candidate.dataset)}{known}  {score}"
    if number == 1:
        for told in candidate.evidence:
            yield f"       {told.rule:<10} {told.text}"
        for one in candidate.origins[:3]:
            origin = answer.graph.versions.get(one)
            of = "" if origin is None else f" {names.dataset(origin.dataset)}"
            yield f"       made from  v{one}{of}"
        yield from _path_lines(answer, candidate.path, names)


def _path_lines(answer: Why, path: list[int], names: Names) -> Iterator[str]:
    for place, node in enumerate(path):
        arrow = "from " if not place else "  -> "
        if (run := answer.graph.runs.get(node)) is not None:
            yield f"       {arrow}run {node} {run_name(run)}  {run.state.name}"
        else:
            count = f"  {many(answer.rows[node], 'row')}" if node in answer.rows else ""
            name = names.dataset(answer.graph.versions[node].dataset)
            yield f"       {arrow}v{node} {name}{count}"


def how_many(finding: Finding) -> str:
    """Return how many rows failed a check, of how many."""
    failed, rows = finding.failed_rows, finding.rows
    if failed is None:
        return _found_instead(finding)
    return many(failed, "row") if rows is None else f"{failed:,} of {many(rows, 'row')}"


def _found_instead(finding: Finding) -> str:
    """Return what a check of the whole found, and what was wanted."""
    found = list(dict.fromkeys(one.outcome.actual for one in finding.failures))
    shown = [one for one in found if one is not None][:_MOST_FOUND]
    if not shown:
        return "how many rows is not known"
    more = " and others" if len(found) > len(shown) else ""
    wanted = f"; expected: {finding.outcome.expected}" if finding.outcome.expected else ""
    return f"found {', '.join(shown)}{more}{wanted}"
