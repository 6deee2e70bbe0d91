"""Telling what a task really read and wrote, from inside the task: ``observe``.

    from airflow_provenance import observe

    observe.input("s3://raw/flights.csv", data=df)
    observe.output(path, data=df, replaces=True)
    observe.check(path, "dest_has_airport", passed=unknown == 0, failed_rows=unknown)

Works in any task and with any operator, in the task's own process: not in one that it starts, as
a virtualenv operator does. Outside a task nothing happens, so that functions stay testable. Nothing
fails the task: a bad argument is one warning in its log, and the rest is noted.

An asset is an Airflow Asset, a URI, an ObjectStoragePath or a path. Local files are hashed when the
task ends, as those are that Airflow sees. Of calls for the same dataset and partition the last one
that gives a value has it.
"""

from __future__ import annotations

import functools
import logging
import operator
from inspect import signature
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from airflow_provenance.capture.asset_names import name_asset
from airflow_provenance.capture.frames import shape_of
from airflow_provenance.emit import notes
from airflow_provenance.emit.observed import NO_FILE, Check, Observation

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.emit.notes import TaskRunNotes
    from airflow_provenance.emit.observed import Observations

_P = ParamSpec("_P")
_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_SEVERITIES = ("error", "warn")
_MOST_COMPLAINTS = 20


def _harmless(observe: Callable[_P, None]) -> Callable[_P, None]:
    """Do nothing outside tasks, and in them turn every exception into a warning."""

    @functools.wraps(observe)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> None:
        noted = notes.current()
        if noted is None:
            return
        try:
            observe(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - it must never fail the task
            name = observe.__name__
            if "argument" in str(error) and isinstance(error, TypeError):  # of the call itself
                error = TypeError(f"{error}: it takes {', '.join(signature(observe).parameters)}")
            _complain(noted.observed, f"observe.{name} is left out", error)

    return guarded


@_harmless
def input(
    asset: Any, data: Any = None, version: str | int | None = None, rows: int | None = None
) -> None:
    """Say that the task read a dataset.

    Args:
        asset: which.
        data: what was read: a dataframe or a list of records, for its columns and number of rows.
        version: which version, as its source names it.
        rows: how many rows were read, if not all of ``data``.
    """
    observed = _observed()
    named = name_asset(asset)
    _note(observed, observed.inputs, named.ref, None, data=data, version=version, rows=rows)
    if named.path is not None:
        observed.input_files[named.ref] = named.path


@_harmless
def output(
    asset: Any,
    data: Any = None,
    version: str | int | None = None,
    rows: int | None = None,
    replaces: bool | None = None,
    partition: str | None = None,
) -> None:
    """Say that the task wrote a dataset.

    Args:
        asset: which.
        data: what was written: a dataframe or a list of records.
        version: which version this made, as its store names it.
        rows: how many rows were written, if not all of ``data``.
        replaces: whether this is all there is now; else it is taken to add to what was there.
        partition: which partition was written, if not the whole.
    """
    observed = _observed()
    named = name_asset(asset)
    key = _argument(observed, "partition", _text, partition)
    noted = _note(observed, observed.outputs, named.ref, key, data=data, version=version, rows=rows)
    if (is_replaced := _argument(observed, "replaces", _truth, replaces)) is not None:
        noted.replaces = is_replaced
    if named.path is not None:
        observed.output_files[named.ref] = named.path


@_harmless
def check(
    asset: Any,
    name: str,
    passed: bool,
    column: str | None = None,
    failed_rows: int | None = None,
    severity: str = "error",
) -> None:
    """Say how a quality check of a dataset came out.

    Args:
        asset: the dataset; an input of the task, unless the task writes it.
        name: of the check.
        passed: whether the data is as it should be.
        column: of the dataset, if the check is about one.
        failed_rows: how many rows are not as they should be.
        severity: ``error``, or ``warn`` for a check that stops nobody.
    """
    observed = _observed()
    named = name_asset(asset)
    outcome = Check(
        _needed("name", _text, name),
        _needed("passed", _truth, passed),
        _argument(observed, "column", _text, column),
        _argument(observed, "failed_rows", _count, failed_rows),
        _argument(observed, "severity", _severity, severity) or "error",
    )
    observed.checks.setdefault(named.ref, {})[outcome.name, outcome.column] = outcome


def complain_of_missing(noted: TaskRunNotes) -> None:
    """Say which outputs that the task told of are no files now that it has succeeded."""
    for ref, path in noted.observed.output_files.items():
        content = noted.outputs.get(ref)
        if noted.state == "COMPLETE" and content is not None and content.reason == NO_FILE:
            problem = "observe.output: no such file at the end of the task"
            _complain(noted.observed, problem, FileNotFoundError(str(path)))


def _observed() -> Observations:
    noted = notes.current()
    if noted is None:
        raise RuntimeError("no task runs")
    return noted.observed


def _note(
    observed: Observations,
    side: dict[tuple[DatasetRef, str | None], Observation],
    ref: DatasetRef,
    partition: str | None,
    *,
    data: Any,
    version: Any,
    rows: Any,
) -> Observation:
    noted = side.setdefault((ref, partition), Observation(partition))
    shape = _argument(observed, "data", shape_of, data)
    if shape is not None:
        noted.columns = shape.columns or noted.columns
        noted.rows = noted.rows if shape.rows is None else shape.rows
    known_version = _argument(observed, "version", _text, version)
    noted.version = noted.version if known_version is None else known_version
    known_rows = _argument(observed, "rows", _count, rows)
    noted.rows = noted.rows if known_rows is None else known_rows
    return noted


def _argument(
    observed: Observations, name: str, read: Callable[[Any], _T], value: Any
) -> _T | None:
    """Return an argument, None where it is not given or bad; the rest of a call still holds."""
    if value is None:
        return None
    try:
        return read(value)
    except Exception as error:  # noqa: BLE001 - data may be anything
        _complain(observed, f"observe: {name} is left out", error)
        return None


def _needed(name: str, read: Callable[[Any], _T], value: Any) -> _T:
    """Return an argument without which a call says nothing."""
    try:
        return read(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: {error}") from error


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise TypeError(f"{_shown(value)} is no text: give one that is not empty")
    return str(value)


def _count(value: Any) -> int:
    try:
        # `index`, so that numbers of numpy count, too.
        count = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = -1
    if count < 0:
        raise ValueError(f"{_shown(value)} is no number of rows: give a whole number, 0 or more")
    return count


def _truth(value: Any) -> bool:
    # Numpy's is no `bool`; anything else, as the text "false", would mean what nobody meant.
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    raise TypeError(f"{_shown(value)} is neither True nor False: give one of them")


def _severity(value: Any) -> str:
    if value not in _SEVERITIES:
        raise ValueError(f"{_shown(value)} is no severity: give one of {', '.join(_SEVERITIES)}")
    return str(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _complain(observed: Observations, problem: str, error: Exception) -> None:
    from airflow_provenance.emit.redact import Redactor  # here: parsing a DAG file stays fast

    said = " ".join(Redactor().message(str(error)).split()) or type(error).__name__
    line = f"Provenance: {problem}: {said}. The task is not affected."
    is_new = line not in observed.complaints and len(observed.complaints) < _MOST_COMPLAINTS
    if is_new:
        observed.complaints.add(line)
    _log.log(logging.WARNING if is_new else logging.DEBUG, "%s", line)
