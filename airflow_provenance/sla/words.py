"""What was promised and what was observed of a period, as a person reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from airflow_provenance.lineage.short import short_run_id
from airflow_provenance.sla.amounts import amount_text, moment_text

if TYPE_CHECKING:
    from airflow_provenance.sla.evaluation import Evaluation

_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z", re.ASCII)


class Measured(Protocol):
    """The numbers of a period: an `Evaluation` or an `EvaluationChange`."""

    @property
    def observed(self) -> float | None:
        """See `Evaluation`."""

    @property
    def threshold(self) -> float | None:
        """See `Evaluation`."""

    @property
    def unit(self) -> str:
        """See `Evaluation`."""

    @property
    def due_us(self) -> int | None:
        """See `Evaluation`."""


def observed_text(one: Measured) -> str:
    """Return what was observed; empty where nothing was."""
    return "" if one.observed is None else amount_text(one.observed, one.unit)


def promised_text(one: Measured) -> str:
    """Return what was promised: an amount, or a time by which it is due."""
    if one.threshold is not None:
        by = "by " if one.unit == "time" else ""
        return by + amount_text(one.threshold, one.unit)
    return "" if one.due_us is None else f"by {moment_text(one.due_us)}"


def period_text(period: str) -> str:
    """Return a period with the times in it to the second.

    >>> period_text("shop/manual__2026-03-02T06:00:00.123456+00:00")
    'shop/manual__2026-03-02T06:00:00'
    >>> period_text("2026-03-02T06:00:00.000000Z")
    '2026-03-02T06:00:00Z'
    """
    return f"{found[1]}Z" if (found := _INSTANT.fullmatch(period)) else short_run_id(period)


def verdict_text(one: Evaluation) -> str:
    """Return how a promise stands for a period, with what was observed and promised."""
    since = "" if one.breached_us is None else f" since {moment_text(one.breached_us)}"
    observed, promised = observed_text(one), promised_text(one)
    told = f"{observed} ({one.reason})" if observed and one.reason else observed or one.reason
    numbers = ", ".join(text for text in (told, promised and f"promised {promised}") if text)
    head = f"{one.policy_id} {period_text(one.period)}: {one.state.value}{since}"
    return f"{head}: {numbers}" if numbers else head
