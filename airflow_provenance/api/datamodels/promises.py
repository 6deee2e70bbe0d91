"""Promises in force, how they stand and stood, and how far they were kept."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from airflow_provenance.api.datamodels.answers import Page

# What is left out of an answer is null: of runs that you may not see, and what is not known.


class VerdictResponse(BaseModel):
    """How a promise stands for a period. The period is empty where its runs are hidden."""

    state: str
    period: str | None = None
    severity: str | None = None
    observed: float | None = None
    threshold: float | None = None
    unit: str = ""
    due_at: str | None = None
    breached_at: str | None = None
    detected_at: str | None = None
    recovered_at: str | None = None
    runs: list[int] = []
    reason: str = ""
    cause: str | None = None


class PromiseResponse(VerdictResponse):
    """A promise in force, and its newest verdict."""

    policy: str
    revision: str
    where: str
    in_force_since: str | None
    next_due_at: str | None
    promise: dict[str, Any]
    since: str | None
    last_broken_at: str | None
    last_broken_period: str | None


class PromisePageResponse(Page):
    """Promises, by id. `evaluated_at`: when they were evaluated last."""

    evaluated_at: str | None
    promises: list[PromiseResponse]


class PeriodResponse(VerdictResponse):
    """How a promise stands for a period, since when that was written."""

    at: str | None


class PromiseDetailResponse(Page, PromiseResponse):
    """A promise with its periods of the last 90 days, newest first."""

    evaluated_at: str | None
    periods: list[PeriodResponse]


class EvaluationResponse(VerdictResponse):
    """A verdict that was found for this answer."""

    policy: str
    revision: str
    kind: str
    target: str
    late_by_seconds: float | None
    prediction: dict[str, Any] | None = None
    error_budget: dict[str, Any] | None = None


class EvaluationsResponse(BaseModel):
    """How a promise stood at a moment, period by period, the oldest first."""

    at: str | None
    evaluations: list[EvaluationResponse]


class MomentResponse(EvaluationResponse):
    """How a promise changed its state at a moment."""

    at: str | None


class BacktestResponse(BaseModel):
    """How a promise changed its state, as known at the time; `moments` were looked at."""

    moments: int
    changes: list[MomentResponse]


class CauseResponse(BaseModel):
    """What took longer than usual; `hidden`: somewhere that you may not see."""

    hidden: bool
    job: str | None
    kind: str
    run_id: str | None
    runs: list[int]
    from_: str | None = Field(alias="from")
    until: str | None
    took_seconds: float
    usual_seconds: float
    excess_seconds: float
    share: float
    hostname: str | None
    reads: list[str]
    dag_version: str | None
    was_version: str | None


class DownstreamResponse(BaseModel):
    """What is downstream of the first cause."""

    datasets: list[str]
    dags: list[str]
    owners: list[str]
    promises: list[str]


class WhyResponse(BaseModel):
    """What broke a promise: what was late (`causes`), what is wrong with data (`why`), an error."""

    policy: str
    period: str
    state: str
    due_at: str | None = None
    until: str | None = None
    late_by_seconds: float | None = None
    spare_seconds: float | None = None
    causes: list[CauseResponse] | None = None
    downstream: DownstreamResponse | None = None
    why: dict[str, Any] | None = None
    error: str | None = None
    reason: str = ""
    cause: str | None = None
    runs: list[int] | None = None


class ReportPeriodResponse(BaseModel):
    """A period of a promise, and how it ended."""

    period: str
    at: str | None
    state: str
    observed: float | None
    threshold: float | None
    unit: str
    late_by_seconds: float | None
    excused: str | None


class ReportLineResponse(BaseModel):
    """How far one promise was kept in one stretch of time."""

    policy: str
    target: str
    owner: str | None
    severity: str
    stretch: str
    from_: str | None = Field(alias="from")
    until: str | None
    attainment: float | None
    kept: int
    broken: int
    late: int
    excused: int
    unknown: int
    late_seconds: float
    worst_seconds: float
    broken_seconds: float | None
    periods: list[ReportPeriodResponse]


class OwnerResponse(BaseModel):
    """The promises of one owner, of those that you may see."""

    owner: str | None
    promises: int
    kept: int
    broken: int
    excused: int
    attainment: float | None


class ReportResponse(BaseModel):
    """How far promises were kept."""

    from_: str | None = Field(alias="from")
    until: str | None
    lines: list[ReportLineResponse]
    owners: list[OwnerResponse]


class ProblemResponse(BaseModel):
    """What is wrong with a file of promises, and on which line."""

    line: int
    reason: str


class LintResponse(BaseModel):
    """The promises of a file, and what is wrong with it."""

    promises: list[dict[str, Any]]
    problems: list[ProblemResponse]


ReportFormat = Literal["json", "csv", "html"]
