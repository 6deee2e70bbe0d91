"""What a person means by ``dataset:NS/NAME[@VERSION]`` or ``run:ID``.

===============================  ===================================================================
``dataset:NS/NAME``              the newest good version of each partition, else the newest seen;
                                 downstream: every version
``dataset:NAME``                 the same, where only one dataset has this name
``dataset:NS/NAME@VERSION``      a content id or at least 6 characters of one, the runId that wrote
                                 it, or ``v`` and the number that a trace shows
``file:///path``, ``/path``      a local file, the same as ``dataset:file//path``
``NS/NAME``                      a dataset that the store knows by this name
``run:ID``                       a runId, a run's number, or an Airflow run_id (all of its tasks)
===============================  ===================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.domain.identity import DagRunKey
from airflow_provenance.domain.run import VersionStatus
from airflow_provenance.errors import SubjectError

if TYPE_CHECKING:
    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.store.base import Direction, ProvenanceReader, RunView, VersionView

_MIN_PREFIX = 6


def resolve_subject(store: ProvenanceReader, text: str, direction: Direction) -> list[int]:
    """Return the nodes that a subject means, at least one.

    Raises:
        SubjectError: it is not of this form, or the store does not know it, or knows it twice.
    """
    kind, _, rest = text.partition(":")
    if kind == "dataset" and rest:
        return [version.id for version in _dataset_versions(store, rest, direction)]
    if kind == "run" and rest:
        return [run.id for run in find_runs(store, rest)]
    # As a person knows a file or a table, or as an answer of ours has named it.
    named = "/" in text and store.datasets_named(text)
    if text.startswith("/") or "://" in text or named:
        return [version.id for version in _dataset_versions(store, text, direction)]
    raise SubjectError(
        f"{text!r} is no subject: write dataset:NAMESPACE/NAME, dataset:NAMESPACE/NAME@VERSION, "
        "run:ID or /path/of/a/file"
    )


def find_runs(store: ProvenanceReader, name: str) -> list[RunView]:
    """Return the runs that a runId, a number or an Airflow run_id names; `SubjectError` if none."""
    runs = store.runs_named(name.removeprefix("run:"))
    if not runs:
        raise SubjectError(f"no run is named {name!r}: 'airflow-provenance runs' lists them")
    return runs


def find_run(store: ProvenanceReader, name: str) -> RunView:
    """Return the one run that a name means; of an Airflow run_id, its DAG run."""
    runs = find_runs(store, name)
    if len(runs) > 1:
        dag_runs = [run for run in runs if isinstance(run.key, DagRunKey)]
        runs = dag_runs if len(dag_runs) == 1 else runs
    if len(runs) > 1:
        numbers = ", ".join(str(run.id) for run in runs[:10])
        raise SubjectError(f"{len(runs)} runs are named {name!r}: name one by number: {numbers}")
    return runs[0]


def _dataset_versions(
    store: ProvenanceReader, text: str, direction: Direction
) -> list[VersionView]:
    if text.startswith("file:///"):  # a URI: OpenLineage names it file and /path
        text = f"file/{text.removeprefix('file://')}"
    datasets, wanted = store.datasets_named(text), ""
    if not datasets and "@" in text:
        name, _, wanted = text.rpartition("@")
        datasets = store.datasets_named(name)
    if not datasets:
        raise SubjectError(
            f"no dataset is named {text!r}: a trace of a run shows the names of its datasets"
        )
    if len(datasets) > 1:
        names = ", ".join(f"dataset:{'/'.join(dataset)}" for dataset in datasets[:5])
        raise SubjectError(f"{len(datasets)} datasets are named {text!r}: write one of {names}")
    versions = store.versions(datasets[0])
    if wanted:
        return _wanted(store, datasets[0], versions, wanted)
    if not versions:
        raise SubjectError(f"no run has read or written {text!r} yet")
    return versions if direction == "downstream" else _newest(versions)


def _newest(versions: list[VersionView]) -> list[VersionView]:
    """Return the newest good version of each partition; of a source, the newest that was seen."""
    good = [version for version in versions if version.status == VersionStatus.GOOD]
    return list({version.partition: version for version in good or versions}.values())


def _wanted(
    store: ProvenanceReader, dataset: DatasetRef, versions: list[VersionView], wanted: str
) -> list[VersionView]:
    writers = {run.id for run in store.runs_named(wanted)}
    found = [
        version
        for version in versions
        if wanted == f"v{version.id}"
        or version.run_id in writers
        or _is_content(version.content_id, wanted)
    ]
    # A run may have written many partitions, and all are meant; the start of a hash means one.
    contents = {one.content_id for one in found if _is_content(one.content_id, wanted)}
    if not found or len(contents) > 1:
        many = f"{len(contents)} versions" if found else "no version"
        raise SubjectError(
            f"{many} of {'/'.join(dataset)} match {wanted!r}: "
            f"it has {len(versions)}, 'airflow-provenance trace upstream' shows their ids"
        )
    return found


def _is_content(content_id: str | None, wanted: str) -> bool:
    if content_id is None:
        return False
    bare = content_id.rpartition(":")[2]
    return wanted in (content_id, bare) or (
        len(wanted) >= _MIN_PREFIX and (content_id.startswith(wanted) or bare.startswith(wanted))
    )
