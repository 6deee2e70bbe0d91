"""What `capture.listener` saw of the task this process runs, for `transport` to add to its events.

Held in a module variable: it is there in a fork and in a thread of the task's process alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provenance.emit.observed import Observations

if TYPE_CHECKING:
    from airflow_provenance.domain.identity import DatasetRef, TaskRef
    from airflow_provenance.emit.observed import Structure
    from airflow_provenance.formats.notes import NoteState


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a dataset as it was seen.

    Attributes:
        is_verified: whether this is what the task read or wrote.
        digest: its SHA-256 in hexadecimal, or None where ``reason`` says why not.
        structure: what its bytes mean, for a file of a known format, or a table's columns and rows.
        algorithm: of the digest; ``sha256-rows`` for a table (see `capture.tables`).
    """

    is_verified: bool
    digest: str | None = None
    size_bytes: int | None = None
    modified_at_us: int | None = None
    reason: str | None = None
    structure: Structure | None = None
    algorithm: str = "sha256"


@dataclass(frozen=True, slots=True)
class Written:
    """What the SQL of a task did to a table.

    Attributes:
        rows: how many it inserted or changed, where the database told.
        change: OpenLineage's lifecycleStateChange; None where rows were there, and stay.
        column_lineage: the facet, where it is known.
    """

    rows: int | None = None
    change: str | None = None
    column_lineage: dict[str, Any] | None = None


@dataclass(slots=True)
class ManifestNotes:
    """What made a task run what it is, in groups; see `capture.manifest`.

    Attributes:
        absent: for what is not known, or not whole, by its path: the reason.
        dependencies: ``name==version`` of everything that is installed.
    """

    code: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    placement: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()


@dataclass(slots=True)
class TaskRunNotes:
    """What is known of one try of a task, so far."""

    ref: TaskRef
    started_at_us: int | None = None
    ended_at_us: int | None = None
    state: NoteState = "RUNNING"
    hostname: str | None = None
    observed: Observations = field(default_factory=Observations)
    consumed_asset_events: list[dict[str, Any]] | None = None
    inputs: dict[DatasetRef, Content] = field(default_factory=dict)
    outputs: dict[DatasetRef, Content] = field(default_factory=dict)
    written: dict[DatasetRef, Written] = field(default_factory=dict)
    not_datasets: set[DatasetRef] = field(default_factory=set)  # temporary tables, functions
    manifest: ManifestNotes | None = field(default=None, compare=False)

    @property
    def job_name(self) -> str:
        """The OpenLineage job name Airflow's provider gives the task."""
        return f"{self.ref.dag_id}.{self.ref.task_id}"


_current: TaskRunNotes | None = None


def current() -> TaskRunNotes | None:
    """Return the notes of the task this process runs, or None outside tasks."""
    return _current


def begin(notes: TaskRunNotes) -> None:
    """Take these notes for what happens from now on."""
    global _current
    _current = notes


def clear() -> None:
    """Forget the task: what happens from now on is not its doing."""
    global _current
    _current = None
