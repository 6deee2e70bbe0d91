"""A promise as authors write it, which is what both files and annotations hold."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from typing import Any

import msgspec

from airflow_provenance.sla.durations import format_duration, parse_duration
from airflow_provenance.sla.policy import Policy, to_plain

PREFIX = "airflow-provenance/"
SOURCE = "airflow-provenance"
"""The ``type`` of our metric sources."""
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST = 54  # and a hash: 63, as RFC 1123 has it


def plain_of(policy: Policy) -> dict[str, Any]:
    """Return a promise as `policy.from_plain` reads it, with lengths of time as ``45m``."""
    plain = _written(policy, to_plain(policy))
    return {name: plain.pop(name) for name in ("id", "target", "objective")} | plain


def _written(struct: msgspec.Struct, plain: dict[str, Any]) -> dict[str, Any]:
    made = dict(plain)
    for field in msgspec.structs.fields(struct):
        value, name = getattr(struct, field.name), field.encode_name
        if value == field.default:  # of lengths of time msgspec leaves none out
            made.pop(name, None)
        elif isinstance(value, timedelta):
            made[name] = length_text(value)
        elif isinstance(value, msgspec.Struct):
            made[name] = _written(value, made[name])
    return made


def length_text(length: timedelta) -> str:
    """Return a length of time as ``1h30m``; in ISO 8601 where that would round it."""
    text = format_duration(length)
    try:
        if parse_duration(text) == length:
            return text
    except ValueError:
        pass
    iso: str = msgspec.to_builtins(length)
    return iso


def name_of(text: str) -> str:
    """Return a name that every tool takes: of 63 small letters, digits and ``-``.

    >>> name_of("orders-by-nine"), name_of("Orders.by_nine")
    ('orders-by-nine', 'orders-by-nine-601b4ef1')
    """
    if _LABEL.fullmatch(text):
        return text
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST].strip("-")
    return f"{words}-{hashlib.sha256(text.encode()).hexdigest()[:8]}".lstrip("-")


def annotation(value: object) -> str:
    """Return a value as an annotation holds it: a text as it is, all else as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
