"""A stub of Marquez: its HTTP API as observed, on the loopback, in memory.

What an event does is in `tests/support/marquez_rules.py`, what a server can suffer in
`tests/support/loopback.py`. Codes that nobody observed are Dropwizard's defaults, and say so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from tests.support.loopback import Answer, LoopbackServer
from tests.support.marquez_rules import Marquez, shown_facets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from tests.support.loopback import Request
    from tests.support.marquez_rules import Dataset, Job, Json, Name, Run, Version

_NEEDED = {
    "RunEvent": ("producer", "eventTime", "job", "run"),
    "JobEvent": ("producer", "eventTime", "job"),
    "DatasetEvent": ("producer", "eventTime", "dataset"),
}
_BROKEN = Answer(500, {"code": 500, "message": "There was an error processing your request."})
_LIMIT = 100


class MarquezStub(LoopbackServer):
    """`with MarquezStub() as stub: ... stub.url ...`; `stub.marquez` is what it knows."""

    def __init__(self) -> None:
        super().__init__()
        self.marquez = Marquez()
        self.events: list[Any] = []  # those answered 201, or stored before it hung up
        self.fails_when_concurrent = False

    def answer(self, request: Request) -> Answer:
        if not request.path.startswith("/api/v1/"):
            return _not_found(request.path)
        # Split before decoding: names may hold slashes, sent as %2F.
        path = request.path.removeprefix("/api/v1").rstrip("/")
        for method, pattern, route in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == request.method:
                return route(self, request, *(unquote(part) for part in found.groups()))
        return _not_found(path)

    def post_lineage(self, request: Request) -> Answer:
        if self.fails_when_concurrent and self._in_flight > 1:
            return _BROKEN  # observed: rarely, when events of one job arrive at the same time
        try:
            event = request.json()
        except ValueError:
            return Answer(400, {"code": 400, "message": "Unable to process JSON"})  # a default
        if not isinstance(event, dict):
            return _BROKEN
        kind = str(event.get("schemaURL")).rpartition("/")[2]
        kind = kind if kind in _NEEDED else "RunEvent"
        missing = [name for name in _NEEDED[kind] if event.get(name) is None]
        if missing:
            return Answer(422, {"errors": [f"{name} must not be null" for name in missing]})
        receive = {
            "RunEvent": self.marquez.receive_run_event,
            "JobEvent": self.marquez.receive_job_event,
            "DatasetEvent": self.marquez.receive_dataset_event,
        }
        try:
            receive[kind](event)
        except (AttributeError, KeyError, TypeError, ValueError):
            return _BROKEN
        self.events.append(event)
        return Answer(201)

    def get_namespaces(self, _request: Request) -> Answer:
        names = {name[0] for name in [*self.marquez.jobs, *self.marquez.datasets]}
        return Answer(200, {"namespaces": [{"name": name} for name in sorted(names)]})

    def get_jobs(self, request: Request, namespace: str) -> Answer:
        jobs = [one for one in self.marquez.jobs.values() if one.name[0] == namespace]
        shown = [self._job(one) for one in jobs if not one.hidden]
        return Answer(200, {"jobs": _page(shown, request), "totalCount": len(shown)})

    def get_job(self, _request: Request, namespace: str, name: str) -> Answer:
        job = self.marquez.jobs.get((namespace, name))
        return Answer(200, self._job(job)) if job and not job.hidden else _not_found(name)

    def get_runs(self, request: Request, namespace: str, name: str) -> Answer:
        if (namespace, name) not in self.marquez.jobs:
            return _not_found(name)
        runs = [self._run(one) for one in self._runs_of((namespace, name))]
        return Answer(200, {"runs": _page(runs, request), "totalCount": len(runs)})

    def get_run(self, _request: Request, run_id: str) -> Answer:
        run = self.marquez.runs.get(run_id)
        return Answer(200, self._run(run)) if run else _not_found(run_id)

    def get_run_facets(self, request: Request, run_id: str) -> Answer:
        run, type_ = self.marquez.runs.get(run_id), _parameter(request, "type", "")
        if run is None or type_ not in ("run", "job"):
            return _not_found(run_id)
        of = run.facets if type_ == "run" else self.marquez.jobs[run.job].facets
        return Answer(200, {"runId": run_id, "facets": of.merged()})

    def get_datasets(self, request: Request, namespace: str) -> Answer:
        datasets = [one for one in self.marquez.datasets.values() if one.name[0] == namespace]
        shown = [_dataset(one) for one in datasets if not one.hidden]
        return Answer(200, {"datasets": _page(shown, request), "totalCount": len(shown)})

    def get_dataset(self, _request: Request, namespace: str, name: str) -> Answer:
        found = self.marquez.datasets.get((namespace, name))
        return Answer(200, _dataset(found)) if found and not found.hidden else _not_found(name)

    def get_versions(self, request: Request, namespace: str, name: str) -> Answer:
        dataset = self.marquez.datasets.get((namespace, name))
        if dataset is None:
            return _not_found(name)
        versions = [self._version(one) for one in reversed(dataset.versions)]
        return Answer(200, {"versions": _page(versions, request), "totalCount": len(versions)})

    def get_version(self, _request: Request, namespace: str, name: str, id_: str) -> Answer:
        dataset = self.marquez.datasets.get((namespace, name))
        found = next((one for one in dataset.versions if one.id == id_), None) if dataset else None
        if found is None:
            return _not_found(id_)
        return _BROKEN if found.has_symlinks else Answer(200, self._version(found))

    def get_lineage(self, request: Request) -> Answer:
        node_id, depth = _parameter(request, "nodeId", ""), int(_parameter(request, "depth", "20"))
        edges = self._edges()
        nodes = {_job_node(one) for one in self.marquez.jobs} | {
            _dataset_node(one) for one in self.marquez.datasets
        }
        if node_id not in nodes:
            return _not_found(node_id)  # `run:` too
        seen = ring = {node_id}
        for _ in range(depth):
            ring = {end for edge in edges if ring & set(edge) for end in edge} - seen
            seen = seen | ring
        return Answer(200, {"graph": [_node(one, edges) for one in sorted(seen)]})

    def get_upstream_runs(self, request: Request) -> Answer:
        run = self.marquez.runs.get(_parameter(request, "runId", ""))
        if run is None or any(one.run_id is None for one in run.inputs):
            return _BROKEN  # an input that nobody produced
        upstream = [{"run": {"id": one.run_id}} for one in run.inputs]
        return Answer(200, {"runs": [{"run": {"id": run.id}}, *upstream]})

    def tag_job(self, _request: Request, namespace: str, name: str, _tag: str) -> Answer:
        job = self.marquez.jobs.get((namespace, name))
        if job is None:
            return _not_found(name)
        return _BROKEN if job.parent else Answer(200, self._job(job))

    def broken(self, _request: Request, *_: str) -> Answer:
        return _BROKEN

    def hide_job(self, _request: Request, namespace: str, name: str) -> Answer:
        return _hide(self.marquez.jobs.get((namespace, name)), name)

    def hide_dataset(self, _request: Request, namespace: str, name: str) -> Answer:
        return _hide(self.marquez.datasets.get((namespace, name)), name)

    # What is shown

    def _runs_of(self, job: Name) -> list[Run]:
        runs = [one for one in self.marquez.runs.values() if one.job == job]
        return sorted(runs, key=lambda one: one.started_at or one.created_at, reverse=True)

    def _job(self, job: Job) -> Json:
        runs = [self._run(one) for one in self._runs_of(job.name)]
        return {
            "id": _id(job.name),
            "type": "BATCH",
            "name": job.name[1],
            "namespace": job.name[0],
            "simpleName": job.simple_name,
            "parentJobName": job.parent,
            "createdAt": _time(job.created_at),
            "updatedAt": _time(job.updated_at),
            "inputs": _ids(job.inputs),
            "outputs": _ids(job.outputs),
            "latestRun": runs[0] if runs else None,
            "latestRuns": runs[:10],
            "currentVersion": job.version,
            "facets": job.facets.merged(),
            "tags": [],
        }

    def _run(self, run: Run) -> Json:
        start, end = run.started_at, run.ended_at
        took = round((end - start).total_seconds() * 1000) if start and end else None
        return {
            "id": run.id,
            "state": run.state,
            "jobName": run.job[1],
            "createdAt": _time(run.created_at),
            "updatedAt": _time(run.updated_at),
            "nominalStartTime": run.nominal[0],
            "nominalEndTime": run.nominal[1],
            "startedAt": _time(start),
            "endedAt": _time(end),
            "durationMs": took,
            "inputDatasetVersions": [_used(one, "input") for one in run.inputs],
            "outputDatasetVersions": [_used(one, "output") for one in run.outputs],
            "facets": run.facets.merged(),
        }

    def _version(self, version: Version) -> Json:
        run = self.marquez.runs.get(version.run_id or "")
        return {
            "id": _id(version.dataset),
            "namespace": version.dataset[0],
            "name": version.dataset[1],
            "version": version.id,
            "createdAt": _time(version.created_at),
            "fields": version.fields,
            "facets": shown_facets(version),
            "createdByRun": self._run(run) if run else None,
        }

    def _edges(self) -> set[tuple[str, str]]:
        edges = set()
        for job in self.marquez.jobs.values():
            if not job.hidden:
                edges |= {(_dataset_node(one), _job_node(job.name)) for one in job.inputs}
                edges |= {(_job_node(job.name), _dataset_node(one)) for one in job.outputs}
        return edges


def _dataset(dataset: Dataset) -> Json:
    current = dataset.current
    return {
        "id": _id(dataset.name),
        "type": "DB_TABLE",
        "name": dataset.name[1],
        "physicalName": dataset.name[1],
        "namespace": dataset.name[0],
        "sourceName": "default",
        "deleted": False,
        "createdAt": _time(dataset.created_at),
        "updatedAt": _time(dataset.updated_at),
        "currentVersion": current.id if current else None,
        "facets": shown_facets(current),
        "fields": current.fields if current else [],
        "tags": [],
    }


def _used(version: Version, kind: str) -> Json:
    id_ = {**_id(version.dataset), "version": version.id_in_runs}
    return {"datasetVersionId": id_, "facets": version.facets.merged(kind)}


def _node(node: str, edges: Iterable[tuple[str, str]]) -> Json:
    def ends(at: int) -> list[Json]:
        return [{"origin": a, "destination": b} for a, b in sorted(edges) if (a, b)[at] == node]

    return {
        "id": node,
        "type": node.partition(":")[0].upper(),
        "inEdges": ends(1),
        "outEdges": ends(0),
    }


def _job_node(name: Name) -> str:
    return f"job:{name[0]}:{name[1]}"


def _dataset_node(name: Name) -> str:
    return f"dataset:{name[0]}:{name[1]}"


def _id(name: Name) -> Json:
    return {"namespace": name[0], "name": name[1]}


def _ids(names: Iterable[Name]) -> list[Json]:
    return [_id(one) for one in names]


def _time(at: datetime | None) -> str | None:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at else None


def _parameter(request: Request, name: str, default: str) -> str:
    return parse_qs(request.query).get(name, [default])[0]


def _page(rows: list[Json], request: Request) -> list[Json]:
    offset = int(_parameter(request, "offset", "0"))
    return rows[offset : offset + int(_parameter(request, "limit", str(_LIMIT)))]


def _hide(row: Job | Dataset | None, name: str) -> Answer:
    if row is None:
        return _not_found(name)
    row.hidden = True  # until its next event
    return Answer(200, _id(row.name))


def _not_found(what: str) -> Answer:
    return Answer(404, {"code": 404, "message": f"'{what}' not found."})


_ONE = "([^/]+)"
_JOB, _DATASET = f"/namespaces/{_ONE}/jobs/{_ONE}", f"/namespaces/{_ONE}/datasets/{_ONE}"
_ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("POST", "/lineage", MarquezStub.post_lineage),
    ("GET", "/lineage", MarquezStub.get_lineage),
    ("GET", "/namespaces", MarquezStub.get_namespaces),
    ("GET", f"/namespaces/{_ONE}/jobs", MarquezStub.get_jobs),
    ("GET", _JOB, MarquezStub.get_job),
    ("GET", f"{_JOB}/runs", MarquezStub.get_runs),
    ("GET", f"/jobs/runs/{_ONE}", MarquezStub.get_run),
    ("GET", f"/jobs/runs/{_ONE}/facets", MarquezStub.get_run_facets),
    ("GET", f"/namespaces/{_ONE}/datasets", MarquezStub.get_datasets),
    ("GET", _DATASET, MarquezStub.get_dataset),
    ("GET", f"{_DATASET}/versions", MarquezStub.get_versions),
    ("GET", f"{_DATASET}/versions/{_ONE}", MarquezStub.get_version),
    ("DELETE", _JOB, MarquezStub.hide_job),
    ("DELETE", _DATASET, MarquezStub.hide_dataset),
    ("GET", "/sources", MarquezStub.broken),
    ("POST", f"{_JOB}/tags/{_ONE}", MarquezStub.tag_job),
    ("GET", "/runlineage/upstream", MarquezStub.get_upstream_runs),
]
