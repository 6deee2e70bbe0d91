"""Short forms of what answers name: the one place that decides them.

===========  ===============================  ====================================================
content id   ``sha256:538ee74744bf``          12 digits of a digest; of a table's, after the zeros
dataset      ``2013-01/flights.csv``          its last two parts, more where others end in these
time         ``2013-01-05T06:00:01Z``         to the second
Airflow run  ``manual__2013-01-05T06:00:01``  to the second, without the zone
duration     ``0.36s``, ``2m 05s``            two units at most
===========  ===============================  ====================================================

What is printed so can be asked for so: see `lineage.subject`. JSON has everything whole.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from airflow_provenance.domain.clock import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.store.base import RunView, VersionView

DIGITS: Final = 12
_PARTS: Final = 2
_DIGEST = re.compile(r"[0-9a-f]{32,}", re.ASCII)
_FRACTION = re.compile(r"(T\d\d:\d\d:\d\d)(?:\.\d+)?(?:\+00:00|Z)", re.ASCII)
# What would not be read as the name of a dataset: a run, a version, an option.
_MEANS_ELSE = re.compile(r"(?:run|dataset):|v\d+$|[-@]", re.ASCII)
_UNITS = ((86_400, 3600, "d", "h"), (3600, 60, "h", "m"), (60, 1, "m", "s"))
_PATH = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?[^\s\"',()]*(?:/[^\s\"',()]+){3,}")


class Names:
    """How one answer calls what it names: short, so that each name means one thing, or whole.

    Args:
        datasets: those that a short name must not be mistaken for, beside the one it is of.
        is_long: whether everything is named whole.
    """

    def __init__(self, datasets: Iterable[DatasetRef] = (), *, is_long: bool = False) -> None:
        self.is_long = is_long
        self._alike: dict[str, list[DatasetRef]] = defaultdict(list)
        self._known: dict[DatasetRef, str] = {}
        for ref in datasets:
            self._alike[_parts(ref.name)[-1]].append(ref)

    def dataset(self, ref: DatasetRef) -> str:
        """Return a dataset's name."""
        if ref not in self._known:
            self._known[ref] = "/".join(ref) if self.is_long else self._short(ref)
        return self._known[ref]

    def content(self, content_id: str | None) -> str:
        """Return a content id."""
        if content_id is None:
            return "no content id"
        return content_id if self.is_long else short_content(content_id)

    def version(self, version: VersionView) -> str:
        """Return the name of a dataset version: the dataset, its partition, its content."""
        partition = f" [{version.partition}]" if version.partition is not None else ""
        return f"{self.dataset(version.dataset)}{partition}  {self.content(version.content_id)}"

    def time(self, us: int | None) -> str | None:
        """Return a time."""
        return format_time(us) if self.is_long else short_time(format_time(us))

    def took(self, run: RunView) -> str:
        """Return how long a run took; nothing while it goes on."""
        if run.started_us is None or run.ended_us is None:
            return ""
        seconds = (run.ended_us - run.started_us) / 1e6
        return f"{seconds:f}s" if self.is_long else duration_text(seconds)

    def text(self, text: str) -> str:
        """Return a text that may have paths in it."""
        return text if self.is_long else short_paths(text)

    def _short(self, ref: DatasetRef) -> str:
        parts = _parts(ref.name)
        others = [one for one in self._alike[parts[-1]] if one != ref]
        for count in range(min(_PARTS, len(parts)), len(parts) + 1):
            name = "/".join(parts[-count:])
            if (
                name
                and not _MEANS_ELSE.match(name)
                and not any(is_named(one, name) for one in others)
            ):
                return name
        return "/".join(ref)


def is_named(ref: DatasetRef, text: str) -> bool:
    """Say whether a text is a dataset's name, or the last parts of it."""
    name = ref.name.rstrip("/")
    return text in (name, ref.name, "/".join(ref)) or name.endswith(f"/{text}")


def short_content(content_id: str) -> str:
    """Return the start of a content id that is a digest; others are as short as they are."""
    kind, colon, digest = content_id.rpartition(":")
    if not _DIGEST.fullmatch(digest):
        return content_id
    # Of a table's rows it begins with how many there are.
    told = digest.lstrip("0") if kind.endswith("-rows") else digest
    return f"{kind}{colon}{told[:DIGITS]}"


def short_time(time: str | None) -> str | None:
    """Return a time of an answer to the second."""
    return None if time is None else _FRACTION.sub(r"\1Z", time)


def short_run_id(run_id: str) -> str:
    """Return an Airflow run_id with the time in it to the second."""
    return _FRACTION.sub(r"\1", run_id)


def short_paths(text: str) -> str:
    """Return a text with the long paths in it cut to their last parts."""
    return _PATH.sub(lambda found: "/".join(_parts(found[0])[-_PARTS:]), text)


def many(number: int, noun: str) -> str:
    """Return how many there are of something.

    >>> many(1, "row"), many(2040, "row"), many(2, "retry")
    ('1 row', '2,040 rows', '2 retries')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def duration_text(seconds: float) -> str:
    """Return a length of time, in two units at most."""
    whole = round(seconds)
    for unit, size, name, below in _UNITS:
        if whole >= unit:
            return f"{whole // unit}{name} {whole % unit // size:02}{below}"
    return f"{seconds:.2f}s"


def _parts(name: str) -> list[str]:
    return name.rstrip("/").split("/")
