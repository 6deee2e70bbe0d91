"""What is wrong with a promise, in words that say what is allowed there: of msgspec's errors.

What each field takes is read off the types, so that a new field needs nothing here; the table in
docs/promises.md is checked against the same words.
"""

from __future__ import annotations

import difflib
import functools
import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.inspect import DictType, Field, LiteralType, StructType, Type, UnionType, VarTupleType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_AT_PATH = re.compile(r"^(?P<text>.*?)(?: - at `(?P<path>[^`]+)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `([^`]+)`")
_UNKNOWN = re.compile(r"unknown field `([^`]+)`")
_WORDS = {
    "StrType": "text",
    "FloatType": "number",
    "IntType": "whole number",
    "BoolType": "true or false",
    "TimeDeltaType": "length of time",
    "DateType": "day, as 2026-12-24",
    "DateTimeType": "time with its zone, as 2026-12-24T18:00:00Z",
    "DictType": "object",
}

Steps = tuple[str | int, ...]


def told(error: msgspec.ValidationError, root: type, plain: object) -> tuple[str, Steps]:
    """Return what is wrong with a value that is no ``root``, and where in it."""
    found = _AT_PATH.match(str(error))
    text, path = (found["text"], found["path"] or "$") if found else (str(error), "$")
    steps: Steps = tuple(
        name or int(number) for name, number in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path)
    )
    kind, value = _at(_type_of(root), plain, steps)
    if isinstance(kind, StructType):
        if unknown := _UNKNOWN.search(text):
            return f"unknown field {unknown[1]!r}{_instead(unknown[1], kind)}", (*steps, unknown[1])
        if missing := _MISSING.search(text):
            return f"{missing[1]} is missing{_needs(missing[1], kind)}", steps
    if kind is None or not steps:
        return text, steps
    name = next(str(one) for one in reversed(steps) if isinstance(one, str))
    if isinstance(kind, DictType) and path.endswith("[...]"):  # what is wrong is in it
        allowed = f"{_article(words(kind.value_type))}{words(kind.value_type)} for each name"
        return f"{name} is {_shown(value)}: write {allowed}", steps
    allowed = words(kind)
    near = meant(value, _literals(kind)) if isinstance(value, str) else ""
    return f"{name} is {_shown(value)}: {near}write {_article(allowed)}{allowed}", steps


def words(kind: Type) -> str:
    """Return what a field takes."""
    if isinstance(kind, UnionType):
        some = [one for one in kind.types if type(one).__name__ != "NoneType"]
        if all(isinstance(one, StructType) for one in some):
            return "object"
        return " or ".join(dict.fromkeys(map(words, some)))
    if isinstance(kind, LiteralType):
        return f"one of {', '.join(map(str, kind.values))}"
    if isinstance(kind, VarTupleType):
        return f"list of {_plural(kind.item_type)}"
    if isinstance(kind, StructType):
        return f"object with {', '.join(one.encode_name for one in kind.fields)}"
    return _WORDS.get(type(kind).__name__, type(kind).__name__)


def fields_of(one: type) -> tuple[Field, ...]:
    """Return the fields of a class, with their types."""
    kind = _type_of(one)
    return kind.fields if isinstance(kind, StructType) else ()


def meant(name: object, known: Iterable[str]) -> str:
    """Return ``did you mean ...?`` with a space behind it, or nothing where nothing is near."""
    near = difflib.get_close_matches(str(name), list(known), 1, 0.6)
    return f"did you mean {near[0]!r}? " if near else ""


@functools.cache
def _type_of(one: type) -> Type:
    return msgspec.inspect.type_info(one)


def _at(kind: Type | None, value: Any, steps: Sequence[str | int]) -> tuple[Type | None, Any]:
    """Return type and value at a path; without type where that leads nowhere."""
    for step in (*steps, None):
        kind = _chosen(kind, value)
        if step is None or kind is None:
            return kind, value
        if isinstance(kind, StructType):
            kind = next((one.type for one in kind.fields if one.encode_name == step), None)
        else:
            kind = kind.item_type if isinstance(kind, VarTupleType) else None
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            value = None
    return kind, value


def _chosen(kind: Type | None, value: Any) -> Type | None:
    """Return the one type of a union that a value is meant for."""
    if not isinstance(kind, UnionType):
        return kind
    some = [one for one in kind.types if type(one).__name__ != "NoneType"]
    tagged = [one for one in some if isinstance(one, StructType)]
    if tagged and isinstance(value, dict):
        return next((one for one in tagged if one.tag == value.get(one.tag_field or "")), some[0])
    return some[0] if len(some) == 1 else kind


def _instead(unknown: str, kind: StructType) -> str:
    known = [one.encode_name for one in kind.fields]
    return f": {meant(unknown, known)}{_name(kind)} takes {', '.join(known)}"


def _needs(missing: str, kind: StructType) -> str:
    field = next(one for one in kind.fields if one.encode_name == missing)
    allowed = words(field.type)
    return f": {_name(kind)} needs it, {_article(allowed)}{allowed}"


def _name(kind: StructType) -> str:
    return str(kind.tag or f"a {kind.cls.__name__.lower().replace('policy', 'promise')}")


def _literals(kind: Type) -> list[str]:
    return list(map(str, kind.values)) if isinstance(kind, LiteralType) else []


def _plural(kind: Type) -> str:
    text = words(kind)
    if isinstance(kind, LiteralType):
        return text.removeprefix("one of ")
    return text.replace("object", "objects", 1) if isinstance(kind, StructType) else f"{text}s"


def _article(allowed: str) -> str:
    if allowed.startswith(("one of", "true or")):
        return ""
    return "an " if allowed.startswith("object") else "a "


def _shown(value: object) -> str:
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
