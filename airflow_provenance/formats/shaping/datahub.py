"""What DataHub's OpenLineage endpoint needs so that it shows what happened (PLATFORM 4).

It refuses, or drops without a word, what it does not know; each event overwrites the job's inputs
and outputs. An ABORT stays one: DataHub shows it as a failure, and has nothing nearer to it.

Events of a run of a DAG as a whole are left out: DataHub would make a dataJob of the DAG beside
those of its tasks, which nobody ran. Nothing is missed: tasks' events make the dataFlow, with the
DAG's tags, and carry all inputs and outputs.
"""

from __future__ import annotations

import re

from airflow_provenance.formats.shaping.common import (
    io_on_task,
    late_rides_on_terminal,
    own_run_ids,
    whole_io,
)
from airflow_provenance.formats.shaping.event import (
    SIDES,
    Event,
    Facts,
    apply_rules,
    facet_of,
    filled,
    raw_of,
)

_ENGINE = "processing_engine"
_ENGINE_SCHEMA = (
    "https://openlineage.io/spec/facets/1-1-1/ProcessingEngineRunFacet.json"
    "#/$defs/ProcessingEngineRunFacet"
)
# A producer that names its integration is known to DataHub without the facet.
_KNOWN_PRODUCER = re.compile(r"https://github\.com/OpenLineage/OpenLineage/.*/integration/.")
# What Java's URI refuses; letters beyond ASCII are fine there.
_NOT_IN_URI = re.compile(r'[\x00-\x20"<>\\^`{|}\x7f]|%(?![0-9A-Fa-f]{2})')
_NOT_IN_PATH = re.compile(r"[\[\]#?]")
# Of these DataHub reads namespace and name together, as the URI of a path.
_PATHS = ("file", "s3", "s3a", "s3n", "gs", "gcs", "hdfs", "abfs", "abfss", "wasb", "wasbs", "dbfs")


def only_run_events(event: Event, facts: Facts) -> Event | None:
    """Leave out events of jobs and datasets, and those without a type: both are an error there."""
    return event if event.get("run") is not None and event.get("eventType") else None


def no_dag_runs(event: Event, facts: Facts) -> Event | None:
    """Leave out runs of DAGs as a whole: each would be a dataJob that is no task."""
    return None if facts.is_dag_run else event


def no_other(event: Event, facts: Facts) -> Event | None:
    """Send OTHER as RUNNING, which says as much of the state: OTHER is accepted, and invalid."""
    return {**event, "eventType": "RUNNING"} if event["eventType"] == "OTHER" else event


def whole_facets(event: Event, facts: Facts) -> Event | None:
    """Repeat all facets of run and job: what an event leaves out is overwritten with nothing."""
    parts = {"run": facts.run_facets, "job": facts.job_facets}
    return event | {
        part: {**event[part], "facets": filled(event[part].get("facets"), known)}
        for part, known in parts.items()
    }


def engine_named(event: Event, facts: Facts) -> Event | None:
    """Name the orchestrator where the event does not: without one DataHub answers 500."""
    facets = event["run"].get("facets") or {}
    engine = facet_of(facets, _ENGINE)
    if engine is not None and engine.get("name"):
        return event
    if engine is None and _KNOWN_PRODUCER.match(str(event.get("producer"))):
        return event
    producer = event.get("producer")
    named = {"_producer": producer, "_schemaURL": _ENGINE_SCHEMA, "version": "unknown"}
    named |= {**(engine or {}), "name": "Airflow"}
    return {**event, "run": {**event["run"], "facets": {**facets, _ENGINE: raw_of(named)}}}


def valid_uris(event: Event, facts: Facts) -> Event | None:
    """Escape what a URI cannot hold: a dataset that has it is dropped without a word."""
    return event | {
        side: [_valid(one) for one in event[side]] for side, _ in SIDES if side in event
    }


def _valid(dataset: Event) -> Event:
    namespace, name = dataset["namespace"], dataset["name"]
    if namespace.split(":", 1)[0] in _PATHS:
        name = _escaped(_NOT_IN_PATH, _escaped(_NOT_IN_URI, name))
    return {**dataset, "namespace": _escaped(_NOT_IN_URI, namespace), "name": name}


def _escaped(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: f"%{ord(found[0]):02X}", text)


RULES = (
    only_run_events,
    no_dag_runs,
    late_rides_on_terminal,
    own_run_ids,
    whole_io,
    io_on_task,
    whole_facets,
    no_other,
    engine_named,
    valid_uris,
)


def shape(event: Event, facts: Facts) -> Event | None:
    """Return an event as DataHub is to get it; None where it must not."""
    return apply_rules(RULES, event, facts)
