"""Observed and promised numbers as a person reads them, by their unit.

>>> amount_text(0.9748, "ratio"), amount_text(5400, "s"), amount_text(29425, "rows")
('97.48 %', '1h30m', '29425 rows')
>>> amount_text(1363852800, "time")
'2013-03-21 08:00:00 UTC'
"""

from __future__ import annotations

from datetime import timedelta

from airflow_provenance.domain.clock import format_time
from airflow_provenance.sla.durations import format_duration


def amount_text(value: float, unit: str) -> str:
    """Return a number with its unit: ``time``, ``s``, ``ratio`` or a word."""
    if unit == "time":
        return moment_text(round(value * 1e6))
    if unit == "s":
        return format_duration(timedelta(seconds=round(value, 3)))
    if unit == "ratio":
        return f"{100 * value:g} %"
    if unit == "times":
        return f"{value:.3g} times"
    if float(value).is_integer():
        return f"{value:.0f} {unit}".strip()
    return f"{value:g} {unit}".strip()


def moment_text(us: int) -> str:
    """Return a time in UTC microseconds, to the second."""
    return (format_time(us) or "")[:19].replace("T", " ") + " UTC"
