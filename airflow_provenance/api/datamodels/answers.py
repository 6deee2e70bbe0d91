"""Answers, in the shapes of `lineage.answers`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class NameResponse(BaseModel):
    """The name of a job or a dataset."""

    namespace: str
    name: str


class OverrideResponse(BaseModel):
    """A state that somebody set by hand."""

    state: str
    at: str
    who: str | None


class RunResponse(BaseModel):
    """A run."""

    id: int
    key: list[str | int]
    job: NameResponse
    run_uuid: str | None
    airflow_run_id: str | None
    state: str
    execution_state: str
    started_at: str | None
    ended_at: str | None
    duration_seconds: float | None
    hostname: str | None
    override: OverrideResponse | None


class VersionResponse(BaseModel):
    """A dataset version."""

    id: int
    dataset: NameResponse
    partition: str | None
    writer_run: int | None
    content_id: str | None
    status: str
    replaces: bool
    ended_at: str | None
    first_seen_at: str | None
    verified: bool | None


class WrittenResponse(VersionResponse):
    """A version that a run wrote; `reason` says why its content is not known or not sure."""

    reason: str | None


class HiddenResponse(BaseModel):
    """The placeholder of a node that you may not see."""

    id: int
    kind: Literal["run", "version"]
    hidden: Literal[True]


class InputResponse(BaseModel):
    """A dataset that a run read, and the versions that the rule links it to."""

    dataset: NameResponse
    partition: str | None
    named_version: str | None
    verified: bool
    rule: str
    versions: list[VersionResponse | HiddenResponse]


class TryResponse(BaseModel):
    """A try of the same task instance."""

    id: int
    try_number: int
    state: str
    followed_by: str | None


class RunDetailResponse(RunResponse):
    """All that is known of a run."""

    scheduled_at: str | None
    queued_at: str | None
    synthesised: list[str]
    inputs: list[InputResponse]
    outputs: list[WrittenResponse]
    tries: list[TryResponse]
    children: list[RunResponse]
    error: Any
    manifest: dict[str, Any] | None
    dag_version_number: int | None
    libraries: int | None
    facet_names: dict[str, list[str]]
    facets: dict[str, dict[str, Any]] | None = None


class JobResponse(NameResponse):
    """A job, and how many of its runs you may see."""

    dag_ids: list[str]
    runs: int
    newest_run_at: str | None


class DatasetResponse(NameResponse):
    """A dataset, and how often the runs that you may see wrote and read it."""

    writes: int
    reads: int


class EventResponse(BaseModel):
    """An entry of the log; `raw` is the event as it was received, until it expires."""

    seq: int
    event_id: str
    time: str
    received_at: str
    kind: str
    event_type: str | None
    run: int | None
    raw: Any = None


class EdgeResponse(BaseModel):
    """An edge along the data, from `src` to `dst`."""

    src: int
    dst: int
    rule: str


class LineageResponse(BaseModel):
    """A part of the lineage graph. With `truncated` there is more than was asked for."""

    direction: str
    roots: list[int]
    runs: list[RunResponse]
    versions: list[VersionResponse]
    hidden: list[HiddenResponse]
    edges: list[EdgeResponse]
    truncated: bool


class Page(BaseModel):
    """A part of a list. `next_cursor` is where it goes on, none at the end."""

    next_cursor: str | None


class RunPageResponse(Page):
    """Runs, newest first."""

    runs: list[RunResponse]


class JobPageResponse(Page):
    """Jobs, by name."""

    jobs: list[JobResponse]


class DatasetPageResponse(Page):
    """Datasets, by name."""

    datasets: list[DatasetResponse]


class VersionPageResponse(Page):
    """Versions of a dataset, in the order in which they became known."""

    versions: list[VersionResponse]


class EventPageResponse(Page):
    """Events, in the order in which they were received."""

    events: list[EventResponse]
