"""OpenLineage events in, domain documents out.

`read_entry` takes one log entry as it was emitted and returns what it says. Only what rules depend
on is decoded; every facet, known or not, is carried on as the JSON it came in.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import msgspec

from airflow_provenance.domain.clock import parse_time
from airflow_provenance.domain.identity import (
    DagRunKey,
    DatasetRef,
    RunKey,
    TaskRunKey,
    WireKey,
    event_id,
)
from airflow_provenance.domain.run import Facet, Facets, Io, RunDoc, RunState, io_slot
from airflow_provenance.domain.synthesised import BEGAN, OVERRIDE
from airflow_provenance.errors import EventError
from airflow_provenance.formats import facets as our_facets
from airflow_provenance.formats.dependencies import DependencySet, split_manifest
from airflow_provenance.formats.facets import standard
from airflow_provenance.formats.notes import (
    DagRunNote,
    Note,
    NoteState,
    SmallNumber,
    StateOverrideNote,
    decode_note,
)

if TYPE_CHECKING:
    from airflow_provenance.formats.spool_line import Kind

EntryKind = Literal["run_event", "job_event", "dataset_event", "note"]
_RawFacets = dict[str, msgspec.Raw] | None


class _Run(msgspec.Struct):
    runId: str  # noqa: N815 - the standard's name
    facets: _RawFacets = None


class _Job(msgspec.Struct):
    namespace: str
    name: str
    facets: _RawFacets = None


class _Dataset(msgspec.Struct):
    namespace: str
    name: str
    facets: _RawFacets = None
    inputFacets: _RawFacets = None  # noqa: N815
    outputFacets: _RawFacets = None  # noqa: N815


class _Event(msgspec.Struct):
    eventTime: str  # noqa: N815
    producer: str
    schemaURL: str  # noqa: N815
    eventType: str | None = None  # noqa: N815
    run: _Run | None = None
    job: _Job | None = None
    dataset: _Dataset | None = None
    inputs: list[_Dataset] | None = None
    outputs: list[_Dataset] | None = None


class _AirflowDag(msgspec.Struct):
    dag_id: str


class _AirflowDagRun(msgspec.Struct):
    run_id: str


class _AirflowTask(msgspec.Struct):
    task_id: str
    upstream_task_ids: Any = None


class _AirflowTaskInstance(msgspec.Struct):
    try_number: SmallNumber
    map_index: SmallNumber | None = None


class _AirflowFacet(msgspec.Struct):
    dag: _AirflowDag
    dagRun: _AirflowDagRun  # noqa: N815
    task: _AirflowTask
    taskInstance: _AirflowTaskInstance  # noqa: N815


class _AirflowDagRunFacet(msgspec.Struct):
    dag: _AirflowDag
    dagRun: _AirflowDagRun  # noqa: N815


class _ParentRun(msgspec.Struct):
    runId: str  # noqa: N815


class _ParentJob(msgspec.Struct):
    namespace: str
    name: str


class _ParentFacet(msgspec.Struct):
    run: _ParentRun
    job: _ParentJob


class _VersionFacet(msgspec.Struct):
    datasetVersion: str  # noqa: N815


class _LifecycleFacet(msgspec.Struct):
    lifecycleStateChange: str | None = None  # noqa: N815


class _TaskFacet(msgspec.Struct, rename="camel"):
    dag_id: str
    run_id: str
    task_id: str
    map_index: SmallNumber
    try_number: SmallNumber
    io_on_task: bool = False


class _ConsumedAssetEvent(msgspec.Struct, rename="camel"):
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: SmallNumber = -1


class _RunFacet(msgspec.Struct, rename="camel"):
    started_at: str | None = None
    ended_at: str | None = None
    state: NoteState | None = None
    hostname: str | None = None
    consumed_asset_events: list[_ConsumedAssetEvent] | None = None


class _PartitionFacet(msgspec.Struct):
    key: str


class _ContentFacet(msgspec.Struct):
    verified: bool


class Entry(msgspec.Struct):
    """What one log entry says.

    Attributes:
        id: 16 bytes; see `domain.identity.event_id`.
        event_us: its time, UTC microseconds.
        key, doc: of the run it is about; None for a JobEvent and a DatasetEvent.
        digest: of the key, once ingest needed it.
        job, job_facets: of the job it names; the facets only of a JobEvent.
        datasets: every dataset it names; with facets only of a DatasetEvent.
        dependencies: the list of its manifest, which `doc` is without.
        warnings: what could not be used: facets over the size limit (left out of `doc`, whole in
            `raw`), and known facets that are not of their schema (kept as they are, not read).
    """

    id: bytes
    event_us: int
    kind: EntryKind
    raw: bytes
    event_type: str | None = None
    key: RunKey | None = None
    digest: bytes | None = None
    doc: RunDoc | None = None
    job: tuple[str, str] | None = None
    job_facets: Facets = {}
    datasets: dict[DatasetRef, Facets] = {}
    dependencies: DependencySet | None = None
    warnings: list[str] = []


_EVENTS = msgspec.json.Decoder(_Event)
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "airflow": msgspec.json.Decoder(_AirflowFacet),
    "airflowDagRun": msgspec.json.Decoder(_AirflowDagRunFacet),
    "parent": msgspec.json.Decoder(_ParentFacet),
    "version": msgspec.json.Decoder(_VersionFacet),
    "lifecycleStateChange": msgspec.json.Decoder(_LifecycleFacet),
    our_facets.TASK: msgspec.json.Decoder(_TaskFacet),
    our_facets.RUN: msgspec.json.Decoder(_RunFacet),
    our_facets.PARTITION: msgspec.json.Decoder(_PartitionFacet),
    our_facets.CONTENT: msgspec.json.Decoder(_ContentFacet),
}
_TERMINAL = {"COMPLETE": RunState.COMPLETE, "FAIL": RunState.FAIL, "ABORT": RunState.ABORT}
_EVENT_TYPES = {"START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"}
_NULL = b"null"
# A namespace and a name stand in one index entry, of which PostgreSQL takes 2,704 bytes.
_MOST_BYTES = 2000
_MOST_NAMESPACE_BYTES = 600
# How nearly every UUID and every list of task ids is written; the rest takes a slower way.
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TASK_LIST = re.compile(r"\['[^'\\]+'(?:, '[^'\\]+')*\]")


def read_entry(kind: Kind, raw: bytes, max_facet_bytes: int) -> Entry:
    """Return what an event (``E``) or a note (``N``) says; `EventError` where it cannot be used."""
    return _read_note(raw) if kind == "N" else _Reader(raw, max_facet_bytes).read()


def _text(value: str, what: str, most: int = _MOST_BYTES) -> str:
    if not value:
        raise EventError("invalid_event", f"{what} is empty")
    if "\0" in value:
        raise EventError("invalid_event", f"{what} holds a NUL character")
    # No character takes more than four bytes, so most texts need not be encoded to be measured.
    if len(value) * 4 > most and len(value.encode()) > most:
        raise EventError("invalid_event", f"{what} is longer than {most} bytes")
    return value


def _uuid(text: str, what: str) -> str:
    if _UUID.fullmatch(text):
        return text
    try:
        return str(UUID(text))
    except ValueError as error:
        raise EventError("invalid_event", f"{what} {text[:60]!r} is not a UUID") from error


def _task_ids(value: object) -> list[str]:
    """Return task ids from the list, or the printed list, that the official facet holds."""
    if isinstance(value, str):
        if value == "[]":
            return []
        if _TASK_LIST.fullmatch(value):
            return value[2:-2].split("', '")
        try:
            value = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return []  # what Python's parser raises on a text that is no list, or nested too deep
    return [str(one) for one in value] if isinstance(value, list | tuple | set) else []


class _Reader:
    """Reads one event; holds what all its parts need."""

    def __init__(self, raw: bytes, max_facet_bytes: int) -> None:
        self.raw = raw
        self.max_facet_bytes = max_facet_bytes
        self.warnings: list[str] = []
        try:
            self.event: _Event = _EVENTS.decode(raw)
        except msgspec.ValidationError as error:
            raise EventError("invalid_event", str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise EventError("invalid_json", f"not JSON: {error}") from error
        self.event_us = parse_time(self.event.eventTime)
        self.id = event_id(self.event_us, raw)

    def read(self) -> Entry:
        event = self.event
        if event.run is not None:
            return self._run_event(event.run, event)
        if event.dataset is not None:
            ref = self._ref(event.dataset)
            facets = self._facets(event.dataset.facets, "dataset")
            return self._entry("dataset_event", datasets={ref: facets})
        if event.job is None:
            raise EventError(
                "invalid_event", "neither run, job nor dataset: not an OpenLineage event"
            )
        job = self._job(event.job)
        return self._entry(
            "job_event",
            job=job,
            job_facets=self._facets(event.job.facets, "job"),
            datasets={
                self._ref(one): {} for one in [*(event.inputs or ()), *(event.outputs or ())]
            },
        )

    def _entry(self, kind: EntryKind, **parts: Any) -> Entry:
        return Entry(
            self.id,
            self.event_us,
            kind,
            self.raw,
            event_type=self.event.eventType if kind == "run_event" else None,
            warnings=self.warnings,
            **parts,
        )

    def _run_event(self, run: _Run, event: _Event) -> Entry:
        if event.job is None:
            raise EventError("invalid_event", "a run event without job")
        if event.eventType is not None and event.eventType not in _EVENT_TYPES:
            raise EventError("invalid_event", f"unknown eventType {event.eventType[:40]!r}")
        namespace, name = self._job(event.job)
        uuid = _uuid(run.runId, "runId")
        doc = RunDoc(
            namespace,
            name,
            run_uuids=[uuid],
            latest=(self.event_us, self.id, uuid),
            first_event_us=self.event_us,
            run_facets=self._facets(run.facets, "run"),
            job_facets=self._facets(event.job.facets, "job"),
            inputs=self._io(event.inputs, "inputs"),
            outputs=self._io(event.outputs, "outputs"),
        )
        if event.eventType == "START":
            doc.first_start_us = self.event_us
        key = self._read_run_facets(doc, event.eventType)
        if key is None:
            key = WireKey(namespace, name, uuid)
            if self._is_io_on_task(doc):  # or one write would be two versions
                doc.inputs, doc.outputs = {}, {}
        return self._entry(
            "run_event",
            key=key,
            doc=doc,
            job=(namespace, name),
            datasets={io.dataset: {} for io in (*doc.inputs.values(), *doc.outputs.values())},
            dependencies=self._take_dependencies(doc.run_facets),
        )

    def _read_run_facets(self, doc: RunDoc, event_type: str | None) -> RunKey | None:
        facets, at = doc.run_facets, (self.event_us, self.id)
        parent = self._decode(facets, "parent")
        if parent is not None:
            names = (
                _text(parent.job.namespace, "parent namespace"),
                _text(parent.job.name, "parent"),
            )
            doc.parent = (*at, (*names, _uuid(parent.run.runId, "parent runId")))
        task = self._decode(facets, our_facets.TASK)
        if task is not None:
            ref = (task.dag_id, task.run_id, task.task_id, task.map_index, task.try_number)
            for one in ref[:3]:
                _text(str(one), our_facets.TASK)
            doc.task = (*at, ref)
        run = self._decode(facets, our_facets.RUN)
        self._read_run_facet(doc, run)
        state = _TERMINAL.get(event_type or "")
        if state is not None:
            noted = run.state if run is not None else None
            final = RunState[noted] if noted is not None and noted != "RUNNING" else state
            doc.terminal = (self.event_us, state.rank, self.id, final, noted is not None)
            doc.first_end_us = self.event_us
        return self._airflow_key(doc, task)

    def _is_io_on_task(self, doc: RunDoc) -> bool:
        task = self._decode(doc.run_facets, our_facets.TASK) if doc.task is not None else None
        return task is not None and task.io_on_task

    def _read_run_facet(self, doc: RunDoc, run: _RunFacet | None) -> None:
        if run is None:
            return
        at = (self.event_us, self.id)
        doc.noted_start_us = parse_time(run.started_at) if run.started_at else None
        doc.noted_end_us = parse_time(run.ended_at) if run.ended_at else None
        if run.hostname:
            doc.hostname = (*at, _text(run.hostname, "hostname"))
        if run.consumed_asset_events is not None:
            doc.consumed = (
                *at,
                [
                    (source.dag_id, source.run_id, source.task_id, source.map_index)
                    for source in run.consumed_asset_events
                    if source.dag_id and source.run_id and source.task_id
                ],
            )

    def _airflow_key(self, doc: RunDoc, task: _TaskFacet | None) -> RunKey | None:
        at = (self.event_us, self.id)
        airflow = self._decode(doc.run_facets, "airflow")
        if airflow is not None:
            map_index = airflow.taskInstance.map_index
            key = TaskRunKey(
                doc.namespace,
                _text(airflow.dag.dag_id, "dag_id"),
                _text(airflow.dagRun.run_id, "run_id"),
                _text(airflow.task.task_id, "task_id"),
                -1 if map_index is None else map_index,
                airflow.taskInstance.try_number,
            )
            if key.job_name == doc.job:
                doc.upstream = (*at, _task_ids(airflow.task.upstream_task_ids))
                return key
        dag_run = self._decode(doc.run_facets, "airflowDagRun")
        if dag_run is not None and dag_run.dag.dag_id == doc.job:
            run_id = _text(dag_run.dagRun.run_id, "run_id")
            return DagRunKey(doc.namespace, doc.job, run_id)
        if task is not None:
            key = TaskRunKey(
                doc.namespace,
                task.dag_id,
                task.run_id,
                task.task_id,
                task.map_index,
                task.try_number,
            )
            if key.job_name == doc.job:
                return key
        return None

    def _job(self, job: _Job) -> tuple[str, str]:
        namespace = _text(job.namespace, "job namespace", _MOST_NAMESPACE_BYTES)
        return namespace, _text(job.name, "job name")

    def _ref(self, dataset: _Dataset) -> DatasetRef:
        return DatasetRef(
            _text(dataset.namespace, "dataset namespace", _MOST_NAMESPACE_BYTES),
            _text(dataset.name, "dataset name"),
        )

    def _facets(self, raw: _RawFacets, where: str) -> Facets:
        if not raw:
            return {}
        found: Facets = {}
        event_us, identity = self.event_us, self.id
        for name, body in raw.items():
            facet = bytes(body)
            if len(facet) > self.max_facet_bytes:
                self.warnings.append(f"{where} facet {name} left out: {len(facet)} bytes")
            elif facet != _NULL:
                found[name] = (event_us, identity, facet)
        return found

    def _take_dependencies(self, facets: Facets) -> DependencySet | None:
        """Take the list out of the manifest; one that is not what its hash says stays in it."""
        facet = facets.get(our_facets.MANIFEST)
        if facet is None:
            return None
        try:
            split = split_manifest(facet[2])
        except ValueError as error:
            self.warnings.append(f"facet {our_facets.MANIFEST}: its list is not read: {error}")
            return None
        if split is None:
            return None
        facets[our_facets.MANIFEST] = (*facet[:2], split[0])
        return split[1]

    def _decode(self, facets: Facets, name: str) -> Any:
        """Return a known facet; one that is not of its schema is kept but not read."""
        facet: Facet | None = facets.get(name)
        if facet is None:
            return None
        try:
            return _DECODERS[name].decode(facet[2])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.warnings.append(f"facet {name} not read: {error}")
            return None

    def _io(self, datasets: list[_Dataset] | None, side: str) -> dict[str, Io]:
        found: dict[str, Io] = {}
        for dataset in datasets or ():
            ref = self._ref(dataset)
            facets = self._facets(dataset.facets, side)
            role = dataset.inputFacets if side == "inputs" else dataset.outputFacets
            partition = self._decode(facets, our_facets.PARTITION) if facets else None
            io = Io(
                ref,
                _text(partition.key, "partition key") if partition else None,
                facets,
                self._facets(role, side),
            )
            if facets:
                self._read_dataset_facets(io)
            found.setdefault(io_slot(io.dataset, io.partition), io)
        return found

    def _read_dataset_facets(self, io: Io) -> None:
        at = (self.event_us, self.id)
        version = self._decode(io.facets, "version")
        if version is not None:
            io.content_id = (*at, _text(version.datasetVersion, "datasetVersion"))
        lifecycle = self._decode(io.facets, "lifecycleStateChange")
        if lifecycle is not None:
            io.replaces = (*at, lifecycle.lifecycleStateChange in standard.REPLACING)
        content = self._decode(io.facets, our_facets.CONTENT)
        if content is not None:
            io.verified = (*at, content.verified)


def _read_note(raw: bytes) -> Entry:
    note = decode_note(raw)
    identity = event_id(note.at_us, raw)
    at = (note.at_us, identity)
    key: RunKey
    if isinstance(note, DagRunNote) or note.task_id is None:
        key = DagRunKey(note.namespace, note.dag_id, note.run_id)
    else:
        key = TaskRunKey(
            note.namespace,
            note.dag_id,
            note.run_id,
            note.task_id,
            note.map_index,
            note.try_number or 0,
        )
    doc = RunDoc(note.namespace, key.job_name, first_note_us=note.at_us)
    state = RunState[note.state] if note.state else None
    if note.synthesised:
        doc.synthesised = {name: (*at, value) for name, value in _told(note).items()}
    elif isinstance(note, StateOverrideNote):
        who = _text(note.who, "who of a note") if note.who else None
        doc.override = (*at, RunState[note.state], who)
    else:
        doc.noted_start_us, doc.noted_end_us = note.started_at_us, note.ended_at_us
        doc.noted_queued_us = note.queued_at_us
        doc.noted_scheduled_us = getattr(note, "scheduled_at_us", None)
        if state is not None and state.is_done:
            end_us = note.at_us if note.ended_at_us is None else note.ended_at_us
            doc.terminal = (end_us, state.rank, identity, state, True)
            doc.first_end_us = end_us
        hostname = None if isinstance(note, DagRunNote) else note.hostname
        if hostname:
            doc.hostname = (*at, _text(hostname, "hostname"))
    return Entry(identity, note.at_us, "note", raw, key=key, doc=doc, job=(note.namespace, doc.job))


def _told(note: Note) -> dict[str, int | str]:
    """Return what a note tells of Airflow's own record, by the names of `domain.synthesised`."""
    state = RunState[note.state] if note.state else RunState.RUNNING
    if isinstance(note, StateOverrideNote):
        return {OVERRIDE: int(state)}
    hostname = None if isinstance(note, DagRunNote) else note.hostname
    told: dict[str, int | str | None] = {
        "state": int(state) if state.is_done else None,
        BEGAN: note.at_us if note.state == "RUNNING" else None,
        "started_at": note.started_at_us,
        "ended_at": note.ended_at_us,
        "scheduled_at": getattr(note, "scheduled_at_us", None),
        "queued_at": note.queued_at_us,
        "hostname": _text(hostname, "hostname") if hostname else None,
    }
    return {name: value for name, value in told.items() if value is not None}
