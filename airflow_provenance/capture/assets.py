"""Which datasets a task declared (inlets, outlets) or touched, and the Airflow assets behind them.

The official provider names what hooks collected *or* what was declared, and drops assets that no
converter knows; here it is all of them. What was declared is known when the task begins; what hooks
collected, the assets of an alias, the ``extra`` of an asset's event and its partition keys when it
ends. A partition becomes an `Observation`, as if `observe` had been told of it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provenance.capture import hook_lineage
from airflow_provenance.capture.asset_names import Named, name_asset
from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.emit.notes import AssetNotes
from airflow_provenance.emit.observed import Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from airflow_provenance.emit.notes import TaskRunNotes

_log = logging.getLogger(__name__)
_Assets = dict[DatasetRef, AssetNotes | None]


@dataclass(slots=True)
class Files:
    """Local files by the name of their dataset."""

    inputs: dict[DatasetRef, Path] = field(default_factory=dict)
    outputs: dict[DatasetRef, Path] = field(default_factory=dict)


def note_declared(noted: TaskRunNotes, task_instance: Any) -> Files:
    """Note what the task declares; return those that are local files."""
    context = task_instance.get_template_context()
    task, files = task_instance.task, Files()
    resolve = getattr(context.get("outlet_events"), "_resolve_asset_ref", None)
    for side, found, paths in (
        ("inlets", noted.asset_inputs, files.inputs),
        ("outlets", noted.asset_outputs, files.outputs),
    ):
        for declared in _each(getattr(task, side, None) or ()):
            if (asset := _resolved(declared, resolve)) is not None:
                _note(asset, found, paths, is_airflows=True)
    return files


def note_touched(noted: TaskRunNotes, task_instance: Any) -> Files:
    """Note all that is known when the task ends; return the local files among it."""
    context = task_instance.get_template_context()
    files = note_declared(noted, task_instance)
    collected = hook_lineage.collected()
    for asset in collected.inputs:
        _note(asset, noted.asset_inputs, files.inputs, is_airflows=False)
    for asset in collected.outputs:
        _note(asset, noted.asset_outputs, files.outputs, is_airflows=False)
    partitions = _note_asset_events(noted, context.get("outlet_events") or {}, files)
    run_key = getattr(context.get("dag_run"), "partition_key", None)
    for ref, asset_notes in noted.asset_outputs.items():
        # Only an asset's event has a key; a file that was merely touched belongs to no partition.
        keys = partitions.get(ref) or ({run_key} if run_key and asset_notes else set())
        _note_partitions(noted.observed.outputs, ref, keys)
    _note_consumed(noted, context.get("triggering_asset_events") or {})
    return files


def _each(declared: Iterable[Any]) -> Iterator[Any]:
    for one in declared:
        if (members := getattr(one, "objects", None)) is not None:  # as `a | b`
            yield from _each(members)
        else:
            yield one


def _resolved(declared: Any, resolve: Callable[[Any], Any] | None) -> Any:
    """Return an asset for a reference to one (`Asset.ref`), which Airflow has to be asked for."""
    if type(declared).__name__ not in ("AssetNameRef", "AssetUriRef"):
        return declared
    if resolve is None:
        return None
    try:
        return resolve(declared)[0]
    except Exception as error:  # noqa: BLE001 - Airflow's own errors; the other assets still count
        _log.debug("Provenance: %s is not known to Airflow", declared, exc_info=error)
        return None


def _note(asset: Any, found: _Assets, paths: dict[DatasetRef, Path], *, is_airflows: bool) -> None:
    named = _named(asset)
    if named is None:
        return
    if named.path is not None:
        paths[named.ref] = named.path
    if found.get(named.ref) is None:
        name, uri = getattr(asset, "name", None), getattr(asset, "uri", None)
        is_known = is_airflows and isinstance(name, str) and isinstance(uri, str)
        found[named.ref] = AssetNotes(str(name), str(uri)) if is_known else None


def _named(asset: Any) -> Named | None:
    """Return the dataset of anything that may stand in inlets and outlets."""
    if type(asset).__name__ == "AssetAlias":  # its assets are known when they are written
        return None
    try:
        if hasattr(asset, "uri"):
            return name_asset(asset)
        from airflow.providers.openlineage.extractors.manager import ExtractorManager

        # An OpenLineage Dataset, or a File or Table of Airflow's: named as the provider names them.
        dataset = ExtractorManager.convert_to_ol_dataset(asset)
    except Exception as error:  # noqa: BLE001 - anything may be declared, and converters are others' code
        _log.debug("Provenance: %r is no dataset", asset, exc_info=error)
        return None
    return None if dataset is None else Named(DatasetRef(dataset.namespace, dataset.name))


def _note_asset_events(
    noted: TaskRunNotes, outlet_events: Mapping[Any, Any], files: Files
) -> dict[DatasetRef, set[str]]:
    """Note what the task told Airflow of its assets; return their partition keys."""
    partitions: dict[DatasetRef, set[str]] = {}
    for key in outlet_events:
        accessor = outlet_events[key]
        told = [(key, accessor.extra, None)] if hasattr(key, "uri") else []
        told += [
            (event.dest_asset_key, event.extra, event.source_alias_name)
            for event in getattr(accessor, "asset_alias_events", None) or ()
        ]
        for asset, extra, alias in told:
            named = _named(asset)
            if named is None:
                continue
            _note(asset, noted.asset_outputs, files.outputs, is_airflows=True)
            asset_notes = noted.asset_outputs[named.ref]
            if asset_notes is not None:
                asset_notes.add(dict(extra or {}), alias)
            if keys := getattr(accessor, "partition_keys", None):
                partitions.setdefault(named.ref, set()).update(keys)
    return partitions


def _note_consumed(noted: TaskRunNotes, triggering: Mapping[Any, Any]) -> None:
    """Note which partitions, and with what ``extra``, the inlets are that triggered the run."""
    for key, events in triggering.items():
        if not hasattr(key, "uri") or (named := _named(key)) is None:
            continue
        asset_notes = noted.asset_inputs.get(named.ref)
        if asset_notes is None:
            continue  # it triggered the run, but this task does not say that it reads it
        keys = set()
        for event in events:
            asset_notes.add(dict(event.extra or {}))
            keys |= {event.partition_key} if getattr(event, "partition_key", None) else set()
        _note_partitions(noted.observed.inputs, named.ref, keys)


def _note_partitions(
    observed: dict[tuple[DatasetRef, str | None], Observation], ref: DatasetRef, keys: set[str]
) -> None:
    if not keys or any(one == ref and key is not None for one, key in observed):
        return  # what the task itself said of partitions holds
    whole = observed.pop((ref, None), Observation())
    for key in sorted(keys):
        # How the rows are spread over several partitions is not known.
        rows = whole.rows if len(keys) == 1 else None
        observed[ref, key] = replace(whole, partition=key, rows=rows)
