"""Answers as JSON: one shape for the command line and for HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.identity import DagRunKey, TaskRunKey, format_event_id, key_list
from airflow_provenance.domain.run import succession, synthesised
from airflow_provenance.domain.synthesised import queued_us, scheduled_us
from airflow_provenance.lineage.manifests import dag_version_number, dependencies_of, manifest_of
from airflow_provenance.lineage.unseen import unseen_outputs

if TYPE_CHECKING:
    from airflow_provenance.domain.run import RunDoc
    from airflow_provenance.lineage.trace import Trace
    from airflow_provenance.lineage.why import Finding, Why
    from airflow_provenance.store.base import LogEntry, ProvenanceReader, RunView, VersionView


def run_json(run: RunView) -> dict[str, Any]:
    """Return a run as JSON."""
    override = run.override
    return {
        "id": run.id,
        "key": key_list(run.key),
        "job": {"namespace": run.job[0], "name": run.job[1]},
        "run_uuid": run.run_uuid,
        "airflow_run_id": run.key.run_id if isinstance(run.key, TaskRunKey | DagRunKey) else None,
        "state": run.state.name,
        "execution_state": run.execution_state.name,
        "started_at": format_time(run.started_us),
        "ended_at": format_time(run.ended_us),
        "duration_seconds": None
        if run.started_us is None or run.ended_us is None
        else (run.ended_us - run.started_us) / 1e6,
        "hostname": run.hostname,
        "override": None
        if override is None
        else {"state": override[0].name, "at": format_time(override[1]), "who": override[2]},
    }


def record_json(doc: RunDoc) -> dict[str, Any]:
    """Return since when a run had waited, and what only Airflow's own record tells of it."""
    return {
        "scheduled_at": format_time(scheduled_us(doc)),
        "queued_at": format_time(queued_us(doc)),
        "synthesised": synthesised(doc),
    }


def version_json(version: VersionView) -> dict[str, Any]:
    """Return a dataset version as JSON."""
    return {
        "id": version.id,
        "dataset": {"namespace": version.dataset.namespace, "name": version.dataset.name},
        "partition": version.partition,
        "writer_run": version.run_id,
        "content_id": version.content_id,
        "status": version.status.name,
        "replaces": version.replaces,
        "ended_at": format_time(version.ended_us),
        "first_seen_at": format_time(version.first_seen_us),
        "verified": version.verified,
    }


def entry_json(entry: LogEntry) -> dict[str, Any]:
    """Return an entry of the log as JSON, without its bytes."""
    return {
        "seq": entry.seq,
        "event_id": format_event_id(entry.id),
        "time": format_time(entry.event_us),
        "received_at": format_time(entry.received_us),
        "kind": entry.kind,
        "event_type": entry.event_type,
        "run": entry.run_id,
    }


def hidden(number: int, kind: str) -> dict[str, Any]:
    """Return the placeholder of a node that may not be seen: no names, no times."""
    return {"id": number, "kind": kind, "hidden": True}


def trace_json(answer: Trace) -> dict[str, Any]:
    """Return a trace as JSON: nodes by kind, edges along the data."""
    return {
        "direction": answer.direction,
        "roots": answer.roots,
        "runs": [run_json(answer.runs[one]) for one in sorted(answer.runs)],
        "versions": [version_json(answer.versions[one]) for one in sorted(answer.versions)],
        "edges": [
            {"src": edge.src, "dst": edge.dst, "rule": edge.rule.name.lower()}
            for edge in sorted(answer.edges, key=lambda one: (one.dst, one.src, one.via))
        ],
    }


def why_json(answer: Why) -> dict[str, Any]:
    """Return why data is as it is, as JSON; nodes are those of the graph in it."""
    return {
        "roots": answer.graph.roots,
        "checks": {"made": answer.checked, "passed": answer.passed},
        "findings": [_finding_json(one) for one in answer.findings],
        "failed_runs": [
            {"run": run.id, "state": run.state.name, "error": error}
            for run, error in answer.failed_runs
        ],
        "bad_tries": [run_json(run) for run in answer.bad_tries],
        "bad_versions": answer.bad_versions,
        "changed_sources": [
            {"dataset": ref._asdict(), "versions": versions}
            for ref, versions in sorted(answer.changed.items())
        ],
        "sources": answer.sources,
        "read_nothing": answer.read_nothing,
        "rows": {str(one): rows for one, rows in sorted(answer.rows.items())},
        "graph": trace_json(answer.graph),
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    check = finding.outcome
    return {
        "check": check.name,
        "assertion": check.kind,
        "column": check.column,
        "severity": check.severity,
        "expected": check.expected,
        "not_run": check.not_run,
        "job": {"namespace": finding.job[0], "name": finding.job[1]},
        "failed_rows": finding.failed_rows,
        "rows": finding.rows,
        "is_own": finding.is_own,
        "failures": [
            {
                "run": one.outcome.run_id,
                "version": one.version,
                "failed_rows": one.outcome.failed_rows,
                "actual": one.outcome.actual,
            }
            for one in finding.failures
        ],
        "candidates": [
            {
                "dataset": one.dataset._asdict(),
                "versions": one.versions,
                "score": one.score,
                "evidence": [{"rule": told.rule, "text": told.text} for told in one.evidence],
                "failures": one.failures,
                "rows": one.rows,
                "origins": one.origins,
                "path": one.path,
            }
            for one in finding.candidates
        ],
    }


def describe_run(
    store: ProvenanceReader, run: RunView, *, with_facets: bool = False
) -> dict[str, Any]:
    """Return all that is known of a run, as JSON: process, data versions, tries, error."""
    doc = store.run_doc(run.id)
    links: dict[int, list[int]] = {}
    for edge in store.trace([run.id], "upstream", 1):
        links.setdefault(edge.via, []).append(edge.src)
    read = store.versions_by_id({one for ids in links.values() for one in ids})
    facets = {name: json.loads(facet[2]) for name, facet in doc.run_facets.items()}
    job_facets = {name: json.loads(facet[2]) for name, facet in doc.job_facets.items()}
    error = facets.get("errorMessage") or {}
    manifest = manifest_of(doc)
    installed = None if manifest is None else dependencies_of(store, manifest)
    unseen = unseen_outputs(doc)
    answer = {
        **run_json(run),
        **record_json(doc),
        "inputs": [
            {
                "dataset": {"namespace": one.dataset.namespace, "name": one.dataset.name},
                "partition": one.partition,
                "named_version": one.named,
                "verified": one.verified,
                "rule": one.rule.name.lower(),
                # Of a reader that hides some, their ids are left.
                "versions": [
                    version_json(read[number]) if number in read else hidden(number, "version")
                    for number in sorted(links.get(one.id, []))
                ],
            }
            for one in store.reads_of_run(run.id)
        ],
        "outputs": [
            {**version_json(one), "reason": unseen.get((one.dataset, one.partition))}
            for one in store.versions_of_run(run.id)
        ],
        "checks": _checks(doc),
        "tries": _tries(store, run),
        "children": [run_json(child) for child in store.children(run.id)],
        "error": error.get("message"),
        "manifest": manifest and {k: v for k, v in manifest.items() if not k.startswith("_")},
        "dag_version_number": dag_version_number(store, run),
        "libraries": None if installed is None else len(installed),
        "facet_names": {"run": sorted(facets), "job": sorted(job_facets)},
    }
    if with_facets:
        answer["facets"] = {"run": facets, "job": job_facets}
    return answer


def _checks(doc: RunDoc) -> list[dict[str, Any]]:
    """Return what this run checked, dataset by dataset, in the words of OpenLineage's facet."""
    found = []
    for io in (*doc.inputs.values(), *doc.outputs.values()):
        for facets in (io.facets, io.role_facets):
            if (facet := facets.get("dataQualityAssertions")) is None:
                continue
            dataset = {"namespace": io.dataset.namespace, "name": io.dataset.name}
            found += [
                {"dataset": dataset, "partition": io.partition, **one}
                for one in json.loads(facet[2]).get("assertions") or []
            ]
    return found


def _tries(store: ProvenanceReader, run: RunView) -> list[dict[str, Any]]:
    """Return every try of the same task instance, and what became of each."""
    tries = {getattr(one.key, "try_number", 1): one for one in store.siblings(run.id)}
    became = succession([(number, one.state, one.is_final) for number, one in tries.items()])
    return [
        {
            "id": one.id,
            "try_number": number,
            "state": one.state.name,
            "followed_by": became[number][1] if number in became else None,
        }
        for number, one in sorted(tries.items())
    ]
