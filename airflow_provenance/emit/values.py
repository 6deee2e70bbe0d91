"""Taking values of data out of an event: names, counts and outcomes stay, what a row holds goes.

====================================  =============================================================
``sql``, ``extractionError.task``     literals (`formats.sql_literals`)
``errorMessage``, ``extractionError`` literals and quoted rows (`quoted`)
``dataQualityMetrics``                all but counts: minimum, maximum, sum, quantiles
``dataQualityAssertions``, ``test``   literals of their content; and of those that others made,
                                      expected, actual and parameters that are no counts
``subset``                            literals that are compared with; partitions are names
``columnLineage``, ``lineage``        literals of what describes a transformation
``icebergScanReport``                 literals of the filter
``airflow``, ``unknownSource...``     an operator's ``sql`` and ``parameters``
====================================  =============================================================

Other facets hold no values by their schema; what is hidden in a text there is found by `patterns`.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provenance.emit.patterns import MASK
from airflow_provenance.emit.quoted import PYTHON, of_message, of_stack_trace
from airflow_provenance.formats.sql_literals import without_literals

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from typing_extensions import TypeIs

_Facet = dict[str, Any]
_SLOTS = ("facets", "inputFacets", "outputFacets")
# What a column metric or a check's parameter may be named to be a count, not a value.
_COUNT = re.compile(r"(?:count|rows|_?total)$", re.IGNORECASE)
_CHECK_OF_COUNT = re.compile(r"count|null|unique|distinct|missing|duplicate|rows", re.IGNORECASE)
_NAMES = ("tested_table", "tested_column")  # how the official provider tells what was checked
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?%?")
_EXPRESSIONS = frozenset({"description", "transformationDescription"})


def without_values(event: dict[str, Any], removed: Counter[str]) -> dict[str, Any]:
    """Return the event without values of data; the event given is left as it is.

    Args:
        event: an OpenLineage event.
        removed: what was removed is added there, as ``literal`` and ``value``.
    """
    return _without(event, _Take(removed, _dialect(event)).holder)


def without_check_values(event: dict[str, Any], removed: Counter[str]) -> dict[str, Any]:
    """Return an event as its producer made it, without what its checks found in the data.

    To be called before our own checks are added: those tell counts, and what the author wrote.
    """
    return _without(event, _TakeFromChecks(removed, _dialect(event)).holder)


def _without(
    event: dict[str, Any], take: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    kept = {**event}
    for key in ("run", "job", "dataset"):
        if isinstance(kept.get(key), dict):
            kept[key] = take(kept[key])
    for key in ("inputs", "outputs"):
        if isinstance(kept.get(key), list):
            kept[key] = [take(one) if isinstance(one, dict) else one for one in kept[key]]
    return kept


def shape_of(parameters: Any, removed: Counter[str]) -> Any:
    """Return bind parameters without their values: their names, or how many they are."""
    if parameters is None or parameters in ("", MASK):
        return parameters
    if isinstance(parameters, dict):
        removed["value"] += sum(one != MASK for one in parameters.values())
        return dict.fromkeys(parameters, MASK)
    if isinstance(parameters, list | tuple):
        removed["value"] += len(parameters)
        return {"count": len(parameters)}
    removed["value"] += 1
    return MASK


class _Take:
    """One pass over the facets of one event."""

    _facets: tuple[str, ...] = ()  # those to look at, all of them if none is named

    def __init__(self, removed: Counter[str], dialect: str | None) -> None:
        self._removed, self._dialect = removed, dialect

    @cached_property
    def _by_name(self) -> dict[str, Callable[[_Facet], _Facet]]:
        by_name: dict[str, Callable[[_Facet], _Facet]] = {
            "sql": self._sql_facet,
            "errorMessage": self._error,
            "extractionError": self._extraction_error,
            "dataQualityMetrics": self._metrics,
            "dataQualityAssertions": lambda facet: self._checks(facet, "assertions"),
            "test": lambda facet: self._checks(facet, "tests"),
            "subset": self._subset,
            "columnLineage": self._expressions,
            "lineage": self._expressions,
            "icebergScanReport": lambda facet: self._texts(facet, "filterDescription"),
            "airflow": lambda facet: self._replaced(facet, "task", self._operator),
            "unknownSourceAttribute": self._unknown_operator,
        }
        return {name: by_name[name] for name in self._facets or by_name}

    def holder(self, holder: dict[str, Any]) -> dict[str, Any]:
        kept = holder
        for slot in _SLOTS:
            facets = holder.get(slot)
            if not isinstance(facets, dict):
                continue
            for name, facet in facets.items():
                if name in (self._facets or self._by_name) and isinstance(facet, dict):
                    taken = self._by_name[name](facet)
                    kept = {**kept, slot: {**kept[slot], name: taken}}
        return kept

    def _sql_facet(self, facet: _Facet) -> _Facet:
        dialect = facet.get("dialect")
        return self._texts(facet, "query", dialect=dialect if isinstance(dialect, str) else None)

    def _error(self, facet: _Facet) -> _Facet:
        facet = self._message(facet, "message")
        return self._trace(facet)

    def _extraction_error(self, facet: _Facet) -> _Facet:
        def one(error: Any) -> Any:
            if not isinstance(error, dict):
                return error
            return self._texts(self._trace(self._message(error, "errorMessage")), "task")

        return self._replaced(facet, "errors", lambda errors: [one(error) for error in errors])

    def _metrics(self, facet: _Facet) -> _Facet:
        def column(metrics: Any) -> Any:
            if not isinstance(metrics, dict):
                return metrics
            kept = {key: value for key, value in metrics.items() if _COUNT.search(key)}
            self._removed["value"] += len(metrics) - len(kept)
            return kept

        return self._replaced(
            facet,
            "columnMetrics",
            lambda columns: {name: column(metrics) for name, metrics in columns.items()},
        )

    def _checks(self, facet: _Facet, member: str) -> _Facet:
        return self._replaced(
            facet,
            member,
            lambda checks: [self._check(one) if isinstance(one, dict) else one for one in checks],
        )

    def _check(self, check: _Facet) -> _Facet:
        return self._texts(check, "content")

    def _subset(self, part: Any) -> Any:
        """Mask what a condition compares with, however deep it stands."""
        if isinstance(part, dict):
            is_literal = part.get("type") == "literal" and part.get("value") not in (None, MASK)
            kept = {key: self._subset(value) for key, value in part.items()}
            if is_literal:
                kept["value"] = MASK
                self._removed["value"] += 1
            return kept
        return [self._subset(one) for one in part] if isinstance(part, list) else part

    def _expressions(self, part: Any) -> Any:
        """Take literals out of what describes a transformation, however deep it stands."""
        if isinstance(part, dict):
            return {
                key: self._sql(value)
                if key in _EXPRESSIONS and isinstance(value, str)
                else self._expressions(value)
                for key, value in part.items()
            }
        return [self._expressions(one) for one in part] if isinstance(part, list) else part

    def _operator(self, operator: Any) -> Any:
        if not isinstance(operator, dict) or "sql" not in operator:
            return operator
        # A list of statements comes as Python writes it.
        is_list = str(operator["sql"]).startswith(("[", "("))
        kept = self._texts(operator, "sql", dialect=PYTHON if is_list else None)
        if "parameters" in kept:
            kept = {**kept, "parameters": shape_of(kept["parameters"], self._removed)}
        return kept

    def _unknown_operator(self, facet: _Facet) -> _Facet:
        def one(item: Any) -> Any:
            if not isinstance(item, dict):
                return item
            return self._replaced(item, "properties", self._operator)

        return self._replaced(facet, "unknownItems", lambda items: [one(item) for item in items])

    def _message(self, facet: _Facet, member: str) -> _Facet:
        text = facet.get(member)
        return {**facet, member: of_message(text, self._removed)} if _is_text(text) else facet

    def _trace(self, facet: _Facet) -> _Facet:
        text = facet.get("stackTrace")
        if not _is_text(text):
            return facet
        return {**facet, "stackTrace": of_stack_trace(text, self._removed)}

    def _texts(self, facet: _Facet, member: str, *, dialect: str | None = None) -> _Facet:
        text = facet.get(member)
        return {**facet, member: self._sql(text, dialect)} if _is_text(text) else facet

    def _sql(self, text: str, dialect: str | None = None) -> str:
        kept, count = without_literals(text, dialect or self._dialect)
        self._removed["literal"] += count
        return kept

    def _replaced(self, facet: _Facet, member: str, take: Callable[[Any], Any]) -> _Facet:
        value = facet.get(member)
        return {**facet, member: take(value)} if isinstance(value, dict | list) else facet


class _TakeFromChecks(_Take):
    """What others' checks found in the data."""

    _facets = ("dataQualityAssertions", "test")

    def _check(self, check: _Facet) -> _Facet:
        kept = check
        name = str(check.get("assertion") or check.get("type") or check.get("name"))
        for member in ("expected", "actual"):
            value = kept.get(member)
            counts = _CHECK_OF_COUNT.search(name) and _NUMBER.fullmatch(str(value))
            if value is not None and value != MASK and not counts:
                kept = {**kept, member: MASK}
                self._removed["value"] += 1
        return self._replaced(kept, "params", self._check_parameters)

    def _check_parameters(self, parameters: _Facet) -> _Facet:
        kept = {}
        for name, value in parameters.items():
            is_count = isinstance(value, int | float) and _COUNT.search(name)
            if (
                name in _NAMES
                or is_count
                or value is None
                or isinstance(value, bool)
                or value == MASK
            ):
                kept[name] = value
            else:
                kept[name] = MASK
                self._removed["value"] += 1
        return kept


def _is_text(value: Any) -> TypeIs[str]:
    return isinstance(value, str) and value != ""


def _dialect(event: dict[str, Any]) -> str | None:
    """Return the one system that all datasets of the event are in, if it is one."""
    datasets = [*(event.get("inputs") or ()), *(event.get("outputs") or ())]
    schemes = {
        str(one.get("namespace")).partition(":")[0] for one in datasets if isinstance(one, dict)
    }
    return schemes.pop() if len(schemes) == 1 else None
