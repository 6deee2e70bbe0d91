"""Which dataset version a run read, and on which version a write was put: pure rules.

The rules and their numbers are those of SEMANTICS "Dataset versions". A `VersionIndex` may hold
*any superset* of the versions that matter, so a store may load generously and the answer stays the
same.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from airflow_provenance.domain.run import VersionStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


class LinkRule(IntEnum):
    """Why an edge of the lineage graph is there. Stored with it."""

    WROTE = 0  # run -> version
    APPENDED = 1  # predecessor -> version
    NAMED = 2  # rule 1: the run named the version it read
    ASSET_EVENT = 3  # rule 2: the version whose asset event the DAG run consumed
    SAME_DAG_RUN = 4  # rule 3: the nearest upstream writer in the same DAG run
    NEWEST = 5  # rule 4: the newest successful write when the reader started
    OBSERVED = 6  # nobody here wrote it


class Version(msgspec.Struct):
    """A written dataset version, as far as linking needs it. Ids are the store's."""

    id: int
    dataset_id: int
    partition: str | None
    run_id: int
    run_key: bytes  # breaks ties of `ended_us`, alike in every store
    status: VersionStatus
    ended_us: int | None
    content_id: str | None
    replaces: bool
    job_id: int
    flow: bytes | None
    task_id: str | None
    map_index: int

    @property
    def order(self) -> tuple[int, bytes, str]:
        """Newer versions are greater. Only of versions that have ended."""
        return (self.ended_us or 0, self.run_key, self.partition or "")

    @property
    def group(self) -> tuple[bytes, str | None]:
        """Mapped instances of one task in one DAG run write one version group."""
        return (self.run_key, None) if self.flow is None else (self.flow, self.task_id)

    @property
    def member(self) -> tuple[int, int]:
        """Which part of its group a version is; tries of one instance are the same member."""
        return (self.job_id, self.map_index)


class Read(msgspec.Struct):
    """A dataset that a run read, before it is linked to a version."""

    id: int
    run_id: int
    dataset_id: int
    partition: str | None
    named: str | None
    verified: bool
    as_of_us: int
    flow: bytes | None
    task_id: str | None
    consumed: list[tuple[bytes, str, int]]


class Links(NamedTuple):
    """The versions a read links to, and by which rule; no ids where it is an observed one."""

    rule: LinkRule
    version_ids: frozenset[int]


_OBSERVED = Links(LinkRule.OBSERVED, frozenset())


# Sorts after every digest, so that a bound on time takes in all versions that ended at that time.
_LAST = b"\xff" * 17


_DONE = (VersionStatus.GOOD, VersionStatus.SUSPECT)


class VersionIndex:
    """The versions of one dataset, so that a rule finds its candidates without a scan."""

    def __init__(self, versions: Iterable[Version]) -> None:
        self.by_flow: dict[bytes, list[Version]] = defaultdict(list)
        self.by_content: dict[str, list[Version]] = defaultdict(list)
        self.by_group: dict[tuple[bytes, str | None], list[Version]] = defaultdict(list)
        self.partitions: dict[str | None, list[Version]] = defaultdict(list)
        unique = {version.id: version for version in versions}
        self.done = sorted((v for v in unique.values() if v.status in _DONE), key=_order)
        for version in self.done:
            if version.content_id is not None:
                self.by_content[version.content_id].append(version)
            if version.status == VersionStatus.GOOD:
                self.by_group[version.group].append(version)
                self.partitions[version.partition].append(version)
                if version.flow is not None:
                    self.by_flow[version.flow].append(version)

    def since(self, us: int) -> list[Version]:
        """Return the versions that ended at or after a time, good and suspect, oldest first."""
        return self.done[bisect_left(self.done, (us, b"", ""), key=_order) :]

    def newest_first(
        self, partition: str | None, bound: tuple[int, bytes, str], *, inclusive: bool
    ) -> Iterator[Version]:
        """Return the good versions of a partition up to a bound of their order."""
        versions = self.partitions.get(partition, [])
        cut = bisect_right if inclusive else bisect_left
        for position in range(cut(versions, bound, key=_order) - 1, -1, -1):
            yield versions[position]


def _order(version: Version) -> tuple[int, bytes, str]:
    return version.order


_EMPTY = VersionIndex(())


def _latest_members(versions: Iterable[Version]) -> list[Version]:
    """Return the newest version of each member and partition, of versions of one group."""
    latest: dict[tuple[tuple[int, int], str | None], Version] = {}
    for version in versions:
        slot = (version.member, version.partition)
        if slot not in latest or latest[slot].order < version.order:
            latest[slot] = version
    return list(latest.values())


def _newest_group(versions: list[Version]) -> list[Version]:
    if not versions:
        return []
    newest = max(versions, key=_order)
    return _latest_members(v for v in versions if v.group == newest.group)


def task_distances(task_id: str, upstream: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Return each ancestor task and how many steps upstream it is; 1 is direct."""
    distances: dict[str, int] = {}
    frontier, steps = {task_id}, 0
    while frontier:
        steps += 1
        frontier = {above for task in frontier for above in upstream.get(task, ())}
        frontier -= distances.keys()
        distances.update(dict.fromkeys(frontier, steps))
    return distances


def _may_read(read: Read, version: Version) -> bool:
    """Whether a version is one that the read could have seen at all."""
    return version.run_id != read.run_id and (
        read.partition is None or version.partition in (read.partition, None)
    )


def _named(read: Read, index: VersionIndex) -> list[Version]:
    same = [
        version
        for version in index.by_content.get(read.named or "", ())
        if version.order[0] <= read.as_of_us and _may_read(read, version)
    ]
    for status in (VersionStatus.GOOD, VersionStatus.SUSPECT):
        those = [version for version in same if version.status == status]
        if those:
            return [max(those, key=_order)]
    return []


def _by_asset_event(read: Read, index: VersionIndex) -> list[Version]:
    return _newest_group(
        [
            version
            for flow, task_id, map_index in read.consumed
            for version in index.by_flow.get(flow, ())
            if (version.task_id, version.map_index) == (task_id, map_index)
            and _may_read(read, version)
        ]
    )


def _in_same_dag_run(
    read: Read,
    index: VersionIndex,
    distances_of: Callable[[bytes, str], Mapping[str, int]],
) -> list[Version]:
    if read.flow is None or read.task_id is None or read.flow not in index.by_flow:
        return []
    distances = distances_of(read.flow, read.task_id)
    near = [
        (distances[version.task_id], version)
        for version in index.by_flow[read.flow]
        if version.task_id is not None and version.task_id in distances and _may_read(read, version)
    ]
    if not near:
        return []
    nearest = min(distance for distance, _ in near)
    versions = [version for distance, version in near if distance == nearest]
    # Clocks of two hosts differ, and without our notes an end is the time of an event that may
    # come late: a writer upstream had ended all the same, and its first write is the safe guess.
    before = [version for version in versions if version.order[0] <= read.as_of_us]
    return _newest_group(before or [min(versions, key=_order)])


def _newest(read: Read, index: VersionIndex) -> list[Version]:
    if read.partition is None:  # names none: the newest of each
        classes: list[tuple[str | None, ...]] = [(partition,) for partition in index.partitions]
    else:
        classes = [(read.partition, None)]
    return [version for one in classes for version in _newest_of(read, index, one)]


def _newest_of(
    read: Read, index: VersionIndex, partitions: tuple[str | None, ...]
) -> list[Version]:
    newest: Version | None = None
    for partition in partitions:
        for version in index.newest_first(partition, (read.as_of_us, _LAST, ""), inclusive=True):
            if version.run_id != read.run_id:
                if newest is None or newest.order < version.order:
                    newest = version
                break
    if newest is None:
        return []
    return _latest_members(
        version
        for version in index.by_group[newest.group]
        if version.partition in partitions
        and version.run_id != read.run_id
        and version.order[0] <= read.as_of_us
    )


def resolve_read(
    read: Read,
    index: VersionIndex | None,
    distances_of: Callable[[bytes, str], Mapping[str, int]],
) -> Links:
    """Link a read by the first rule that applies.

    Args:
        read: what was read.
        index: any superset of the dataset's versions that could be linked; None for none.
        distances_of: (DAG run, task) -> its ancestors, as `task_distances` gives them.
    """
    index = index or _EMPTY
    if read.named is not None:
        named = _named(read, index)
        if named:
            return Links(LinkRule.NAMED, frozenset(version.id for version in named))
    found, rule = _by_asset_event(read, index), LinkRule.ASSET_EVENT
    if not found:
        found, rule = _in_same_dag_run(read, index, distances_of), LinkRule.SAME_DAG_RUN
    if not found:
        found, rule = _newest(read, index), LinkRule.NEWEST
    known = {version.content_id for version in found if version.content_id is not None}
    contradicted = read.named is not None and bool(known) and read.named not in known
    if not found or contradicted:
        return _OBSERVED
    return Links(rule, frozenset(version.id for version in found))


def predecessors(version: Version, index: VersionIndex) -> frozenset[int]:
    """Return the versions that a write was put on; none where it replaced or was the first.

    Args:
        version: the write.
        index: any superset of the versions of its dataset before it.
    """
    if version.replaces or version.status == VersionStatus.OPEN:
        return frozenset()
    before = index.newest_first(version.partition, version.order, inclusive=False)
    newest = next((other for other in before if _may_precede(version, other)), None)
    if newest is None:
        return frozenset()
    if newest.group == version.group:
        return frozenset((newest.id,))
    members = _latest_members(
        other
        for other in index.by_group[newest.group]
        if other.partition == version.partition
        and other.order < version.order
        and _may_precede(version, other)
    )
    return frozenset(other.id for other in members)


def _may_precede(version: Version, other: Version) -> bool:
    """Mapped siblings write beside each other, not on top of each other."""
    return other.run_id != version.run_id and (
        other.group != version.group or other.member == version.member
    )
