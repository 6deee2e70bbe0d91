"""What a person sees in Marquez, by the routes of its pages: of the stub and of a real one."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from tests.support.deliver import call

Json = dict[str, Any]


class SeenRun(NamedTuple):
    state: str
    duration_ms: int | None


class MarquezView:
    """Pages of one namespace of the Marquez at `url`."""

    def __init__(self, url: str, namespace: str) -> None:
        self.namespace = namespace
        self._api = f"{url.rstrip('/')}/api/v1"

    def jobs(self) -> list[str]:
        """Return the names of the jobs."""
        found = self._get(f"{self._in('jobs')}?limit=1000")
        return sorted(job["name"] for job in found["jobs"])

    def edges(self, job: str) -> tuple[list[str], list[str]]:
        """Return what the job reads and writes, as its page says."""
        page = self.job(job)
        return _names(page["inputs"]), _names(page["outputs"])

    def graph(self, job: str, *, depth: int = 20) -> set[tuple[str, str]]:
        """Return the edges of the graph around a job, each by the last part of both nodes' ids."""
        query = urlencode({"nodeId": f"job:{self.namespace}:{job}", "depth": depth})
        nodes = self._get(f"/lineage?{query}")["graph"]
        return {
            (self._last(edge["origin"]), self._last(edge["destination"]))
            for node in nodes
            for edge in [*node["inEdges"], *node["outEdges"]]
        }

    def runs(self, job: str) -> dict[str, SeenRun]:
        """Return state and duration of each run of a job, by its id."""
        found = self._get(f"{self._in('jobs', job)}/runs?limit=1000")["runs"]
        return {run["id"]: SeenRun(run["state"], run.get("durationMs")) for run in found}

    def writers(self, dataset: str) -> list[str | None]:
        """Return for each version of a dataset the run that wrote it, the newest first."""
        found = self._get(f"{self._in('datasets', dataset)}/versions?limit=1000")["versions"]
        return [(one.get("createdByRun") or {}).get("id") for one in found]

    def datasets(self) -> list[str]:
        """Return the names of the datasets."""
        found = self._get(f"{self._in('datasets')}?limit=1000")
        return sorted(one["name"] for one in found["datasets"])

    def version_writers(self, dataset: str) -> dict[str, str | None]:
        """Return for each version's id the run that wrote it."""
        found = self._get(f"{self._in('datasets', dataset)}/versions?limit=1000")["versions"]
        return {one["version"]: (one.get("createdByRun") or {}).get("id") for one in found}

    def current_version(self, dataset: str) -> str | None:
        """Return the id of a dataset's current version."""
        version: str | None = self.dataset(dataset).get("currentVersion")
        return version

    def quality(self, dataset: str) -> dict[str, bool]:
        """Return the rows of the QUALITY panel: later ones of the same key hide earlier ones."""
        facet = self.dataset(dataset)["facets"].get("dataQualityAssertions") or {}
        return {
            f"{one.get('column')}-{one['assertion']}": one["success"]
            for one in facet.get("assertions") or []
        }

    def run_facets(self, run_id: str) -> Json:
        """Return the facets of a run."""
        facets: Json = self._get(f"/jobs/runs/{run_id}/facets?type=run")["facets"]
        return facets

    def job(self, name: str) -> Json:
        """Return a job's page."""
        return self._get(self._in("jobs", name))

    def dataset(self, name: str) -> Json:
        """Return a dataset's page."""
        return self._get(self._in("datasets", name))

    def status(self, path: str) -> int:
        """Return the status that a route of the API is answered with."""
        return call("GET", self._api + path)[0]

    def _in(self, *parts: str) -> str:
        return "/".join(
            ["/namespaces", *(quote(part, safe="") for part in (self.namespace, *parts))]
        )

    def _last(self, node_id: str) -> str:
        return node_id.partition(f":{self.namespace}:")[2] or node_id

    def _get(self, path: str) -> Json:
        status, page = call("GET", self._api + path)
        if status != 200 or not isinstance(page, dict):
            raise AssertionError(f"{path}: {status} {page}")
        return page


def _names(ids: list[Json]) -> list[str]:
    return sorted(one["name"] for one in ids)
