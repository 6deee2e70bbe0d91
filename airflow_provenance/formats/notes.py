"""Note lines: what Airflow's hooks saw that no OpenLineage event tells, as JSON in the spool.

`capture.listener` writes them in the scheduler and the API server; ingest joins them to runs. Times
are UTC microseconds inside and ISO 8601 with a zone in the JSON.

>>> note = DagRunNote("default", "flights", "manual__1", at_us=1_000_000, state="RUNNING")
>>> encode_note(note).decode()
'{"kind":"dag_run","namespace":"default","dagId":"flights","runId":"manual__1",\
"at":"1970-01-01T00:00:01.000000Z","state":"RUNNING"}'
>>> decode_note(encode_note(note)) == note
True
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from airflow_provenance.domain.clock import format_time, parse_time
from airflow_provenance.errors import EventError

NoteState = Literal[
    "RUNNING",
    "COMPLETE",
    "FAIL",
    "ABORT",
    "SKIPPED",
    "UP_FOR_RETRY",
    "UPSTREAM_FAILED",
    "REMOVED",
]


# Mapped indexes and tries as Airflow counts them; a store keeps them in 32 bits.
SmallNumber = Annotated[int, msgspec.Meta(ge=-1, le=(1 << 31) - 1)]


class DagRunNote(msgspec.Struct, frozen=True):
    """What a hook saw of a DAG run."""

    namespace: str
    dag_id: str
    run_id: str
    at_us: int
    state: NoteState | None = None
    started_at_us: int | None = None
    ended_at_us: int | None = None
    queued_at_us: int | None = None
    synthesised: bool = False


class TaskRunNote(msgspec.Struct, frozen=True):
    """What a hook outside the task's process saw of one try of a task."""

    namespace: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    at_us: int
    state: NoteState | None = None
    started_at_us: int | None = None
    ended_at_us: int | None = None
    hostname: str | None = None
    scheduled_at_us: int | None = None
    queued_at_us: int | None = None
    synthesised: bool = False  # no hook saw it: Airflow's own record says so


class StateOverrideNote(msgspec.Struct, frozen=True):
    """Somebody set a state by hand: of one try of a task, or, without a task, of a DAG run."""

    namespace: str
    dag_id: str
    run_id: str
    at_us: int
    state: NoteState
    who: str | None = None
    task_id: str | None = None
    map_index: int = -1
    try_number: int | None = None
    synthesised: bool = False


Note = DagRunNote | TaskRunNote | StateOverrideNote


class _Wire(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The JSON of every kind, in the order its members are written."""

    kind: Literal["task_run", "dag_run", "state_override"]
    namespace: str
    dag_id: str
    run_id: str
    task_id: str | None = None
    map_index: SmallNumber | None = None
    try_number: SmallNumber | None = None
    at: str
    scheduled_at: str | None = None
    queued_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    state: NoteState | None = None
    hostname: str | None = None
    who: str | None = None
    synthesised: bool = False


_DECODER = msgspec.json.Decoder(_Wire)
# Ingest joins names by NUL into digests (`domain.identity.key_digest`).
_NAMES = ("namespace", "dag_id", "run_id", "task_id")


def encode_note(note: Note) -> bytes:
    """Return the note as one line of JSON, without a line break."""
    fields: dict[str, Any] = {
        name: getattr(note, name) for name in note.__struct_fields__ if not name.endswith("_us")
    }
    for name in ("at", "scheduled_at", "queued_at", "started_at", "ended_at"):
        fields[name] = format_time(getattr(note, f"{name}_us", None))
    if isinstance(note, StateOverrideNote) and note.task_id is None:
        fields["map_index"] = None
    return msgspec.json.encode(_Wire(kind=_kind(note), **fields))


def decode_note(payload: bytes) -> Note:
    """Return the note of a payload of the spool; unknown members are left out.

    Raises `EventError`: ``invalid_json``, ``invalid_event`` or ``no_time_zone``.
    """
    wire = _decode(payload)
    at_us = parse_time(wire.at)
    if wire.kind == "state_override":
        return _state_override(wire, at_us)
    started_at_us, ended_at_us = _optional_time(wire.started_at), _optional_time(wire.ended_at)
    queued_at_us = _optional_time(wire.queued_at)
    if wire.kind == "dag_run":
        if wire.task_id is not None:
            raise _refusal("a dag_run note must not name a task")
        return DagRunNote(
            namespace=wire.namespace,
            dag_id=wire.dag_id,
            run_id=wire.run_id,
            at_us=at_us,
            state=wire.state,
            started_at_us=started_at_us,
            ended_at_us=ended_at_us,
            queued_at_us=queued_at_us,
            synthesised=wire.synthesised,
        )
    if wire.task_id is None or wire.map_index is None or wire.try_number is None:
        raise _refusal("a task_run note needs taskId, mapIndex and tryNumber")
    return TaskRunNote(
        namespace=wire.namespace,
        dag_id=wire.dag_id,
        run_id=wire.run_id,
        task_id=wire.task_id,
        map_index=wire.map_index,
        try_number=wire.try_number,
        at_us=at_us,
        state=wire.state,
        started_at_us=started_at_us,
        ended_at_us=ended_at_us,
        hostname=wire.hostname,
        scheduled_at_us=_optional_time(wire.scheduled_at),
        queued_at_us=queued_at_us,
        synthesised=wire.synthesised,
    )


def _decode(payload: bytes) -> _Wire:
    try:
        wire = _DECODER.decode(payload)
    except msgspec.ValidationError as error:
        raise _refusal(f"not a note: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EventError("invalid_json", f"a note that is not JSON: {error}") from error
    for name in _NAMES:
        value = getattr(wire, name)
        if value == "" or "\0" in (value or ""):
            raise _refusal(f"a note with an empty {name} or a NUL in it")
    return wire


def _state_override(wire: _Wire, at_us: int) -> StateOverrideNote:
    if wire.state is None:
        raise _refusal("a state_override note needs a state")
    if wire.task_id is not None and wire.try_number is None:
        raise _refusal("a state_override note about a task needs tryNumber")
    return StateOverrideNote(
        namespace=wire.namespace,
        dag_id=wire.dag_id,
        run_id=wire.run_id,
        at_us=at_us,
        state=wire.state,
        who=wire.who,
        task_id=wire.task_id,
        map_index=-1 if wire.map_index is None else wire.map_index,
        try_number=wire.try_number if wire.task_id is not None else None,
        synthesised=wire.synthesised,
    )


def _kind(note: Note) -> Literal["task_run", "dag_run", "state_override"]:
    if isinstance(note, TaskRunNote):
        return "task_run"
    return "dag_run" if isinstance(note, DagRunNote) else "state_override"


def _optional_time(text: str | None) -> int | None:
    return None if text is None else parse_time(text)


def _refusal(text: str) -> EventError:
    return EventError("invalid_event", text)
