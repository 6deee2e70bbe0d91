"""``GET /sla/report`` and ``POST /sla/lint``: how far promises were kept, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool

from airflow_provenance.alerts.report import changes_of, report
from airflow_provenance.api.body import BodyLimits, read_body
from airflow_provenance.api.datamodels.promises import LintResponse, ReportFormat, ReportResponse
from airflow_provenance.api.parameters import Text, Visible, moment
from airflow_provenance.api.promises import Seen, SeenPromises, policy_of
from airflow_provenance.api.visible import VisibleReader
from airflow_provenance.errors import RequestError, SubjectError
from airflow_provenance.sla.attainment import By, Line, Span
from airflow_provenance.sla.attainment_page import page
from airflow_provenance.sla.attainment_text import report_csv, report_json
from airflow_provenance.sla.files import read_text
from airflow_provenance.sla.lint import unknown_targets
from airflow_provenance.sla.policy import to_plain

router = APIRouter(tags=["sla"])
_DAY_US = 86_400_000_000
_MOST_DAYS = {"day": 400}
_MOST = 5 * 366
_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "text/html": {"schema": {"type": "string"}},
        }
    }
}
# It comes from this site, as pages do that may do more: nothing in it may run, or be loaded.
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
}
_LIMITS = BodyLimits(256 * 1024, 256 * 1024)
_FILE = "body"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/yaml": {"schema": {"type": "string", "description": "YAML"}}},
    }
}
Names = Annotated[Sequence[Annotated[str, Query(pattern=r"^[^\x00]*$")]], Query(max_length=100)]


@router.get("/sla/report", response_model=ReportResponse, responses=_FORMATS)
def get_report(
    request: Request,
    seen: Seen,
    since: Text | None = None,
    until: Text | None = None,
    by: By = "all",
    policy: Names = (),
    owner: Names = (),
    format: ReportFormat = "json",
) -> Any:
    """Tell how far promises were kept: of 30 days, or since and until a time.

    It is of the promises that you may see, and so are the sums of their owners.
    """
    until_us = moment(until, "until", request)
    since_us = until_us - 30 * _DAY_US if since is None else moment(since, "since", request)
    if since_us >= until_us:
        raise RequestError("since is not before until: nothing lies between")
    days = _MOST_DAYS.get(by, _MOST)
    if until_us - since_us > days * _DAY_US:
        raise RequestError(f"ask for {days} days at most, by {by}")
    span = Span(max(since_us, 0), until_us)
    lines = _lines(seen, span, by, policy, owner)
    if format == "csv":
        return Response(report_csv(lines), media_type="text/csv", headers=_SAFE)
    if format == "html":
        made = page(lines, span, request.app.state.clock.now_us())
        return Response(made, media_type="text/html", headers=_SAFE)
    return report_json(lines, span)


def _lines(
    seen: SeenPromises, span: Span, by: By, policies: Sequence[str], owners: Sequence[str]
) -> list[Line]:
    if unknown := set(policies) - {row.policy_id for row in seen.rows}:
        raise SubjectError(f"there is no promise {min(unknown)!r}, or not for you")
    rows = [
        row
        for row in seen.rows
        if (not policies or row.policy_id in policies) and policy_of(row) is not None
    ]
    targets = {row.policy_id: seen.target(row) for row in rows}
    changes = list(changes_of(seen.whole, rows))
    lines = report(seen.whole, rows, changes, span, by)
    if owners:
        lines = [one for one in lines if one.owner in owners]
    hidden = seen.hidden({run for one in changes for run in one.runs})
    nameless = {
        (one.policy_id, one.period)
        for one in changes
        if not hidden.of(targets[one.policy_id]).isdisjoint(one.runs)
    }
    for line in lines:
        line.cells = [
            replace(one, period="") if (line.policy, one.period) in nameless else one
            for one in line.cells
        ]
    return lines


@router.post("/sla/lint", response_model=LintResponse, openapi_extra=_BODY)
async def lint_promises(request: Request, store: Visible) -> dict[str, Any]:
    """Say what is wrong with promises in YAML, line by line; nothing comes in force."""
    body = await read_body(request, _LIMITS)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise RequestError("the body is not UTF-8") from error
    return await run_in_threadpool(_lint, store, text)


def _lint(store: VisibleReader, text: str) -> dict[str, Any]:
    found, wrong = read_text(_FILE, text)
    problems = [{"line": one.line, "reason": one.reason} for one in wrong]
    problems += [
        {"line": int(where.rpartition(":")[2]), "reason": reason}
        for where, reason in unknown_targets(store, found)
    ]
    return {"promises": [to_plain(one.policy) for one in found], "problems": problems}
