"""The versions of datasets that promises look at, read for many promises together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.domain.run import VersionStatus
from airflow_provenance.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.store.base import ProvenanceReader, VersionView


class Asked(NamedTuple):
    """Which versions of a dataset are looked at: those since a time, and so many good before."""

    since_us: int
    before: int
    checks: bool = False  # whether what was checked is looked at, too

    def joined(self, other: Asked) -> Asked:
        """Return what answers both."""
        return Asked(
            min(self.since_us, other.since_us),
            max(self.before, other.before),
            self.checks or other.checks,
        )


class _Read(NamedTuple):
    """The newest versions of a dataset, oldest first; all of them where nothing was asked."""

    versions: list[VersionView]
    good: list[VersionView]
    asked: Asked | None


class RecordedVersions:
    """Remembers the versions that were read. Datasets are named as promises name them."""

    def __init__(self, store: ProvenanceReader) -> None:
        self._store = store
        self._refs: dict[str, DatasetRef | None] = {}
        self._read: dict[str, _Read] = {}

    def prepare(self, asked: Mapping[str, Asked]) -> list[VersionView]:
        """Read what is asked of many datasets together; return the good ones."""
        by_asked: dict[Asked, dict[DatasetRef, list[str]]] = {}
        for name, one in asked.items():
            if (ref := self.known(name)) is not None:
                by_asked.setdefault(one, {}).setdefault(ref, []).append(name)
        found = []
        for one, names in by_asked.items():
            versions = self._store.versions_since([*names], one.since_us, one.before)
            for ref, its_names in names.items():
                read = _read(versions.get(ref, []), one)
                self._read |= dict.fromkeys(its_names, read)
                found += read.good
        return found

    def named(self, name: str) -> DatasetRef | None:
        """Return the dataset that a promise means."""
        if name not in self._refs:
            self._refs[name] = self._named(name)
        return self._refs[name]

    def known(self, name: str) -> DatasetRef | None:
        """Return the same; None, too, where that is told of a promise only when it is judged."""
        try:
            return self.named(name)
        except PolicyError:
            return None

    def _named(self, text: str) -> DatasetRef | None:
        if text.startswith("file:///"):  # a URI: OpenLineage names it file and /path
            text = f"file/{text.removeprefix('file://')}"
        found = self._store.datasets_named(text)
        if len(found) > 1:
            names = ", ".join("/".join(ref) for ref in found[:3])
            raise PolicyError(f"{len(found)} datasets are named {text!r}: write one of {names}")
        return found[0] if found else None

    def good(self, name: str, since_us: int | None, before: int) -> list[VersionView]:
        """Return the good versions since a time and so many before; None: all of them."""
        read = self._read.get(name)
        if read is not None and (read.asked is None or since_us is not None):
            first = _first(read.good, since_us)
            if _has(read, since_us, first, before):
                return read.good[max(first - before, 0) :]
        good = self._all(name).good
        return good[max(_first(good, since_us) - before, 0) :]

    def ended_since(self, name: str, since_us: int) -> list[VersionView]:
        """Return the versions, good or not, that had not ended before a time."""
        read = self._read.get(name)
        if read is None or (read.asked is not None and since_us < read.asked.since_us):
            read = self._all(name)
        return [one for one in read.versions if one.ended_us is None or one.ended_us >= since_us]

    def _all(self, name: str) -> _Read:
        if name not in self._read or self._read[name].asked is not None:
            ref = self.named(name)
            self._read[name] = _read([] if ref is None else self._store.versions(ref), None)
        return self._read[name]


def _read(versions: list[VersionView], asked: Asked | None) -> _Read:
    good = [one for one in versions if one.status == VersionStatus.GOOD]
    return _Read(versions, good, asked)


def _has(read: _Read, since_us: int | None, first: int, before: int) -> bool:
    """Whether what was read reaches back as far as what is looked at."""
    if read.asked is None or since_us is None:
        return read.asked is None
    # Fewer than were asked for: there are no more of them.
    is_whole = _first(read.good, read.asked.since_us) < read.asked.before
    return is_whole or (since_us >= read.asked.since_us and first >= before)


def _first(good: Iterable[VersionView], since_us: int | None) -> int:
    """Return how many versions come before a time."""
    if since_us is None:
        return 0
    count = 0
    for one in good:
        if _end(one) >= since_us:
            break
        count += 1
    return count


def _end(version: VersionView) -> int:
    return version.ended_us or version.first_seen_us or 0
