"""What differed between two runs: their manifests, what was installed, the data, how they ended.

A manifest's volatile groups (host, process, try) are not compared, nor is how long a run took
called a difference. What is installed is in a manifest as a hash; the store has the list of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.identity import DagRunKey, DatasetRef
from airflow_provenance.lineage.manifests import dependencies_of, manifest_of
from airflow_provenance.store.base import RunView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provenance.store.base import ProvenanceReader, VersionView

_HASH_PATH = "environment.dependenciesHash"


class Difference(msgspec.Struct, frozen=True):
    """Something that is not the same on both sides; None where a side has nothing."""

    path: str
    left: Any
    right: Any


class DataDifference(msgspec.Struct, frozen=True):
    """A dataset that one run read or wrote in another version than the other, or alone.

    The versions are content ids, none of a version that has none; None for a run that did not read
    or write the dataset.
    """

    dataset: DatasetRef
    partition: str | None
    left: list[str] | None
    right: list[str] | None


class Comparison(msgspec.Struct):
    """The answer: what differed, each list empty where nothing did.

    Attributes:
        hashes: of the two manifests; None for a run that has none.
        remarks: what could not be compared, and why.
    """

    left: RunView
    right: RunView
    hashes: tuple[str | None, str | None]
    manifest: list[Difference]
    dependencies: list[Difference]
    inputs: list[DataDifference]
    outputs: list[DataDifference]
    remarks: list[str]

    @property
    def differs(self) -> bool:
        """Whether anything that was compared is not the same."""
        found = self.manifest or self.dependencies or self.inputs or self.outputs
        return bool(found) or self.left.state != self.right.state


def compare(store: ProvenanceReader, left: RunView, right: RunView) -> Comparison:
    """Compare two runs."""
    runs = (left, right)
    one, other = (manifest_of(store.run_doc(run.id)) for run in runs)
    remarks = [
        _without_manifest(run)
        for run, manifest in zip(runs, (one, other), strict=True)
        if manifest is None
    ]
    differences: list[Difference] = []
    dependencies: list[Difference] = []
    if one is not None and other is not None:
        differences = [*_differences(_compared(one), _compared(other), "")]
        if any(difference.path == _HASH_PATH for difference in differences):
            lists = [_dependencies(store, found) for found in (one, other)]
            if None in lists:
                remarks.append("what is installed differs, but the lists of it are not known")
            else:
                dependencies = [*_differences(lists[0], lists[1], "")]
                differences = [found for found in differences if found.path != _HASH_PATH]
        remarks += _absences(left, one, right, other)
    return Comparison(
        left,
        right,
        (_hash(one), _hash(other)),
        differences,
        dependencies,
        _data(_read(store, left), _read(store, right)),
        _data(_written(store, left), _written(store, right)),
        remarks,
    )


def _without_manifest(run: RunView) -> str:
    if isinstance(run.key, DagRunKey):
        return f"run {run.id} is a DAG run: its tasks' runs have manifests"
    return f"run {run.id} has no manifest"


def _hash(manifest: dict[str, Any] | None) -> str | None:
    return None if manifest is None else manifest.get("hash")


def _compared(manifest: dict[str, Any]) -> dict[str, Any]:
    volatile = manifest.get("volatile") or ()
    left_out = {"hash", "volatile", "absent", "dependencies", *volatile}
    return {
        name: group
        for name, group in manifest.items()
        if name not in left_out and not name.startswith("_")
    }


def _absences(
    left: RunView, one: dict[str, Any], right: RunView, other: dict[str, Any]
) -> list[str]:
    """Return what is not known, or not whole, of what was compared."""
    mine, theirs = _absent(one), _absent(other)
    both = {path for path, reason in mine.items() if theirs.get(path) == reason}
    return [
        *(f"of both: {path}: {mine[path]}" for path in sorted(both)),
        *(
            f"run {run.id}: {path}: {reason}"
            for run, absent in ((left, mine), (right, theirs))
            for path, reason in sorted(absent.items())
            if path not in both
        ),
    ]


def _absent(manifest: dict[str, Any]) -> dict[str, str]:
    compared = _compared(manifest)
    absent: dict[str, str] = manifest.get("absent") or {}
    return {path: why for path, why in absent.items() if path.partition(".")[0] in compared}


def _differences(left: Any, right: Any, path: str) -> Iterator[Difference]:
    if isinstance(left, dict) and isinstance(right, dict):
        for name in sorted(left.keys() | right.keys()):
            inner = f"{path}.{name}" if path else name
            yield from _differences(left.get(name), right.get(name), inner)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif type(left) is not type(right) or left != right:
        yield Difference(path, left, right)


def _dependencies(store: ProvenanceReader, manifest: dict[str, Any]) -> dict[str, str] | None:
    """Return what was installed, by name; None where the list was never received."""
    listed = dependencies_of(store, manifest)
    return None if listed is None else dict(one.partition("==")[::2] for one in listed)


_Slot = tuple[DatasetRef, str | None]


def _read(store: ProvenanceReader, run: RunView) -> dict[_Slot, set[str]]:
    versions = store.versions_by_id(edge.src for edge in store.trace([run.id], "upstream", 1))
    return _contents(versions.values())


def _written(store: ProvenanceReader, run: RunView) -> dict[_Slot, set[str]]:
    return _contents(store.versions_of_run(run.id))


def _contents(versions: Iterable[VersionView]) -> dict[_Slot, set[str]]:
    found: dict[_Slot, set[str]] = {}
    for version in versions:
        contents = found.setdefault((version.dataset, version.partition), set())
        if version.content_id is not None:
            contents.add(version.content_id)
    return found


def _data(left: Mapping[_Slot, set[str]], right: Mapping[_Slot, set[str]]) -> list[DataDifference]:
    slots = sorted(left.keys() | right.keys(), key=lambda slot: (slot[0], slot[1] or ""))
    return [
        DataDifference(
            *slot, *(sorted(side[slot]) if slot in side else None for side in (left, right))
        )
        for slot in slots
        if left.get(slot) != right.get(slot)
    ]
