"""``compare``: what differed between two runs."""

from __future__ import annotations

import json
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
from airflow_provenance.lineage.answers import run_json
from airflow_provenance.lineage.compare import Comparison, DataDifference, Difference, compare
from airflow_provenance.lineage.short import short_content, short_paths
from airflow_provenance.lineage.subject import find_run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from airflow_provenance.lineage.short import Names

_HELP = """RUN is a runId, a number from 'runs', or an Airflow run_id. Compared are the manifests
(code, environment, parameters; not host, process or try), what was installed, the content of the
data and the state. How long each took is shown, and is no difference."""
_MAX_WIDTH = 60


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "compare", help="what differed between two runs", description=_HELP
    )
    parser.add_argument("left", metavar="RUN")
    parser.add_argument("right", metavar="RUN")
    add_long(parser)
    add_common(parser)
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    try:
        answer = compare(store, find_run(store, options.left), find_run(store, options.right))
        names = names_of(store, options)
    finally:
        store.close()
    if options.json:
        say_json(comparison_json(answer))
    else:
        _say(answer, names)
    return 0


def comparison_json(answer: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON."""
    left, right = run_json(answer.left), run_json(answer.right)
    return {
        "differs": answer.differs,
        "left": left,
        "right": right,
        "manifest_hashes": {"left": answer.hashes[0], "right": answer.hashes[1]},
        "manifest": [_difference_json(one) for one in answer.manifest],
        "dependencies": [_difference_json(one) for one in answer.dependencies],
        "inputs": [_data_json(one) for one in answer.inputs],
        "outputs": [_data_json(one) for one in answer.outputs],
        "state": None
        if left["state"] == right["state"]
        else {"left": left["state"], "right": right["state"]},
        "duration_seconds": {
            "left": left["duration_seconds"],
            "right": right["duration_seconds"],
        },
        "remarks": answer.remarks,
    }


def _difference_json(one: Difference) -> dict[str, Any]:
    return {"path": one.path, "left": one.left, "right": one.right}


def _data_json(one: DataDifference) -> dict[str, Any]:
    return {
        "dataset": {"namespace": one.dataset.namespace, "name": one.dataset.name},
        "partition": one.partition,
        "left": one.left,
        "right": one.right,
    }


def _say(answer: Comparison, names: Names) -> None:
    for side, run in (("left", answer.left), ("right", answer.right)):
        told = f"{side:<6} run {run.id} {run_name(run)}  {run.state.name}  {names.took(run)}"
        say(told.rstrip())
    if not answer.differs:
        say("Nothing that could be compared differed." if answer.remarks else "Nothing differed.")
    _say_section("manifest", (_difference_line(one, names) for one in answer.manifest))
    _say_section("installed", (_difference_line(one, names) for one in answer.dependencies))
    _say_section("read", (_data_line(one, names) for one in answer.inputs))
    _say_section("wrote", (_data_line(one, names) for one in answer.outputs))
    if answer.left.state != answer.right.state:
        say(f"  state: {answer.left.state.name} -> {answer.right.state.name}")
    _say_section("not known", answer.remarks)


def _say_section(title: str, lines: Iterable[str]) -> None:
    for number, line in enumerate(lines):
        if not number:
            say(f"  {title}")
        say(f"    {line}")


def _difference_line(one: Difference, names: Names) -> str:
    left, right = (_value(side, is_long=names.is_long) for side in (one.left, one.right))
    if left == right:  # what differs is in the part that was cut
        left, right = (_value(side, is_long=True) for side in (one.left, one.right))
    return f"{one.path}: {left} -> {right}"


def _data_line(one: DataDifference, names: Names) -> str:
    partition = f" [{one.partition}]" if one.partition is not None else ""
    versions = f"{_versions(one.left, names)} -> {_versions(one.right, names)}"
    return f"{names.dataset(one.dataset)}{partition}: {versions}"


def _value(value: object, *, is_long: bool) -> str:
    """Return a value as JSON on a line."""
    if value is None:
        return "(absent)"
    if isinstance(value, str) and not is_long:
        value = short_content(short_paths(value))
    text = json.dumps(value, ensure_ascii=False)
    return text if is_long or len(text) <= _MAX_WIDTH else f"{text[:_MAX_WIDTH]}..."


def _versions(contents: list[str] | None, names: Names) -> str:
    if contents is None:
        return "(not at all)"
    return ", ".join(map(names.content, contents)) or "(no content id)"
