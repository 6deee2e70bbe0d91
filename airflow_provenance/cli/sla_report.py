"""``sla report``: how far promises were kept, as a table, CSV, JSON or a page of HTML."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tabulate import tabulate

from airflow_provenance import wiring
from airflow_provenance.alerts.report import changes_of, report
from airflow_provenance.cli.output import add_common, one_line, tell
from airflow_provenance.domain.clock import SystemClock, parse_time
from airflow_provenance.errors import EventError, PolicyError, SettingsError
from airflow_provenance.sla.amounts import amount_text
from airflow_provenance.sla.attainment import By, Line, Span, totals
from airflow_provenance.sla.attainment_page import beside_periods, page, percent, plural
from airflow_provenance.sla.attainment_text import report_csv, report_json

if TYPE_CHECKING:
    import argparse

_FORMATS = ("table", "csv", "json", "html")
_MONTH_US = 30 * 86_400_000_000


def register(actions: Any) -> None:
    """Add the command."""
    parser = actions.add_parser(
        "report", help="how far promises were kept, by promise, time and owner"
    )
    parser.add_argument("--since", metavar="T", help="ISO 8601 with a zone; else 30 days before")
    parser.add_argument("--until", metavar="T", help="else now")
    parser.add_argument("--by", choices=get_args(By), default="all", help="cut into (all)")
    parser.add_argument("--policy", metavar="ID", action="append", help="only this promise")
    parser.add_argument("--owner", metavar="NAME", action="append", help="only this owner's")
    parser.add_argument("--format", choices=_FORMATS, default="table", help="table by default")
    parser.add_argument("--json", action="store_const", const="json", dest="format")
    parser.add_argument("--output", metavar="FILE", type=Path, help="instead of standard output")
    add_common(parser, with_json=False)
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    now_us = SystemClock().now_us()
    until_us = now_us if options.until is None else _time(options.until, "until")
    since_us = until_us - _MONTH_US if options.since is None else _time(options.since, "since")
    if since_us >= until_us:
        raise SettingsError("--since is not before --until: nothing lies between")
    span = Span(since_us, until_us)
    store = wiring.open_store(options.store)
    try:
        rows = store.policies()
        lines = report(store, rows, changes_of(store, rows), span, options.by)
    finally:
        store.close()
    if unknown := set(options.policy or ()) - {one.policy for one in lines}:
        raise PolicyError(f"{min(unknown)!r} was not judged in this time: 'sla status' lists all")
    lines = [
        one
        for one in lines
        if (not options.policy or one.policy in options.policy)
        and (not options.owner or one.owner in options.owner)
    ]
    text = _FORMATTERS[options.format](lines, span, now_us)
    if options.output is None:
        sys.stdout.write(text)
        return 0
    try:
        options.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{options.output} cannot be written: {error.strerror}") from error
    tell(f"{plural(len(lines), 'line')} in {options.output}")
    return 0


def _time(text: str, option: str) -> int:
    try:
        return parse_time(text)
    except EventError as error:
        raise SettingsError(f"--{option}: {error}") from error


def _table(lines: list[Line], _span: Span, _now_us: int) -> str:
    if not lines:
        who = "the service's role evaluate ('airflow-provenance service --roles evaluate')"
        return f"Nothing was judged in this time: {who} must run; 'sla status' says more.\n"
    heads = ["PROMISE", "STRETCH", "KEPT", "OF", "EXCUSED", "LATE", "WORST", "ATTAINMENT", "OWNER"]
    cells = [
        (
            one.policy,
            one.label,
            "" if one.time_us else one.kept,
            "" if one.time_us else one.kept + one.broken,
            one.excused or "",
            one.late or "",
            amount_text(one.worst_us / 1e6, "s") if one.worst_us else "",
            percent(one.attainment),
            one.owner or "",
        )
        for one in lines
    ]
    plain = [list(map(one_line, row)) for row in cells]
    by_owner = [
        f"{one.owner or 'no owner'}: {percent(one.attainment)} of "
        f"{plural(one.kept + one.broken, 'period')}{beside_periods(lines, one.owner)}"
        for one in totals(lines)
    ]
    table = tabulate(plain, heads, "plain", disable_numparse=True)
    return "\n".join([table, "", *map(one_line, by_owner)]) + "\n"


def _json(lines: list[Line], span: Span, _now_us: int) -> str:
    told = report_json(lines, span)
    return json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


_FORMATTERS = {
    "table": _table,
    "csv": lambda lines, *_: report_csv(lines),
    "json": _json,
    "html": page,
}
