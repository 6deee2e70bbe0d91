"""``sla``: promises; whether they are well-formed, how they stand, how they stood at a moment."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance import settings, wiring
from airflow_provenance.cli import alerts, sla_openslo, sla_report, sla_status, sla_suggest, sla_why
from airflow_provenance.cli.output import (
    add_common,
    add_long,
    names_of,
    say,
    say_json,
    say_table,
    tell,
)
from airflow_provenance.cli.waiting import DRAIN, undrained
from airflow_provenance.collect.airflow_database import airflow_database_problem
from airflow_provenance.domain.clock import SystemClock, format_time, parse_time
from airflow_provenance.errors import EventError, PolicyError, ProvenanceError, SettingsError
from airflow_provenance.lineage.short import short_time
from airflow_provenance.sla.backtest import backtest
from airflow_provenance.sla.changes import next_due
from airflow_provenance.sla.durations import format_duration, microseconds, parse_duration
from airflow_provenance.sla.evaluate import LOOKBACK_US, evaluate
from airflow_provenance.sla.evaluation import Evaluation, State, evaluation_json
from airflow_provenance.sla.facts import ExpectedRun
from airflow_provenance.sla.files import Declared, read_files
from airflow_provenance.sla.ledger import recorded_with_ledger
from airflow_provenance.sla.lint import unknown_targets
from airflow_provenance.sla.policy import to_plain
from airflow_provenance.sla.recorded import RecordedProvenance
from airflow_provenance.sla.refusals import meant
from airflow_provenance.sla.standing import last_broken, newest
from airflow_provenance.sla.words import observed_text, period_text, promised_text

if TYPE_CHECKING:
    import argparse

    from airflow_provenance.store.base import Store
    from airflow_provenance.store.promises import PolicyRow

_AT_LINE = re.compile(r"(.+?):(\d+): (.*)", re.DOTALL)
_BAD = {State.BREACHED, State.EXPIRED}


def register(commands: Any) -> None:
    """Add the commands."""
    parser = commands.add_parser("sla", help="promises: check them, and how they stand")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    lint = actions.add_parser("lint", help="say what is wrong with promises, with file and line")
    status = actions.add_parser("status", help="how every promise stands now")
    judge = actions.add_parser("evaluate", help="how promises stood at a moment, period by period")
    judge.add_argument("--at", metavar="T", help="ISO 8601 with a zone; else now")
    judge.add_argument("--since", metavar="T", help="from when on; else eight days before")
    why = actions.add_parser("why", help="what broke a promise, and who is hit")
    why.add_argument("promise", metavar="POLICY", help="its id")
    why.add_argument("period", metavar="PERIOD", nargs="?", help="else the newest broken one")
    why.add_argument("files", metavar="FILE", nargs="*", help="YAML file of promises")
    why.add_argument("--at", metavar="T", help="ISO 8601 with a zone; else now")
    add_long(why)
    why.set_defaults(policy=None, expected=None)
    back = actions.add_parser("backtest", help="how promises changed state, as known at the time")
    back.add_argument("--since", metavar="T", required=True, help="ISO 8601 with a zone")
    back.add_argument("--until", metavar="T", help="else now")
    back.add_argument("--every", metavar="LENGTH", default="5m", help="between two looks; else 5m")
    add_long(status)
    add_long(judge)
    for one in (status, judge, back):
        one.add_argument("--policy", metavar="ID", action="append", help="only this promise")
        one.add_argument(
            "--expected",
            metavar="FILE",
            help='JSON of runs that are expected: {"DAG": ["2026-01-01T00:00:00Z", ...]}',
        )
    for one, function in (
        (lint, _lint),
        (status, _status),
        (judge, _evaluate),
        (why, _why),
        (back, _backtest),
    ):
        said = "YAML file of promises, instead of [provenance] sla_files and the DAGs'"
        one.add_argument("--file", action="append", dest="more_files", metavar="FILE", help=said)
        if one is not why:
            one.add_argument("files", nargs="*", metavar="FILE", help=said)
        one.add_argument(
            "--no-airflow",
            action="store_true",
            help="do not ask Airflow's database for the promises of DAGs",
        )
        add_common(one)
        one.set_defaults(function=function)
    sla_report.register(actions)
    sla_suggest.register(actions)
    sla_openslo.register(actions, _read)
    alerts.register(actions)


def _files(options: argparse.Namespace) -> list[str]:
    return [*options.files, *(options.more_files or ())]


def _read(options: argparse.Namespace, store: Store) -> tuple[list[Declared], list[str]]:
    """Return the promises, and what is wrong with those that are not among them."""
    if files := _files(options):
        found, problems = read_files(map(Path, files))
        return found, [str(one) for one in problems]
    with_airflow = settings.is_airflow_database_set() and not options.no_airflow
    if not (with_airflow or settings.sla_files()):
        wrong = None if options.no_airflow else airflow_database_problem()
        more = f"; those of DAGs cannot be read: {wrong}" if wrong else ""
        raise SettingsError(f"no promises: name a file, or set [provenance] sla_files{more}")
    # Airflow logs to standard output, where the answer must stand alone.
    with contextlib.redirect_stdout(sys.stderr):
        sources = wiring.open_sources(store, with_airflow=with_airflow)
        sources.refresh()
    return [one for _, one in sources.active], sources.problems


def _lint(options: argparse.Namespace) -> int:
    store = wiring.open_store(options.store)
    try:
        found, problems = _read(options, store)
        unknown = unknown_targets(store, found)
    finally:
        store.close()
    problems += [f"{where}: {reason}" for where, reason in unknown]
    problems.sort(key=_place)
    if options.json:
        say_json(
            {
                "promises": [{**to_plain(one.policy), "where": one.where} for one in found],
                "problems": [_problem_json(one) for one in problems],
            }
        )
    else:
        for one in (*problems, *map(str, sla_openslo.notes(_files(options)))):
            tell(one)
        if not problems:
            say(f"{len(found)} promises, nothing wrong.")
    return 1 if problems else 0


def _place(text: str) -> tuple[str, int]:
    found = _AT_LINE.fullmatch(text)
    return (text, 0) if found is None else (found[1], int(found[2]))


def _problem_json(text: str) -> dict[str, Any]:
    found = _AT_LINE.fullmatch(text)
    if found is None:
        return {"file": None, "line": None, "reason": text}
    return {"file": found[1], "line": int(found[2]), "reason": found[3]}


def _good(options: argparse.Namespace, store: Store) -> list[Declared]:
    found, problems = _read(options, store)
    if problems and not _files(options):
        for one in problems:
            tell(f"{one}; what was in force stays")
    elif problems:
        more = f" (and {len(problems) - 1} more: 'sla lint' lists them)" if problems[1:] else ""
        raise PolicyError(f"{problems[0]}{more}")
    wanted = set(options.policy or ())
    if unknown := wanted - {one.policy.id for one in found}:
        raise _unnamed(options, min(unknown), [one.policy.id for one in found])
    return [one for one in found if not wanted or one.policy.id in wanted]


def _unnamed(options: argparse.Namespace, name: str, known: list[str]) -> PolicyError:
    files = ", ".join(_files(options))
    where, lists = f" in {files}" if files else "", f" {files}" if files else ""
    near = meant(name, known)
    return PolicyError(f"no promise is named {name!r}{where}: {near}'sla status{lists}' lists them")


def _time(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except EventError as error:
        raise SettingsError(f"--{option}: {error}") from error


def _expected(path: str | None) -> dict[str, list[ExpectedRun]]:
    if path is None:
        return {}
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        return {
            str(dag): [ExpectedRun(due_us=parse_time(one)) for one in dues]
            for dag, dues in told.items()
        }
    except (ValueError, AttributeError, TypeError, EventError) as error:
        raise SettingsError(f"--expected {path}: {error}: give a list of times by DAG") from error


def _judged(
    options: argparse.Namespace, at_us: int, since_us: int | None
) -> list[tuple[Declared, list[Evaluation]]]:
    expected = _expected(options.expected)
    store = wiring.open_store(options.store)
    try:
        declared = _good(options, store)
        if options.expected is not None:
            provenance = RecordedProvenance(store, expected)
        else:
            dags = {one.policy.target.dag or "" for one in declared} - {""}
            provenance = recorded_with_ledger(store, dags, since_us or at_us - LOOKBACK_US)
        judged = [(one, evaluate(one.policy, provenance, at_us, since_us)) for one in declared]
        return _with_unknown(store, judged, options)
    finally:
        store.close()


def _with_unknown(
    store: Store, judged: list[tuple[Declared, list[Evaluation]]], options: argparse.Namespace
) -> list[tuple[Declared, list[Evaluation]]]:
    """Say of a promise with nothing to judge by that what it names is not known, as lint does."""
    bare = {one.where: one for one, some in judged if not any(each.runs for each in some)}
    if not bare:
        return judged
    if waiting := len(undrained(options.store)):
        tell(f"{waiting} spool files wait, and may hold what is missing: {DRAIN}")
    unknown = dict(unknown_targets(store, bare.values()))
    return [
        (one, [msgspec.structs.replace(each, reason=unknown[one.where]) for each in some])
        if one.where in unknown and one.where in bare
        else (one, some)
        for one, some in judged
    ]


def _evaluate(options: argparse.Namespace) -> int:
    at_us = _time(options.at, "at")
    at_us = SystemClock().now_us() if at_us is None else at_us
    judged = _judged(options, at_us, _time(options.since, "since"))
    found = [evaluation for _, some in judged for evaluation in some]
    if options.json:
        say_json([evaluation_json(one) for one in found])
    else:
        _say(found, "BROKE AT", [one.breached_us for one in found], is_long=options.long)
    return 1 if any(one.state in _BAD for one in found) else 0


def _in_force(options: argparse.Namespace, store: Store) -> list[PolicyRow]:
    """Return the promises that are declared now: the service may not have seen them yet."""
    with_airflow = settings.is_airflow_database_set() and not options.no_airflow
    with contextlib.redirect_stdout(sys.stderr):
        sources = wiring.open_sources(store, with_airflow=with_airflow)
        try:
            sources.refresh()
        except ProvenanceError as error:  # files are read all the same
            tell(f"{error}; what the service recorded stays")
    return sources.rows()


def _status(options: argparse.Namespace) -> int:
    if not (_files(options) or options.expected):
        store = wiring.open_store(options.store)
        try:
            declared = functools.partial(_in_force, options, store)
            told = sla_status.stored(store, set(options.policy or ()), declared)
        finally:
            store.close()
        if told is not None:
            return sla_status.tell_stored(told, as_json=options.json, is_long=options.long)
    now_us = SystemClock().now_us()
    judged = _judged(options, now_us, None)
    stands = [(declared, newest(some), last_broken(some)) for declared, some in judged]
    dues = {declared.policy.id: some for declared, some in judged}
    if options.json:
        say_json(
            [
                {
                    **evaluation_json(one),
                    "where": declared.where,
                    "severity": declared.policy.severity,
                    "last_broken_at": None if broken is None else format_time(broken.at_us),
                    "last_broken_period": None if broken is None else broken.period,
                }
                for declared, one, broken in stands
            ]
        )
    else:
        sla_status.say_stands(
            [
                sla_status.Row(
                    one.policy_id,
                    one.state.value,
                    one.recovered_us or one.breached_us,
                    one,
                    one.period,
                    broken,
                    next_due(dues[one.policy_id], now_us),
                    _reason(one),
                    declared.where,
                )
                for declared, one, broken in stands
            ],
            is_long=options.long,
        )
    return 1 if any(one.state in _BAD for _, one, _ in stands) else 0


def _why(options: argparse.Namespace) -> int:
    if options.period is not None and Path(options.period).is_file():
        options.files, options.period = [options.period, *options.files], None
    at_us = _time(options.at, "at")
    at_us = SystemClock().now_us() if at_us is None else at_us
    store = wiring.open_store(options.store)
    try:
        declared = [one.policy for one in _good(options, store)]
        policy = next((one for one in declared if one.id == options.promise), None)
        if policy is None:
            raise _unnamed(options, options.promise, [one.id for one in declared])
        asked = sla_why.Asked(policy, options.period, at_us)
        told = sla_why.found(store, declared, asked, names_of(store, options))
    finally:
        store.close()
    if options.json:
        say_json(told.json)
    else:
        for line in told.lines:
            say(line)
    return 0


def _backtest(options: argparse.Namespace) -> int:
    since_us, until_us = _time(options.since, "since"), _time(options.until, "until")
    until_us = SystemClock().now_us() if until_us is None else until_us
    step_us = microseconds(parse_duration(options.every))
    if step_us <= 0:
        raise SettingsError("--every is 0: give a length of time such as 5m")
    store = wiring.open_store(options.store)
    try:
        policies = [one.policy for one in _good(options, store)]
        moments = iter(range(since_us or 0, until_us + 1, step_us))
        found = list(backtest(store, policies, moments, _expected(options.expected)))
    finally:
        store.close()
    if options.json:
        say_json(
            [{"at": format_time(one.at_us), **evaluation_json(one.evaluation)} for one in found]
        )
    else:
        say_table(
            ["AT", "PROMISE", "STATE", "PERIOD", "WHY"],
            [
                (
                    format_time(one.at_us) or "",
                    one.evaluation.policy_id,
                    one.evaluation.state.value,
                    one.evaluation.period,
                    _reason(one.evaluation),
                )
                for one in found
            ],
        )
    return 0


def _say(found: list[Evaluation], head: str, broken_us: list[int | None], *, is_long: bool) -> None:
    say_table(
        ["PROMISE", "STATE", "OBSERVED", "PROMISED", head, "PERIOD", "WHY"],
        [
            (
                one.policy_id,
                one.state.value,
                observed_text(one),
                promised_text(one),
                (format_time(us) if is_long else short_time(format_time(us))) or "",
                one.period if is_long else period_text(one.period),
                _reason(one),
            )
            for one, us in zip(found, broken_us, strict=True)
        ],
    )


def _reason(one: Evaluation) -> str:
    late_us = one.late_by_us
    late = "" if late_us is None else f"late by {format_duration(_seconds(late_us / 1e6))}"
    return ", ".join(text for text in (late, one.reason, _outlook(one)) if text)


def _outlook(one: Evaluation) -> str:
    said = one.prediction
    if said is None or said.probability is None:
        return ""
    # What is only likely is never said to be sure.
    odds = "sure" if said.probability == 1 else f"{min(said.probability, 0.99):.0%} likely"
    by = "" if said.p50_us is None else f", expected by {format_time(said.p50_us)}"
    hangs = "" if said.deciding is None else f", hangs on {said.deciding}"
    return f"{odds} to break{by}{hangs}"


def _seconds(value: float) -> Any:
    from datetime import timedelta

    return timedelta(seconds=round(value, 3))
