"""Which local files a task declared (inlets, outlets) or touched (Airflow's hook lineage).

Airflow's collector keeps what `ObjectStoragePath` and hooks report. Making one imports every
provider, which takes seconds, so it is only looked at when something in the process has made it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from airflow_provenance.domain.identity import DatasetRef

if TYPE_CHECKING:
    from collections.abc import Iterable

# No public way to empty it: Airflow makes a new process for every task, but not in `dag.test()`.
_COLLECTED = ("_inputs", "_outputs", "_input_counts", "_output_counts", "_extra", "_extra_counts")
# As `airflow.providers.common.sql.hooks.lineage` has it, which not every task has imported.
_SQL_JOB = "sql_job"


class LocalFiles(NamedTuple):
    """Local files by the OpenLineage name of their dataset."""

    inputs: dict[DatasetRef, Path]
    outputs: dict[DatasetRef, Path]


class SqlJobs(NamedTuple):
    """What hooks ran; not all of it where Airflow's collector was full."""

    infos: list[Any]
    is_all: bool


def local_files(task: Any) -> LocalFiles:
    """Return the local files among what the task declared and what was collected so far."""
    inputs, outputs = [*_uris(task, "inlets")], [*_uris(task, "outlets")]
    if (collector := _collector()) is not None:
        collected = collector.collected_assets
        inputs += [info.asset.uri for info in collected.inputs]
        outputs += [info.asset.uri for info in collected.outputs]
    return LocalFiles(_by_dataset(inputs), _by_dataset(outputs))


def sql_jobs() -> SqlJobs:
    """Return what hooks reported of the SQL that they ran, in that order."""
    collector = _collector()
    if collector is None:
        return SqlJobs([], is_all=True)
    extra = collector.collected_assets.extra
    return SqlJobs([info for info in extra if info.key == _SQL_JOB], len(extra) < _most_extra())


def forget_collected() -> None:
    """Empty the collector: in a single-process run one task's files would leak into the next."""
    collector = _collector()
    for name in _COLLECTED:
        if hasattr(collector, name):
            getattr(collector, name).clear()


def local_file(uri: str) -> tuple[DatasetRef, Path] | None:
    """Return dataset and path of a ``file:`` URI of this host, or None for any other.

    The dataset is named as the official provider's converter for files names it.

    >>> local_file("file:///data/flights.csv")[0]
    DatasetRef(namespace='file', name='/data/flights.csv')
    """
    with suppress(ValueError):  # not a URI
        parts = urlsplit(uri)
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and len(parts.path) > 1:
            namespace = f"file://{parts.netloc}" if parts.netloc else "file"
            return DatasetRef(namespace, parts.path), _existing(parts.path)
    return None


def _existing(path: str) -> Path:
    # `ObjectStoragePath` does not quote what it reports, a URI in an Asset may be quoted.
    as_it_is = Path(path)
    return as_it_is if "%" not in path or as_it_is.exists() else Path(unquote(path))


def _uris(task: Any, side: str) -> Iterable[str]:
    for declared in getattr(task, side, None) or ():
        uri = getattr(declared, "uri", None)
        if isinstance(uri, str):
            yield uri


def _by_dataset(uris: Iterable[str]) -> dict[DatasetRef, Path]:
    return dict(found for uri in uris if (found := local_file(uri)) is not None)


def _most_extra() -> int:
    from airflow.sdk import lineage

    return getattr(lineage, "MAX_COLLECTED_EXTRA", 200)


def _collector() -> Any:
    from airflow.sdk.lineage import get_hook_lineage_collector

    if not get_hook_lineage_collector.cache_info().currsize:
        return None
    collector = get_hook_lineage_collector()
    return collector if hasattr(collector, "collected_assets") else None
