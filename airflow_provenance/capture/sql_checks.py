"""What Airflow's SQL check operators found, as checks of the tables that they looked at.

Column and table checks leave their results in what the author gave them, all releases of the
provider alike; newer ones keep ``check_results`` as well, which tells of the other operators. Where
that is missing, such a task that succeeded has passed, and of one that failed nothing is known.

Told is what the author wrote, success and counts. What a query gave is a value of the data: a
minimum, or the two numbers of a ratio; `emit.sql_results` takes it out of Airflow's own words.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.capture.table_names import table_ref
from airflow_provenance.emit.observed import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.emit.notes import TaskRunNotes

_log = logging.getLogger(__name__)
_OPERATORS = "airflow.providers.common.sql.operators.sql"
# Those column checks of the operator that count rows or values; the others give a value.
_COUNTING = ("null_check", "distinct_check", "unique_check")
_BOUNDS = {"equal_to": "=", "greater_than": ">", "geq_to": ">=", "less_than": "<", "leq_to": "<="}
_MOST_TABLES = 20


class _Found(NamedTuple):
    table: str | None  # None for those of the task's SQL
    check: Check


def note_sql_checks(noted: TaskRunNotes, task: Any) -> None:
    """Note what a SQL check operator found; nothing for other tasks, and one line if that fails."""
    operators = sys.modules.get(_OPERATORS)  # not imported: the task is none of them
    if operators is None or not isinstance(task, operators.BaseSQLOperator):
        return
    told = noted.observed.sql_checks
    try:
        told.update((one.name, None) for one in getattr(task, "check_results", None) or ())
        for found in _found(operators, task, noted.state == "COMPLETE"):
            told[found.check.name] = found.check
            for ref in _refs(task, found.table):
                checks = noted.observed.checks.setdefault(ref, {})
                checks[found.check.name, found.check.column] = found.check
    except Exception as error:  # noqa: BLE001 - it must not cost the other notes
        kind = type(error).__name__
        _log.warning("Provenance: results of SQL checks are left out: %s.", kind, exc_info=False)
        _log.debug("Results of SQL checks", exc_info=error)


def _found(operators: Any, task: Any, is_complete: bool) -> Iterator[_Found]:
    if isinstance(task, operators.SQLColumnCheckOperator):
        yield from _column_checks(task)
    elif isinstance(task, operators.SQLTableCheckOperator):
        for name, given in task.checks.items():
            if "success" in given:
                check = _check(name, given["success"], "expression_is_true")
                yield _Found(task.table, check._replace(sql=given.get("check_statement")))
    elif isinstance(task, operators.SQLIntervalCheckOperator):
        yield from _interval_checks(task, is_complete)
    elif (is_passed := _success(task, task.task_id, is_complete)) is not None:
        if isinstance(task, operators.SQLCheckOperator):
            kind, expected = "expression_is_true", None
        elif isinstance(task, operators.SQLValueCheckOperator):
            kind = "accepted_values" if task.tol is None else "accepted_range"
            expected = f"= {task.pass_value}{_tolerance(task.tol)}"
        elif isinstance(task, operators.SQLThresholdCheckOperator):
            kind, expected = "accepted_range", f">= {task.min_threshold}, <= {task.max_threshold}"
        else:
            return
        check = _check(task.task_id, is_passed, kind, expected)
        yield _Found(None, check._replace(sql=task.sql))


def _column_checks(task: Any) -> Iterator[_Found]:
    for column, checks in task.column_mapping.items():
        for name, given in checks.items():
            if "success" not in given:
                continue
            tolerance, count = given.get("tolerance"), given.get("result")
            bounds = [f"{_BOUNDS[key]} {given[key]}" for key in _BOUNDS if key in given]
            expected = ", ".join(bounds) + _tolerance(tolerance)
            check = _check(
                f"{column}.{name}", given["success"], _column_kind(name, given), expected
            )
            if name in _COUNTING and type(count) is int:
                check = check._replace(actual=str(count))
                if check.kind == "not_null":
                    check = check._replace(failed_rows=count)
            yield _Found(task.table, check._replace(column=column))


def _column_kind(name: str, given: dict[str, Any]) -> str:
    if "equal_to" not in given or given.get("tolerance"):
        return "accepted_range"
    zero = {"null_check": "not_null", "unique_check": "unique"}
    return zero.get(name, "accepted_values") if given["equal_to"] == 0 else "accepted_values"


def _interval_checks(task: Any, is_complete: bool) -> Iterator[_Found]:
    for metric, threshold in task.metrics_thresholds.items():
        name = f"interval_{metric}"
        is_passed = _success(task, name, is_complete)
        if is_passed is not None:
            check = _check(name, is_passed, "accepted_range", f"< {threshold}")
            params = {"ratio": task.ratio_formula, "daysBack": task.days_back}
            yield _Found(task.table, check._replace(params=params))


def _success(task: Any, name: str, is_complete: bool) -> bool | None:
    for result in getattr(task, "check_results", None) or ():
        if result.name == name:
            return bool(result.success)
    return True if is_complete else None


def _check(name: str, is_passed: Any, kind: str, expected: str | None = None) -> Check:
    # Named as the provider names them, for an event may hold both.
    return Check(name, bool(is_passed), kind=kind, expected=expected)


def _tolerance(tolerance: Any) -> str:
    return "" if tolerance is None else f", tolerance {tolerance}"


def _refs(task: Any, table: str | None) -> list[DatasetRef]:
    hook = task.get_db_hook()
    tables = _tables(hook, task.sql) if table is None else [table]
    refs = (table_ref(hook, one) for one in tables)
    return [ref for ref in refs if ref is not None]


def _tables(hook: Any, sql: str) -> list[str]:
    """Return the tables of a query, as `table_ref` reads them."""
    from sqlglot import exp, parse_one

    engine = hook.conn_type if hook.conn_type in ("postgres", "sqlite") else None
    query = parse_one(sql, dialect=engine)
    named = {one.alias_or_name for one in query.find_all(exp.CTE)}
    found = {
        ".".join(_quoted(part, engine) for part in table.parts): None
        for table in query.find_all(exp.Table)
        if table.name and (table.db or table.name not in named)
    }
    return list(found)[:_MOST_TABLES]


def _quoted(part: Any, engine: str | None) -> str:
    # PostgreSQL takes a name without quotes in small letters.
    name = part.name.lower() if engine == "postgres" and not part.args.get("quoted") else part.name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
