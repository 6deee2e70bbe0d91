"""What became of the events that were sent."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class EventVerdict(BaseModel):
    """Of one event. `reason` and `message` say why it is in the quarantine, or was not taken."""

    index: int
    verdict: Literal["accepted", "repeated", "quarantined", "refused"]
    reason: str | None = None
    message: str | None = None


class IngestionResponse(BaseModel):
    """Of all, in the order in which they were sent."""

    received: int
    accepted: int
    repeated: int
    quarantined: int
    refused: int = 0
    events: list[EventVerdict]


class ErrorResponse(BaseModel):
    """Why a request was not answered, in one line."""

    detail: str
