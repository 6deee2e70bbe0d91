"""Promises from YAML files, which can change without a change of a DAG.

::

    promises:
      - id: orders-by-nine
        target: {dag: orders, task: load}
        objective: {kind: deadline, at: "09:00", zone: Europe/Berlin}
        severity: page
        notify: [data-oncall]

What is wrong is told with file, line and reason. `PolicyFiles` reads the files again when they
change; while one is wrong, the last set that was good stays.
"""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.policy import MalformedPolicyError, Policy, from_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import yaml

_NUMBER = re.compile(r"[-+]?(\d+)(\.\d+)?([eE][-+]?\d+)?")
_NO_LETTER = re.compile("[\\x00\\ud800-\\udfff]")
_MAX_BYTES = 4 * 1024 * 1024
_NULLS, _TRUE, _FALSE = {"", "~", "null"}, {"true", "True"}, {"false", "False"}


class Problem(NamedTuple):
    """What is wrong with a file, and where."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class Declared(NamedTuple):
    """A promise and where it was made: in a file, or in a DAG."""

    policy: Policy
    where: str
    is_of_dag: bool = False


class Node(NamedTuple):
    """A value of a file, with the line of itself and of all in it."""

    value: Any
    lines: dict[tuple[str | int, ...], int]


class _Lines(dict[tuple[str | int, ...], int]):
    """The line of each value; of more values than letters only aliases of aliases can be."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.most = letters + 1


def read_files(paths: Iterable[Path]) -> tuple[list[Declared], list[Problem]]:
    """Return the promises of files, and what is wrong with them."""
    from airflow_provenance.sla.openslo import is_openslo, read_openslo

    found: list[Declared] = []
    problems: list[Problem] = []
    openslo = []
    for path in paths:
        if is_openslo(path):
            openslo.append(path)  # together: a document may refer to another file's
            continue
        some, wrong = _read_file(path)
        found += some
        problems += wrong
    if openslo:
        imported = read_openslo(openslo)
        found += imported.declared
        problems += [*imported.problems, *imported.left_out]
    return found, [*problems, *_taken(found)]


def _taken(found: Iterable[Declared]) -> list[Problem]:
    problems = []
    first: dict[str, str] = {}
    for one in found:
        if one.policy.id in first:
            file, _, line = one.where.rpartition(":")
            reason = f"id {one.policy.id!r} is taken, by {first[one.policy.id]}"
            problems.append(Problem(file, int(line), reason))
        first.setdefault(one.policy.id, one.where)
    return problems


def _read_file(path: Path) -> tuple[list[Declared], list[Problem]]:
    return _read_nodes(str(path), *read_yaml(path))


def read_text(name: str, text: str) -> tuple[list[Declared], list[Problem]]:
    """Return the promises of a file by its text, and what is wrong with them.

    Args:
        name: of the file, for what is told of it.
        text: what it holds.
    """
    from airflow_provenance.sla.openslo import is_openslo_text, read_openslo_text

    if not is_openslo_text(text):
        found, problems = _read_nodes(name, *parse_yaml(name, text))
        return found, [*problems, *_taken(found)]
    imported = read_openslo_text(name, text)
    problems = [*imported.problems, *imported.left_out]
    return imported.declared, [*problems, *_taken(imported.declared)]


def _read_nodes(
    name: str, nodes: list[Node], problems: list[Problem]
) -> tuple[list[Declared], list[Problem]]:
    if problems:
        return [], problems
    if len(nodes) > 1:
        return [], [Problem(name, nodes[1].lines[()], "it holds a second document")]
    return _promises(name, nodes[0] if nodes else Node(None, {}))


def read_yaml(path: Path) -> tuple[list[Node], list[Problem]]:
    """Return the documents of a file, or what is wrong with it."""
    name = str(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            return [], [Problem(name, 1, f"the file is larger than {_MAX_BYTES} bytes")]
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return [], [Problem(name, 1, f"it cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return [], [Problem(name, 1, "it is not UTF-8")]
    return parse_yaml(name, text)


def parse_yaml(name: str, text: str) -> tuple[list[Node], list[Problem]]:
    """Return the documents of a file by its text, or what is wrong with it."""
    import yaml

    nodes = []
    try:
        for root in yaml.compose_all(text, Loader=yaml.SafeLoader):
            lines = _Lines(len(text))
            nodes.append(Node(_plain(root, (), lines), lines))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = f"it is no YAML: {error.problem or error.context}"
        return [], [Problem(name, mark.line + 1 if mark else 1, reason)]
    except (yaml.YAMLError, RecursionError) as error:
        return [], [Problem(name, 1, f"it is no YAML: {str(error).splitlines()[0]}")]
    except MalformedPolicyError as error:
        return [], [Problem(name, int(error.path[0]), str(error))]
    return nodes, []


def _promises(name: str, node: Node) -> tuple[list[Declared], list[Problem]]:
    value = node.value
    if not isinstance(value, dict) or not isinstance(value.get("promises"), list):
        return [], [Problem(name, 1, "it has no list 'promises'")]
    problems = [
        Problem(name, node.lines[(key,)], f"unknown field {key!r}: only 'promises' is read")
        for key in value
        if key != "promises"
    ]
    found = []
    for number, plain in enumerate(value["promises"]):
        path = ("promises", number)
        try:
            policy = from_plain(plain)
            policy.calendar.check()
        except MalformedPolicyError as error:
            problems.append(Problem(name, _line(node, (*path, *error.path)), str(error)))
        except PolicyError as error:
            problems.append(Problem(name, _line(node, (*path, "calendar")), str(error)))
        else:
            found.append(Declared(policy, f"{name}:{_line(node, path)}"))
    return found, problems


def _line(node: Node, path: tuple[str | int, ...]) -> int:
    """Return the line of a value, or of the nearest that is there around it."""
    while path and path not in node.lines:
        path = path[:-1]
    return node.lines.get(path, 1)


def _plain(node: yaml.Node, path: tuple[str | int, ...], lines: _Lines) -> Any:
    """Return a node as JSON would have it: YAML 1.1 takes 10:30 for a number and NO for false."""
    import yaml

    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if len(lines) > lines.most:
        raise MalformedPolicyError("its aliases make it larger than it is", (line,))
    if len(path) > _DEEPEST:
        raise MalformedPolicyError("it is nested too deeply", (line,))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(one, (*path, number), lines) for number, one in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        made: dict[str, Any] = {}
        for key, value in node.value:
            name = _letters(key)
            if name in made:
                raise MalformedPolicyError(f"{name!r} is there twice", (key.start_mark.line + 1,))
            lines[*path, name] = key.start_mark.line + 1
            made[name] = _plain(value, (*path, name), lines)
        return made
    return scalar(_letters(node), is_plain=node.style is None)


def _letters(node: yaml.Node) -> str:
    """Return a text; its escapes may say what no store and no JSON can hold."""
    text = str(node.value)
    if _NO_LETTER.search(text):
        raise MalformedPolicyError("it has a character that is none", (node.start_mark.line + 1,))
    return text


_DEEPEST = 20  # also ends aliases that name themselves


def scalar(text: str, *, is_plain: bool) -> Any:
    """Return what a scalar says: a text where it is quoted, or looks like nothing else."""
    if not is_plain:
        return text
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if (found := _NUMBER.fullmatch(text)) is None:
        return text
    return float(text) if found[2] or found[3] else int(text)


def find_files(pattern: str) -> list[Path]:
    """Return the files of a glob, or of several that commas separate, in order."""
    patterns = [one.strip() for one in pattern.split(",") if one.strip()]
    found = {
        name
        for one in patterns
        for name in glob.glob(str(Path(one).expanduser()), recursive=True)  # noqa: PTH207 - absolute
    }
    return [Path(name) for name in sorted(found) if Path(name).is_file()]


class PolicyFiles:
    """The promises of files, read again when a file changes."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._seen: Sequence[tuple[str, int, int]] | None = None
        self.active: list[Declared] = []
        self.problems: list[Problem] = []

    def reload(self) -> bool:
        """Read the files if they changed; return whether other promises are active now.

        Where anything is wrong the last good set stays, and ``problems`` says what it is.
        """
        paths = find_files(self._pattern)
        seen = [(str(path), *_stamp(path)) for path in paths]
        if seen == self._seen:
            return False
        self._seen = seen
        found, self.problems = read_files(paths)
        if self.problems or found == self.active:
            return False
        self.active = found
        return True


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size
