"""How a promise stands, of all its periods: the newest one's verdict, and when it broke last.

A period is often of a run, and several may be of one: the tasks that a mapped task became, the
partitions that a run wrote. Of these one that is broken goes before those that were kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from airflow_provenance.domain.evaluation_change import BURN

if TYPE_CHECKING:
    from collections.abc import Sequence


class Judged(Protocol):
    """What is known of a period: an `Evaluation` or an `EvaluationChange`."""

    @property
    def period(self) -> str:
        """See `Evaluation`."""

    @property
    def state(self) -> str:
        """See `Evaluation`."""

    @property
    def breached_us(self) -> int | None:
        """See `Evaluation`."""


_J = TypeVar("_J", bound=Judged)
_PART = re.compile(r"\[[^\]]*\]")  # of a mapped task, or of a partition


class LastBroken(NamedTuple):
    """The newest period in which a promise was broken, and since when."""

    at_us: int
    period: str


def newest(found: Sequence[_J]) -> _J:
    """Return the verdict of the newest period that has one.

    Args:
        found: of one promise, the oldest period first; at least one.
    """
    told = [one for one in found if one.state != "pending" and not _is_calm_burn(one)] or found
    last = told[-1]
    same = [one for one in told if _whole(one) == _whole(last)]
    return next((one for one in reversed(same) if one.state == "breached"), last)


def _is_calm_burn(one: Judged) -> bool:
    """Say whether it is only that a budget burns no faster: nothing of how full it is."""
    return one.period.startswith(BURN) and one.state != "at_risk"


def last_broken(found: Sequence[Judged]) -> LastBroken | None:
    """Return when a promise broke last, made good since or not."""
    broken = [LastBroken(one.breached_us, one.period) for one in found if one.breached_us]
    return max(broken, default=None)


def _whole(one: Judged) -> str:
    return _PART.sub("", one.period)
