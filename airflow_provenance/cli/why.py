"""``why``: why data is as it is, in words and as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance import wiring
from airflow_provenance.cli.output import (
    add_common,
    run_name,
    say,
    say_json,
    shortened,
    version_name,
)
from airflow_provenance.lineage.answers import why_json
from airflow_provenance.lineage.why import why

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.lineage.causes import Candidate
    from airflow_provenance.lineage.trace import Trace
    from airflow_provenance.lineage.why import Finding, Why

_HELP = """SUBJECT is dataset:NAMESPACE/NAME, dataset:NAMESPACE/NAME@VERSION or run:ID, as for
'trace'. Told are the checks that failed on the way to it, and for each the datasets that may be
the cause, ranked, each with the evidence that speaks for it; then tries that failed, versions
nobody should trust, and sources that changed in between."""
_MOST_CANDIDATES = 3


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "why", help="why data is as it is: what failed, and where to look", description=_HELP
    )
    parser.add_argument("subjects", metavar="SUBJECT", nargs="+")
    add_common(parser)
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    try:
        answer = why(store, options.subjects)
    finally:
        store.close()
    if options.json:
        say_json(why_json(answer))
    else:
        for line in why_lines(answer):
            say(line)
    return 0


def why_lines(answer: Why) -> Iterator[str]:
    """Return the answer as lines."""
    yield f"{answer.checked} checks on the way to it, {answer.passed} passed."
    for finding in answer.findings:
        yield ""
        yield from finding_lines(answer, finding)
    if not answer.findings:
        yield "No check failed." if answer.checked else "Nothing was checked: a check would tell."
    for run in answer.bad_tries:
        yield f"A try went wrong: run {run.id} {run_name(run)}  {run.state.name}"
    for number in answer.bad_versions:
        version = answer.graph.versions[number]
        yield f"Not to be trusted, its writer failed: v{number} {version_name(version)}"
    for ref, versions in sorted(answer.changed.items()):
        numbers = ", ".join(f"v{one}" for one in versions)
        yield f"Changed in between: {'/'.join(ref)} was read as {numbers}"
    for number in answer.sources:
        yield f"From outside: v{number} {version_name(answer.graph.versions[number])}"


def finding_lines(
    answer: Why, finding: Finding, most: int = _MOST_CANDIDATES, *, short: bool = False
) -> Iterator[str]:
    """Return one failed check and where to look for its cause.

    Args:
        answer: that it is of.
        finding: which.
        most: candidates that are shown.
        short: name datasets by the ends of their names.
    """
    check, failures = finding.outcome, finding.failures
    if check.not_run is None:
        yield f"{check.title} failed ({check.severity}): {_how_many(finding)}"
    else:
        yield f"{check.title} could not be made ({check.severity}): {check.not_run}"
    where = sorted({shown_name(one.outcome.dataset, short=short) for one in failures})
    runs = len({one.outcome.run_id for one in failures})
    most_named = 3 if len(where) <= 3 else 2
    more = f" and {len(where) - most_named} more" if len(where) > most_named else ""
    yield f"  in      {', '.join(where[:most_named])}{more}"
    yield f"  found   by {finding.job[1]}, {runs} run{'s' if runs > 1 else ''}"
    if check.expected:
        yield f"  wanted  {shortened(check.expected) if short else check.expected}"
    for number, candidate in enumerate(finding.candidates[:most], start=1):
        yield from _candidate_lines(answer.graph, number, candidate, answer.rows, short=short)
    if len(finding.candidates) > most:
        yield f"  {len(finding.candidates) - most} less likely; --json has them all"


def _candidate_lines(
    graph: Trace, number: int, candidate: Candidate, rows: dict[int, int], *, short: bool
) -> Iterator[str]:
    rules = ", ".join(one.rule for one in candidate.evidence)
    versions = ", ".join(f"v{one}" for one in candidate.versions[:3])
    count = f", {candidate.rows:,} rows" if candidate.rows is not None else ""
    name = shown_name(candidate.dataset, short=short)
    score = f"{candidate.score} points" + (f": {rules}" if number > 1 else "")
    yield f"  {number}. look at {name}  ({versions}{count})  {score}"
    if number == 1:
        for told in candidate.evidence:
            yield f"       {told.rule:<10} {told.text}"
        for one in candidate.origins[:3]:
            origin = graph.versions.get(one)
            of = "" if origin is None else f" {shown_name(origin.dataset, short=short)}"
            yield f"       made from  v{one}{of}"
        yield from _path_lines(graph, candidate.path, rows, short=short)


def _path_lines(
    graph: Trace, path: list[int], rows: dict[int, int], *, short: bool
) -> Iterator[str]:
    for place, node in enumerate(path):
        arrow = "from " if not place else "  -> "
        if (run := graph.runs.get(node)) is not None:
            yield f"       {arrow}run {node} {run_name(run)}  {run.state.name}"
        else:
            count = f"  {rows[node]:,} rows" if node in rows else ""
            name = shown_name(graph.versions[node].dataset, short=short)
            yield f"       {arrow}v{node} {name}{count}"


def _how_many(finding: Finding) -> str:
    failed, rows = finding.failed_rows, finding.rows
    if failed is None:
        return "how many rows is not known"
    return f"{failed:,} rows" if rows is None else f"{failed:,} of {rows:,} rows"


def shown_name(ref: DatasetRef, *, short: bool) -> str:
    """Return a dataset's name, or the end of it."""
    return shortened(ref.name) if short else "/".join(ref)
