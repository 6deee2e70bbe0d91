"""A promise: what is promised of what, when it counts, and who is told.

`objectives` has what can be promised, `evaluate` decides; `files` reads promises from YAML and
`declare` takes them in a DAG file. All of them end here, in one shape.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla import refusals
from airflow_provenance.sla.calendar import EVERY_DAY, Calendar, Excusal, find_zone
from airflow_provenance.sla.dataset_names import dataset_name
from airflow_provenance.sla.durations import parse_duration
from airflow_provenance.sla.objectives import (
    OBJECTIVES,
    AnyObjective,
    Completeness,
    ConsecutiveMisses,
    Cost,
    DataQuality,
    Deadline,
    Duration,
    EndToEndLatency,
    Freshness,
    MissingRun,
    Objective,
    QueueLatency,
    SchemaContract,
    StartDelay,
    SuccessRatio,
    Throughput,
    Volume,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zoneinfo import ZoneInfo

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
# As OpenSLO and Kubernetes name them: a domain that may be left out, and a name.
_ANNOTATION = re.compile(
    r"([a-z0-9][a-z0-9.-]{0,252}/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", re.ASCII
)
Severity = Literal["page", "ticket"]
OnFailure = Literal["breach_now", "at_deadline", "ignore"]
RunType = Literal[
    "scheduled",
    "asset_triggered",
    "operator_triggered",
    "backfill",
    "manual",
    "asset_materialization",
]
# Those that nobody asked for by hand.
_COUNTED: tuple[RunType, ...] = ("scheduled", "asset_triggered", "operator_triggered")


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a promise is about: a DAG, one of its tasks, a dataset, or another producer's job."""

    dag: str | None = None
    task: str | None = None
    dataset: str | None = None
    job: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("dag", "dataset", "job") if getattr(self, name)]
        if len(given) != 1:
            raise PolicyError("target: give one of dag (with or without task), dataset and job")
        if self.task is not None and not (self.task and self.dag):
            raise PolicyError("target: a task needs its dag")

    @property
    def kind(self) -> Literal["dag", "task", "dataset", "job"]:
        """What it is."""
        if self.dataset is not None:
            return "dataset"
        if self.job is not None:
            return "job"
        return "dag" if self.task is None else "task"

    @property
    def dataset_name(self) -> str:
        """The dataset as OpenLineage names it; of a file's URI, ``file`` and its path."""
        name = self.dataset or ""
        return f"file/{name.removeprefix('file://')}" if name.startswith("file:///") else name

    def __str__(self) -> str:
        if self.dag is not None:
            return f"dag:{self.dag}" if self.task is None else f"task:{self.dag}.{self.task}"
        return f"{self.kind}:{self.dataset or self.job}"


_RUNS = frozenset({"dag", "task", "job"})
_DATASET = frozenset({"dataset"})
_TARGETS: dict[type[Objective], frozenset[str]] = {
    Duration: _RUNS,
    Deadline: _RUNS | _DATASET,
    StartDelay: _RUNS,
    QueueLatency: frozenset({"task", "dag"}),
    MissingRun: frozenset({"dag"}),
    Freshness: _DATASET,
    Volume: _DATASET,
    Completeness: frozenset({"task", "job", "dataset"}),
    Throughput: frozenset({"task", "job"}),
    SuccessRatio: _RUNS,
    DataQuality: _RUNS | _DATASET,
    SchemaContract: _DATASET,
    EndToEndLatency: _DATASET,
    Cost: _RUNS,
    ConsecutiveMisses: _RUNS | _DATASET,
}


class Policy(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One promise.

    Attributes:
        id: the author's name for it, unique across all sources.
        severity: ``page``: act now; ``ticket``: in working hours.
        notify: names of the routes by which people are told.
        on_failure: what a failed run means for a deadline: a breach at once, at the deadline unless
            it was run again with success by then, or nothing.
        runs: the types of run that count.
        zone: the zone of its local times; a DAG's own where it is declared in the DAG's file.
        hold: how long a breach must last before anybody is told (``for`` in files).
        expires_after: when to stop waiting for what never came.
        at_risk: how likely a breach must be for a deadline or duration to be told as at risk, as
            0.8; None: nothing is predicted.
        annotations: what other tools say of it, which nothing here reads.
    """

    id: str
    target: Target
    objective: AnyObjective
    severity: Severity = "ticket"
    owner: str | None = None
    notify: tuple[str, ...] = ()
    on_failure: OnFailure = "at_deadline"
    runs: tuple[RunType, ...] = _COUNTED
    zone: str = "UTC"
    calendar: Calendar = EVERY_DAY
    excusals: tuple[Excusal, ...] = ()
    hold: timedelta = msgspec.field(default=timedelta(0), name="for")
    expires_after: timedelta = timedelta(days=7)
    description: str = ""
    at_risk: float | None = None
    annotations: dict[str, str] = {}

    def __post_init__(self) -> None:
        if not _SLUG.fullmatch(self.id):
            raise PolicyError(f"id is {self.id!r}: use letters, digits, '.', '_' and '-'")
        find_zone(self.tz_name)
        if wrong := [name for name in self.annotations if not _ANNOTATION.fullmatch(name)]:
            raise PolicyError(f"annotations is named {wrong[0]!r}: write it as example.com/board")
        allowed = _TARGETS[type(self.objective)]
        if self.target.kind not in allowed:
            names = ", ".join(sorted(allowed))
            raise PolicyError(
                f"{self.kind} is promised of {self.target.kind}: it can be of {names}"
            )
        if not self.runs:
            raise PolicyError("runs is empty: no run would count")
        if self.hold < timedelta(0) or self.expires_after <= timedelta(0):
            raise PolicyError("for and expires_after are lengths of time above 0")
        if self.at_risk is not None:
            if not 0 < self.at_risk < 1:
                raise PolicyError(f"at_risk is {self.at_risk:g}: give a probability, such as 0.8")
            if not isinstance(self.objective, Duration | Deadline):
                raise PolicyError(f"at_risk is for deadlines and durations, not for {self.kind}")
        nested = getattr(self.objective, "of", None)
        if isinstance(nested, Objective) and self.target.kind not in _TARGETS[type(nested)]:
            raise PolicyError(f"{nested.kind} cannot be promised of {self.target.kind}")

    @property
    def kind(self) -> str:
        """The kind as REQUIREMENTS name it: ``task_duration``, ``run_deadline``, ..."""
        if isinstance(self.objective, Duration | Deadline):
            subject = {"dag": "run", "job": "run"}.get(self.target.kind, self.target.kind)
            return f"{subject}_{self.objective.kind}"
        return self.objective.kind

    @property
    def tz_name(self) -> str:
        """The zone of its local times."""
        return getattr(self.objective, "zone", None) or self.zone

    @property
    def tz(self) -> ZoneInfo:
        """The zone of its local times."""
        return find_zone(self.tz_name)

    @property
    def revision(self) -> str:
        """12 characters that change when what is promised does, and not with who is told."""
        promised = to_plain(self)
        for name in _NOT_PROMISED:
            promised.pop(name, None)
        text = json.dumps(promised, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


_NOT_PROMISED = (
    *("id", "severity", "owner", "notify", "for", "description", "excusals"),
    *("at_risk", "annotations"),
)


def to_plain(policy: Policy) -> dict[str, Any]:
    """Return a promise as JSON holds it; `from_plain` reads it back."""
    plain: dict[str, Any] = msgspec.to_builtins(policy)
    return plain


_ALIASES = {
    f"{subject}_{kind}": kind
    for kind in ("duration", "deadline")
    for subject in ("run", "task", "dataset")
}
_NAMED = re.compile(r"(?:\w+: )?(\w+) is ")  # our own errors begin with the field


class MalformedPolicyError(PolicyError):
    """A promise that cannot be read; ``path`` says where in it (``objective.at``)."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


def from_plain(plain: object) -> Policy:
    """Return the promise that a JSON or YAML object says.

    Raises:
        MalformedPolicyError: it is none; the error says where.
    """
    if not isinstance(plain, dict):
        raise MalformedPolicyError("a promise is an object with id, target and objective")
    try:
        made = dict(plain)
        for name in ("for", "expires_after"):
            _read_duration(made, name, ())
        if isinstance(made.get("objective"), dict):
            made["objective"] = _objective(made["objective"], ("objective",))
        if isinstance(made.get("target"), dict):
            made["target"] = _with_dataset(made["target"], "dataset")
        return msgspec.convert(made, Policy)
    except msgspec.ValidationError as error:
        raise _told_where(error, made) from error
    except MalformedPolicyError:
        raise
    except PolicyError as error:
        raise MalformedPolicyError(str(error)) from error


def _objective(plain: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    made = dict(plain)
    kind = made.get("kind")
    if isinstance(kind, str):
        made["kind"] = kind = _ALIASES.get(kind, kind)
    found = OBJECTIVES.get(kind) if isinstance(kind, str) else None
    if found is None:
        near, known = refusals.meant(kind, OBJECTIVES), ", ".join(OBJECTIVES)
        said = "kind is missing" if kind is None else f"kind is {kind!r}"
        raise MalformedPolicyError(f"{said}: {near}use one of {known}", (*path, "kind"))
    for name in _lengths(found):
        _read_duration(made, name, path)
    if isinstance(made.get("of"), dict):
        made["of"] = _objective(made["of"], (*path, "of"))
    return _with_dataset(made, "source")


def _with_dataset(made: dict[str, Any], name: str) -> dict[str, Any]:
    named = made.get(name)
    return {**made, name: dataset_name(named)} if isinstance(named, str) else made


@functools.cache
def _lengths(objective: type[Objective]) -> tuple[str, ...]:
    """Return which fields are lengths of time; to ask takes ten times as long as to read them."""
    fields = msgspec.structs.fields(objective)
    return tuple(one.encode_name for one in fields if timedelta in (one.type, *get_args(one.type)))


def _read_duration(made: dict[str, Any], name: str, path: tuple[str, ...]) -> None:
    value = made.get(name)
    if value is None:
        return
    if not isinstance(value, str):
        text = f"{name} is {value!r}: write a length of time with its unit, such as 45m"
        raise MalformedPolicyError(text, (*path, name))
    try:
        made[name] = parse_duration(value)
    except PolicyError as error:
        raise MalformedPolicyError(f"{name}: {error}", (*path, name)) from error


def _told_where(error: msgspec.ValidationError, plain: object) -> MalformedPolicyError:
    cause = error.__cause__
    text, steps = refusals.told(error, Policy, plain)
    text = str(cause) if isinstance(cause, PolicyError) else text
    if isinstance(cause, PolicyError) and (named := _NAMED.match(text)):
        steps = (*steps, named[1])
    return MalformedPolicyError(text, steps)


def duplicates(policies: Iterable[Policy]) -> list[str]:
    """Return the ids that more than one promise has."""
    seen: set[str] = set()
    return sorted({one.id for one in policies if one.id in seen or seen.add(one.id)})  # type: ignore[func-returns-value]


RUN_TYPES: tuple[str, ...] = get_args(RunType)
