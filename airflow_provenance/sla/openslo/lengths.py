"""Lengths of time as OpenSLO writes them: a number and one letter, from ``m`` to ``Y``.

>>> shorthand(timedelta(days=30)), shorthand(timedelta(seconds=90))
('30d', '2m')
>>> parse_shorthand("1Q")
datetime.timedelta(days=90)
"""

from __future__ import annotations

import re
from datetime import timedelta

from airflow_provenance.errors import PolicyError

_PARTS = re.compile(r"(\d+)([mhdwMQY])")
_MINUTES = {"m": 1, "h": 60, "d": 1440, "w": 10_080, "M": 43_200, "Q": 129_600, "Y": 525_600}
_MINUTE = timedelta(minutes=1)


def parse_shorthand(text: str) -> timedelta:
    """Return a length; a month counts 30 days, a quarter 90, a year 365."""
    found = _PARTS.fullmatch(text)
    try:
        if found is not None:
            return timedelta(minutes=int(found[1]) * _MINUTES[found[2]])
    except OverflowError:
        pass
    raise PolicyError(f"{text[:40]!r} is no length of time of OpenSLO: write 30m, 12h, 4w or 1M")


def is_by_the_calendar(text: str) -> bool:
    """Whether how long it is depends on when it begins."""
    return text[-1:] in "MQY"


def shorthand(length: timedelta) -> str:
    """Return a length in whole minutes or more, rounded up where it is not."""
    minutes = -(-length // _MINUTE)
    for letter in "dh":
        if minutes and minutes % _MINUTES[letter] == 0:
            return f"{minutes // _MINUTES[letter]}{letter}"
    return f"{minutes}m"
