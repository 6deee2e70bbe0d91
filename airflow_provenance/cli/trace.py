"""``trace``: where data came from, or what it touches, as a tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provenance import wiring
from airflow_provenance.cli.output import (
    add_common,
    add_long,
    count,
    names_of,
    run_name,
    say,
    say_json,
    tell,
)
from airflow_provenance.domain.linking import LinkRule
from airflow_provenance.lineage.answers import trace_json
from airflow_provenance.lineage.fold import fold
from airflow_provenance.lineage.outcomes import failed_checks
from airflow_provenance.lineage.picture import draw, notes_of
from airflow_provenance.lineage.short import short_paths
from airflow_provenance.lineage.trace import Trace, trace

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from airflow_provenance.lineage.short import Names
    from airflow_provenance.store.base import Edge

_HELP = """SUBJECT is dataset:NAMESPACE/NAME, dataset:NAMESPACE/NAME@VERSION or run:ID, with a
content id, a runId or v<number> as VERSION, or a name as answers print it (2013-01/flights.csv,
v32). Without VERSION, upstream starts at the newest version and downstream at all of them."""


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "trace", help="where data came from, or what it touches", description=_HELP
    )
    parser.add_argument("direction", choices=["upstream", "downstream"])
    parser.add_argument("subject", metavar="SUBJECT")
    parser.add_argument(
        "--depth", type=count, help="how many steps; a run and a version are one each"
    )
    parser.add_argument(
        "--svg", type=Path, metavar="FILE", help="draw it into this file, beside the answer"
    )
    add_long(parser)
    add_common(parser)
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    try:
        answer = trace(store, options.subject, options.direction, options.depth)
        names = names_of(store, options)
        if options.svg is not None:
            title = f"{options.direction.capitalize()} of {short_paths(options.subject)}"
            notes = notes_of(failed_checks(store, answer.versions))
            options.svg.write_text(draw(fold(store, answer), title, notes=notes), encoding="utf-8")
            tell(f"Drawn into {options.svg}")
    finally:
        store.close()
    if options.json:
        say_json(trace_json(answer))
    else:
        for line in trace_lines(answer, names):
            say(line)
    return 0


def trace_lines(answer: Trace, names: Names) -> Iterator[str]:
    """Return a trace as the lines of a tree; what was shown before is not unfolded again."""
    beside = answer.edges_beside()
    shown: set[int] = set()
    # (node, how it was reached, indent); a list of its own, since a chain can be deeper than
    # Python's stack.
    stack = [(root, "", 0) for root in reversed(answer.roots)]
    while stack:
        node, reached, depth = stack.pop()
        again = node in shown and node in beside
        suffix = "  (unfolded above)" if again else ""
        yield f"{'  ' * depth}{_node_text(answer, node, names)}{reached}{suffix}"
        if again:
            continue
        shown.add(node)
        for end, rule in sorted(_ends(answer, beside.get(node, [])).items(), key=_last_first):
            name = "" if rule == LinkRule.WROTE else f"  <{rule.name.lower()}>"
            stack.append((end, name, depth + 1))


def _ends(answer: Trace, edges: list[Edge]) -> dict[int, LinkRule]:
    return {edge.src if answer.direction == "upstream" else edge.dst: edge.rule for edge in edges}


def _last_first(end: tuple[int, LinkRule]) -> tuple[bool, int]:
    """Order a stack: what a version was made from is shown before what it was put on."""
    node, rule = end
    return rule != LinkRule.APPENDED, -node


def _node_text(answer: Trace, node: int, names: Names) -> str:
    run = answer.runs.get(node)
    if run is not None:
        when = names.time(run.started_us) or "not started"
        took = names.took(run)
        return f"run {run.id} {run_name(run)}  {run.state.name}  {when}{took and '  ' + took}"
    version = answer.versions[node]
    verified = "" if version.verified in (None, True) else ", unverified"
    return f"v{version.id} {names.version(version)}  {version.status.name.lower()}{verified}"
