"""Every fact of a store by natural keys: what two stores must agree on, whatever came first."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.identity import TaskRunKey, key_list
from airflow_provenance.domain.linking import LinkRule
from airflow_provenance.domain.run import VersionStatus, parent_of, succession

if TYPE_CHECKING:
    from airflow_provenance.domain.identity import RunKey
    from airflow_provenance.domain.run import RunDoc
    from airflow_provenance.store.base import ProvenanceReader, RunView, VersionView


def dump_facts(store: ProvenanceReader) -> dict[str, list[Any]]:
    """Return every fact of a store, each list sorted by its JSON."""
    runs = list(store.scan_runs())
    keys = {view.id: key_list(view.key) for view, _ in runs}
    versions = {view.id: view for view in store.scan_versions()}
    reads = {read.id: read for read in store.scan_reads()}
    links, appends = [], []
    for edge in store.scan_edges():
        if edge.rule == LinkRule.APPENDED:
            pair = (_short(versions[edge.dst], keys), _short(versions[edge.src], keys))
            appends.append({"version": pair[0], "predecessor": pair[1]})
        elif edge.rule != LinkRule.WROTE:
            read, version = reads[edge.via], versions[edge.src]
            links.append(
                {
                    "reader": keys[read.run_id],
                    "dataset": list(read.dataset),
                    "partition": read.partition,
                    "version": {**_short(version, keys), "content_id": version.content_id},
                    "rule": edge.rule.name.lower(),
                }
            )
    facts: dict[str, list[Any]] = {
        "jobs": [list(job) for job in store.job_names()],
        "datasets": [list(dataset) for dataset in store.dataset_names()],
        "dependencies": [list(one) for one in store.scan_dependencies()],
        "runs": _dump_runs(runs),
        "versions": [_dump_version(version, keys) for version in versions.values()],
        "links": links,
        "appends": appends,
    }
    return {
        name: sorted(those, key=lambda one: json.dumps(one, sort_keys=True))
        for name, those in facts.items()
    }


def _short(version: VersionView, keys: dict[int, Any]) -> dict[str, Any]:
    return {
        "dataset": list(version.dataset),
        "partition": version.partition,
        "writer": None if version.run_id is None else keys[version.run_id],
    }


def _dump_version(version: VersionView, keys: dict[int, Any]) -> dict[str, Any]:
    observed = version.status == VersionStatus.OBSERVED
    return {
        **_short(version, keys),
        "content_id": version.content_id,
        "status": version.status.name.lower(),
        "replaces": None if observed else version.replaces,
        "ended_at": version.ended_us,
        "first_seen": version.first_seen_us,
        "verified": version.verified,
    }


def _dump_runs(runs: list[tuple[RunView, RunDoc]]) -> list[dict[str, Any]]:
    tries: dict[tuple[Any, ...], dict[int, RunView]] = defaultdict(dict)
    for view, _ in runs:
        if isinstance(view.key, TaskRunKey):
            tries[view.key[:-1]][view.key.try_number] = view
    retry_of: dict[RunKey, Any] = {}
    superseded_by: dict[RunKey, Any] = {}
    for those in tries.values():
        rows = [(number, view.state, view.is_final) for number, view in those.items()]
        for number, (following, how) in succession(rows).items():
            earlier, later = those[number].key, those[following].key
            if how == "retry":
                retry_of[later] = key_list(earlier)
            else:
                superseded_by[earlier] = key_list(later)
    return [
        {
            "key": key_list(view.key),
            "job": list(view.job),
            "run_uuid": view.run_uuid,
            "state": view.state.name,
            "execution_state": view.execution_state.name,
            "started_at": view.started_us,
            "ended_at": view.ended_us,
            "hostname": view.hostname,
            "parent": key_list(parent_of(view.key, doc)),
            "override": None
            if view.override is None
            else {
                "state": view.override[0].name,
                "at": view.override[1],
                "who": view.override[2],
            },
            "retry_of": retry_of.get(view.key),
            "superseded_by": superseded_by.get(view.key),
        }
        for view, doc in runs
    ]
