"""Lengths of time as authors write them: ``45m``, ``1h30m``, ``2d``; also ISO 8601 (``PT45M``).

A bare number is refused: nobody could say whether it means seconds or minutes.

>>> parse_duration("1h30m")
datetime.timedelta(seconds=5400)
>>> format_duration(timedelta(seconds=5400))
'1h30m'
"""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec

from airflow_provenance.errors import PolicyError

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)([wdhms])")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?[wdhms])+")


def parse_duration(text: str) -> timedelta:
    """Return a length of time; `PolicyError` where the text is none."""
    plain = text.strip().lower().replace(" ", "")
    try:
        if _WHOLE.fullmatch(plain):
            seconds = sum(float(n) * _UNITS[unit] for n, unit in _PARTS.findall(plain))
            return timedelta(seconds=seconds)
        return msgspec.convert(text, timedelta)
    except (msgspec.ValidationError, OverflowError) as error:
        raise PolicyError(f"{text[:40]!r} is no length of time: write 45m, 1h30m or 2d") from error


def format_duration(length: timedelta) -> str:
    """Return a length of time as an author would write it."""
    rest, parts = length.total_seconds(), []
    if rest < 0:
        return f"-{format_duration(-length)}"
    for unit in "dhm":
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count:.0f}{unit}")
    if rest or not parts:
        parts.append(f"{rest:g}s")
    return "".join(parts)


def microseconds(length: timedelta) -> int:
    """Return a length of time as this package counts it."""
    return length // timedelta(microseconds=1)
