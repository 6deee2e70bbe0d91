"""What docs/promises.md tells of each kind and field, made from the code that reads them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.sla import policy
from airflow_provenance.sla.durations import format_duration
from airflow_provenance.sla.objectives import OBJECTIVES
from airflow_provenance.sla.refusals import fields_of, words

if TYPE_CHECKING:
    from msgspec.inspect import Field

_ORDER = ("dag", "task", "dataset", "job")


def kinds() -> list[list[str]]:
    """Return the cells of the table of kinds: kind, what it can be of, what it takes."""
    found = []
    for name, one in OBJECTIVES.items():
        targets = policy._TARGETS[one]
        of = ", ".join(kind for kind in _ORDER if kind in targets)
        found.append([f"`{name}`", of, "<br>".join(map(_field, fields_of(one)))])
    return found


def fields() -> list[list[str]]:
    """Return the cells of the table of a promise's own fields: name, what it takes, default."""
    return [
        [f"`{one.encode_name}`", words(one.type), "needed" if one.required else _default(one)]
        for one in fields_of(policy.Policy)
    ]


def _field(one: Field) -> str:
    default = "needed" if one.required else _default(one)
    return f"`{one.encode_name}`: {words(one.type)}" + (f" ({default})" if default else "")


def _default(one: Field) -> str:
    value: Any = one.default
    if value is msgspec.NODEFAULT or value in (None, "", (), {}):
        return ""
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    if isinstance(value, msgspec.Struct):
        return "every day"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{', '.join(value)}`" if isinstance(value, tuple) else f"`{value}`"
