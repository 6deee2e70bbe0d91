"""``POST /sla/evaluate``: how promises stand now, for tasks that go on only where they are kept."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from airflow_provenance.api.body import BodyLimits, read_body
from airflow_provenance.api.datamodels.sla import EvaluateRequest, EvaluateResponse
from airflow_provenance.api.parameters import Visible
from airflow_provenance.api.visible import VisibleReader
from airflow_provenance.errors import PolicyError, RequestError, SubjectError
from airflow_provenance.sla.check import Asked, Stands, answer, wanted
from airflow_provenance.sla.evaluation import State
from airflow_provenance.sla.policy import Policy
from airflow_provenance.store.base import Store

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
async def evaluate_promises(request: Request, store: Visible) -> dict[str, Any]:
    """Say how promises stand now: those in force by id or by what they are about, or others.

    A verdict is of all that was recorded; it is told to who may see what the promise is about.
    """
    body = await read_body(request, _LIMITS)
    try:
        asked = EvaluateRequest.model_validate_json(body)
    except ValidationError as error:
        told = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise RequestError("; ".join(told)) from error
    return await run_in_threadpool(_answer, request, store, asked)


def _answer(request: Request, store: VisibleReader, asked: EvaluateRequest) -> dict[str, Any]:
    state = request.app.state
    whole = state.stores.get()
    try:
        what = msgspec.convert(asked.model_dump(exclude_none=True), Asked)
        policies = wanted(whole, what, lambda one: _is_seen(store, whole, one))
        seen = [one for one in policies if _is_seen(store, whole, one)]
        upstream = what.upstream
        if upstream is not None and not store.may_read(upstream.dag):
            raise SubjectError(f"there is no DAG {upstream.dag!r}, or not for you")
        found = answer(whole, seen, upstream, state.clock.now_us())
    except (PolicyError, msgspec.ValidationError) as error:
        raise RequestError(str(error)) from error
    by_id = {one.policy: _told(store, one) for one in found.promises}
    return {
        "promises": [by_id.get(one.id) or _unknown(one) for one in policies],
        "waiting": list(found.waiting),
    }


def _is_seen(store: VisibleReader, whole: Store, policy: Policy) -> bool:
    target = policy.target
    if target.dag is not None:
        return store.may_read(target.dag)
    if target.dataset is not None:
        name = target.dataset_name
        return bool(store.datasets_named(name)) or not whole.datasets_named(name)
    return any(target.job in (name, f"{of}/{name}") for of, name in store.job_names())


def _unknown(policy: Policy) -> dict[str, Any]:
    """Tell of what is hidden as of what is not there."""
    told = Stands(policy=policy.id, target=str(policy.target), state=State.NO_DATA.value)
    return {**msgspec.to_builtins(told), "kind": policy.kind, "reason": "nothing is known of it"}


def _told(store: VisibleReader, one: Stands) -> dict[str, Any]:
    """Tell how a promise stands; which run wrote what, to who may see that run alone."""
    told: dict[str, Any] = msgspec.to_builtins(one)
    if len(store.runs_by_id(one.runs)) < len(one.runs):
        told |= {"period": "", "reason": "", "runs": sorted(store.runs_by_id(one.runs))}
    return told
