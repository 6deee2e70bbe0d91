"""Taking out of an event what Airflow's SQL check operators quote of the data.

The provider tells of each check what its query gave (``actual``; with an interval, both numbers;
``result`` in the task's ``column_mapping``), and its exceptions quote whole rows, in message and
stack trace. A minimum or a maximum is a value
of the data: kept is what the author wrote, and who passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provenance.emit.observed import Check

# That of a facet `test` which quotes nothing.
_HARMLESS = ("name", "status", "severity", "type", "description")
_WHERE = ("tested_column", "tested_table")


def without_results(
    run_facets: Mapping[str, Any], checks: Mapping[str, Check | None]
) -> dict[str, Any]:
    """Return the facets to put in the place of a run's own.

    Args:
        run_facets: of the run.
        checks: those that the task ran, by name; None for what only the provider tells.
    """
    replaced: dict[str, Any] = {}
    test = run_facets.get("test")
    if isinstance(test, dict) and isinstance(tests := test.get("tests"), list):
        replaced["test"] = {**test, "tests": [_harmless(one, checks) for one in tests]}
    airflow = run_facets.get("airflow")
    task = airflow.get("task") if isinstance(airflow, dict) else None
    if isinstance(task, dict) and "column_mapping" in task:
        mapping = _without_results(task["column_mapping"])
        replaced["airflow"] = {**run_facets["airflow"], "task": {**task, "column_mapping": mapping}}
    failed = [name for name, check in checks.items() if check is not None and not check.is_passed]
    message = run_facets.get("errorMessage")
    if failed and isinstance(message, dict):
        kept = {key: value for key, value in message.items() if key != "stackTrace"}
        replaced["errorMessage"] = {**kept, "message": f"Checks failed: {', '.join(failed)}"}
    return replaced


def _without_results(mapping: Any) -> Any:
    """Return a column mapping, whose columns have checks, without their results."""
    if not isinstance(mapping, dict):
        return None
    return {
        column: {
            name: {key: value for key, value in given.items() if key != "result"}
            for name, given in checks.items()
            if isinstance(given, dict)
        }
        for column, checks in mapping.items()
        if isinstance(checks, dict)
    }


def _harmless(test: Any, checks: Mapping[str, Check | None]) -> Any:
    if not isinstance(test, dict) or test.get("name") not in checks:
        return test
    kept = {key: test[key] for key in _HARMLESS if key in test}
    params = test.get("params") or {}
    if where := {key: params[key] for key in _WHERE if params.get(key) is not None}:
        kept["params"] = where
    check = checks[test["name"]]
    if check is not None and check.expected is not None:
        kept["expected"] = check.expected
    if check is not None and check.sql is not None:
        kept |= {"content": check.sql, "contentType": "sql"}
    return kept
