"""``GET /sla/promises``: those in force, how one stood at a moment, and what broke it."""

from __future__ import annotations

import threading
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from airflow_provenance.api.datamodels.ingestion import ErrorResponse
from airflow_provenance.api.datamodels.promises import (
    BacktestResponse,
    EvaluationsResponse,
    PromiseDetailResponse,
    PromisePageResponse,
    WhyResponse,
)
from airflow_provenance.api.parameters import (
    CurrentViewer,
    Limit,
    Text,
    cursor_of,
    moment,
    page,
    place_of,
)
from airflow_provenance.api.promises import Seen, SeenPromises, cut, policy_of
from airflow_provenance.api.visible import VisibleReader
from airflow_provenance.domain.clock import format_time
from airflow_provenance.errors import BusyError, PolicyError, RequestError, SubjectError
from airflow_provenance.lineage.answers import why_json as data_json
from airflow_provenance.sla.attribution import Hop
from airflow_provenance.sla.backtest import backtest
from airflow_provenance.sla.broken import broken_period, what_broke
from airflow_provenance.sla.durations import microseconds, parse_duration
from airflow_provenance.sla.evaluate import LOOKBACK_US, evaluate
from airflow_provenance.sla.ledger import recorded_with_ledger
from airflow_provenance.sla.policy import Policy
from airflow_provenance.sla.status import Stand, change_json, stand_json, stands
from airflow_provenance.sla.why import why_json
from airflow_provenance.store.memory import MemoryStore

router = APIRouter(tags=["sla"])
_DAY_US = 86_400_000_000
_MOST_DAYS = 31  # of one evaluation
_MOST_MOMENTS = 300  # of one back-test, in each of which all is evaluated anew
_MOST_ENTRIES = 20_000  # of the log, all of which a back-test replays
_REPLAYING = threading.Lock()
_BUSY: dict[int | str, dict[str, Any]] = {
    429: {"model": ErrorResponse, "description": "Somebody else asks the same: try again later"}
}


PromiseId = Annotated[str, Path(pattern=r"^[^\x00]+$", max_length=2000)]


@router.get("/sla/promises", response_model=PromisePageResponse)
def list_promises(
    request: Request, seen: Seen, limit: Limit = 100, cursor: Text | None = None
) -> dict[str, Any]:
    """List the promises in force, by id: how they stand, when they broke last and are due next."""
    after = place_of(cursor, tuple[str]) or ("",)
    rows, last = page([row for row in seen.rows if row.policy_id > after[0]], limit)
    evaluated_us = seen.whole.mark("evaluated")
    now_us = request.app.state.clock.now_us()
    return {
        "evaluated_at": format_time(evaluated_us),
        "promises": _stands(seen, stands(seen.whole, rows, evaluated_us or now_us, now_us)),
        "next_cursor": last and cursor_of(last.policy_id),
    }


@router.get("/sla/promises/{policy}", response_model=PromiseDetailResponse)
def get_promise(
    request: Request, seen: Seen, policy: PromiseId, limit: Limit = 50, cursor: Text | None = None
) -> dict[str, Any]:
    """Tell all of one promise in force, with its periods of 90 days, newest first."""
    row, place = seen.row(policy), place_of(cursor, tuple[int])
    evaluated_us = seen.whole.mark("evaluated")
    now_us = request.app.state.clock.now_us()
    (stand,) = stands(seen.whole, [row], evaluated_us or now_us, now_us)
    changes = sorted(stand.changes, key=lambda one: -one.seq)
    changes = [one for one in changes if place is None or one.seq < place[0]]
    shown, last = page(changes, limit)
    hidden = seen.hidden_of(row, {run for one in shown for run in one.runs})
    return {
        **_stands(seen, [stand])[0],
        "evaluated_at": format_time(evaluated_us),
        "periods": [
            {**cut(change_json(one), hidden), "at": format_time(one.at_us)} for one in shown
        ],
        "next_cursor": last and cursor_of(last.seq),
    }


def _stands(seen: SeenPromises, found: list[Stand]) -> list[dict[str, Any]]:
    hidden = seen.hidden({run for one in found for run in one.runs})
    told = []
    for one in found:
        of_it = hidden.of(seen.target(one.row))
        plain: dict[str, Any] = {"runs": [], **stand_json(one), **seen.told(one.row)}
        # Its words may be of any of its runs, also of those that are not listed.
        if not of_it.isdisjoint(one.runs):
            plain = {**cut({**plain, "runs": [*one.runs]}, of_it), "last_broken_period": None}
            plain["runs"] = [] if one.last is None else sorted({*one.last.runs} - of_it)
        elif seen.hides_sources(one.row):
            plain["reason"] = ""
        told.append(plain)
    return told


@router.get("/sla/promises/{policy}/evaluations", response_model=EvaluationsResponse)
def evaluate_promise(
    request: Request,
    seen: Seen,
    policy: PromiseId,
    at: Text | None = None,
    since: Text | None = None,
) -> dict[str, Any]:
    """Evaluate a promise as seen at a moment; periods are told from eight days before, or `since`.

    Nothing is written: what was recorded since the moment is not looked at, or only as what it
    tells of the time before.
    """
    promise = _policy(seen, policy)
    at_us = moment(at, "at", request, ahead=True)
    since_us = None if since is None else moment(since, "since", request)
    if since_us is not None and not 0 <= at_us - since_us <= _MOST_DAYS * _DAY_US:
        raise RequestError(f"since is at most {_MOST_DAYS} days before at: ask for less at a time")
    dags = {promise.target.dag or ""} - {""}
    from_us = at_us - LOOKBACK_US if since_us is None else since_us
    try:
        provenance = recorded_with_ledger(seen.whole, dags, from_us)
        found = evaluate(promise, provenance, at_us, since_us)
    except PolicyError as error:
        raise RequestError(str(error)) from error
    return {"at": format_time(at_us), "evaluations": seen.verdicts(promise, found)}


@router.get("/sla/promises/{policy}/why", response_model=WhyResponse)
def explain_promise(
    request: Request,
    seen: Seen,
    policy: PromiseId,
    period: Text | None = None,
    at: Text | None = None,
) -> dict[str, Any]:
    """Say what broke a promise in a period, else in the newest that was broken, and who is hit.

    What was late where you may not see it has its time in the sum, and no name.
    """
    promise = _policy(seen, policy)
    at_us = moment(at, "at", request, ahead=True)
    unknown = f"{policy}: no such period was broken, or not for you: ask for its evaluations"
    try:
        one = broken_period(seen.whole, promise, period or None, at_us)
    except PolicyError as error:
        raise SubjectError(unknown) from error
    hidden = seen.hidden(one.runs).of(promise.target)
    verdict = seen.verdict(promise, one, hidden)
    if period and verdict["period"] != period:
        raise SubjectError(unknown)
    try:
        found = what_broke(seen.whole, seen.store, seen.policies, promise, one, at_us)
    except PolicyError:  # nothing is known of what it is about
        return verdict
    if found.late is None or found.blast is None:
        data = None if found.data is None else data_json(found.data)
        return {**verdict, "error": found.error, "why": data}
    told = {**verdict, **why_json(one, found.late, found.blast), "period": verdict["period"]}
    hops = zip(found.late.ranked, told["causes"], strict=True)
    return {**told, "causes": [_cause(seen, hop, plain) for hop, plain in hops]}


def _cause(seen: SeenPromises, hop: Hop, plain: dict[str, Any]) -> dict[str, Any]:
    if seen.store.may_read(hop.dag) and not seen.hidden(hop.runs).kept:
        reads = [one for one in hop.reads if seen.is_dataset(one)]
        return {**plain, "reads": reads, "hidden": False}
    nameless: dict[str, Any] = {
        "job": None,
        "run_id": None,
        "runs": [],
        "hostname": None,
        "reads": [],
    }
    return {**plain, **nameless, "dag_version": None, "was_version": None, "hidden": True}


@router.get("/sla/promises/{policy}/backtest", response_model=BacktestResponse, responses=_BUSY)
def backtest_promise(
    request: Request,
    seen: Seen,
    viewer: CurrentViewer,
    policy: PromiseId,
    since: Text,
    until: Text | None = None,
    every: Text = "1h",
) -> dict[str, Any]:
    """Tell how a promise would have changed its state, as known at the time.

    The log is replayed as it was received, for one who asks at a time.
    """
    promise = _policy(seen, policy)
    since_us, until_us = moment(since, "since", request), moment(until, "until", request)
    try:
        step_us = microseconds(parse_duration(every))
    except PolicyError as error:
        raise RequestError(f"every: {error}") from error
    if step_us <= 0 or since_us > until_us:
        raise RequestError("since is before until, and every is more than 0")
    moments = range(since_us, until_us + 1, step_us)
    if len(moments) > _MOST_MOMENTS:
        raise RequestError(
            f"{len(moments)} moments: ask for {_MOST_MOMENTS} at most, in a shorter time or with "
            "a greater every; 'airflow-provenance sla backtest' has no limit"
        )
    if (entries := seen.whole.counts()["entries"]) > _MOST_ENTRIES:
        raise RequestError(
            f"the log has {entries} entries, too many to replay for an answer: use "
            "'airflow-provenance sla backtest'"
        )
    if not _REPLAYING.acquire(blocking=False):
        raise BusyError("another back-test runs: try again when it is done")
    try:
        return _replayed(request, seen, viewer, promise, moments)
    finally:
        _REPLAYING.release()


def _replayed(
    request: Request,
    seen: SeenPromises,
    viewer: CurrentViewer,
    policy: Policy,
    moments: range,
) -> dict[str, Any]:
    """Tell changes; their runs are numbered as they were replayed, and are told as the store's."""
    known = MemoryStore()
    try:
        found = list(backtest(seen.whole, [policy], iter(moments), known=known))
    except PolicyError as error:
        raise RequestError(str(error)) from error
    runs = {run for one in found for run in one.evaluation.runs}
    reader = VisibleReader(known, viewer, request.app.state.namespace_dags)
    views = known.runs_by_id(runs) if viewer.is_admin() else reader.runs_by_id(runs)
    hidden = runs - views.keys()
    now = seen.whole.runs_by_key(view.key for view in views.values())
    numbers = {one: now[view.key].id for one, view in views.items() if view.key in now}
    told = []
    for one in found:
        verdict = seen.verdict(policy, one.evaluation, hidden)
        verdict["runs"] = sorted(numbers[run] for run in verdict["runs"] if run in numbers)
        told.append({**verdict, "at": format_time(one.at_us)})
    return {"moments": len(moments), "changes": told}


def _policy(seen: SeenPromises, policy_id: str) -> Policy:
    found = policy_of(seen.row(policy_id))
    if found is None:
        raise RequestError(f"{policy_id!r} was written by another version: read it as it is")
    return found
