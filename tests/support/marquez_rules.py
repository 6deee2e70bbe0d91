"""What Marquez makes of the events it receives, without HTTP; see `marquez_stub.py`.

Each rule is cited by its test in `tests/contract/test_marquez_stub.py`. They were observed on
Marquez; those marked "source" were read in its source only.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
Name = tuple[str, str]  # namespace, name

_ENDS = {"COMPLETE": "COMPLETED", "ABORT": "ABORTED", "FAIL": "FAILED"}
_SHOWN_KINDS = {"dataset", "unknown", "input"}
_KNOWN_FACETS = {"dataSource", "schema", "version", "documentation", "columnLineage"}


@dataclass
class Facets:
    """Facets as they came. The newest by event time replaces the older of its name whole."""

    rows: list[tuple[datetime, str, str, Any]] = field(default_factory=list)

    def add(self, at: datetime, kind: str, facets: Json | None) -> None:
        self.rows += [(at, kind, name, facet) for name, facet in (facets or {}).items()]

    def merged(self, *kinds: str) -> Json:
        rows = sorted(self.rows, key=lambda row: row[0])
        return {name: facet for _, kind, name, facet in rows if not kinds or kind in kinds}


@dataclass(eq=False)
class Version:
    """A dataset's version. Runs show another id of it than the versions API takes."""

    dataset: Name
    run_id: str | None
    created_at: datetime
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    id_in_runs: str = field(default_factory=lambda: str(uuid.uuid4()))
    fields: list[Json] = field(default_factory=list)
    facets: Facets = field(default_factory=Facets)
    has_symlinks: bool = False


@dataclass(eq=False)
class Dataset:
    name: Name
    created_at: datetime
    updated_at: datetime
    versions: list[Version] = field(default_factory=list)
    current: Version | None = None
    hidden: bool = False


@dataclass(eq=False)
class Job:
    name: Name
    simple_name: str
    parent: str | None
    created_at: datetime
    updated_at: datetime
    inputs: list[Name] = field(default_factory=list)
    outputs: list[Name] = field(default_factory=list)
    version: str | None = None
    facets: Facets = field(default_factory=Facets)
    hidden: bool = False


@dataclass(eq=False)
class Run:
    id: str
    job: Name
    created_at: datetime
    updated_at: datetime
    state: str = "NEW"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    nominal: tuple[str | None, str | None] = (None, None)
    inputs: list[Version] = field(default_factory=list)
    outputs: list[Version] = field(default_factory=list)
    facets: Facets = field(default_factory=Facets)


class Marquez:
    """The state that events leave behind."""

    def __init__(self) -> None:
        self.jobs: dict[Name, Job] = {}
        self.runs: dict[str, Run] = {}
        self.datasets: dict[Name, Dataset] = {}

    def receive_run_event(self, event: Json) -> None:
        at, type_ = parse_time(event["eventTime"]), event.get("eventType")
        facets = event["run"].get("facets") or {}
        job = self._job(event["job"], at, self._parent_of(event, at))
        run = self._run(event["run"]["runId"], job.name, at)
        run.job, run.updated_at = job.name, at
        nominal = facets.get("nominalTime") or {}
        if nominal:
            run.nominal = (nominal.get("nominalStartTime"), nominal.get("nominalEndTime"))
        run.facets.add(at, "run", facets)
        if type_ is not None:
            self._transition(run, str(type_), at)
        for side, kind in (("inputs", "inputFacets"), ("outputs", "outputFacets")):
            datasets = event.get(side) or []
            if not datasets:
                setattr(job, side, [])  # also on START, also when another run wrote the edges
            for one in datasets:
                self._read_or_write(one, at, run, is_input=kind == "inputFacets")
        if str(type_).upper() in _ENDS:
            self._rebuild_edges(job, run)
        if str(type_).upper() == "COMPLETE":
            for version in run.outputs:
                self.datasets[version.dataset].current = version

    def _rebuild_edges(self, job: Job, run: Run) -> None:
        """Take all I/O of the run, of whatever event; a side without any keeps what it has."""
        for side, versions in (("inputs", run.inputs), ("outputs", run.outputs)):
            if versions:
                setattr(job, side, sorted({one.dataset for one in versions}))
        job.version = _version_of(job)

    def receive_job_event(self, event: Json) -> None:
        at = parse_time(event["eventTime"])
        job = self._job(event["job"], at, None)
        for side in ("inputs", "outputs"):
            names = [self._dataset(one, at).name for one in event.get(side) or []]
            setattr(job, side, sorted(set(names)))
        job.version = _version_of(job)

    def receive_dataset_event(self, event: Json) -> None:
        at = parse_time(event["eventTime"])
        dataset = self._dataset(event["dataset"], at)
        dataset.current = self._new_version(dataset, at, None)
        self._describe(dataset.current, event["dataset"], at)

    def _transition(self, run: Run, type_: str, at: datetime) -> None:
        run.state = _ENDS.get(type_.upper(), "RUNNING")  # the last received wins
        if run.state != "RUNNING":
            run.ended_at = at
        elif run.started_at is None:  # source: a later one does not move it
            run.started_at = at

    def _parent_of(self, event: Json, at: datetime) -> Job | None:
        """Return the parent's job; an unknown one is made up, with its run (source)."""
        facet = (event["run"].get("facets") or {}).get("parent")
        if facet is None:
            return None
        run = self.runs.get(run_id_of(facet["run"]["runId"]))
        if run is None:
            name = facet["job"]["name"].rpartition(".")[0] or facet["job"]["name"]
            namespace = event["job"]["namespace"]  # source: the child's, whatever the facet says
            job = self._job({"namespace": namespace, "name": name}, at, None)
            run = self._run(facet["run"]["runId"], job.name, at)
            run.state = _ENDS.get(str(event.get("eventType")).upper(), "RUNNING")
        return self.jobs[run.job]

    def _job(self, job: Json, at: datetime, parent: Job | None) -> Job:
        full = simple = job["name"]
        if parent is not None:
            simple = full.removeprefix(parent.name[1] + ".")
            full = f"{parent.name[1]}.{simple}"
        name = (format_namespace(job["namespace"]), full)
        row = self.jobs.setdefault(
            name, Job(name, simple, parent.name[1] if parent else None, at, at)
        )
        if parent is not None:
            row.parent, row.simple_name = parent.name[1], simple
        row.updated_at, row.hidden = at, False
        row.facets.add(at, "job", job.get("facets"))
        return row

    def _run(self, run_id: str, job: Name, at: datetime) -> Run:
        id_ = run_id_of(run_id)
        return self.runs.setdefault(id_, Run(id_, job, at, at))

    def _dataset(self, dataset: Json, at: datetime) -> Dataset:
        name = (format_namespace(dataset["namespace"]), dataset["name"])
        row = self.datasets.setdefault(name, Dataset(name, at, at))
        row.updated_at, row.hidden = at, False
        return row

    def _read_or_write(self, dataset: Json, at: datetime, run: Run, *, is_input: bool) -> None:
        row = self._dataset(dataset, at)
        if is_input:
            # The version facet is not looked at: what is current is what was read.
            version = row.current = row.current or self._new_version(row, at, None)
            if version not in run.inputs:
                run.inputs.append(version)
        else:
            version = next((one for one in run.outputs if one.dataset == row.name), None)
            if version is None:
                version = self._new_version(row, at, run.id)
                run.outputs.append(version)
        self._describe(version, dataset, at)

    def _new_version(self, dataset: Dataset, at: datetime, run_id: str | None) -> Version:
        version = Version(dataset.name, run_id, at)
        dataset.versions.append(version)
        return version

    def _describe(self, version: Version, dataset: Json, at: datetime) -> None:
        facets = dataset.get("facets") or {}
        known = {name: facet for name, facet in facets.items() if name in _KNOWN_FACETS}
        version.facets.add(at, "dataset", known)
        version.facets.add(at, "unknown", {k: v for k, v in facets.items() if k not in known})
        version.facets.add(at, "input", dataset.get("inputFacets"))
        version.facets.add(at, "output", dataset.get("outputFacets"))
        version.has_symlinks |= "symlinks" in facets
        version.fields = (facets.get("schema") or {}).get("fields") or version.fields


def shown_facets(version: Version | None) -> Json:
    """Return what a dataset page shows: nothing of `outputFacets`."""
    return version.facets.merged(*_SHOWN_KINDS) if version else {}


def parse_time(text: str) -> datetime:
    """Return an event's time; ValueError for one without a zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"no zone in {text}")
    return at.astimezone(UTC)


def run_id_of(run_id: str) -> str:
    """Return the id that Marquez gives a run: its UUID, or one made from any other text."""
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        digest = hashlib.md5(run_id.encode(), usedforsecurity=False).digest()
        return str(uuid.UUID(bytes=digest, version=3))


def format_namespace(namespace: str) -> str:
    """Return a namespace as Marquez keeps it (source)."""
    return re.sub(r"[^a-z:/A-Z0-9\-_.@+]", "_", namespace)


def _version_of(job: Job) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, repr((job.name, job.inputs, job.outputs))))
