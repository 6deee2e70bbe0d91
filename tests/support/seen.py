"""What a person sees in a backend, whole, and what the store says should be seen there.

Both are plain values of the same shape: aspect -> what it is of -> what is seen. The store is read
by its scans alone, so that nothing here shares a mistake with the code that delivers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey, WireKey, key_digest
from airflow_provenance.domain.run import RunState, VersionStatus, parent_of
from airflow_provenance.formats.shaping.common import distinct_run_id
from tests.support.datahub_stub import dataset_urn
from tests.support.deliver import call
from tests.support.marquez_rules import format_namespace
from tests.support.marquez_view import MarquezView

if TYPE_CHECKING:
    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.domain.run import Io, RunDoc
    from airflow_provenance.store.base import RunView, Store, VersionView
    from tests.support.datahub_stub import DataHubStub

Seen = dict[str, dict[str, Any]]

_MARQUEZ = {0: "RUNNING", 1: "COMPLETED", 2: "FAILED", 3: "ABORTED", 4: "COMPLETED", 5: "FAILED"}
_DATAHUB = {0: None, 1: "SUCCESS", 2: "FAILURE", 3: "FAILURE", 4: "SUCCESS", 5: "FAILURE"}
_NOT_RUN = (RunState.SKIPPED, RunState.REMOVED, RunState.UPSTREAM_FAILED)


def seen_in_marquez(url: str) -> Seen:
    """Return what the pages of a Marquez show, by its public reading routes alone."""
    found: Seen = defaultdict(dict)
    for one in call("GET", f"{url}/api/v1/namespaces")[1]["namespaces"]:
        view = MarquezView(url, one["name"])
        for job in view.jobs():
            name = f"{view.namespace}/{job}"
            page = view.job(job)
            found["edges"][name] = [
                sorted(f"{each['namespace']}/{each['name']}" for each in page[side])
                for side in ("inputs", "outputs")
            ]
            found["parents"][name] = page["parentJobName"]
            for run_id, run in view.runs(job).items():
                found["states"][run_id] = run.state
                found["durations"][run_id] = run.duration_ms
        for dataset in view.datasets():
            name = f"{view.namespace}/{dataset}"
            writers = view.version_writers(dataset)
            found["versions"][name] = sorted({one for one in writers.values() if one})
            found["current"][name] = writers.get(view.current_version(dataset) or "")
            found["quality"][name] = view.quality(dataset)
    return dict(found)


def due_in_marquez(store: Store) -> Seen:
    """Return what Marquez should show of what a store knows."""
    due: Seen = defaultdict(dict)
    facts = _Facts(store)
    for run in facts.runs:
        job = f"{format_namespace(run.job[0])}/{run.job[1]}"
        due["parents"][job] = facts.parent_job(run)
        newest = facts.newest_of_job(run.job)
        doc = facts.docs[newest.id]
        has_run = newest.state.is_done and newest.state not in _NOT_RUN
        due["edges"][job] = [
            _names(doc.inputs) if newest.state.is_done else [],  # Marquez has them from ends alone
            _names(doc.outputs) if has_run else [],
        ]
        for run_id in facts.run_ids(run):
            due["states"][run_id] = _MARQUEZ[run.state]
            due["durations"][run_id] = facts.duration_ms(run, run_id)
    for namespace, name in store.job_names():  # of which an event told that is of no run
        job = f"{format_namespace(namespace)}/{name}"
        due["edges"].setdefault(job, [[], []])
        due["parents"].setdefault(job, None)
    for dataset in facts.datasets:
        name = f"{format_namespace(dataset.namespace)}/{dataset.name}"
        writers = facts.writers(dataset)
        due["versions"][name] = sorted({facts.run_ids(one)[0] for one in writers})
        current = facts.current_writer(dataset)
        due["current"][name] = facts.run_ids(current)[0] if current else None
        due["quality"][name] = facts.quality(dataset, current)
    return dict(due)


def seen_in_datahub(stub: DataHubStub) -> Seen:
    """Return what DataHub shows: jobs with their data and properties, and how runs ended."""
    found: Seen = defaultdict(dict)
    for urn, aspects in stub.aspects.items():
        if "dataJobInputOutput" in aspects:
            io = aspects["dataJobInputOutput"]
            found["edges"][urn] = [sorted(io[f"{side}Datasets"]) for side in ("input", "output")]
            found["columns"][urn] = len(io["fineGrainedLineages"])
            found["properties"][urn] = aspects["dataJobInfo"]["customProperties"]
        elif urn.startswith("urn:li:dataFlow"):
            found["tags"][urn] = aspects.get("globalTags", [])
    for urn, events in stub.run_events.items():
        found["states"][urn.rpartition(":")[2]] = events[-1].get("result")
    return dict(found)


def due_in_datahub(store: Store) -> Seen:
    """Return what DataHub should show of what a store knows."""
    due: Seen = defaultdict(dict)
    facts = _Facts(store)
    for run in facts.runs:
        if isinstance(run.key, DagRunKey):
            continue
        newest = facts.newest_of_job(run.job)
        doc = facts.docs[newest.id]
        engine = _facet(doc.run_facets, "processing_engine").get("name", "Airflow").lower()
        flow = f"urn:li:dataFlow:({engine},{run.job[1].partition('.')[0]},{run.job[0]})"
        urn = f"urn:li:dataJob:({flow},{run.job[1]})"
        due["edges"][urn] = [
            sorted({_urn(io.dataset) for io in those.values()})
            for those in (doc.inputs, doc.outputs)
        ]
        due["columns"][urn] = len(
            {
                (io.dataset, column)
                for io in doc.outputs.values()
                for column in _facet(io.facets, "columnLineage").get("fields", ())
            }
        )
        airflow = _facet(doc.run_facets, "airflow")
        due["properties"][urn] = {
            f"{part}.{name}": value if isinstance(value, str) else json.dumps(value)
            for part in ("dag", "task")
            for name, value in airflow.get(part, {}).items()
        }
        tags = json.loads((airflow.get("dag", {}).get("tags") or "[]").replace("'", '"'))
        due["tags"][flow] = [f"urn:li:tag:{one}" for one in tags] or due["tags"].get(flow, [])
        for run_id in facts.run_ids(run):
            due["states"][run_id] = _DATAHUB[run.state]
    return dict(due)


def wrong(seen: Seen, due: Seen) -> dict[str, list[Any]]:
    """Return for each aspect what is seen otherwise than it should be, or is not seen at all."""
    found = {}
    for aspect in sorted(seen.keys() | due.keys()):
        mine, theirs = seen.get(aspect, {}), due.get(aspect, {})
        differ = [
            (name, mine.get(name, "not seen"), theirs.get(name, "not due"))
            for name in sorted(mine.keys() | theirs.keys())
            if mine.get(name, "not seen") != theirs.get(name, "not due")
        ]
        if differ:
            found[aspect] = differ
    return found


class _Facts:
    """The runs that events tell of, and what they did to data."""

    def __init__(self, store: Store) -> None:
        self._store = store
        told = {one.run_id for one in store.entries(limit=1_000_000) if one.kind == "run_event"}
        scanned = list(store.scan_runs())
        self.docs: dict[int, RunDoc] = {run.id: doc for run, doc in scanned}
        self.runs = [
            run
            for run, _ in scanned
            if any(one.kind == "run_event" for one in store.run_entries(run.id)) or run.id in told
        ]
        self._by_id = {run.id: run for run in self.runs}
        self._by_digest = {key_digest(run.key): run for run in self.runs}
        self._versions = list(store.scan_versions())
        self._edges = list(store.scan_edges())
        self.datasets = {
            io.dataset
            for run in self.runs
            for side, those in enumerate((self.docs[run.id].inputs, self.docs[run.id].outputs))
            if side == 0 or (run.state.is_done and run.state not in _NOT_RUN)
            for io in those.values()
        }

    def run_ids(self, run: RunView) -> list[str]:
        """Return the ids under which a run is sent; the later of two with one id has its own."""
        uuids = self.docs[run.id].run_uuids
        shared = [
            one
            for one in self.runs
            if set(self.docs[one.id].run_uuids) & set(uuids)
            and one.job == run.job
            and not isinstance(one.key, WireKey)
        ]
        if isinstance(run.key, WireKey) or min(one.id for one in shared) == run.id:
            return uuids
        return [distinct_run_id(one, run.key.run_id) for one in uuids]

    def parent_job(self, run: RunView) -> str | None:
        parent = parent_of(run.key, self.docs[run.id])
        if parent is None:
            return None
        if isinstance(parent, WireKey):
            return parent.job
        return parent.job_name

    def newest_of_job(self, job: tuple[str, str]) -> RunView:
        of_job = [one for one in self.runs if one.job == job]
        ran = [one for one in of_job if one.state.is_done and one.state not in _NOT_RUN]
        return max(ran or of_job, key=lambda one: (one.ended_us or 0, key_digest(one.key)))

    def duration_ms(self, run: RunView, run_id: str) -> int | None:
        """Return how long a run took by its events; of one that a note ended, until then."""
        times: dict[str, list[int]] = defaultdict(list)
        for entry in self._store.run_entries(run.id):
            (found,) = self._store.entries(after_seq=entry.seq - 1, limit=1, with_raw=True)
            event = json.loads(found.raw or b"{}")
            mine = (run_id, self.docs[run.id].run_uuids[self.run_ids(run).index(run_id)])
            if entry.kind == "run_event" and event["run"]["runId"] in mine:
                kind = "end" if entry.event_type in ("COMPLETE", "FAIL", "ABORT") else "start"
                times[kind].append(entry.event_us)
        if not run.state.is_done or not times["start"]:
            return None
        end_us = max(times["end"], default=0)
        if not end_us or (run.override and run.override[1] > end_us):
            end_us = run.override[1] if run.override else run.ended_us or 0
        return round((end_us - min(times["start"])) / 1000)

    def writers(self, dataset: DatasetRef) -> list[RunView]:
        versions = [one for one in self._versions if one.dataset == dataset]
        return [self._by_id[one.run_id] for one in versions if one.run_id is not None]

    def current_writer(self, dataset: DatasetRef) -> RunView | None:
        good = [
            self._by_id[one.run_id]
            for one in self._versions
            if one.dataset == dataset and one.status == VersionStatus.GOOD and one.run_id
        ]
        return max(good, key=lambda one: (one.ended_us or 0, key_digest(one.key)), default=None)

    def quality(self, dataset: DatasetRef, writer: RunView | None) -> dict[str, bool]:
        """Return column and name of every check of what a dataset is now, and whether it passed."""
        mine = [one for one in self._versions if one.dataset == dataset]
        current = [one for one in mine if writer is not None and one.run_id == writer.id]
        if not current:
            observed = [one for one in mine if one.status == VersionStatus.OBSERVED]
            current = observed[-1:]
        last: dict[tuple[Any, ...], tuple[int, list[Any]]] = {}
        for run in self._touching(current):
            doc = self.docs[run.id]
            told = [
                check
                for those in (doc.outputs, doc.inputs)
                for io in those.values()
                if io.dataset == dataset
                for facets in (io.role_facets, io.facets)
                for check in _facet(facets, "dataQualityAssertions").get("assertions", ())
            ]
            task = (*run.job, run.key.map_index if isinstance(run.key, TaskRunKey) else -1)
            at_us = doc.terminal[0] if doc.terminal else 0
            if told and at_us >= last.get(task, (0, []))[0]:
                last[task] = (at_us, told)
        shown: dict[str, bool] = {}
        for _, (_, checks) in sorted(last.items()):
            for one in checks:
                text = f"{one.get('column')}-{one.get('name') or one['assertion']}"
                same = sum(each.partition(" #")[0] == text for each in shown)
                shown[f"{text} #{same + 1}" if same else text] = one["success"]
        return shown

    def _touching(self, versions: list[VersionView]) -> list[RunView]:
        ids = {one.run_id for one in versions}
        ids |= {edge.dst for edge in self._edges if edge.src in {one.id for one in versions}}
        return [self._by_id[one] for one in ids if one in self._by_id]


def _names(those: dict[str, Io]) -> list[str]:
    return sorted(
        {f"{format_namespace(io.dataset.namespace)}/{io.dataset.name}" for io in those.values()}
    )


def _urn(dataset: DatasetRef) -> str | None:
    return dataset_urn(dataset.namespace, quote(dataset.name, safe="/:+.-_=@,"))


def _facet(facets: dict[str, Any], name: str) -> Any:
    return json.loads(facets[name][2]) if name in facets else {}
