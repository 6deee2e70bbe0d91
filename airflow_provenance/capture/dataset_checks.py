"""Checking a dataset in a task: run, tell provenance, log, decide.

What operator and decorator share.
What is checked is an input of the task. Telling provenance never changes what the task does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from airflow_provenance import settings
from airflow_provenance.capture.asset_names import Named, name_asset
from airflow_provenance.capture.check_others import as_asset, name_file, note_others
from airflow_provenance.checks.definitions import ForeignKey, RowCount, Table, checked
from airflow_provenance.checks.evaluate import evaluate, not_run
from airflow_provenance.checks.sampling import Hasher
from airflow_provenance.domain.clock import SystemClock
from airflow_provenance.emit import notes
from airflow_provenance.emit.observed import Check as ToldCheck, Observation
from airflow_provenance.errors import CheckError, ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from airflow_provenance.checks.definitions import Check
    from airflow_provenance.checks.evaluate import Outcome
    from airflow_provenance.checks.sources import Source
    from airflow_provenance.domain.identity import DatasetRef

OnFailure = Literal["fail", "skip", "warn"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What to check, and what then.

    Attributes:
        key: columns that name a row, for samples of failing rows.
        on_failure: ``fail`` the task, ``skip`` it and what depends on it, or ``warn`` only.
        null_values: what a CSV file writes for a null.
    """

    checks: tuple[Check, ...]
    key: tuple[str, ...] = ()
    on_failure: OnFailure = "fail"
    null_values: tuple[str, ...] = ("",)

    @classmethod
    def of(
        cls, checks: Any, key: str | Sequence[str] | None, on_failure: str, null_values: Any
    ) -> Plan:
        """Return the plan of an author's arguments; `CheckError` where they cannot work."""
        if on_failure not in get_args(OnFailure):
            raise CheckError(f"on_failure is {on_failure!r}: give one of fail, skip, warn")
        if isinstance(null_values, str):
            raise CheckError("null_values is one text: give a list")
        keys = (key,) if isinstance(key, str) else tuple(key or ())
        return cls(checked(checks), keys, on_failure, tuple(null_values))  # type: ignore[arg-type]  # looked at above

    def rendered(self, render: Callable[[str], str]) -> Plan:
        """Return the plan with the templates of its checks rendered."""
        return replace(self, checks=tuple(one.rendered(render) for one in self.checks))


class Failure(NamedTuple):
    """Checks of severity ``error`` that did not pass.

    Attributes:
        message: one line for the exception.
    """

    message: str


class _Subject(NamedTuple):
    """What is checked.

    Attributes:
        ref: which dataset it is, if it has a name.
        path: where it lies, for a file of this host.
        name_other: names what a foreign key points to; None where that has no name.
    """

    shown: str
    open: Callable[[], Source]
    ref: DatasetRef | None = None
    path: Path | None = None
    name_other: Callable[[Any], Named | None] = name_file


def check_dataset(
    plan: Plan, data: Any, asset: Any = None, now: datetime | None = None
) -> tuple[dict[str, Any], Failure | None]:
    """Run the checks of a plan; return counts, and what failed.

    Args:
        plan: what to check.
        data: an asset, a path, a `Table`, or a dataframe.
        asset: which asset a dataframe is.
        now: the time from which freshness is measured; None for the clock's.
    """
    subject = _subject(plan, data, asset)
    outcomes = _outcomes(plan, subject, now or _present())
    try:
        _tell(subject, outcomes)
    except Exception as error:  # noqa: BLE001 - provenance must never fail the task
        said = " ".join(str(error).split()) or type(error).__name__
        _log.warning("Provenance: checks are left out: %s. The task is not affected.", said)
    _log_table(subject, outcomes)
    stopping = [one for one in outcomes if one.stops]
    summary = {
        "dataset": subject.shown,
        "rows": next((one.rows for one in outcomes if one.rows is not None), None),
        "checks": len(outcomes),
        "passed": sum(one.is_passed for one in outcomes),
        "failed": len(stopping),
        "warned": sum(not one.is_passed and not one.stops for one in outcomes),
        "not_run": sum(one.error is not None for one in outcomes),
    }
    if not stopping:
        return summary, None
    lines = "; ".join(f"{one.check.label}: {_found(one)}" for one in stopping)
    counts = f"{len(stopping)} of {len(outcomes)} checks of {subject.shown} failed"
    return summary, Failure(f"{counts}: {lines}")


def conclude(plan: Plan, summary: dict[str, Any], failure: Failure | None) -> dict[str, Any]:
    """Return the counts, or raise what the plan says of a failure.

    A plain `AirflowException`: the data may be mended, or arrive, before the next try.
    """
    if failure is None:
        return summary
    if plan.on_failure == "warn":
        _log.warning("%s", failure.message)
        return summary
    from airflow.sdk.exceptions import AirflowException, AirflowSkipException

    raise (AirflowSkipException if plan.on_failure == "skip" else AirflowException)(failure.message)


def parsed_time(text: str | None) -> datetime | None:
    """Return a rendered time; one without zone is UTC. Raises `CheckError`."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CheckError(f"as_of is {text!r}: give a time in ISO 8601") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _subject(plan: Plan, data: Any, asset: Any) -> _Subject:
    if isinstance(data, Table) or _is_table(data):
        return _table(Table(*data))
    others = [check.to for check in plan.checks if isinstance(check, ForeignKey)]

    def open_(is_frame: bool) -> Source:
        from airflow_provenance.checks.sources.duck import DuckSource

        return DuckSource(data, others, is_frame=is_frame, null_values=plan.null_values)

    if _is_frame(data):
        named = None if asset is None else name_asset(asset)
        shown = f"a {type(data).__name__}" if named is None else named.ref.name
        # Where the asset lies is not looked at: what was checked is in memory.
        return _Subject(shown, lambda: open_(True), named and named.ref)
    if asset is not None:
        raise CheckError("asset= is for a dataframe: what was returned has a name of its own")
    try:
        file = name_asset(as_asset(data))
    except ValueError as error:
        raise CheckError(str(error)) from None
    return _Subject(file.ref.name, lambda: open_(False), file.ref, file.path)


def _table(table: Table) -> _Subject:
    from airflow_provenance.capture.table_names import table_ref
    from airflow_provenance.checks.sources.database import DatabaseSource, hook_of

    try:
        hook = hook_of(table.conn_id)
        source = DatabaseSource(hook, table.table)
    except CheckError as error:
        return _Subject(table.table, _raising(error))
    try:
        ref = table_ref(hook, table.table)
    except Exception as error:  # noqa: BLE001 - a hook's own, and only a name is lost
        _log.warning("Provenance: %s has no name: %s", table.table, type(error).__name__)
        ref = None

    def name_other(to: Any) -> Named | None:
        other = table_ref(hook, str(to))
        return None if other is None else Named(other)

    return _Subject(table.table, lambda: source, ref, name_other=name_other)


def _raising(error: CheckError) -> Callable[[], Source]:
    def raising() -> Source:
        raise error

    return raising


def _is_table(data: Any) -> bool:
    return (
        isinstance(data, tuple | list)
        and len(data) == len(Table._fields)
        and all(isinstance(one, str) for one in data)
    )


def _is_frame(data: Any) -> bool:
    if isinstance(data, list):
        return True
    # Dataframes have neither; an ObjectStoragePath and an Asset have one, a path is a path.
    is_named = isinstance(data, str) or hasattr(data, "uri") or hasattr(data, "__fspath__")
    return not (is_named or hasattr(data, "protocol"))


def _outcomes(plan: Plan, subject: _Subject, now: datetime) -> list[Outcome]:
    try:
        source = subject.open()
    except CheckError as error:
        return not_run(plan.checks, error)
    try:
        return evaluate(plan.checks, source, now=now, key=plan.key, hasher=_hasher(plan))
    finally:
        source.close()


def _hasher(plan: Plan) -> Hasher | None:
    if not plan.key:
        return None
    try:
        return Hasher.of(settings.hash_key())
    except ProvenanceError as error:
        _log.warning("Provenance: no samples of failing rows: %s", error)
        return None


def _present() -> datetime:
    return datetime.fromtimestamp(SystemClock().now_us() / 1_000_000, UTC)


def _tell(subject: _Subject, outcomes: Sequence[Outcome]) -> None:
    noted = notes.current()
    if noted is None or subject.ref is None:
        return
    observed = noted.observed
    observation = observed.inputs.setdefault((subject.ref, None), Observation())
    for one in outcomes:
        observation.rows = observation.rows if one.rows is None else one.rows
        told = _told(one, note_others(observed, one.check, subject.name_other))
        observed.checks.setdefault(subject.ref, {})[told.name, told.column] = told
    if subject.path is not None:
        observed.input_files[subject.ref] = subject.path


def _told(one: Outcome, compared_with: list[dict[str, str]]) -> ToldCheck:
    check, sample = one.check, one.sample
    counted = one.rows if isinstance(check, RowCount) else one.failing_rows
    params: dict[str, Any] = {}
    if sample is not None:
        params["sample"] = {
            "columns": list(sample.columns),
            "keyed": sample.keyed,
            "hmacSha256": list(sample.hashes),
        }
    if one.error is not None:
        params["error"] = one.error
    if len(check.columns) > 1:
        params["columns"] = list(check.columns)
    if compared_with:
        params["comparedWith"] = compared_with
    return ToldCheck(
        check.title,
        one.is_passed,
        check.columns[0] if len(check.columns) == 1 else None,
        one.failing_rows,
        check.severity,
        kind=check.kind,
        rows=one.rows,
        expected=check.expected,
        actual=None if counted is None else str(counted),
        sql=check.sql,
        params=params or None,
    )


def _log_table(subject: _Subject, outcomes: Sequence[Outcome]) -> None:
    width = max(len(one.check.label) for one in outcomes)
    _log.info("Checks of %s:", subject.shown)
    for one in outcomes:
        level = logging.INFO if one.is_passed else logging.WARNING
        _log.log(level, "%-5s  %-*s  %s", one.state, width, one.check.label, _found(one))


def _found(one: Outcome) -> str:
    if one.error is not None:
        return one.error
    rows = "" if one.rows is None else f"{one.rows} rows"
    if one.failing_rows is None:
        return f"{rows}; expected: {one.check.expected}" if rows else str(one.check.expected)
    return f"{one.failing_rows} of {rows} fail" if one.failing_rows else f"{rows}"
