"""What `capture.listener` saw of the task this process runs, for `transport` to add to its events.

Held in a module variable: it is there in a fork and in a thread of the task's process alike.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provenance.domain.granularity import Looks, Policy
from airflow_provenance.emit.observed import Observations

if TYPE_CHECKING:
    from airflow_provenance.domain.identity import DatasetRef, TaskRef
    from airflow_provenance.emit.observed import Structure
    from airflow_provenance.emit.redact import Redactor
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


class Asked(Protocol):
    """A question that is answered beside the task."""

    def is_answered(self) -> bool:
        """Whether `answer` need not wait."""

    def answer(self) -> tuple[dict[str, Any], str | None]:
        """Return what is known, and for what is not, why; the same in every fork."""


@dataclass(slots=True)
class ManifestNotes:
    """What made a task run what it is, in groups; see `capture.manifest`.

    Attributes:
        absent: for what is not known, or not whole, by its path: the reason.
        dependencies: ``name==version`` of everything that is installed.
        removed: how many secrets and values are not in it, by the rules of `redact`.
        git: the question for the commit, until `settle`.
        redactor: the rules as they are set when the task begins.
    """

    code: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    placement: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    removed: Counter[str] = field(default_factory=Counter)
    git: Asked | None = None
    redactor: Redactor | None = None

    def settle(self, *, wait: bool = True) -> None:
        """Put in what was asked for beside the task, in this process; without `wait`, if known."""
        if (asked := self.git) is None or not (wait or asked.is_answered()):
            return
        known, reason = asked.answer()
        if known:
            self.code["git"] = known
        if reason is not None:
            self.absent["code.git"] = reason
        self.git = None


@dataclass(slots=True)
class AssetNotes:
    """The Airflow asset behind a dataset, and what its events of this run say.

    Attributes:
        extra: what the task, or for an input the writing task, told Airflow with the event.
        aliases: through which it was written.
    """

    name: str
    uri: str
    extra: dict[str, Any] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)

    def add(self, extra: dict[str, Any], alias: str | None = None) -> None:
        """Add what one event says."""
        self.extra |= extra
        if alias is not None and alias not in self.aliases:
            self.aliases.append(alias)


@dataclass(frozen=True, slots=True)
class Links:
    """What a try follows.

    Attributes:
        previous_try: the try before this one: its runId and its number.
        is_rerun: whether somebody cleared the task since, so that this is no retry.
        upstream_jobs: of the tasks that come before it in its DAG.
        asset_jobs: of the tasks whose asset events triggered the DAG run.
        trigger_rule: when, by the state of the tasks before it, the task runs.
    """

    previous_try: tuple[str, int] | None = None
    is_rerun: bool = False
    upstream_jobs: tuple[str, ...] = ()
    asset_jobs: tuple[str, ...] = ()
    trigger_rule: str | None = None


@dataclass(slots=True)
class TaskRunNotes:
    """What is known of one try of a task, so far.

    Attributes:
        asset_inputs, asset_outputs: datasets that were declared or collected; with the Airflow
            asset behind them, if there is one.
        spooled_at_begin, spooled_at_end: bytes in the spool before the first event of the task, and
            before its last; None until then.
    """

    ref: TaskRef
    started_at_us: int | None = None
    ended_at_us: int | None = None
    state: NoteState = "RUNNING"
    hostname: str | None = None
    observed: Observations = field(default_factory=Observations)
    consumed_asset_events: list[dict[str, Any]] | None = None
    links: Links = field(default_factory=Links)
    asset_inputs: dict[DatasetRef, AssetNotes | None] = field(default_factory=dict)
    asset_outputs: dict[DatasetRef, AssetNotes | None] = field(default_factory=dict)
    inputs: dict[DatasetRef, Content] = field(default_factory=dict)
    outputs: dict[DatasetRef, Content] = field(default_factory=dict)
    written: dict[DatasetRef, Written] = field(default_factory=dict)
    not_datasets: set[DatasetRef] = field(default_factory=set)  # temporary tables, functions
    manifest: ManifestNotes | None = field(default=None, compare=False)
    policy: Policy = field(default_factory=Policy)
    spooled_at_begin: int | None = field(default=None, compare=False)
    spooled_at_end: int | None = field(default=None, compare=False)

    @property
    def granularity(self) -> Looks:
        """How closely the task's data may be looked at."""
        return Looks(self.ref.dag_id, self.policy)

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
