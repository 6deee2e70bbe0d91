"""What can be promised: one class per kind, checked when it is made.

============================  ======================================================================
``Duration``                  a task or DAG run takes at most so long (``task_duration``,
                              ``run_duration``)
``Deadline``                  a DAG, task or dataset is done by a local time (``run_deadline``, ...)
``StartDelay``                it starts at most so long after it was due
``QueueLatency``              it waits in the queue at most so long
``MissingRun``                a run that is expected exists
``Freshness``                 a dataset's data is at most so old, by one of three clocks
``Volume``                    a version has so many rows or bytes, or as many as usual
``Completeness``              as many rows come out as went in; no partition is missing
``Throughput``                a task handles at least so many rows or bytes a second
``SuccessRatio``              of the runs in a window, so many succeed
``ConsecutiveMisses``         not so many failures, breaches or missing runs in a row
``DataQuality``               the assertions about a dataset pass, or those that a job makes
``SchemaContract``            no column is removed or changes its type
``EndToEndLatency``           a dataset holds what its source said at most so long ago
``Cost``                      a run costs at most so much
============================  ======================================================================

`evaluate` decides whether they were kept.

>>> Duration(at_most=timedelta(0))
Traceback (most recent call last):
...
airflow_provenance.errors.PolicyError: duration: at_most is 0s: give more than that
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.durations import format_duration

_AT = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?")
_LOCAL = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?")
_EVERY = re.compile(r"[1-9]\d{0,2}[mhdwMQY]")


class Objective(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    tag=lambda name: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(),
):
    """What every kind has: a name, and targets that it can be promised of."""

    @property
    def kind(self) -> str:
        """Its name in files."""
        return str(self.__struct_config__.tag)

    def _positive(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if isinstance(value, timedelta) and value <= timedelta(0):
                raise self.refusal(f"{name} is {format_duration(value)}: give more than that")
            if isinstance(value, int | float) and not 0 < value < float("inf"):
                raise self.refusal(f"{name} is {value:g}: give a number above 0")

    def _ratio(self, name: str) -> None:
        value = getattr(self, name)
        if not 0 < value <= 1:
            raise self.refusal(f"{name} is {value:g}: give a part of 1, such as 0.99")

    def refusal(self, text: str) -> PolicyError:
        """Return the error that says what is wrong with it."""
        return PolicyError(f"{self.kind}: {text}")


class Duration(Objective, frozen=True):
    """A task or DAG run takes at most so long; ``over`` its retries together, or each try.

    It counts from its start; or ``since`` it was ``due`` (``run_after``), since its DAG run's
    ``logical_date``, or since it was ``queued``: then a success keeps the promise, whichever try.
    """

    at_most: timedelta
    over: Literal["try", "retries"] = "try"
    since: Literal["start", "due", "logical_date", "queued"] = "start"

    def __post_init__(self) -> None:
        self._positive("at_most")
        if self.since != "start" and self.over != "try":
            raise self.refusal(f"over is of a duration from the start, not since {self.since}")


class Deadline(Objective, frozen=True):
    """Done by a local time of every day of the calendar.

    A day's runs are those that were due after the last deadline and until this one (`periods`); one
    success among them keeps the promise.
    """

    at: str
    zone: str | None = None
    ambiguous: Literal["first", "second"] = "first"

    def __post_init__(self) -> None:
        if not _AT.fullmatch(self.at):
            raise self.refusal(f'at is {self.at!r}: write a local time such as "09:00"')


class StartDelay(Objective, frozen=True):
    """A run starts at most so long after it could (``run_after``)."""

    at_most: timedelta

    def __post_init__(self) -> None:
        self._positive("at_most")


class QueueLatency(Objective, frozen=True):
    """A try waits at most so long in the queue."""

    at_most: timedelta

    def __post_init__(self) -> None:
        self._positive("at_most")


class MissingRun(Objective, frozen=True):
    """Every run that the schedule expects exists, at most ``grace`` after it was due."""

    grace: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        if self.grace < timedelta(0):
            raise self.refusal("grace is less than nothing: give 0s or more")


class Freshness(Objective, frozen=True):
    """A dataset's data is at most so old.

    Its age counts from the last good ``write``, from the ``interval_end`` of the run that wrote it,
    or from its newest ``event_time``.
    """

    at_most: timedelta
    clock: Literal["write", "interval_end", "event_time"] = "write"

    def __post_init__(self) -> None:
        self._positive("at_most")


class Volume(Objective, frozen=True):
    """A version has from ``at_least`` to ``at_most`` rows or bytes.

    With ``baseline`` these are factors of the median of earlier versions, of all or of those on the
    same weekday; there must be ``min_history`` of them.
    """

    at_least: float | None = None
    at_most: float | None = None
    of: Literal["rows", "bytes"] = "rows"
    baseline: Literal["none", "all", "weekday"] = "none"
    min_history: int = 5

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise self.refusal("it promises nothing: give at_least, at_most or both")
        low = self.at_least or 0
        if low < 0 or (self.at_most is not None and self.at_most < low):
            raise self.refusal("at_least is below 0, or above at_most")
        self._positive("min_history")


class Completeness(Objective, frozen=True):
    """At least this part of the ``rows`` that went in came out; or of the last days' partitions.

    A partition is named by its day in ``key_format``; the last ``lag_days`` need not be there yet.
    """

    at_least: float = 1.0
    of: Literal["rows", "partitions"] = "rows"
    days: int = 7
    lag_days: int = 1
    key_format: str = "%Y-%m-%d"

    def __post_init__(self) -> None:
        self._ratio("at_least")
        self._positive("days")
        if self.lag_days < 0:
            raise self.refusal("lag_days is below 0")


class Throughput(Objective, frozen=True):
    """A run handles at least so many rows or bytes a second."""

    at_least: float
    of: Literal["rows", "bytes"] = "rows"

    def __post_init__(self) -> None:
        self._positive("at_least")


class Aligned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Windows of the calendar, one after the other from a local time on, as OpenSLO has them.

    ``every`` is a number and ``m``, ``h``, ``d``, ``w``, ``M`` (months), ``Q`` or ``Y``: ``1M``.
    """

    start: str
    every: str

    def __post_init__(self) -> None:
        if not _EVERY.fullmatch(self.every):
            raise PolicyError(f"aligned: every is {self.every!r}: write 1d, 2w, 1M, 1Q or 1Y")
        try:
            start = datetime.fromisoformat(self.start)
            is_local = _LOCAL.fullmatch(self.start) is not None and 1970 <= start.year < 3000
        except ValueError:
            is_local = False
        if not is_local:
            text = "write a local time, such as 2026-01-01T00:00:00"
            raise PolicyError(f"aligned: start is {self.start!r}: {text}")


class SuccessRatio(Objective, frozen=True):
    """Of the runs that ended in the window at least this part succeeded.

    With ``aligned`` the window is the one of the calendar that holds now, in the promise's zone.
    With ``slice`` it is cut into slices of so long: of those with runs ``at_least`` so many have a
    ratio of ``slice_at_least``; without ``slice_at_least`` their ratios' mean is what counts.
    The rest is an error budget. How fast it burns is told apart from that it is used up: with
    ``alert_on`` ``burn_rate``, by pairs of windows (`burn_rate`) that page or make a ticket.
    """

    at_least: float
    window: timedelta = timedelta(days=30)
    min_events: int = 1
    # Whether a single failure may page; a daily DAG would page at every failure.
    page_on_one: bool = False
    aligned: Aligned | None = None
    slice: timedelta | None = None
    slice_at_least: float | None = None
    alert_on: Literal["burn_rate", "ratio"] = "burn_rate"
    # Whether failures that somebody excuses by hand (`sla excuse`) use up the budget all the same.
    count_excused: bool = False

    def __post_init__(self) -> None:
        self._ratio("at_least")
        self._positive("window", "min_events", "slice")
        if self.slice_at_least is not None:
            self._ratio("slice_at_least")
            if self.slice is None:
                raise self.refusal("slice_at_least is of slices: give slice, such as 1d")


class DataQuality(Objective, frozen=True):
    """At least this part of the assertions about a dataset passes, or that a job's runs make.

    ``of`` ``rows``: each holds for at least this part of the rows that it looked at. ``severity``
    is the lowest that counts; ``assertions`` names those that count, else all do.
    """

    at_least: float = 1.0
    of: Literal["assertions", "rows"] = "assertions"
    severity: Literal["warn", "error"] = "error"
    assertions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._ratio("at_least")


class SchemaContract(Objective, frozen=True):
    """The columns named are there with their types; else those of the version before it."""

    columns: dict[str, str] = {}


class EndToEndLatency(Objective, frozen=True):
    """A dataset holds what ``source`` said at most so long ago, along the graph of runs."""

    source: str
    at_most: timedelta

    def __post_init__(self) -> None:
        self._positive("at_most")
        if not self.source:
            raise self.refusal("source is empty: name a dataset, as NAMESPACE/NAME")


class Cost(Objective, frozen=True):
    """A run costs at most so much: slot-seconds, or a run facet's field, times ``price``.

    ``metric`` is ``slot_seconds`` or ``FACET.FIELD``; all tries of all tasks are added up.
    """

    at_most: float
    metric: str = "slot_seconds"
    price: float = 1.0
    unit: str = "slot-seconds"

    def __post_init__(self) -> None:
        self._positive("at_most", "price")
        if self.metric != "slot_seconds" and "." not in self.metric:
            raise self.refusal(f"metric is {self.metric!r}: write slot_seconds or FACET.FIELD")


Repeatable = (
    Duration
    | Deadline
    | StartDelay
    | QueueLatency
    | MissingRun
    | Volume
    | Completeness
    | Throughput
    | DataQuality
    | SchemaContract
    | Cost
)


class ConsecutiveMisses(Objective, frozen=True):
    """Not ``count`` misses in a row: of another objective, or else failures of the run."""

    count: int
    of: Repeatable | None = None

    def __post_init__(self) -> None:
        if self.count < 2:
            raise self.refusal(f"count is {self.count}: give 2 or more")


AnyObjective = Repeatable | Freshness | SuccessRatio | EndToEndLatency | ConsecutiveMisses
OBJECTIVES: dict[str, type[Objective]] = {
    str(one.__struct_config__.tag): one
    for one in (
        *(Duration, Deadline, StartDelay, QueueLatency, MissingRun, Freshness, Volume),
        *(Completeness, Throughput, SuccessRatio, ConsecutiveMisses, DataQuality),
        *(SchemaContract, EndToEndLatency, Cost),
    )
}
