"""What a check is. How it runs is for `predicates` and `evaluate`.

Every definition is immutable and compares by value; one that could never work is refused where it
is written, with a `CheckError` of one line.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from airflow_provenance.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Number = int | float | Decimal
Value = str | Number | date

SEVERITIES = ("error", "warn")
# What the author wrote is cut here where it is shown: all events of a task carry it.
_MOST_SHOWN = 500


class Table(NamedTuple):
    """A table of a connection; in the name, a part with a dot in it stands in double quotes."""

    conn_id: str
    table: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """What all checks have.

    Attributes:
        severity: ``error``, or ``warn`` for a check that stops nobody.
        name: in logs and events; needed where one dataset has two checks of a kind and column.
    """

    severity: str = "error"
    name: str | None = None

    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise self._refusal(f"severity is {self.severity!r}: give one of error, warn")
        if self.name is not None and not _is_text(self.name):
            raise self._refusal("name is no text: give a text, or leave it out")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it names."""
        column = getattr(self, "column", None)
        return () if column is None else (column,)

    @property
    def title(self) -> str:
        """Its name, or one made of its kind, without the one column it may have."""
        if self.name is not None:
            return self.name
        return self.kind if len(self.columns) < 2 else f"{self.kind}({','.join(self.columns)})"

    @property
    def label(self) -> str:
        """What a log line calls it."""
        column = f"({self.columns[0]})" if len(self.columns) == 1 else ""
        return self.title + column

    @property
    def expected(self) -> str | None:
        """What the author asks for, if its kind does not say it all."""
        return None

    @property
    def sql(self) -> str | None:
        """The author's own SQL."""
        return None

    def rendered(self, render: Callable[[str], str]) -> Self:
        """Return the check with its templates rendered: other datasets, and SQL."""
        texts = {
            one.name: render(value)
            for one in fields(self)
            if one.name in ("to", "query", "condition")
            and isinstance(value := getattr(self, one.name), str)
        }
        return replace(self, **texts)

    def _refusal(self, problem: str) -> CheckError:
        return CheckError(f"{type(self).__name__}: {problem}")

    def _need_column(self, column: object) -> None:
        if not _is_text(column):
            raise self._refusal(f"{column!r} is no column: give its name")

    def _need_sql(self, sql: object) -> None:
        if not _is_text(sql) or not str(sql).strip().rstrip(";"):
            raise self._refusal("there is no SQL: give a text")


@dataclass(frozen=True)
class NotNull(Check):
    """No row has a null in the column."""

    column: str
    kind: ClassVar[str] = "not_null"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_column(self.column)


@dataclass(frozen=True)
class Unique(Check):
    """No two rows have the same value, or values; every row of such a group fails."""

    column: str | Sequence[str]
    kind: ClassVar[str] = "unique"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.column, str):
            object.__setattr__(self, "column", tuple(self.column))
        if not self.columns:
            raise self._refusal("there is no column: give one, or several")
        for column in self.columns:
            self._need_column(column)
        if len(set(self.columns)) < len(self.columns):
            raise self._refusal("a column is named twice: name it once")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that together are unique."""
        return (self.column,) if isinstance(self.column, str) else tuple(self.column)


@dataclass(frozen=True)
class Range(Check):
    """Every value lies between bounds, themselves included: numbers, times or texts.

    For bounds that are numbers, a text that is no number fails; NaN is greater than all numbers.
    """

    column: str
    min: Value | None = None
    max: Value | None = None
    kind: ClassVar[str] = "accepted_range"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_column(self.column)
        family = _family(self._refusal, [one for one in (self.min, self.max) if one is not None])
        if family is bool:
            raise self._refusal("a bound is True or False: give numbers, times or texts")
        _need_bounds(self._refusal, self.min, self.max)

    @property
    def expected(self) -> str:
        """The bounds."""
        return _bounds(self.min, self.max)


@dataclass(frozen=True)
class AcceptedValues(Check):
    """Every value is one of these."""

    column: str
    values: Sequence[Value | bool]
    kind: ClassVar[str] = "accepted_values"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_column(self.column)
        if isinstance(self.values, str):
            raise self._refusal("values is one text: give a list")
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise self._refusal("values is empty: give at least one")
        _family(self._refusal, self.values)

    @property
    def expected(self) -> str:
        """The values."""
        return _shown(", ".join(map(str, self.values)))


@dataclass(frozen=True)
class Pattern(Check):
    """A regular expression is found in every value; it is anchored with ``^`` and ``$``.

    PostgreSQL, DuckDB (RE2) and, for SQLite, Python read it: what they have in common is safe.
    """

    column: str
    regex: str
    kind: ClassVar[str] = "pattern"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_column(self.column)
        if not _is_text(self.regex):
            raise self._refusal("there is no regular expression: give a text")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                re.compile(self.regex)
        except re.error as error:
            raise self._refusal(f"{self.regex!r} is no regular expression: {error}") from None

    @property
    def expected(self) -> str:
        """The regular expression."""
        return _shown(self.regex)


@dataclass(frozen=True, kw_only=True)
class RowCount(Check):
    """The dataset has so many rows: between bounds, or exactly."""

    min: int | None = None
    max: int | None = None
    equal: int | None = None
    kind: ClassVar[str] = "row_count"

    def __post_init__(self) -> None:
        super().__post_init__()
        for bound in (self.min, self.max, self.equal):
            if bound is not None and (type(bound) is not int or bound < 0):
                raise self._refusal(f"{bound!r} is no number of rows")
        _need_bounds(self._refusal, self.min, self.max, self.equal)

    @property
    def expected(self) -> str:
        """The bounds."""
        return _bounds(self.min, self.max, self.equal)


@dataclass(frozen=True)
class ForeignKey(Check):
    """Every value is in a column of another dataset.

    Attributes:
        to: a table of the same connection; for files and dataframes, a file.
        to_column: of it; None for the same name.
    """

    column: str
    to: Any
    to_column: str | None = None
    kind: ClassVar[str] = "foreign_key"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_column(self.column)
        if not self.to:
            raise self._refusal("there is no other dataset: give a table or a file")
        if self.to_column is not None:
            self._need_column(self.to_column)

    @property
    def key(self) -> str:
        """The column of the other dataset."""
        return self.column if self.to_column is None else self.to_column

    @property
    def expected(self) -> str:
        """The other dataset and its column."""
        other = getattr(self.to, "uri", None) or self.to
        return _shown(f"in {self.key} of {other}")


@dataclass(frozen=True)
class Freshness(Check):
    """The newest time in the column is not older than this; with no time at all, it fails.

    A time without a zone is taken for UTC.
    """

    column: str
    max_age: timedelta
    kind: ClassVar[str] = "freshness"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_column(self.column)
        age: object = self.max_age
        if not isinstance(age, timedelta) or age <= timedelta(0):
            raise self._refusal(f"max_age is {age!r}: give a timedelta above zero")

    @property
    def expected(self) -> str:
        """The age."""
        return f"at most {self.max_age} old"


@dataclass(frozen=True)
class Expression(Check):
    """A condition in the SQL of the engine holds for every row, as ``arr_time >= dep_time``."""

    condition: str
    kind: ClassVar[str] = "expression_is_true"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_sql(self.condition)

    @property
    def sql(self) -> str:
        """The condition."""
        return _shown(self.condition)


@dataclass(frozen=True)
class FailingRows(Check):
    """A query, with ``{dataset}`` for the dataset, finds no row: those it finds fail."""

    query: str
    kind: ClassVar[str] = "custom_sql"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_sql(self.query)

    @property
    def expected(self) -> str:
        """That there are none."""
        return "no rows"

    @property
    def sql(self) -> str:
        """The query."""
        return _shown(self.query)


@dataclass(frozen=True)
class Measure(Check):
    """A query, with ``{dataset}`` for the dataset, gives one number: between bounds, or exactly.

    The number may be a value of the data, so it is told to nobody.
    """

    query: str
    min: Number | None = None
    max: Number | None = None
    equal: Number | None = None
    kind: ClassVar[str] = "custom_sql"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_sql(self.query)
        given = [one for one in (self.min, self.max, self.equal) if one is not None]
        if given and _family(self._refusal, given) is not float:
            raise self._refusal("a bound is no number: give numbers")
        _need_bounds(self._refusal, self.min, self.max, self.equal)

    @property
    def expected(self) -> str:
        """The bounds."""
        return _bounds(self.min, self.max, self.equal)

    @property
    def sql(self) -> str:
        """The query."""
        return _shown(self.query)


def checked(checks: Any) -> tuple[Check, ...]:
    """Return checks that can be told apart; `CheckError` where there are none, or two are alike."""
    if isinstance(checks, Check):
        raise CheckError("checks is one check: give a list")
    found = tuple(checks)
    if not found:
        raise CheckError("checks is empty: give at least one")
    for one in found:
        if not isinstance(one, Check) or not one.kind:
            raise CheckError(f"{one!r} is no check: see airflow_provenance.checks")
    labels = [one.label for one in found]
    for label in labels:
        if labels.count(label) > 1:
            raise CheckError(f"two checks are called {label}: give one of them a name=")
    return found


def family(value: object) -> type:
    """Return how a value compares: as `bool`, `float`, `datetime`, `str`; `object` for no value."""
    if isinstance(value, bool):
        return bool
    if isinstance(value, int | float | Decimal):
        return float if math.isfinite(value) else object
    if isinstance(value, date):  # a datetime is one
        return datetime
    return str if isinstance(value, str) else object


def _family(refusal: Callable[[str], CheckError], values: Sequence[Any]) -> type | None:
    families = {family(value) for value in values}
    if object in families:
        raise refusal("a value is none to compare with: give numbers, times or texts")
    if len(families) > 1:
        raise refusal("the values are of different kinds: give only numbers, times or texts")
    return families.pop() if families else None


def _need_bounds(
    refusal: Callable[[str], CheckError], low: Any, high: Any, equal: Any = None
) -> None:
    if low is None and high is None and equal is None:
        raise refusal("there is no bound: give min, max or both")
    if equal is not None and (low is not None or high is not None):
        raise refusal("equal stands beside min or max: give one or the other")
    if low is not None and high is not None:
        try:
            is_empty = _comparable(low) > _comparable(high)
        except TypeError:
            raise refusal("one of min and max has a time zone, the other none") from None
        if is_empty:
            raise refusal(f"min {low} is above max {high}")


def _comparable(bound: Any) -> Any:
    if isinstance(bound, date) and not isinstance(bound, datetime):
        return datetime(bound.year, bound.month, bound.day)  # noqa: DTZ001 - a date has no zone
    return bound


def _bounds(low: object, high: object, equal: object = None) -> str:
    if equal is not None:
        return f"= {equal}"
    given = [f"{sign} {bound}" for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
    return _shown(", ".join(given))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _shown(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
