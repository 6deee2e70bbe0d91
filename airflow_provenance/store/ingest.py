"""From what was received to facts: the one place where provenance is derived.

A batch is one transaction of a `Ledger`. The stages, in order:

1. *Log*: entries that are known already, too old or unreadable are set apart; the rest is appended.
2. *Runs*: documents are folded (`domain.run`), runs that share a runId are told apart, and facts
   are derived for every run that is touched.
3. *Versions*: what those runs wrote is brought up to date.
4. *Links*: every read that a change can reach is resolved again (`domain.linking`): a write that
   arrives late re-links its readers, and appends are put on the right predecessor.

Nothing here depends on the order of arrival: each stage computes from the fold of all entries.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.identity import DatasetRef, WireKey, key_digest
from airflow_provenance.domain.linking import (
    LinkRule,
    Read,
    Version,
)
from airflow_provenance.domain.run import (
    Facets,
    RunDoc,
    RunFacts,
    VersionStatus,
    derive_facts,
    merge,
    merge_facets,
)
from airflow_provenance.errors import EventError
from airflow_provenance.formats.openlineage import Entry, read_entry
from airflow_provenance.store.base import (
    Edge,
    IngestReport,
    LogEntry,
    Rejected,
    SpoolOffset,
    StoredRun,
)
from airflow_provenance.store.ledger import StoredRead, Wire
from airflow_provenance.store.relink import Relink

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.store.ledger import Ledger


class Limits(msgspec.Struct, frozen=True):
    """How large a thing may be, in bytes."""

    event: int = 16 * 1024 * 1024
    facet: int = 1024 * 1024


class Parsed(msgspec.Struct):
    """A batch as it was read, before any transaction is opened."""

    received: int
    entries: list[Entry]
    rejected: list[Rejected]


def parse_batch(
    entries: Sequence[tuple[Kind, bytes]],
    rejected: Sequence[Rejected],
    source: str,
    limits: Limits,
) -> Parsed:
    """Read what was received; what cannot be used is rejected with its reason."""
    parsed = Parsed(len(entries) + len(rejected), [], list(rejected))
    for kind, raw in entries:
        try:
            _refuse_too_large(raw, limits)
            parsed.entries.append(read_entry(kind, raw, limits.facet))
        except EventError as error:
            parsed.rejected.append(Rejected(kind, raw, error.reason, str(error), source))
    return parsed


def _refuse_too_large(raw: bytes, limits: Limits) -> None:
    if len(raw) > limits.event:
        raise EventError(
            "too_large",
            f"{len(raw)} bytes are over max_event_bytes ({limits.event}): raise that setting and "
            "replay, or make the producer send less",
        )


def ingest_batch(
    ledger: Ledger,
    parsed: Parsed,
    *,
    received_us: int,
    source: str = "",
    offset: SpoolOffset | None = None,
) -> IngestReport:
    """Write a batch into an open transaction and return what became of it."""
    if offset is not None and not ledger.move_offset(offset):
        return IngestReport(overtaken=True)
    report = IngestReport(received=parsed.received)
    entries, too_late = _set_apart(ledger, parsed.entries, source, report)
    report.refused = [*parsed.rejected, *too_late]
    report.quarantined = ledger.add_quarantine(report.refused, received_us)
    report.ingested = len(entries)
    report.accepted = [entry.raw for entry in entries]
    if not entries:
        return report
    report.warnings = [
        f"event {entry.id.hex()} of {source or 'a caller'}: {warning}"
        for entry in entries
        for warning in entry.warnings
    ]
    names = _intern(ledger, entries)
    touched, new_upstream = _fold_runs(ledger, names, entries)
    _append_log(ledger, names, touched, entries, received_us)
    _derive(ledger, names, touched, new_upstream)
    return report


class _Names(msgspec.Struct):
    """The store's ids of the jobs and datasets of a batch."""

    jobs: dict[tuple[str, str], int]
    datasets: dict[DatasetRef, int]


def _set_apart(
    ledger: Ledger, entries: list[Entry], source: str, report: IngestReport
) -> tuple[list[Entry], list[Rejected]]:
    """Return the entries that are new, each once, and those that come too late."""
    horizon_us = ledger.horizon_us()
    too_late = [
        Rejected(
            "N" if entry.kind == "note" else "E",
            entry.raw,
            "too_late",
            f"of {format_time(entry.event_us)}, but facts before {format_time(horizon_us)} are "
            "frozen since their raw events expired: raise raw_retention_days for late producers",
            source,
        )
        for entry in entries
        if entry.event_us < horizon_us
    ]
    by_id = {entry.id: entry for entry in entries if entry.event_us >= horizon_us}
    known = ledger.known_entries(list(by_id))
    new = [entry for entry in by_id.values() if entry.id not in known]
    report.repeated = len(entries) - len(too_late) - len(new)
    return new, too_late


def _intern(ledger: Ledger, entries: list[Entry]) -> _Names:
    names = _Names(
        ledger.job_ids({entry.job for entry in entries if entry.job is not None}),
        ledger.dataset_ids({ref for entry in entries for ref in entry.datasets}),
    )
    job_facets: dict[int, Facets] = {}
    dataset_facets: dict[int, Facets] = {}
    for entry in entries:
        if entry.job_facets and entry.job is not None:
            merge_facets(job_facets.setdefault(names.jobs[entry.job], {}), entry.job_facets)
        if entry.kind == "dataset_event":
            for ref, facets in entry.datasets.items():
                merge_facets(dataset_facets.setdefault(names.datasets[ref], {}), facets)
    ledger.merge_job_facets(job_facets)
    ledger.merge_dataset_facets(dataset_facets)
    ledger.add_dependencies(
        dict(entry.dependencies for entry in entries if entry.dependencies is not None)
    )
    return names


def _fold_runs(
    ledger: Ledger, names: _Names, entries: list[Entry]
) -> tuple[dict[bytes, StoredRun], set[bytes]]:
    """Fold the batch into the stored documents of its runs.

    Returns:
        The touched runs by digest, and the digests of those whose upstream tasks became known
        or changed.
    """
    documents: dict[bytes, list[RunDoc]] = defaultdict(list)
    keys = {}
    for entry in entries:
        if entry.key is not None and entry.doc is not None:
            entry.digest = key_digest(entry.key)
            documents[entry.digest].append(entry.doc)
            keys[entry.digest] = entry.key
    runs = {run.digest: run for run in ledger.runs_by_digest(documents.keys())}
    missing = [digest for digest in documents if digest not in runs]
    first_id = ledger.next_ids("node", len(missing)) if missing else 0
    new_upstream = set()
    for digest, docs in documents.items():
        run = runs.get(digest)
        before = run.doc.upstream if run is not None else None
        if run is None:
            doc = docs.pop()  # the entries' documents are ours: one of them becomes the run's
            job_id = names.jobs[doc.namespace, doc.job]
            run = StoredRun(first_id, keys[digest], digest, job_id, doc, is_new=True)
            runs[digest] = run
            first_id += 1
        for doc in docs:
            merge(run.doc, doc)
        after = run.doc.upstream
        if after is not None and (before is None or before[2] != after[2]):
            new_upstream.add(digest)
    return runs, new_upstream


def _append_log(
    ledger: Ledger,
    names: _Names,
    runs: Mapping[bytes, StoredRun],
    entries: list[Entry],
    received_us: int,
) -> None:
    first = ledger.next_ids("seq", len(entries))
    ledger.append_log(
        [
            LogEntry(
                seq,
                entry.id,
                entry.event_us,
                received_us,
                entry.kind,
                entry.event_type,
                runs[entry.digest].id if entry.digest is not None else None,
                names.jobs[entry.job] if entry.job is not None else None,
                entry.raw,
            )
            for seq, entry in enumerate(entries, first)
        ]
    )


def _derive(
    ledger: Ledger, names: _Names, touched: dict[bytes, StoredRun], new_upstream: set[bytes]
) -> None:
    runs, wires = _settle_shared_run_ids(ledger, touched)
    ledger.put_runs(runs, wires)
    facts = [run.facts for run in runs if run.facts is not None]
    refs = {one.dataset for each in facts for one in each.inputs}
    refs |= {one.dataset for each in facts for one in each.outputs}
    if not refs <= names.datasets.keys():
        names.datasets |= ledger.dataset_ids(refs)
    known_ids = [run.id for run in runs if not run.is_new]
    changed = _put_versions(ledger, names, runs, known_ids)
    flows = {
        run.facts.flow.dag_run
        for run in runs
        if run.digest in new_upstream and run.facts is not None and run.facts.flow is not None
    }
    Relink(ledger, changed, flows).resolve(*_changed_reads(ledger, names, runs, known_ids))


def _settle_shared_run_ids(
    ledger: Ledger, touched: dict[bytes, StoredRun]
) -> tuple[list[StoredRun], list[Wire]]:
    """Derive the facts of the touched runs and of all that share a runId with them.

    An entry that names a runId without saying which Airflow run it means (a change by hand does
    so) counts as that of the one Airflow run with this runId and job. Where two Airflow runs share
    the runId, it stays a run of its own: nobody can tell whose it is.
    """
    runs = {run.id: run for run in touched.values()}
    wires = {Wire(uuid, run.job_id, run.id) for run in runs.values() for uuid in run.doc.run_uuids}
    stored = set(ledger.runs_on_wires({wire[:2] for wire in wires}))
    added = [wire for wire in wires if wire not in stored]
    beside = {wire.run_id for wire in stored} - runs.keys()
    if beside:
        runs |= {run.id: run for run in ledger.runs_by_id(beside)}
    all_wires = {
        Wire(uuid, run.job_id, run.id) for run in runs.values() for uuid in run.doc.run_uuids
    }
    if beside:
        all_wires |= set(ledger.runs_on_wires({wire[:2] for wire in all_wires}))
    others = {wire.run_id for wire in all_wires} - runs.keys()
    lookup = runs | {run.id: run for run in ledger.runs_by_id(others)} if others else runs
    absorbed = _absorbed_by(lookup, all_wires)
    owned: dict[int, list[RunDoc]] = defaultdict(list)
    for orphan, owner in absorbed.items():
        owned[owner].append(lookup[orphan].doc)
    for run in runs.values():
        run.absorbed_by = absorbed.get(run.id)
        if run.absorbed_by is None:
            run.facts = derive_facts(run.key, run.doc, owned.get(run.id, []))
        else:
            run.facts = None
    return list(runs.values()), added


def _absorbed_by(runs: Mapping[int, StoredRun], wires: Iterable[Wire]) -> dict[int, int]:
    """Return orphan run id -> the id of the only keyed run that shares its runId and job."""
    by_wire: dict[tuple[str, int], list[int]] = defaultdict(list)
    for wire in wires:
        by_wire[wire.run_uuid, wire.job_id].append(wire.run_id)
    absorbed: dict[int, int] = {}
    for ids in by_wire.values():
        if len(ids) > 1:
            keyed = [one for one in ids if not isinstance(runs[one].key, WireKey)]
            if len(keyed) == 1:
                absorbed |= dict.fromkeys((one for one in ids if one != keyed[0]), keyed[0])
    return absorbed


def _version(run: StoredRun, facts: RunFacts, dataset_id: int, index: int) -> Version:
    output, flow = facts.outputs[index], facts.flow
    status = VersionStatus.OPEN if facts.status is None else facts.status
    return Version(
        id=0,
        dataset_id=dataset_id,
        partition=output.partition,
        run_id=run.id,
        run_key=run.digest,
        status=status,
        ended_us=None if status == VersionStatus.OPEN else facts.ended_us,
        content_id=output.content_id,
        replaces=output.replaces,
        job_id=run.job_id,
        flow=flow.dag_run if flow else None,
        task_id=flow.task_id if flow else None,
        map_index=flow.map_index if flow else -1,
    )


def _put_versions(
    ledger: Ledger, names: _Names, runs: Sequence[StoredRun], known_ids: Collection[int]
) -> list[Version]:
    """Bring the versions of runs up to date; return every one that changed, as it was and is."""
    old = {(v.run_id, v.dataset_id, v.partition): v for v in ledger.versions_of(known_ids)}
    put, changed, missing = [], [], []
    for run in runs:
        if run.facts is None or run.facts.status is None:
            continue
        for index, output in enumerate(run.facts.outputs):
            version = _version(run, run.facts, names.datasets[output.dataset], index)
            before = old.pop((run.id, version.dataset_id, version.partition), None)
            if before is None:
                missing.append(version)
                continue
            version.id = before.id
            if version != before:
                put.append(version)
                changed += [before, version]
    if missing:
        first = ledger.next_ids("node", len(missing))
        for number, version in enumerate(missing, first):
            version.id = number
    removed = list(old.values())
    ledger.put_versions([*put, *missing], [version.id for version in removed])
    ledger.change_edges(
        (), [Edge(version.id, version.run_id, LinkRule.WROTE) for version in missing]
    )
    # A version that is open from the start changes no link.
    done = [version for version in missing if version.status != VersionStatus.OPEN]
    return [*changed, *done, *removed]


def _changed_reads(
    ledger: Ledger, names: _Names, runs: Sequence[StoredRun], known_ids: Collection[int]
) -> tuple[list[StoredRead], list[StoredRead], list[StoredRead]]:
    """Return the reads of runs that are new, that changed, and that are no more."""
    old = {
        (one.read.run_id, one.read.dataset_id, one.read.partition): one
        for one in ledger.reads_of(known_ids)
    }
    missing, changed = [], []
    for run in runs:
        facts = run.facts
        if facts is None:
            continue
        for entry in facts.inputs:
            read = Read(
                id=0,
                run_id=run.id,
                dataset_id=names.datasets[entry.dataset],
                partition=entry.partition,
                named=entry.named,
                verified=entry.verified,
                as_of_us=facts.as_of_us,
                flow=facts.flow.dag_run if facts.flow else None,
                task_id=facts.flow.task_id if facts.flow else None,
                consumed=facts.consumed,
            )
            before = old.pop((run.id, read.dataset_id, read.partition), None)
            if before is None:
                missing.append(StoredRead(read, LinkRule.OBSERVED, None))
                continue
            read.id = before.read.id
            if read != before.read:
                changed.append(StoredRead(read, before.rule, before.observed_id))
    if missing:
        first = ledger.next_ids("read", len(missing))
        for number, one in enumerate(missing, first):
            one.read.id = number
    return missing, changed, list(old.values())
