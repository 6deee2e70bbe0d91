"""What a person means by ``dataset:NS/NAME[@VERSION]`` or ``run:ID``.

===============================  ===================================================================
``dataset:NS/NAME``              the newest good version of each partition, else the newest seen;
                                 downstream: every version
``dataset:NAME``                 the same, where only one dataset has this name, or ends in it
``dataset:NS/NAME@VERSION``      a content id or at least 6 characters of one, the runId that wrote
                                 it, or ``v`` and the number that a trace shows
``file:///path``, ``/path``      a local file, the same as ``dataset:file//path``
``NS/NAME``, ``NAME``            a dataset that the store knows by this name, whole or short
``v32``                          the dataset version with this number
``run:ID``                       a runId, a run's number, or an Airflow run_id (all of its tasks),
                                 also as it is shortened
===============================  ===================================================================

What is printed short (`lineage.short`) is taken as it is printed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provenance.domain.identity import DagRunKey, TaskRunKey
from airflow_provenance.domain.run import VersionStatus
from airflow_provenance.errors import SubjectError
from airflow_provenance.lineage.short import is_named, short_content, short_run_id
from airflow_provenance.store.base import RunQuery

if TYPE_CHECKING:
    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.store.base import Direction, ProvenanceReader, RunView, VersionView

_MIN_PREFIX = 6
_NODE = re.compile(r"v(\d{1,18})", re.ASCII)
_SHORT_RUN_ID = re.compile(r".*T\d\d:\d\d:\d\d", re.ASCII)
# How far back an Airflow run_id is looked for that is known to the second alone.
_MOST_RUNS = 10_000


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
    if node := _NODE.fullmatch(text):
        return _version(store, int(node[1]))
    # As a person knows a file or a table, or as an answer of ours has named it.
    if text.startswith("/") or "://" in text or _find_datasets(store, text)[0]:
        return [version.id for version in _dataset_versions(store, text, direction)]
    raise SubjectError(
        f"{text!r} is no subject, nor the name of a dataset: write dataset:NAMESPACE/NAME, "
        "dataset:NAMESPACE/NAME@VERSION, run:ID or /path/of/a/file"
    )


def _version(store: ProvenanceReader, number: int) -> list[int]:
    if not store.versions_by_id([number]):
        raise SubjectError(f"there is no dataset version v{number}: 'run ID' shows those of a run")
    return [number]


def find_runs(store: ProvenanceReader, name: str) -> list[RunView]:
    """Return the runs that a runId, a number or an Airflow run_id names; `SubjectError` if none."""
    name = name.removeprefix("run:")
    runs = store.runs_named(name) or _runs_shortened(store, name)
    if not runs:
        is_data = _NODE.fullmatch(name) or _find_datasets(store, name)[0]
        why = ", but data is" if is_data else ""
        raise SubjectError(f"no run is named {name!r}{why}: 'airflow-provenance runs' lists runs")
    return runs


def _runs_shortened(store: ProvenanceReader, name: str) -> list[RunView]:
    """Return the runs of the one Airflow run_id that is shortened to a name."""
    if not _SHORT_RUN_ID.fullmatch(name):
        return []
    keys = (run.key for run in store.runs(RunQuery(limit=_MOST_RUNS)))
    ids = {one.run_id for one in keys if isinstance(one, TaskRunKey | DagRunKey)}
    meant = sorted(one for one in ids if short_run_id(one) == name)
    if len(meant) > 1:
        raise SubjectError(f"{len(meant)} Airflow runs are named {name!r}: {', '.join(meant[:5])}")
    return store.runs_named(meant[0]) if meant else []


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
    datasets, wanted = _find_datasets(store, text)
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


def _find_datasets(store: ProvenanceReader, text: str) -> tuple[list[DatasetRef], str]:
    """Return the datasets that a text names, whole or else by their ends, and what is after @."""
    name, _, wanted = text.rpartition("@")
    choices = [(text, ""), *([(name, wanted)] if name else [])]
    for one, version in choices:
        if found := store.datasets_named(one):
            return found, version
    known = store.dataset_names()
    for one, version in choices:
        if found := [ref for ref in known if is_named(ref, one)]:
            return found, version
    return [], ""


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
            f"{many} of {'/'.join(dataset)} {'match' if found else 'matches'} {wanted!r}: "
            f"it has {len(versions)}, 'airflow-provenance trace upstream' shows their ids"
        )
    return found


def _is_content(content_id: str | None, wanted: str) -> bool:
    if content_id is None:
        return False
    bare = content_id.rpartition(":")[2]
    short = short_content(content_id)
    return wanted in (content_id, bare, short, short.rpartition(":")[2]) or (
        len(wanted) >= _MIN_PREFIX and (content_id.startswith(wanted) or bare.startswith(wanted))
    )
