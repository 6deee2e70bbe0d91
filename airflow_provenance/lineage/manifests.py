"""With which code, environment and parameters a run ran, as its manifest tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey
from airflow_provenance.formats import facets
from airflow_provenance.lineage.checks import facet_of

if TYPE_CHECKING:
    from airflow_provenance.domain.run import RunDoc
    from airflow_provenance.store.base import ProvenanceReader, RunView


def manifest_of(doc: RunDoc) -> dict[str, Any] | None:
    """Return the manifest of a run; None if it has none."""
    facet = doc.run_facets.get(facets.MANIFEST)
    if facet is None:
        return None
    manifest = msgspec.json.decode(facet[2])
    return manifest if isinstance(manifest, dict) else None


def dependencies_of(store: ProvenanceReader, manifest: dict[str, Any]) -> list[str] | None:
    """Return what was installed, as ``name==version``; None where the list was never received."""
    told = (manifest.get("environment") or {}).get("dependenciesHash")
    return store.dependencies(told) if isinstance(told, str) else None


def dag_version_number(store: ProvenanceReader, run: RunView) -> int | None:
    """Return the number of the DAG version of a run, which Airflow tells of its DAG run alone."""
    if isinstance(run.key, TaskRunKey):
        key = DagRunKey(run.key.namespace, run.key.dag_id, run.key.run_id)
        dag_run = store.runs_by_key({key}).get(key)
    else:
        dag_run = run if isinstance(run.key, DagRunKey) else None
    if dag_run is None:
        return None
    told = facet_of(store.run_doc(dag_run.id).run_facets, "airflowDagRun").get("dagRun")
    number = told.get("dag_version_number") if isinstance(told, dict) else None
    return number if isinstance(number, int) else None
