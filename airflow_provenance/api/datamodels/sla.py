"""Promises asked about, and how they stand."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

_Name = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")]


class UpstreamRequest(BaseModel):
    """Tasks of a DAG run whose end must be recorded first."""

    model_config = ConfigDict(extra="forbid")

    dag: _Name
    run_id: _Name
    tasks: list[_Name] = Field(max_length=1000)


class EvaluateRequest(BaseModel):
    """Which promises: in force by id or by what they are about, or given as in YAML."""

    model_config = ConfigDict(extra="forbid")

    ids: list[_Name] = Field(default=[], max_length=100)
    target: _Name | None = None
    policies: list[dict[str, Any]] = Field(default=[], max_length=20)
    upstream: UpstreamRequest | None = None


class StandsResponse(BaseModel):
    """How one promise stands, by the newest of its periods that is decided."""

    policy: str
    target: str
    state: str
    kind: str = ""
    severity: str = "ticket"
    period: str = ""
    observed: float | None = None
    threshold: float | None = None
    unit: str = ""
    due_at: str | None = None
    breached_at: str | None = None
    reason: str = ""
    cause: str | None = None
    runs: list[int] = []


class EvaluateResponse(BaseModel):
    """How promises stand; `waiting` are the tasks whose end is not recorded yet."""

    promises: list[StandsResponse]
    waiting: list[str] = []
