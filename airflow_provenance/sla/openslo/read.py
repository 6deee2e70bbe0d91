"""OpenSLO files as promises, with what is wrong with them and what of them is not taken over."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.files import Declared, Problem
from airflow_provenance.sla.openslo.documents import (
    Document,
    is_openslo,
    is_openslo_text,
    parse_documents,
    read_documents,
)
from airflow_provenance.sla.openslo.plain import PREFIX
from airflow_provenance.sla.openslo.schema import check
from airflow_provenance.sla.openslo.slo import LeftOutError, promises_of
from airflow_provenance.sla.policy import MalformedPolicyError, from_plain

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Imported", "is_openslo", "is_openslo_text", "read_openslo", "read_openslo_text"]


class Imported(NamedTuple):
    """What files of OpenSLO say.

    Attributes:
        problems: what is wrong; then nothing is declared.
        left_out: SLOs that can be no promise, as nothing says what of Airflow they are about.
        notes: what is not taken over of those that are.
    """

    declared: list[Declared]
    problems: list[Problem]
    left_out: list[Problem]
    notes: list[Problem]


class Catalog:
    """All documents of some files by kind and name, and which of them were referred to."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, str], Document] = {}
        self.used: set[tuple[str, str]] = set()

    def add(self, one: Document) -> Problem | None:
        """Take a document in; return what is wrong if its name is taken."""
        first = self.of.setdefault((one.kind, one.name), one)
        if first is one:
            return None
        text = f"{one.kind} {one.name!r} is there already, at {first.where}"
        return one.problem(("metadata", "name"), text)

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return a document that another one refers to."""
        found = self.of.get((kind, name))
        if found is None:
            return None
        self.used.add((kind, name))
        return dict(found.plain)


def read_openslo(paths: Iterable[Path]) -> Imported:
    """Return the promises that OpenSLO files make together."""
    return _imported(read_documents(Path(path)) for path in paths)


def read_openslo_text(name: str, text: str) -> Imported:
    """Return the promises that one file makes, by its text."""
    return _imported([parse_documents(name, text)])


def _imported(read: Iterable[tuple[list[Document], list[Problem]]]) -> Imported:
    catalog, problems, notes = Catalog(), [], []
    for documents, wrong in read:
        problems += wrong
        for one in documents:
            wrong, unknown = check(one)
            problems += wrong
            notes += unknown
            if not wrong and (twice := catalog.add(one)):
                problems.append(twice)
    declared: list[Declared] = []
    left_out: list[Problem] = []
    # With a document missing, references to it would be told as wrong, too.
    if not problems:
        for (kind, _), one in list(catalog.of.items()):
            if kind == "SLO":
                _read_slo(one, catalog, declared, problems, left_out, notes)
        notes += _unread(catalog)
    # Of several objectives the same is told.
    notes = sorted(dict.fromkeys(notes), key=lambda one: (one.file, one.line))
    return Imported([] if problems else declared, problems, left_out, notes)


def _read_slo(
    one: Document,
    catalog: Catalog,
    declared: list[Declared],
    problems: list[Problem],
    left_out: list[Problem],
    notes: list[Problem],
) -> None:
    def tell(path: tuple[str | int, ...], text: str) -> None:
        notes.append(one.problem(path, f"SLO {one.name!r}: {text}"))

    try:
        made = promises_of(one.plain, catalog, tell)
        for plain in made:
            policy = from_plain(plain)
            policy.calendar.check()
            declared.append(Declared(policy, one.where))
    except LeftOutError as error:
        left_out.append(one.problem((), f"SLO {one.name!r} is left out: {error}"))
    except MalformedPolicyError as error:
        problems.append(one.problem(_place(error.path, one.plain), f"{one.name}: {error}"))
    except PolicyError as error:
        problems.append(one.problem(("metadata",), f"{one.name}: {error}"))


_PLACES: dict[str, tuple[str | int, ...]] = {
    "at_least": ("spec", "objectives"),
    "slice": ("spec", "objectives"),
    "slice_at_least": ("spec", "objectives"),
    "aligned": ("spec", "timeWindow"),
    "window": ("spec", "timeWindow"),
    "zone": ("spec", "timeWindow"),
}


def _place(path: tuple[str | int, ...], plain: dict[str, Any]) -> tuple[str | int, ...]:
    """Return where in an SLO a promise's field comes from."""
    if path[:1] == ("spec",) or path[:1] == ("metadata",):
        return path
    for step in (path[:1], path[1:2]):
        name = f"{PREFIX}{re.sub('_', '-', str(step[0]))}" if step else ""
        if name in plain["metadata"].get("annotations", {}):
            return ("metadata", "annotations", name)
    return next((_PLACES[str(one)] for one in path if one in _PLACES), ("metadata",))


def _unread(catalog: Catalog) -> list[Problem]:
    found = []
    for (kind, name), one in catalog.of.items():
        if kind == "DataSource":
            text = f"DataSource {name!r} is not taken over: what was recorded is all that is read"
            found.append(one.problem((), text))
        elif kind == "Service" and _says_more(one.plain):
            found.append(one.problem((), f"Service {name!r}: only its name is taken over"))
        elif kind not in {"SLO", "Service"} and (kind, name) not in catalog.used:
            found.append(one.problem((), f"{kind} {name!r} is not taken over: no SLO refers to it"))
    return found


def _says_more(plain: dict[str, Any]) -> bool:
    return bool(plain["spec"] or plain["metadata"].keys() & {"displayName", "labels"})
