"""``POST /sla/evaluate``: how promises stand now, for tasks that go on only where they are kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from airflow_provenance.api.body import BodyLimits, read_body
from airflow_provenance.api.datamodels.sla import EvaluateRequest, EvaluateResponse
from airflow_provenance.api.promises import Seen, SeenPromises, cut
from airflow_provenance.errors import PolicyError, RequestError, SubjectError
from airflow_provenance.sla.check import Asked, Stands, answer, wanted
from airflow_provenance.sla.evaluation import State
from airflow_provenance.sla.policy import Policy

router = APIRouter(tags=["sla"])


# A question is short; who asks is known before it is read.
_LIMITS = BodyLimits(1024 * 1024, 1024 * 1024)


def _inlined() -> dict[str, Any]:
    """Return the schema of a question in one piece, as the document has no place for its parts."""
    schema = EvaluateRequest.model_json_schema()
    parts = schema.pop("$defs")
    schema["properties"]["upstream"] = {"anyOf": [*parts.values(), {"type": "null"}]}
    return schema


_BODY = {"required": True, "content": {"application/json": {"schema": _inlined()}}}


@router.post(
    "/sla/evaluate",
    response_model=EvaluateResponse,
    response_model_exclude_none=True,
    openapi_extra={"requestBody": _BODY},
)
async def evaluate_promises(request: Request, seen: Seen) -> dict[str, Any]:
    """Say how promises stand now: those in force by id or by what they are about, or others.

    A verdict is of all that was recorded; it is told to who may see what the promise is about.
    """
    body = await read_body(request, _LIMITS)
    try:
        asked = EvaluateRequest.model_validate_json(body)
    except ValidationError as error:
        told = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise RequestError("; ".join(told)) from error
    return await run_in_threadpool(_answer, request, seen, asked)


def _answer(request: Request, known: SeenPromises, asked: EvaluateRequest) -> dict[str, Any]:
    store, whole = known.store, known.whole
    try:
        what = msgspec.convert(asked.model_dump(exclude_none=True), Asked)
        policies = wanted(whole, what, lambda one: known.is_seen(one.target))
        seen = [one for one in policies if known.is_seen(one.target)]
        upstream = what.upstream
        if upstream is not None and not store.may_read(upstream.dag):
            raise SubjectError(f"there is no DAG {upstream.dag!r}, or not for you")
        found = answer(whole, seen, upstream, request.app.state.clock.now_us())
    except (PolicyError, msgspec.ValidationError) as error:
        raise RequestError(str(error)) from error
    hidden = known.hidden(run for one in found.promises for run in one.runs)
    told = zip(seen, found.promises, strict=True)
    by_id = {one.policy: _told(one, hidden.of(policy.target)) for policy, one in told}
    return {
        "promises": [by_id.get(one.id) or _unknown(one) for one in policies],
        "waiting": list(found.waiting),
    }


def _unknown(policy: Policy) -> dict[str, Any]:
    """Tell of what is hidden as of what is not there."""
    told = Stands(policy=policy.id, target=str(policy.target), state=State.NO_DATA.value)
    return {**msgspec.to_builtins(told), "kind": policy.kind, "reason": "nothing is known of it"}


def _told(one: Stands, hidden: Collection[int]) -> dict[str, Any]:
    """Tell how a promise stands; which run wrote what, to who may see that run alone."""
    told: dict[str, Any] = msgspec.to_builtins(one)
    return cut({"runs": (), **told}, hidden)
