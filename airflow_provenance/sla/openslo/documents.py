"""The documents of OpenSLO files: values, and the line of each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.sla.files import Node, Problem, parse_yaml, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MARK = re.compile(r"""^[-\s]*["']?apiVersion["']?\s*:\s*["']?openslo(\.com)?/""", re.MULTILINE)
Steps = tuple[str | int, ...]


class Document(NamedTuple):
    """One object of a file."""

    file: str
    plain: Any
    lines: dict[Steps, int]
    at: Steps = ()

    @property
    def kind(self) -> str:
        """SLO, SLI, ..."""
        return str(self.plain["kind"])

    @property
    def name(self) -> str:
        """Its name, by which others refer to it."""
        return str(self.plain["metadata"]["name"])

    @property
    def where(self) -> str:
        """FILE:LINE."""
        return f"{self.file}:{self.problem((), '').line}"

    def problem(self, path: Iterable[str | int], reason: str) -> Problem:
        """Return what is wrong with it, and on which line."""
        steps = (*self.at, *path)
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return Problem(self.file, self.lines.get(steps, 1), reason)


def is_openslo(path: Path) -> bool:
    """Whether a file says that it holds OpenSLO documents; one that cannot be read does not."""
    try:
        return is_openslo_text(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return False


def is_openslo_text(text: str) -> bool:
    """Whether the text of a file says that it holds OpenSLO documents."""
    return _MARK.search(text) is not None


def read_documents(path: Path) -> tuple[list[Document], list[Problem]]:
    """Return the documents of a file: several, or a list of them in one."""
    nodes, problems = read_yaml(path)
    return _documents(str(path), nodes), problems


def parse_documents(name: str, text: str) -> tuple[list[Document], list[Problem]]:
    """Return the documents of a file by its text."""
    nodes, problems = parse_yaml(name, text)
    return _documents(name, nodes), problems


def _documents(name: str, nodes: Iterable[Node]) -> list[Document]:
    found = []
    for value, lines in nodes:
        if isinstance(value, list):
            found += [Document(name, one, lines, (n,)) for n, one in enumerate(value)]
        elif value is not None:
            found.append(Document(name, value, lines))
    return found
