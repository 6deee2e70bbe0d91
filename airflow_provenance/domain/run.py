"""What is known of a run: a mergeable document, and the facts that follow from it.

Every event and note is turned into a small `RunDoc`; `merge` folds them together. The fold is a
join of a semilattice (minima, maxima by a total order, unions), which is why the order of arrival
and repetition cannot change a fact. `derive_facts` reads the facts off the folded document.

Rules: SEMANTICS "Runs" and "Dataset versions"; their numbers are cited where they are applied.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.identity import (
    DagRunKey,
    DatasetRef,
    RunKey,
    TaskRunKey,
    WireKey,
    key_digest,
)
from airflow_provenance.domain.synthesised import (
    Told,
    merge_told,
    overriding,
    synthesised_facts,
    told_number,
    told_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class RunState(IntEnum):
    """OpenLineage's run states, and beside them those that only Airflow tells apart."""

    RUNNING = 0
    COMPLETE = 1
    FAIL = 2
    ABORT = 3
    SKIPPED = 4
    UP_FOR_RETRY = 5
    UPSTREAM_FAILED = 6
    REMOVED = 7

    @property
    def is_done(self) -> bool:
        """Whether nothing more is expected of the run."""
        return self is not RunState.RUNNING

    @property
    def rank(self) -> int:
        """Which of two terminal events at the same time wins: FAIL over ABORT over COMPLETE."""
        return _RANKS[self]


_RANKS = {
    RunState.RUNNING: 0,
    RunState.COMPLETE: 0,
    RunState.SKIPPED: 0,
    RunState.ABORT: 1,
    RunState.REMOVED: 1,
    RunState.FAIL: 2,
    RunState.UP_FOR_RETRY: 2,
    RunState.UPSTREAM_FAILED: 2,
}
# A run in one of these never wrote: its declared outputs are no versions.
NEVER_RAN = {RunState.SKIPPED, RunState.UPSTREAM_FAILED, RunState.REMOVED}
# After one of these another try is a retry; after any other it is a cleared run, run again.
_RETRIED = {
    RunState.RUNNING,
    RunState.FAIL,
    RunState.ABORT,
    RunState.UP_FOR_RETRY,
    RunState.UPSTREAM_FAILED,
}


class VersionStatus(IntEnum):
    """What a dataset version is worth."""

    OPEN = 0  # its run has not ended
    GOOD = 1
    SUSPECT = 2  # its run failed: shown, never linked as the newest
    OBSERVED = 3  # nobody here wrote it; a run read it


# The run facet of what is no work on data but tells how a promise stands. What such a run names as
# its inputs is what it judges: it read nothing, so no edge leads to it and nobody counts it.
OF_PROMISES = "airflowProvenance_sla"

Facet = tuple[int, bytes, bytes]  # event time in us, entry id, the facet's JSON as received
Facets = dict[str, Facet]
# (dag id, run id, task id, map index) of the task that emitted a consumed asset event
ConsumedSource = tuple[str, str, str, int]


class Io(msgspec.Struct, array_like=True):
    """A dataset in a run's inputs or outputs, one partition of it, with all its facets."""

    dataset: DatasetRef
    partition: str | None
    facets: Facets
    role_facets: Facets  # inputFacets or outputFacets
    content_id: tuple[int, bytes, str] | None = None
    replaces: tuple[int, bytes, bool] | None = None
    verified: tuple[int, bytes, bool] | None = None


class RunDoc(msgspec.Struct, array_like=True):
    """All that events and notes said of one run. Tuples start with (time in us, entry id)."""

    namespace: str
    job: str
    run_uuids: list[str] = []
    latest: tuple[int, bytes, str] | None = None
    first_start_us: int | None = None
    first_event_us: int | None = None
    first_note_us: int | None = None
    first_end_us: int | None = None
    noted_start_us: int | None = None
    noted_end_us: int | None = None
    # (time, rank, entry id, state, whether a note said that state)
    terminal: tuple[int, int, bytes, int, bool] | None = None
    override: tuple[int, bytes, int, str | None] | None = None
    hostname: tuple[int, bytes, str] | None = None
    task: tuple[int, bytes, tuple[str, str, str, int, int]] | None = None
    parent: tuple[int, bytes, tuple[str, str, str]] | None = None
    upstream: tuple[int, bytes, list[str]] | None = None
    consumed: tuple[int, bytes, list[ConsumedSource]] | None = None
    run_facets: Facets = {}
    job_facets: Facets = {}
    inputs: dict[str, Io] = {}
    outputs: dict[str, Io] = {}
    # New members go to the end: documents in a store are arrays.
    noted_scheduled_us: int | None = None
    noted_queued_us: int | None = None
    # What Airflow's own record said; see `domain.synthesised`.
    synthesised: Told = {}


def io_slot(dataset: DatasetRef, partition: str | None) -> str:
    """Return the key under which a `RunDoc` holds a dataset's partition; names hold no NUL."""
    return "\0".join(dataset if partition is None else (*dataset, partition))


_MINIMA = (
    "first_start_us",
    "first_event_us",
    "first_note_us",
    "first_end_us",
    "noted_start_us",
    "noted_end_us",
    "noted_scheduled_us",
    "noted_queued_us",
)
_MAXIMA = ("latest", "override", "hostname", "task", "parent", "upstream", "consumed")


def merge_facets(into: Facets, other: Facets) -> None:
    """Merge facets by name; of two with one name the later one wins."""
    for name, facet in other.items():
        mine = into.get(name)
        if mine is None or mine[:2] < facet[:2]:
            into[name] = facet


def _merge_io(into: dict[str, Io], other: dict[str, Io]) -> None:
    for slot, io in other.items():
        mine = into.get(slot)
        if mine is None:
            into[slot] = Io(
                io.dataset,
                io.partition,
                dict(io.facets),
                dict(io.role_facets),
                io.content_id,
                io.replaces,
                io.verified,
            )
            continue
        merge_facets(mine.facets, io.facets)
        merge_facets(mine.role_facets, io.role_facets)
        for name in ("content_id", "replaces", "verified"):
            theirs, ours = getattr(io, name), getattr(mine, name)
            if theirs is not None and (ours is None or ours[:2] < theirs[:2]):
                setattr(mine, name, theirs)


def merge(into: RunDoc, other: RunDoc) -> None:
    """Fold one document into another of the same run. `other` is left as it was."""
    for uuid in other.run_uuids:
        if uuid not in into.run_uuids:
            into.run_uuids = sorted([*into.run_uuids, uuid])
    for name in _MINIMA:
        theirs = getattr(other, name)
        if theirs is not None:
            ours = getattr(into, name)
            if ours is None or theirs < ours:
                setattr(into, name, theirs)
    for name in _MAXIMA:
        theirs = getattr(other, name)
        if theirs is not None:
            ours = getattr(into, name)
            if ours is None or ours[:2] < theirs[:2]:
                setattr(into, name, theirs)
    if other.terminal is not None and (
        into.terminal is None or into.terminal[:3] < other.terminal[:3]
    ):
        into.terminal = other.terminal
    merge_told(into.synthesised, other.synthesised)
    merge_facets(into.run_facets, other.run_facets)
    merge_facets(into.job_facets, other.job_facets)
    _merge_io(into.inputs, other.inputs)
    _merge_io(into.outputs, other.outputs)


def merged(docs: Iterable[RunDoc]) -> RunDoc:
    """Return one new document from at least one of the same run."""
    first, *rest = docs
    whole = RunDoc(first.namespace, first.job)
    for doc in (first, *rest):
        merge(whole, doc)
    return whole


class Override(msgspec.Struct, frozen=True):
    """A state that somebody set by hand."""

    state: RunState
    at_us: int
    who: str | None


class Output(msgspec.Struct, frozen=True):
    """One dataset partition that a run writes."""

    dataset: DatasetRef
    partition: str | None
    content_id: str | None
    replaces: bool


class Input(msgspec.Struct, frozen=True):
    """One dataset partition that a run reads; `named` is the version it said it read."""

    dataset: DatasetRef
    partition: str | None
    named: str | None
    verified: bool


class Flow(msgspec.Struct, frozen=True):
    """Where in a DAG run something happened: rule 3 of the read links looks along it."""

    dag_run: bytes  # digest of the `DagRunKey`
    task_id: str
    map_index: int
    try_number: int


class RunFacts(msgspec.Struct, frozen=True):
    """What the store answers with. Times in UTC microseconds."""

    key: RunKey
    job: str
    run_uuid: str | None
    state: RunState
    execution_state: RunState
    started_us: int | None
    ended_us: int | None
    as_of_us: int
    hostname: str | None
    parent: RunKey | None
    flow: Flow | None
    override: Override | None
    is_final: bool  # a failure was noted as final, so a further try is no retry
    upstream: list[str] | None
    consumed: list[tuple[bytes, str, int]]
    status: VersionStatus | None  # of its outputs; None: it never wrote
    inputs: list[Input]
    outputs: list[Output]


def parent_of(key: RunKey, doc: RunDoc) -> RunKey | None:
    """Return the run that started a run, as its own entries name it."""
    if isinstance(key, TaskRunKey):
        return key.dag_run
    if isinstance(key, DagRunKey):
        return None
    if doc.task is not None:  # a child of the task process that emitted it
        return TaskRunKey(doc.namespace, *doc.task[2])
    return WireKey(*doc.parent[2]) if doc.parent else None


def _flow(key: RunKey, parent: RunKey | None) -> Flow | None:
    task = key if isinstance(key, TaskRunKey) else parent
    if not isinstance(task, TaskRunKey):
        return None
    return Flow(key_digest(task.dag_run), task.task_id, task.map_index, task.try_number)


def _whole_slots(io: Mapping[str, Io]) -> list[Io]:
    """Leave out a dataset without partition where the run also named partitions of it."""
    partitioned = {one.dataset for one in io.values() if one.partition is not None}
    if not partitioned:
        return list(io.values())
    return [
        one for one in io.values() if one.partition is not None or one.dataset not in partitioned
    ]


def _version_status(execution: RunState, state: RunState) -> VersionStatus | None:
    """Judge the outputs of a run.

    What was written is judged by how the execution ended; a state set by hand later can vouch for
    it, but cannot unwrite what readers had already read.
    """
    if RunState.COMPLETE in (execution, state):
        return VersionStatus.GOOD
    if state in NEVER_RAN:
        return None
    return VersionStatus.SUSPECT if state.is_done else VersionStatus.OPEN


def _state(doc: RunDoc, recorded: RunState) -> tuple[RunState, Override | None, bool]:
    """Return the state, the change by hand that was last, and whether that makes the state."""
    winner, override, by_hand = doc.terminal, None, False
    state = RunState(winner[3]) if winner else recorded
    if doc.override is not None:
        at_us, _, code, who = doc.override
        override = Override(RunState(code), at_us, who)
        by_hand = winner is None or at_us >= winner[0]
        state = override.state if by_hand else state
    if changed := overriding(doc, state):
        override = Override(RunState(changed[1]), changed[0], None)
        state, by_hand = override.state, True
    return state, override, by_hand


def synthesised(doc: RunDoc) -> list[str]:
    """Return which facts of a run only Airflow's own record tells."""
    if not doc.synthesised:
        return []
    real = msgspec.structs.replace(doc, synthesised={})
    return synthesised_facts(doc, _state(real, RunState.RUNNING)[0])


def derive_facts(key: RunKey, own: RunDoc, absorbed: list[RunDoc]) -> RunFacts:
    """Return the facts of a run.

    Args:
        key: who it is.
        own: the fold of its own events and notes.
        absorbed: documents of the same runId that do not say which Airflow run they mean, such as
            the event of a change by hand; given only where there is no doubt whose they are.
    """
    doc = merged([own, *absorbed]) if absorbed else own
    recorded = RunState(told_number(doc, "state") or 0)
    executed = own.terminal or doc.terminal
    execution = RunState(executed[3]) if executed else recorded
    winner = doc.terminal
    state, override, by_hand = _state(doc, recorded)
    ended_us = _first_of(told_number(doc, "ended_at"), doc.noted_end_us, doc.first_end_us)
    if ended_us is None and override is not None and override.state.is_done:
        ended_us = override.at_us
    # Airflow's database says when the try was taken up; the task's process, which is told of
    # another time, when its own work began: from then on it can have read something.
    recorded_start_us = told_number(doc, "started_at")
    began_us = _first_of(doc.noted_start_us, recorded_start_us, doc.first_start_us)
    started_us = _first_of(recorded_start_us, began_us)
    as_of_us = _first_of(began_us, doc.first_event_us, doc.first_note_us, 0)
    parent = parent_of(key, doc)
    consumed = doc.consumed[2] if doc.consumed else []
    is_promise = OF_PROMISES in doc.run_facets
    return RunFacts(
        key=key,
        job=doc.job,
        run_uuid=doc.latest[2] if doc.latest else None,
        state=state,
        execution_state=execution,
        started_us=started_us,
        ended_us=ended_us,
        as_of_us=as_of_us or 0,
        hostname=doc.hostname[2] if doc.hostname else told_text(doc, "hostname"),
        parent=parent,
        flow=_flow(key, parent),
        override=override,
        is_final=state == RunState.FAIL and (by_hand or bool(winner and winner[4])),
        upstream=doc.upstream[2] if doc.upstream else None,
        consumed=[
            (key_digest(DagRunKey(doc.namespace, dag_id, run_id)), task_id, map_index)
            for dag_id, run_id, task_id, map_index in consumed
        ],
        status=_version_status(execution, state),
        inputs=[
            Input(
                io.dataset,
                io.partition,
                io.content_id[2] if io.content_id else None,
                io.verified[2] if io.verified else True,
            )
            for io in _whole_slots({} if is_promise else doc.inputs)
        ],
        outputs=[
            Output(
                io.dataset,
                io.partition,
                io.content_id[2] if io.content_id else None,
                io.replaces[2] if io.replaces else False,
            )
            for io in _whole_slots({} if is_promise else doc.outputs)
        ],
    )


def _first_of(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def succession(tries: list[tuple[int, RunState, bool]]) -> dict[int, tuple[int, str]]:
    """Say what became of each try of one task instance.

    Args:
        tries: (try number, state, whether a failure was final), in any order.

    Returns:
        For each try that has a next one: (the next try's number, ``retry`` or ``superseded``).
    """
    ordered = sorted(tries)
    return {
        number: (following[0], "retry" if state in _RETRIED and not is_final else "superseded")
        for (number, state, is_final), following in pairwise(ordered)
    }
