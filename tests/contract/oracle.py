"""The facts of a set of log entries, derived by brute force: what every store must agree with.

Clarity over speed. Nothing is kept between calls, every rule looks at the whole set, and the code
is in the order of the rules: entries, run keys, run facts, inputs and outputs, versions, append
edges, read links (rules 1 to 5), what was installed, the dump. It shares no code with ingest but
the run keys, the event ids and the reading of times.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from airflow_provenance.domain.clock import parse_time
from airflow_provenance.domain.identity import (
    DagRunKey,
    DatasetRef,
    RunKey,
    TaskRunKey,
    WireKey,
    event_id,
    key_digest,
    key_kind,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]
LogEntry = tuple[Literal["E", "N"], bytes]

_EVENT_RANKS = {"FAIL": 2, "ABORT": 1, "COMPLETE": 0}
_NOTE_RANKS = {
    "FAIL": 2,
    "UP_FOR_RETRY": 2,
    "UPSTREAM_FAILED": 2,
    "ABORT": 1,
    "REMOVED": 1,
    "COMPLETE": 0,
    "SKIPPED": 0,
}
_ENDED_BEFORE_A_RETRY = {"UP_FOR_RETRY", "FAIL", "ABORT", "RUNNING", "UPSTREAM_FAILED"}
_WROTE_NOTHING = {"SKIPPED", "UPSTREAM_FAILED", "REMOVED"}
_REPLACING = {"OVERWRITE", "CREATE", "TRUNCATE"}


def derive(entries: Iterable[LogEntry]) -> Json:
    """Return the dump of the facts of a set of valid entries, in any order, with repetitions."""
    log = [Entry.read(kind, raw) for kind, raw in set(entries)]
    runs = _derive_runs(log)
    versions = [version for run in runs for version in run.versions]
    links = [link for run in runs for link in _derive_links(run, runs, versions)]
    retry_of, superseded_by = _derive_tries(runs)
    return {
        "jobs": _sorted({tuple(job) for entry in log for job in entry.jobs}),
        "datasets": _sorted({tuple(ref) for entry in log for ref in entry.datasets}),
        "dependencies": _derive_dependencies(log),
        "runs": _sorted(_dump_run(run, retry_of, superseded_by) for run in runs),
        "versions": _sorted([*map(_dump_written, versions), *_dump_observed(links)]),
        "links": _sorted(map(_dump_link, links)),
        "appends": _sorted(
            _dump_append(v, w) for v in versions for w in _predecessors(v, versions)
        ),
    }


# ---- Entries ------------------------------------------------------------------------------------


def _facets(holder: Json) -> Json:
    """Return the facets of a run or dataset; one that is JSON null is as if absent."""
    facets = holder.get("facets") or {}
    return {name: facet for name, facet in facets.items() if facet is not None}


@dataclass(frozen=True, eq=False)
class Entry:
    """One event or note. Of two, the later is the one with the greater `order`."""

    is_event: bool
    at: int
    id: bytes
    body: Json

    @classmethod
    def read(cls, kind: str, raw: bytes) -> Entry:
        body = json.loads(raw)
        at = parse_time(body["eventTime" if kind == "E" else "at"])
        return cls(kind == "E", at, event_id(at, raw), body)

    @property
    def order(self) -> tuple[int, bytes]:
        return self.at, self.id

    @property
    def is_run_event(self) -> bool:
        return self.is_event and "run" in self.body

    @property
    def event_type(self) -> str | None:
        return self.body.get("eventType")

    @property
    def run_facets(self) -> Json:
        return _facets(self.body["run"]) if self.is_run_event else {}

    @property
    def noted(self) -> Json:
        """What Airflow said of the run: the facet of ours in an event, or the note itself."""
        return self.run_facets.get("airflowProvenance_run", {}) if self.is_event else self.body

    @property
    def is_override(self) -> bool:
        return not self.is_event and self.body["kind"] == "state_override"

    @property
    def is_synthesised(self) -> bool:
        """Whether no hook saw it: Airflow's own record says so."""
        return not self.is_event and self.body.get("synthesised", False)

    @property
    def wire_key(self) -> WireKey:
        job = self.body["job"]
        return WireKey(job["namespace"], job["name"], self.body["run"]["runId"].lower())

    @cached_property
    def natural_key(self) -> TaskRunKey | DagRunKey | None:
        """Run keys: the task or DAG run the entry names, None when it names none."""
        if not self.is_event:
            return _key_of_note(self.body)
        return _official_task_key(self) or _our_task_key(self) or _dag_run_key(self)

    @property
    def jobs(self) -> list[tuple[str, str]]:
        """Jobs: of run events, job events and notes. A parent facet names no job of ours."""
        if not self.is_event:
            assert self.natural_key
            return [(self.natural_key.namespace, self.natural_key.job_name)]
        job = self.body.get("job")
        return [(job["namespace"], job["name"])] if job else []

    def listed(self, direction: str) -> list[Json]:
        """Inputs or outputs: none of an event whose task's own events have them all."""
        if self.is_run_event and self.natural_key is None:
            facet = self.run_facets.get("airflowProvenance_task") or {}
            if facet.get("ioOnTask"):
                return []
        return self.body.get(direction) or []

    @property
    def datasets(self) -> list[DatasetRef]:
        """Datasets: every one that any event names, a job event's inputs and outputs too."""
        if not self.is_event:
            return []
        named = [*self.listed("inputs"), *self.listed("outputs")]
        if "dataset" in self.body:
            named.append(self.body["dataset"])
        return [_dataset_ref(item) for item in named]


def _dataset_ref(item: Json) -> DatasetRef:
    return DatasetRef(item["namespace"], item["name"])


def _latest(entries: Iterable[Entry]) -> Entry | None:
    return max(entries, key=lambda entry: entry.order, default=None)


# ---- Run keys -----------------------------------------------------------------------------------


def _key_of_note(note: Json) -> TaskRunKey | DagRunKey:
    dag_run = DagRunKey(note["namespace"], note["dagId"], note["runId"])
    if "taskId" not in note:
        return dag_run
    return TaskRunKey(*dag_run, note["taskId"], note["mapIndex"], note["tryNumber"])


def _official_task_key(event: Entry) -> TaskRunKey | None:
    facet = event.run_facets.get("airflow")
    if not event.is_run_event or facet is None:
        return None
    instance = facet["taskInstance"]
    key = TaskRunKey(
        event.body["job"]["namespace"],
        facet["dag"]["dag_id"],
        facet["dagRun"]["run_id"],
        facet["task"]["task_id"],
        instance.get("map_index", -1),
        instance["try_number"],
    )
    return key if event.body["job"]["name"] == key.job_name else None


def _task_that_emitted(event: Entry) -> TaskRunKey | None:
    """Return the task of `airflowProvenance_task`: the process that emitted the event."""
    facet = event.run_facets.get("airflowProvenance_task")
    if facet is None:
        return None
    return TaskRunKey(
        event.body["job"]["namespace"],
        facet["dagId"],
        facet["runId"],
        facet["taskId"],
        facet["mapIndex"],
        facet["tryNumber"],
    )


def _our_task_key(event: Entry) -> TaskRunKey | None:
    key = _task_that_emitted(event)
    return key if key and event.body["job"]["name"] == key.job_name else None


def _dag_run_key(event: Entry) -> DagRunKey | None:
    facet = event.run_facets.get("airflowDagRun")
    if facet is None:
        return None
    key = DagRunKey(
        event.body["job"]["namespace"], facet["dag"]["dag_id"], facet["dagRun"]["run_id"]
    )
    return key if event.body["job"]["name"] == key.job_name else None


def _derive_runs(log: list[Entry]) -> list[Run]:
    """Return every run with its own entries and those it absorbs."""
    # Named tuples of one length are equal whatever their class: the kind keeps a DAG run and a
    # wire run apart whose run_id and runId are the same text.
    runs: dict[tuple[str, RunKey], Run] = {}

    def run(key: RunKey) -> Run:
        return runs.setdefault((key_kind(key), key), Run(key))

    for entry in log:
        if entry.natural_key:
            run(entry.natural_key).own.append(entry)
    for entry in log:
        if entry.is_run_event and not entry.natural_key:
            natural = _natural_keys_on_the_wire(entry.wire_key, log)
            if len(natural) == 1:
                run(natural[0]).absorbed.append(entry)
            else:
                run(entry.wire_key).own.append(entry)
    return list(runs.values())


def _natural_keys_on_the_wire(wire: WireKey, log: list[Entry]) -> list[TaskRunKey | DagRunKey]:
    """Return K(W): the task and DAG run keys that events with the wire key W have."""
    found: dict[tuple[str, RunKey], TaskRunKey | DagRunKey] = {}
    for entry in log:
        if entry.is_run_event and entry.natural_key and entry.wire_key == wire:
            found[key_kind(entry.natural_key), entry.natural_key] = entry.natural_key
    return list(found.values())


# ---- Run facts ----------------------------------------------------------------------------------


class Terminal(NamedTuple):
    """One thing that says how a run ended; the greatest wins."""

    at: int
    rank: int
    id: bytes
    state: str
    # The event's own `airflowProvenance_run.state` said it, not the event's type.
    is_noted: bool


class Flow(NamedTuple):
    """Where in a DAG run the work was done."""

    dag_run: DagRunKey
    task_id: str
    map_index: int
    try_number: int


def _terminal(entry: Entry) -> Terminal | None:
    """Terminals: a COMPLETE, FAIL or ABORT event, or a note of a run that is not running."""
    if entry.is_override or entry.is_synthesised:
        return None
    noted = entry.noted.get("state")
    has_ended = noted is not None and noted != "RUNNING"
    if entry.is_event:
        if entry.event_type not in _EVENT_RANKS:
            return None
        rank = _EVENT_RANKS[entry.event_type]
        return Terminal(
            entry.at, rank, entry.id, noted if has_ended else entry.event_type, has_ended
        )
    if not has_ended:
        return None
    ended_at = entry.body.get("endedAt")
    at = entry.at if ended_at is None else parse_time(ended_at)
    return Terminal(at, _NOTE_RANKS[noted], entry.id, noted, is_noted=True)


class Run:
    """A run, with the facts over its own entries and those it absorbs."""

    def __init__(self, key: RunKey) -> None:
        self.key = key
        self.own: list[Entry] = []
        self.absorbed: list[Entry] = []

    @cached_property
    def entries(self) -> list[Entry]:
        return sorted(self.own + self.absorbed, key=lambda entry: entry.order)

    @cached_property
    def events(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.is_event]

    @property
    def namespace(self) -> str:
        return self.key.namespace

    @property
    def job(self) -> list[str]:
        name = self.key.job if isinstance(self.key, WireKey) else self.key.job_name
        return [self.key.namespace, name]

    @property
    def run_uuid(self) -> str | None:
        latest = _latest(self.events)
        return latest.wire_key.run_uuid if latest else None

    def _noted_times(self, field: str) -> list[int]:
        values = [entry.noted.get(field) for entry in self.said if not entry.is_override]
        return [parse_time(value) for value in values if value is not None]

    @property
    def said(self) -> list[Entry]:
        """What events and hooks said."""
        return [entry for entry in self.entries if not entry.is_synthesised]

    def _recorded(self, field: str) -> Any:
        """What Airflow's own record says, as it was read last by somebody who asked for it."""
        asked = [
            entry.body[field]
            for entry in self.entries
            if entry.is_synthesised
            and not entry.is_override
            and entry.body.get(field) not in (None, "RUNNING" if field == "state" else None)
        ]
        return asked[-1] if asked else None

    def _recorded_times(self, field: str) -> list[int]:
        recorded = self._recorded(field)
        return [] if recorded is None else [parse_time(recorded)]

    @cached_property
    def started_at(self) -> int | None:
        starts = [event.at for event in self.events if event.event_type == "START"]
        noted = self._recorded_times("startedAt") or self._noted_times("startedAt")
        return min(noted or starts, default=None)

    @property
    def began_at(self) -> int | None:
        """When its work began, as the task's own process was told."""
        starts = [event.at for event in self.events if event.event_type == "START"]
        noted = self._noted_times("startedAt") or self._recorded_times("startedAt")
        return min(noted or starts, default=None)

    @cached_property
    def ended_at(self) -> int | None:
        ends = [terminal.at for terminal in self.terminals]
        noted = self._recorded_times("endedAt") or self._noted_times("endedAt")
        ended = min(noted or ends, default=None)
        if ended is None and self.override and self.override.body["state"] != "RUNNING":
            return self.override.at
        return ended

    @property
    def as_of(self) -> int:
        if self.began_at is not None:
            return self.began_at
        return min(entry.at for entry in self.events or self.entries)

    @property
    def terminals(self) -> list[Terminal]:
        return [terminal for entry in self.entries if (terminal := _terminal(entry))]

    @property
    def winner(self) -> Terminal | None:
        return max(self.terminals, default=None)

    @cached_property
    def override(self) -> Entry | None:
        """The last change by hand; one that only the record tells, where it says another state."""
        told = self._told_override
        recorded = _latest(
            entry for entry in self.entries if entry.is_override and entry.is_synthesised
        )
        if (
            recorded
            and recorded.body["state"] != self._told_state
            and (told is None or recorded.at > told.at)
        ):
            return recorded
        return told

    @property
    def _told_override(self) -> Entry | None:
        return _latest(entry for entry in self.said if entry.is_override)

    @property
    def _told_state(self) -> str:
        told = self._told_override
        if told and (self.winner is None or told.at >= self.winner.at):
            return told.body["state"]
        return self.winner.state if self.winner else self._recorded("state") or "RUNNING"

    @property
    def is_overridden(self) -> bool:
        """Whether the override makes the state: it was made when or after the run ended."""
        if self.override is None:
            return False
        if self.override.is_synthesised:
            return True
        return self.winner is None or self.override.at >= self.winner.at

    @cached_property
    def state(self) -> str:
        if self.override and self.is_overridden:
            return self.override.body["state"]
        return self._told_state

    @cached_property
    def execution_state(self) -> str:
        """How the work itself ended: a change made by hand does not change what was written."""
        for entries in (self.own, self.absorbed):
            terminals = [terminal for entry in entries if (terminal := _terminal(entry))]
            if terminals:
                return max(terminals).state
        return self._recorded("state") or "RUNNING"

    @property
    def hostname(self) -> str | None:
        # A DAG run has no host: a note of one cannot name any.
        named = [
            entry
            for entry in self.said
            if entry.noted.get("hostname") is not None and entry.body.get("kind") != "dag_run"
        ]
        if named:
            return named[-1].noted["hostname"]
        is_task = isinstance(self.key, TaskRunKey)
        return self._recorded("hostname") if is_task else None

    @cached_property
    def emitting_task(self) -> TaskRunKey | None:
        """The task whose process emitted a wire run's events (the latest that says so)."""
        if not isinstance(self.key, WireKey):
            return None
        tasks = [task for event in self.events if (task := _task_that_emitted(event))]
        return tasks[-1] if tasks else None

    @property
    def parent(self) -> RunKey | None:
        if isinstance(self.key, TaskRunKey):
            return self.key.dag_run
        if isinstance(self.key, DagRunKey):
            return None
        if self.emitting_task:
            return self.emitting_task
        parents = [
            event.run_facets["parent"] for event in self.events if "parent" in event.run_facets
        ]
        if not parents:
            return None
        job, run = parents[-1]["job"], parents[-1]["run"]
        return WireKey(job["namespace"], job["name"], run["runId"].lower())

    @cached_property
    def flow(self) -> Flow | None:
        task = self.key if isinstance(self.key, TaskRunKey) else self.emitting_task
        return Flow(task.dag_run, task.task_id, task.map_index, task.try_number) if task else None

    @property
    def upstream_task_ids(self) -> set[str]:
        """The official facet's list, which comes as the repr of a Python list."""
        facets = [e.run_facets["airflow"] for e in self.events if "airflow" in e.run_facets]
        if not isinstance(self.key, TaskRunKey) or not facets:
            return set()
        listed = facets[-1]["task"].get("upstream_task_ids") or []
        return set(ast.literal_eval(listed) if isinstance(listed, str) else listed)

    @property
    def consumed(self) -> list[Json]:
        noted = [event.noted.get("consumedAssetEvents") for event in self.events]
        listed = [events for events in noted if events is not None]
        return listed[-1] if listed else []

    @property
    def is_final_failure(self) -> bool:
        """A FAIL that was noted as final (UP_FOR_RETRY is the other one), or set by hand."""
        if self.state != "FAIL":
            return False
        return self.is_overridden or bool(self.winner and self.winner.is_noted)

    @cached_property
    def inputs(self) -> dict[Place, Json]:
        return _merged(self.events, "inputs")

    @cached_property
    def outputs(self) -> dict[Place, Json]:
        return _merged(self.events, "outputs")

    @cached_property
    def versions(self) -> list[Version]:
        """Every output is a version, unless the run wrote nothing (status void)."""
        written = [Version(self, *place, facets) for place, facets in self.outputs.items()]
        return [version for version in written if version.status != "void"]


Tries = dict[TaskRunKey, TaskRunKey]


def _derive_tries(runs: list[Run]) -> tuple[Tries, Tries]:
    """Return retry_of and superseded_by: each try of a task instance with the next one there is."""
    retry_of: Tries = {}
    superseded_by: Tries = {}
    tasks = {run.key: run for run in runs if isinstance(run.key, TaskRunKey)}
    for key, run in tasks.items():
        later = [k for k in tasks if k[:-1] == key[:-1] and k.try_number > key.try_number]
        if not later:
            continue
        following = min(later, key=lambda k: k.try_number)
        if run.state in _ENDED_BEFORE_A_RETRY and not run.is_final_failure:
            retry_of[following] = key
        else:
            superseded_by[key] = following
    return retry_of, superseded_by


# ---- Inputs and outputs of a run ----------------------------------------------------------------

# A dataset and a partition key or None.
Place = tuple[DatasetRef, str | None]


def _merged(events: list[Entry], direction: str) -> dict[Place, Json]:
    """Return the datasets of a run in one direction; of two facets of one name the later wins."""
    merged: dict[Place, Json] = {}
    for event in events:  # oldest first
        for item in event.listed(direction):
            facets = _facets(item)
            partition = facets.get("airflowProvenance_partition", {}).get("key")
            merged.setdefault((_dataset_ref(item), partition), {}).update(facets)
    with_partition = {dataset for dataset, partition in merged if partition is not None}
    return {
        (dataset, partition): facets
        for (dataset, partition), facets in merged.items()
        if partition is not None or dataset not in with_partition
    }


def _content_id(facets: Json) -> str | None:
    return facets.get("version", {}).get("datasetVersion")


# ---- Versions -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Version:
    """What one run wrote to one dataset and partition."""

    writer: Run
    dataset: DatasetRef
    partition: str | None
    facets: Json

    @cached_property
    def status(self) -> str:
        if "COMPLETE" in {self.writer.execution_state, self.writer.state}:
            return "good"
        if self.writer.state in _WROTE_NOTHING:
            return "void"
        return "open" if self.writer.state == "RUNNING" else "suspect"

    @property
    def content_id(self) -> str | None:
        return _content_id(self.facets)

    @property
    def replaces(self) -> bool:
        change = self.facets.get("lifecycleStateChange", {}).get("lifecycleStateChange")
        return change in _REPLACING

    @cached_property
    def ended(self) -> int | None:
        """When the write ended; one that is open has not."""
        return None if self.status == "open" else self.writer.ended_at

    @cached_property
    def order(self) -> tuple[int, bytes, str]:
        """Order of versions. One run's versions differ only by partition: None, then by text."""
        assert self.ended is not None, "an open version has no place in the order"
        return self.ended, key_digest(self.writer.key), self.partition or ""

    @property
    def group(self) -> object:
        """The task of the DAG run whose mapped instances wrote together, else the run itself."""
        flow = self.writer.flow
        return (flow.dag_run, flow.task_id) if flow else self.writer

    @property
    def member(self) -> object:
        flow = self.writer.flow
        return tuple(self.writer.job), flow.map_index if flow else None


def _newest(versions: list[Version]) -> Version:
    return max(versions, key=lambda version: version.order)


def _latest_members(of: Version, among: list[Version]) -> list[Version]:
    """Return the newest version of each member and partition of a version's group."""
    latest: dict[object, Version] = {}
    for version in sorted(among, key=lambda version: version.order):
        if version.group == of.group:
            latest[version.member, version.partition] = version
    return list(latest.values())


# ---- Append edges -------------------------------------------------------------------------------


def _predecessors(version: Version, versions: list[Version]) -> list[Version]:
    """Return what a write that does not replace was added to."""
    if version.replaces or version.status not in {"good", "suspect"}:
        return []
    candidates = [
        other
        for other in versions
        if other.status == "good"
        and (other.dataset, other.partition) == (version.dataset, version.partition)
        and other.writer is not version.writer
        and other.order < version.order
        # Mapped siblings write side by side, not one onto the other.
        and not (other.group == version.group and other.member != version.member)
    ]
    if not candidates:
        return []
    newest = _newest(candidates)
    if newest.group == version.group:
        return [newest]
    return _latest_members(newest, candidates)


# ---- Read links ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Read:
    """An input of a run: what it read, and what is needed to find the version."""

    reader: Run
    dataset: DatasetRef
    partition: str | None
    named: str | None
    is_verified: bool
    allowed: list[Version]

    @property
    def good(self) -> list[Version]:
        return [version for version in self.allowed if version.status == "good"]

    def ended_before(self, versions: list[Version]) -> list[Version]:
        return [v for v in versions if v.ended is not None and v.ended <= self.reader.as_of]


class Link(NamedTuple):
    """A read with one version it is linked to; None stands for an observed version."""

    read: Read
    version: Version | None
    rule: str


def _derive_links(run: Run, runs: list[Run], versions: list[Version]) -> list[Link]:
    links: list[Link] = []
    for (dataset, partition), facets in run.inputs.items():
        allowed = [
            version
            for version in versions
            if version.dataset == dataset
            and version.writer is not run
            and (partition is None or version.partition in {partition, None})
        ]
        is_verified = facets.get("airflowProvenance_content", {}).get("verified") is not False
        read = Read(run, dataset, partition, _content_id(facets), is_verified, allowed)
        rule, found = _first_that_applies(read, runs)
        links += [Link(read, version, rule) for version in found]
    return links


def _first_that_applies(read: Read, runs: list[Run]) -> tuple[str, list[Version | None]]:
    named = _rule_1_named(read)
    if named:
        return "named", [*named]
    found = (
        ("asset_event", _rule_2_asset_event(read)),
        ("same_dag_run", _rule_3_same_dag_run(read, runs)),
        ("newest", _rule_4_newest(read)),
    )
    for rule, versions in found:
        # What contradicts the name is not replaced by the next rule's guess, but by rule 5.
        if versions and not _is_contradicted(read, versions):
            return rule, [*versions]
        if versions:
            break
    return "observed", [None]  # rule 5


def _is_contradicted(read: Read, versions: list[Version]) -> bool:
    known = [version.content_id for version in versions if version.content_id is not None]
    return read.named is not None and bool(known) and read.named not in known


def _rule_1_named(read: Read) -> list[Version]:
    if read.named is None:
        return []
    bounded = [v for v in read.ended_before(read.allowed) if v.content_id == read.named]
    for status in ("good", "suspect"):
        matching = [version for version in bounded if version.status == status]
        if matching:
            return [_newest(matching)]
    return []


def _rule_2_asset_event(read: Read) -> list[Version]:
    consumed = [
        (
            DagRunKey(read.reader.namespace, event["dagId"], event["runId"]),
            event["taskId"],
            event["mapIndex"],
        )
        for event in read.reader.consumed
    ]
    matching = [v for v in read.good if v.writer.flow and v.writer.flow[:3] in consumed]
    return _latest_members(_newest(matching), matching) if matching else []


def _rule_3_same_dag_run(read: Read, runs: list[Run]) -> list[Version]:
    flow = read.reader.flow
    if flow is None:
        return []
    for task_ids in _upstream_by_distance(flow, runs):
        there = [
            version
            for version in read.good
            if version.writer.flow
            and version.writer.flow.dag_run == flow.dag_run
            and version.writer.flow.task_id in task_ids
        ]
        if there:
            earliest = min(there, key=lambda version: version.order)
            remaining = read.ended_before(there) or [earliest]
            return _latest_members(_newest(remaining), remaining)
    return []


def _upstream_by_distance(flow: Flow, runs: list[Run]) -> list[set[str]]:
    """Return the ids of the tasks 1, 2, ... steps upstream, over all tries of the DAG run."""
    upstream: dict[str, set[str]] = {}
    for run in runs:
        if isinstance(run.key, TaskRunKey) and run.key.dag_run == flow.dag_run:
            upstream.setdefault(run.key.task_id, set()).update(run.upstream_task_ids)
    seen = {flow.task_id}
    distances = [seen]
    while distances[-1]:
        nearer = {task_id for near in distances[-1] for task_id in upstream.get(near, set())}
        distances.append(nearer - seen)
        seen = seen | nearer
    return distances[1:]


def _rule_4_newest(read: Read) -> list[Version]:
    bounded = read.ended_before(read.good)
    if read.partition is not None:  # {p, None} together as one
        return _latest_members(_newest(bounded), bounded) if bounded else []
    found: list[Version] = []
    for partition in {version.partition for version in bounded}:
        there = [version for version in bounded if version.partition == partition]
        found += _latest_members(_newest(there), there)
    return found


# ---- What was installed --------------------------------------------------------------------------


def _derive_dependencies(log: list[Entry]) -> list[Any]:
    """Return every list that a manifest brings with its hash, once.

    A list that is not the one whose hash the manifest tells is no fact; nor is one with a line
    break in it, of which another list has the same hash.
    """
    found: dict[str, list[str]] = {}
    for entry in log:
        manifest = entry.run_facets.get("airflowProvenance_manifest", {})
        listed = manifest.get("dependencies")
        if listed is None or any("\n" in one for one in listed):
            continue
        told = manifest.get("environment", {}).get("dependenciesHash")
        if told == sha256(b"".join(one.encode() + b"\n" for one in listed)).hexdigest():
            found[told] = listed
    return _sorted(found.items())


# ---- Dump ---------------------------------------------------------------------------------------


def _sorted(items: Iterable[Any]) -> list[Any]:
    as_lists = (list(item) if isinstance(item, tuple) else item for item in items)
    return sorted(as_lists, key=lambda item: json.dumps(item, sort_keys=True))


def _dump_key(key: RunKey | None) -> list[Any] | None:
    return [key_kind(key), *key] if key else None


def _dump_run(run: Run, retry_of: Tries, superseded_by: Tries) -> Json:
    override = run.override
    is_task = isinstance(run.key, TaskRunKey)
    return {
        "key": _dump_key(run.key),
        "job": run.job,
        "run_uuid": run.run_uuid,
        "state": run.state,
        "execution_state": run.execution_state,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "hostname": run.hostname,
        "parent": _dump_key(run.parent),
        "override": override
        and {
            "state": override.body["state"],
            "at": override.at,
            # The record does not tell who.
            "who": None if override.is_synthesised else override.body.get("who"),
        },
        "retry_of": _dump_key(retry_of.get(run.key)) if is_task else None,
        "superseded_by": _dump_key(superseded_by.get(run.key)) if is_task else None,
    }


def _dump_place(version: Version) -> Json:
    return {
        "dataset": list(version.dataset),
        "partition": version.partition,
        "writer": _dump_key(version.writer.key),
    }


def _dump_written(version: Version) -> Json:
    return {
        **_dump_place(version),
        "content_id": version.content_id,
        "status": version.status,
        "replaces": version.replaces,
        "ended_at": version.ended,
        "first_seen": None,
        "verified": None,
    }


def _dump_observed(links: list[Link]) -> list[Json]:
    """Return the observed versions: one per dataset, partition and name read."""
    reads: dict[tuple[DatasetRef, str | None, str | None], list[Read]] = {}
    for link in links:
        if link.version is None:
            read = link.read
            reads.setdefault((read.dataset, read.partition, read.named), []).append(read)
    return [
        {
            "dataset": list(dataset),
            "partition": partition,
            "writer": None,
            "content_id": named,
            "status": "observed",
            "replaces": None,
            "ended_at": None,
            "first_seen": min(read.reader.as_of for read in rows),
            "verified": any(read.is_verified for read in rows),
        }
        for (dataset, partition, named), rows in reads.items()
    ]


def _dump_link(link: Link) -> Json:
    read, version = link.read, link.version
    if version is None:
        linked = {
            "dataset": list(read.dataset),
            "partition": read.partition,
            "writer": None,
            "content_id": read.named,
        }
    else:
        linked = {**_dump_place(version), "content_id": version.content_id}
    return {
        "reader": _dump_key(read.reader.key),
        "dataset": list(read.dataset),
        "partition": read.partition,
        "version": linked,
        "rule": link.rule,
    }


def _dump_append(version: Version, predecessor: Version) -> Json:
    return {"version": _dump_place(version), "predecessor": _dump_place(predecessor)}
