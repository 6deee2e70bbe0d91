"""What a store says of each run, as plain values to compare with what was written by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey
from airflow_provenance.domain.run import io_slot, succession

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.domain.run import Io
    from airflow_provenance.store.base import ProvenanceReader, RunView

Json = dict[str, Any]


def run_name(run: RunView, names: Mapping[str, str]) -> str:
    """Return job, mapped index and try; after them what stands for the DAG run, if anything."""
    key = run.key
    label = names.get(getattr(key, "run_id", ""))
    name = run.job[1]
    if isinstance(key, TaskRunKey):
        name += f"[{key.map_index}]" if key.map_index >= 0 else ""
        name += f" try {key.try_number}" if key.try_number > 1 else ""
    return name if label is None else f"{name} {label}"


def runs_of(store: ProvenanceReader, names: Mapping[str, str]) -> dict[str, RunView]:
    """Return every run of a task by its name."""
    return {
        run_name(view, names): view
        for view, _ in store.scan_runs()
        if isinstance(view.key, TaskRunKey)
    }


def dag_runs_of(store: ProvenanceReader, names: Mapping[str, str]) -> dict[str, str]:
    """Return the state of every DAG run by its name."""
    return {
        run_name(view, names): view.state.name
        for view, _ in store.scan_runs()
        if isinstance(view.key, DagRunKey)
    }


def facts_of(store: ProvenanceReader, run: RunView, names: Mapping[str, str]) -> Json:
    """Return state, relations and what was read and written, each with all that is known of it."""
    doc = store.run_doc(run.id)
    sources = defaultdict(list)
    for edge in store.trace([run.id], "upstream", 1):
        sources[edge.via].append(edge.src)
    versions = store.versions_by_id({one for those in sources.values() for one in those})
    writers = store.runs_by_id({one.run_id for one in versions.values() if one.run_id is not None})
    named = {number: run_name(one, names) for number, one in writers.items()}
    reads = {}
    for read in store.reads_of_run(run.id):
        linked = [versions[one] for one in sources[read.id]]
        reads[_dataset(read.dataset, read.partition, names)] = {
            "version": read.named,
            "verified": read.verified,
            "rule": read.rule.name.lower(),
            "from": sorted(
                (None if one.run_id is None else named[one.run_id] for one in linked), key=str
            ),
            **_told(doc.inputs[io_slot(read.dataset, read.partition)], "inputStatistics", names),
        }
    writes = {}
    for version in store.versions_of_run(run.id):
        io = doc.outputs[io_slot(version.dataset, version.partition)]
        writes[_dataset(version.dataset, version.partition, names)] = {
            "version": version.content_id,
            "status": version.status.name,
            "replaces": version.replaces,
            **_told(io, "outputStatistics", names),
        }
    before, after = _relations(store, run, names)
    return {
        "state": run.state.name,
        "retry_of": before,
        "superseded_by": after,
        "reads": reads,
        "writes": writes,
    }


def _relations(
    store: ProvenanceReader, run: RunView, names: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """Return which try this one retries, and which one superseded it."""
    tries = {one.key.try_number: one for one in store.siblings(run.id)}  # type: ignore[union-attr]
    became = succession([(number, one.state, one.is_final) for number, one in tries.items()])
    mine = run.key.try_number  # type: ignore[union-attr]
    retried = [number for number, (next_, how) in became.items() if (next_, how) == (mine, "retry")]
    following, how = became.get(mine, (0, ""))
    return (
        run_name(tries[retried[0]], names) if retried else None,
        run_name(tries[following], names) if how == "superseded" else None,
    )


def _told(io: Io, statistics: str, names: Mapping[str, str]) -> Json:
    """Return what the facets of a dataset say."""
    said = {name: json.loads(raw[2]) for name, raw in (io.facets | io.role_facets).items()}
    told: Json = {}
    if "schema" in said:
        told["columns"] = [one["name"] for one in said["schema"]["fields"]]
        told["types"] = [one.get("type") for one in said["schema"]["fields"]]
    if statistics in said:
        told["rows"] = said[statistics].get("rowCount")
        told["size"] = said[statistics].get("size")
    if "dataQualityAssertions" in said:
        told["checks"] = said["dataQualityAssertions"]["assertions"]
    if "columnLineage" in said:
        told["lineage"] = _lineage(said["columnLineage"], names)
    if (event := said.get("airflowProvenance_asset")) is not None:
        told["extra"] = event.get("extra")
    return told


def _lineage(facet: Json, names: Mapping[str, str]) -> dict[str, list[str]]:
    """Return from which columns each column was made; those it was only filtered by are not."""
    made_of = {}
    for column, one in facet["fields"].items():
        direct = [source for source in one["inputFields"] if not _is_indirect(source)]
        sources = {f"{source['namespace']}/{source['name']}:{source['field']}" for source in direct}
        if sources:
            made_of[column] = sorted(_named(source, names) for source in sources)
    return made_of


def _is_indirect(source: Json) -> bool:
    how = source.get("transformations") or []
    return bool(how) and all(one.get("type") == "INDIRECT" for one in how)


def _dataset(ref: DatasetRef, partition: str | None, names: Mapping[str, str]) -> str:
    name = _named(f"{ref.namespace}/{ref.name}", names)
    return name if partition is None else f"{name} [{partition}]"


def _named(text: str, names: Mapping[str, str]) -> str:
    for real, name in names.items():
        text = text.replace(real, name)
    return text
