"""Running checks on a source: what came out of each, and never a value of the data.

Checks that look at one row are counted together, in one scan. Where that fails, for it takes but
one bad check, each is asked alone: a check that cannot run is an error of its own, no other's.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow_provenance.checks.definitions import (
    Check,
    FailingRows,
    ForeignKey,
    Freshness,
    Measure,
    RowCount,
)
from airflow_provenance.checks.dialects import Sql, quote
from airflow_provenance.checks.predicates import counted, row_fails, sampled, subquery
from airflow_provenance.checks.sampling import MOST_SAMPLED, Sample
from airflow_provenance.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provenance.checks.sampling import Hasher
    from airflow_provenance.checks.sources import Relation, Source

State = Literal["PASS", "FAIL", "WARN", "ERROR"]


@dataclass(frozen=True)
class Outcome:
    """What came out of a check.

    Attributes:
        failing_rows: None where the check is not about rows, or could not run.
        rows: how many the dataset has, where that is known.
        error: why the check could not run.
    """

    check: Check
    is_passed: bool
    failing_rows: int | None = None
    rows: int | None = None
    sample: Sample | None = None
    error: str | None = None

    @property
    def stops(self) -> bool:
        """Whether the dataset is not to be used."""
        return not self.is_passed and self.check.severity == "error"

    @property
    def state(self) -> State:
        """The outcome in a word."""
        if self.error is not None:
            return "ERROR"
        return "PASS" if self.is_passed else "FAIL" if self.stops else "WARN"


def evaluate(
    checks: Sequence[Check],
    source: Source,
    *,
    now: datetime,
    key: Sequence[str] = (),
    hasher: Hasher | None = None,
) -> list[Outcome]:
    """Run checks; an outcome for each, in their order.

    Args:
        checks: what must hold.
        source: where the rows are; left open.
        now: the time from which freshness is measured, with a zone.
        key: columns that name a row; without them there are no samples.
        hasher: hashes the keys.
    """
    return _Evaluation(source, now, tuple(key), hasher).outcomes(checks)


def not_run(checks: Sequence[Check], error: CheckError) -> list[Outcome]:
    """Return outcomes for a dataset that cannot be opened."""
    return [Outcome(check, False, error=str(error)) for check in checks]


class _Evaluation:
    def __init__(
        self, source: Source, now: datetime, key: tuple[str, ...], hasher: Hasher | None
    ) -> None:
        self._source, self._now, self._hasher = source, now, hasher
        self._dataset, self._dialect = source.dataset, source.dialect
        self._key = key
        self._rows: int | None = None

    def outcomes(self, checks: Sequence[Check]) -> list[Outcome]:
        fails: dict[int, Sql] = {}
        errors: dict[int, CheckError] = {}
        for number, check in enumerate(checks):
            try:
                self._need_columns(check.columns, self._dataset)
                if (sql := row_fails(check, self._dialect, self._types())) is not None:
                    fails[number] = sql
            except CheckError as error:
                errors[number] = error
        counts = self._counted_together(list(fails.values()))
        by_number = dict(zip(fails, counts or (), strict=False))
        found = []
        for number, check in enumerate(checks):
            try:
                if number in errors:
                    raise errors[number]
                found.append(self._outcome(check, fails.get(number), by_number.get(number)))
            except CheckError as error:
                found.append(Outcome(check, False, rows=self._rows, error=str(error)))
        return found

    def _counted_together(self, conditions: list[Sql]) -> list[int] | None:
        try:
            self._rows, *counts = self._count(conditions)
        except CheckError:
            try:
                (self._rows,) = self._count([])
            except CheckError:
                self._rows = None  # every check will say why
            return None
        return counts

    def _count(self, conditions: Sequence[Sql]) -> list[int]:
        counts = "".join(f", count(CASE WHEN {one.text} THEN 1 END)" for one in conditions)
        values = tuple(value for one in conditions for value in one.values)
        text = f"SELECT count(*){counts} FROM {self._dataset.name} AS d"
        ((*found,),) = self._source.rows(Sql(text, values))
        return [int(one) for one in found]

    def _outcome(self, check: Check, fails: Sql | None, failing: int | None) -> Outcome:
        if isinstance(check, RowCount | Measure):
            measured = self._all_rows() if isinstance(check, RowCount) else self._number(check)
            is_passed = _within(measured, check.min, check.max, check.equal)
            return Outcome(check, is_passed, rows=self._rows)
        if isinstance(check, Freshness):
            return Outcome(check, self._is_fresh(check), rows=self._rows)
        other = None
        if isinstance(check, ForeignKey):
            other = self._other(check)
        if fails is None:
            failing = self._answer(counted(check, self._dialect, self._dataset.name, other))
        elif failing is None:
            _, failing = self._count([fails])
        sample = self._sample(check, other, fails) if failing else None
        return Outcome(check, failing == 0, failing, self._rows, sample)

    def _answer(self, sql: Sql | None) -> int:
        if sql is None:
            raise CheckError("it is of no kind that can be run")
        ((found,),) = self._source.rows(sql)
        return int(found)

    def _all_rows(self) -> int:
        return self._count([])[0] if self._rows is None else self._rows

    def _number(self, check: Measure) -> Any:
        query = subquery(check.query, self._dialect, self._dataset.name)
        found = self._source.rows(Sql(f"SELECT * FROM {query} AS d"))
        if len(found) != 1 or len(found[0]) != 1:
            raise CheckError("the query gives not one number, but more or fewer rows or columns")
        (number,) = found[0]
        if isinstance(number, bool) or not isinstance(number, numbers.Number):
            raise CheckError(f"the query gives a {type(number).__name__}, no number")
        return number

    def _is_fresh(self, check: Freshness) -> bool:
        newest = self._dialect.text(f"max(d.{quote(check.column)})")
        ((found,),) = self._source.rows(Sql(f"SELECT {newest} FROM {self._dataset.name} AS d"))
        if found is None:
            return False
        try:
            at = datetime.fromisoformat(found)
        except ValueError:
            raise CheckError("the newest value of the column is no time") from None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        return self._now - at <= check.max_age

    def _sample(self, check: Check, other: Relation | None, fails: Sql | None) -> Sample | None:
        where = sampled(check, self._dialect, self._dataset.name, other, fails)
        if not self._key or self._hasher is None or where is None:
            return None
        table, condition = where
        keys = ", ".join(self._dialect.text(f"d.{quote(one)}") for one in self._key)
        order = ", ".join(str(number + 1) for number in range(len(self._key)))
        text = f"SELECT {keys} FROM {table} WHERE {condition.text} ORDER BY {order}"
        try:
            if not isinstance(check, FailingRows):
                self._need_columns(self._key, self._dataset)
            found = self._source.rows(
                Sql(f"{text} LIMIT {MOST_SAMPLED}", condition.values), MOST_SAMPLED
            )
        except CheckError:  # the key is no column: that says nothing of the data
            return None
        hashes = tuple(self._hasher.hash(row) for row in found)
        return Sample(self._key, self._hasher.keyed, hashes)

    def _other(self, check: ForeignKey) -> Relation:
        other = self._source.other(check.to)
        self._need_columns((check.key,), other, " in the other dataset")
        types = self._types()
        is_alike = _type(other.types, check.key) == types[check.column]
        return other._replace(compare_as_text=not is_alike)

    def _need_columns(self, columns: Sequence[str], relation: Relation, where: str = "") -> None:
        # SQLite takes a quoted name that is no column for a text.
        names = set(relation.types)
        if not self._dialect.is_case_sensitive:
            names = {name.casefold() for name in names}
        for column in columns:
            wanted = column if self._dialect.is_case_sensitive else column.casefold()
            if wanted not in names:
                raise CheckError(f"there is no column {column!r}{where}")

    def _types(self) -> _Types:
        return _Types(self._dataset.types)


class _Types(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return _type(self, name)


def _type(types: Mapping[str, str], name: str) -> str:
    """Return the type of a column that is there, perhaps in other letters."""
    return next(type_ for one, type_ in types.items() if one.casefold() == name.casefold())


def _within(found: Any, low: Any, high: Any, equal: Any) -> bool:
    if equal is not None:
        return bool(found == equal)
    return bool((low is None or found >= low) and (high is None or found <= high))
