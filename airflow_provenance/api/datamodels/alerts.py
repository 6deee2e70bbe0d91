"""What is broken, who was told, and what people say of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]


class ActionRequest(BaseModel):
    """What somebody says of alerts; who it is, the credentials tell.

    `matchers` are a promise's id, or LABEL=VALUE (also !=, =~, !~); all must match. `until` is a
    time in ISO 8601 with a zone, or a length of time from now, as 2h; only an `ack` needs none.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["ack", "silence", "excuse"]
    matchers: list[_Words] = Field(min_length=1, max_length=20)
    reason: _Words
    until: _Words | None = None


class ActionResponse(BaseModel):
    """What somebody said of alerts."""

    id: int
    kind: str
    matchers: list[str]
    by: str
    reason: str
    at: str | None
    until: str | None


class ActedResponse(ActionResponse):
    """What is in force now, and the promises whose alerts it is of."""

    alerts: list[str]


class AlertResponse(BaseModel):
    """A promise that is broken, or at risk; `told`: who knows of it, or why nobody does."""

    policy: str
    target: str
    period: str
    state: str
    severity: str
    owner: str | None
    since: str | None
    incidents: list[str]
    told: str


class ChannelResponse(BaseModel):
    """How a channel does."""

    channel: str
    configured: bool
    waiting: int
    delivered: int
    given_up: int
    problem: str | None
    last_error: str | None
    last_error_at: str | None


class AlertsResponse(BaseModel):
    """What is broken now, the oldest first. Channels are told to administrators."""

    alerts: list[AlertResponse]
    channels: list[ChannelResponse]
    actions: list[ActionResponse]
