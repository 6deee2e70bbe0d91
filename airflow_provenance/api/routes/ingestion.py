"""``POST /lineage`` and ``/lineage/batch``, as OpenLineage's own API names them; ``/spool``.

What arrives here goes to the store exactly as what is drained: the same bytes are the same event.
``/spool`` takes lines of a spool file, notes among them, from hosts that do not reach the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from airflow_provenance.api.body import (
    BodyLimits,
    as_entries,
    read_body,
    split_events,
    split_spool,
)
from airflow_provenance.api.datamodels.ingestion import (
    ErrorResponse,
    EventVerdict,
    IngestionResponse,
)
from airflow_provenance.api.parameters import CurrentViewer
from airflow_provenance.api.security import Viewer
from airflow_provenance.api.taking import Taken, Taking
from airflow_provenance.errors import AccessError, RequestError
from airflow_provenance.formats.spool_line import CONTENT_TYPE, Kind
from airflow_provenance.store.base import Rejected

router = APIRouter(tags=["OpenLineage"])


class _Named(msgspec.Struct):
    namespace: str


class _Peeked(msgspec.Struct):
    job: _Named | None = None
    dataset: _Named | None = None


_PEEK_NOTE = msgspec.json.Decoder(_Named)
_PEEK = msgspec.json.Decoder(_Peeked)
_EVENT = {"type": "object", "description": "a RunEvent, JobEvent or DatasetEvent of OpenLineage"}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    422: {"model": IngestionResponse | ErrorResponse, "description": "All of it is quarantined"}
}
_NOBODYS = "neither job nor dataset has a namespace"
_NO_NOTE = "not a note with a namespace"
_SPOOL_BODY = {
    "requestBody": {
        "required": True,
        "content": {CONTENT_TYPE: {"schema": {"type": "string", "description": "spool lines"}}},
    }
}
_BATCH = {"type": "array", "items": _EVENT}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/lineage", responses=_RESPONSES, openapi_extra=_body({"oneOf": [_EVENT, _BATCH]}))
async def post_lineage(
    request: Request, response: Response, viewer: CurrentViewer
) -> IngestionResponse:
    """Take in one event, or an array of them, and tell what became of each.

    The good part of a batch is kept; the rest is in the quarantine. 422 when all of it is.
    """
    if not viewer.can_ingest:
        raise AccessError("your token lacks the scope ingest")
    body = await read_body(request, request.app.state.limits)
    answer = await run_in_threadpool(_ingest, request, viewer, body)
    if answer.quarantined and answer.quarantined == answer.received:
        response.status_code = 422
    return answer


@router.post("/lineage/batch", responses=_RESPONSES, openapi_extra=_body(_BATCH))
async def post_lineage_batch(
    request: Request, response: Response, viewer: CurrentViewer
) -> IngestionResponse:
    """Take in an array of events: the same as `/lineage`."""
    return await post_lineage(request, response, viewer)


@router.post("/spool", openapi_extra=_SPOOL_BODY)
async def post_spool(request: Request, viewer: CurrentViewer) -> IngestionResponse:
    """Take in lines of a spool file, and tell what became of each.

    A line that the token may not send is refused alone. What cannot be read is in the quarantine.
    """
    if not viewer.can_ingest:
        raise AccessError("your token lacks the scope ingest")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise RequestError(f"send lines of a spool file as Content-Type {CONTENT_TYPE}")
    limits = request.app.state.limits
    # A body has many lines: the limit of one event is the store's to see to.
    body = await read_body(request, BodyLimits(limits.request, limits.request))
    return await run_in_threadpool(_ingest_spool, request, viewer, body)


def _ingest_spool(request: Request, viewer: Viewer, body: bytes) -> IngestionResponse:
    source = f"http:{viewer.name}"
    entries: list[tuple[Kind, bytes]] = []
    rejected: list[Rejected] = []
    raws: list[bytes] = []
    refused: dict[bytes, Rejected] = {}
    for record in split_spool(body, source):
        if isinstance(record, Rejected):
            raws.append(record.raw)
            rejected.append(record)
            continue
        kind, raw = record
        raws.append(raw)
        try:
            is_somebodys = _is_allowed(viewer, raw, kind)
        except AccessError as error:
            refused[raw] = Rejected(kind, raw, "not_allowed", str(error), source)
            continue
        if is_somebodys:
            entries.append(record)
        else:
            why = _NOBODYS if kind == "E" else _NO_NOTE
            rejected.append(Rejected(kind, raw, "invalid_event", why, source))
    taking: Taking = request.app.state.taking
    return _answer(raws, taking.take(source, entries, rejected), refused)


def _ingest(request: Request, viewer: Viewer, body: bytes) -> IngestionResponse:
    source = f"http:{viewer.name}"
    raws, unread = split_events(body, source)
    good = [raw for raw in raws if _is_allowed(viewer, raw)]
    # What does not say whose it is cannot be held against the namespaces: nor is it an event.
    nobodys = set(raws) - set(good)
    unread += [Rejected("E", raw, "invalid_event", _NOBODYS, source) for raw in nobodys]
    taking: Taking = request.app.state.taking
    taken = taking.take(source, as_entries(good), unread)
    return _answer(raws or [one.raw for one in unread], taken)


def _is_allowed(viewer: Viewer, raw: bytes, kind: Kind = "E") -> bool:
    """Whether an event or a note says whose it is; `AccessError` if its sender may not say so."""
    try:
        named = _namespaces(raw, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    for namespace in named:
        if not viewer.may_ingest(namespace):
            raise AccessError(
                f"your token is not for the namespace {namespace[:100]!a}: nothing was taken in"
            )
    return bool(named)


def _namespaces(raw: bytes, kind: Kind) -> list[str]:
    if kind == "N":
        return [_PEEK_NOTE.decode(raw).namespace]
    peeked = _PEEK.decode(raw)
    return [one.namespace for one in (peeked.job, peeked.dataset) if one is not None]


def _answer(
    raws: list[bytes],
    taken: Taken,
    not_taken: Mapping[bytes, Rejected] = MappingProxyType({}),
) -> IngestionResponse:
    refused, new = taken.refused, set(taken.accepted)
    verdicts = []
    for index, raw in enumerate(raws):
        if raw in not_taken:
            why = not_taken[raw]
            verdict = EventVerdict(
                index=index, verdict="refused", reason=why.reason, message=why.message
            )
        elif raw in refused:
            why = refused[raw]
            verdict = EventVerdict(
                index=index, verdict="quarantined", reason=why.reason, message=why.message
            )
        else:
            verdict = EventVerdict(index=index, verdict="accepted" if raw in new else "repeated")
            new.discard(raw)
        verdicts.append(verdict)
    counts = {
        name: sum(1 for one in verdicts if one.verdict == name)
        for name in ("accepted", "repeated", "quarantined", "refused")
    }
    return IngestionResponse(received=len(raws), events=verdicts, **counts)
