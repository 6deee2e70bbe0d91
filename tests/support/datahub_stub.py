"""A stub of DataHub: its OpenLineage endpoint, with the observed mapping, and the one its SDK uses.

What it keeps is aspects by URN, as a person would find them; what it drops is not there. The
mapping was observed with DataHub's converter; the endpoint's codes were read in its source.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.support.loopback import Answer, LoopbackServer

if TYPE_CHECKING:
    from tests.support.loopback import Request

Json = dict[str, Any]

OPENLINEAGE_PATH = "/openapi/openlineage/api/v1/lineage"
_CONFIG = {"noCode": "true", "versions": {"acryldata/datahub": {"version": "v1.4.0"}}}
_INTEGRATION = re.compile(r"https://github\.com/OpenLineage/OpenLineage/.*/(.*)")
_AIRFLOW = "https://github.com/apache/airflow/"
# What java.net.URI refuses.
_NOT_A_URI = re.compile(r'[\s"<>\\^`{|}]|%(?![0-9A-Fa-f]{2})')
_RESULTS = {"COMPLETE": "SUCCESS", "FAIL": "FAILURE", "ABORT": "FAILURE"}
_TYPES = {"string": "StringType", "long": "NumberType", "int": "NumberType"} | {
    "timestamp": "TimeType",
    "struct": "MapType",
}
_BROKEN = Answer(500)  # without a body


class DataHubStub(LoopbackServer):
    """`aspects[urn][name]` is the newest value, `run_events[urn]` a run's states in order.

    With a `token`, others are refused. `orchestrator` is the server's setting.
    """

    def __init__(self, *, token: str | None = None, orchestrator: str | None = None) -> None:
        super().__init__()
        self._token = token
        self._orchestrator = orchestrator
        self.aspects: dict[str, Json] = {}
        self.run_events: dict[str, list[Json]] = {}
        self.proposals: list[Json] = []  # by the SDK, in order

    def answer(self, request: Request) -> Answer:
        if request.method == "GET" and request.path == "/config":
            return Answer(200, _CONFIG)
        if self._token and request.headers.get("Authorization") != f"Bearer {self._token}":
            return Answer(401, {"message": "Unauthorized"})
        if request.method != "POST":
            return Answer(404)
        if request.path == OPENLINEAGE_PATH:
            return self._take_event(request)
        if request.path == "/aspects" and request.query == "action=ingestProposal":
            return self._take_proposal(request)
        return Answer(404)

    def _take_event(self, request: Request) -> Answer:
        try:
            self._map(request.json())
        except (AttributeError, KeyError, TypeError, ValueError):
            return _BROKEN
        return Answer(200)

    def _take_proposal(self, request: Request) -> Answer:
        try:
            proposal = request.json()["proposal"]
            value = json.loads(proposal["aspect"]["value"])
            self._put(proposal["entityUrn"], proposal["aspectName"], value)
        except (KeyError, TypeError, ValueError):
            return Answer(400, {"message": "not a proposal"})
        self.proposals.append(proposal)
        return Answer(200, {"value": proposal["entityUrn"]})

    def _put(self, urn: str, aspect: str, value: Any) -> None:
        self.aspects.setdefault(urn, {})[aspect] = value

    def _map(self, event: Json) -> None:
        """Write what an event becomes; an error where the endpoint rejects it."""
        type_, run, job = event["eventType"].upper(), event["run"], event["job"]
        facets = run.get("facets") or {}
        airflow = facets.get("airflow") or {}
        flow_name = job["name"].partition(".")[0]
        orchestrator = self._orchestrator or orchestrator_of(event)
        flow = f"urn:li:dataFlow:({orchestrator},{flow_name},{job['namespace']})"
        # A DAG run becomes a data job named as the DAG, which is none.
        data_job = f"urn:li:dataJob:({flow},{job['name']})"
        instance = f"urn:li:dataProcessInstance:{run['runId']}"
        self._put(flow, "dataFlowInfo", _info(flow_name, airflow, "dag"))
        self._put(data_job, "dataJobInfo", _info(job["name"], airflow, "dag", "task"))
        if tags := _tags(airflow):
            self._put(flow, "globalTags", tags)
        # An upsert: what this event does not name is gone.
        reads, writes = (self._datasets(event, side) for side in ("inputs", "outputs"))
        relations = {"inputDatasets": list(reads), "outputDatasets": list(writes)}
        relations["fineGrainedLineages"] = _columns(writes)
        self._put(data_job, "dataJobInputOutput", relations)
        self._put(instance, "dataProcessInstanceProperties", {"name": run["runId"]})
        self._put(instance, "dataProcessInstanceRelationships", {"parentTemplate": data_job})
        state = {"status": "COMPLETE" if type_ in _RESULTS else "STARTED"}
        if type_ in _RESULTS:
            state["result"] = _RESULTS[type_]
        elif type_ == "OTHER":
            state["result"] = "INVALID"  # no value that DataHub's own model allows
        self.run_events.setdefault(instance, []).append(state)

    def _datasets(self, event: Json, side: str) -> Json:
        """Return the datasets of a side by URN, and describe each."""
        found = {}
        for dataset in event.get(side) or []:
            urn = dataset_urn(dataset["namespace"], dataset["name"])
            if urn is None:
                continue  # dropped silently
            found[urn] = dataset
            schema = (dataset.get("facets") or {}).get("schema")
            self._put(urn, "status", {"removed": False})
            if schema:
                self._put(urn, "schemaMetadata", {"fields": [_field(f) for f in schema["fields"]]})
        return found


def orchestrator_of(event: Json) -> str:
    """Return who runs the job; ValueError where DataHub cannot tell."""
    engine = ((event["run"].get("facets") or {}).get("processing_engine") or {}).get("name")
    producer = event.get("producer") or ""
    if engine is not None:
        return str(engine).lower()
    if found := _INTEGRATION.fullmatch(producer):
        return found[1]
    if producer.startswith(_AIRFLOW):
        return "airflow"
    raise ValueError("Unable to determine orchestrator")


def dataset_urn(namespace: str, name: str) -> str | None:
    """Return a dataset's URN: the scheme is the platform, the host is dropped."""
    platform, separator, _host = namespace.partition("://")
    if separator and _NOT_A_URI.search(f"{namespace}/{name}"):
        return None
    return f"urn:li:dataset:(urn:li:dataPlatform:{platform},{name},PROD)"


def _field(field: Json) -> Json:
    type_ = _TYPES.get(str(field.get("type")), "NullType")
    return {"fieldPath": field["name"], "type": type_, "nativeDataType": field.get("type")}


def _info(name: str, airflow: Json, *parts: str) -> Json:
    properties = {
        f"{part}.{key}": value if isinstance(value, str) else json.dumps(value)
        for part in parts
        for key, value in (airflow.get(part) or {}).items()
    }
    return {"name": name, "customProperties": properties}


def _tags(airflow: Json) -> list[str]:
    written = (airflow.get("dag") or {}).get("tags") or "[]"  # the text of a Python list
    return [f"urn:li:tag:{tag}" for tag in re.findall(r"'([^']*)'", str(written))]


def _columns(writes: Json) -> list[Json]:
    rows = []
    for urn, dataset in writes.items():
        lineage = (dataset.get("facets") or {}).get("columnLineage") or {}
        for column, made in (lineage.get("fields") or {}).items():
            inputs = [(dataset_urn(i["namespace"], i["name"]), i) for i in made["inputFields"]]
            ups = [f"urn:li:schemaField:({up},{i['field']})" for up, i in inputs if up]
            downs = [f"urn:li:schemaField:({urn},{column})"]
            rows.append({"upstreams": ups, "downstreams": downs})
    return rows
