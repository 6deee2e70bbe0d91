"""What runs checked, read off their documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.identity import DatasetRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provenance.domain.run import Facets, Io, RunDoc


class CheckOutcome(msgspec.Struct, frozen=True):
    """The outcome of one check of one dataset by one run.

    Attributes:
        run_id: who checked.
        is_output: whether that run wrote what it checked.
        name: its own, else its kind.
        failed_rows, rows: how many are not as they should be, and were looked at, if known.
        expected, actual: what was asked for, and the count that was found instead, if it is one.
        compared_with: the datasets and columns that the check itself names beside the checked one.
        not_run: why the check could not be made, which says nothing of the data.
    """

    run_id: int
    dataset: DatasetRef
    partition: str | None
    is_output: bool
    name: str
    kind: str
    column: str | None
    is_passed: bool
    severity: str
    failed_rows: int | None
    rows: int | None
    expected: str | None
    actual: str | None = None
    compared_with: tuple[tuple[DatasetRef, str | None], ...] = ()
    not_run: str | None = None

    @property
    def title(self) -> str:
        """What a line calls it."""
        return self.name if self.column is None else f"{self.name} of column {self.column}"


def checks_of(run_id: int, doc: RunDoc) -> list[CheckOutcome]:
    """Return what a run checked."""
    return [
        _outcome(run_id, io, told, is_output=is_output)
        for is_output, side in ((False, doc.inputs), (True, doc.outputs))
        for io in side.values()
        for told in _assertions(io)
    ]


def facet_of(facets: Facets, name: str) -> dict[str, Any]:
    """Return a facet's members; none where it is absent or of another form."""
    found = facets.get(name)
    value = None if found is None else json.loads(found[2])
    return value if isinstance(value, dict) else {}


def rows_of(io: Io) -> int | None:
    """Return how many rows a run wrote to, or saw in, a dataset, if that is known."""
    for facets, name in (
        (io.role_facets, "outputStatistics"),
        (io.role_facets, "inputStatistics"),
        (io.facets, "airflowProvenance_content"),
    ):
        if (rows := _count(facet_of(facets, name).get("rowCount"))) is not None:
            return rows
    return None


def columns_of(io: Io) -> set[str]:
    """Return the names of a dataset's columns, as far as they are known."""
    fields = facet_of(io.facets, "schema").get("fields")
    named = [one.get("name") for one in fields or () if isinstance(one, dict)]
    return {name for name in named if isinstance(name, str)}


def columns_behind(io: Io, column: str | None) -> set[DatasetRef]:
    """Return the datasets that a column of an output came from, or all that columns came from."""
    return {ref for ref, _ in columns_made_from(io, column)}


def columns_made_from(io: Io, column: str | None = None) -> set[tuple[DatasetRef, str]]:
    """Return the columns that a column of an output came from, or that all its columns did."""
    fields = facet_of(io.facets, "columnLineage").get("fields")
    if not isinstance(fields, dict):
        return set()
    wanted = fields.values() if column is None else [fields.get(column)]
    return {
        (DatasetRef(str(one.get("namespace")), str(one.get("name"))), str(one.get("field")))
        for field in wanted
        if isinstance(field, dict)
        for one in field.get("inputFields") or ()
        if isinstance(one, dict)
    }


def _assertions(io: Io) -> Iterator[dict[str, Any]]:
    for facets in (io.facets, io.role_facets):
        told = facet_of(facets, "dataQualityAssertions").get("assertions")
        if isinstance(told, list):
            yield from (one for one in told if isinstance(one, dict) and "success" in one)


def _outcome(run_id: int, io: Io, told: dict[str, Any], *, is_output: bool) -> CheckOutcome:
    params = told.get("params")
    params = params if isinstance(params, dict) else {}
    kind = str(told.get("assertion"))
    return CheckOutcome(
        run_id=run_id,
        dataset=io.dataset,
        partition=io.partition,
        is_output=is_output,
        name=str(told.get("name") or kind),
        kind=kind,
        column=_text(told.get("column")),
        is_passed=bool(told["success"]),
        severity=_text(told.get("severity")) or "error",
        failed_rows=_count(params.get("failedRows")),
        rows=_count(params.get("rows")),
        expected=_text(told.get("expected")),
        actual=_text(told.get("actual")),
        compared_with=tuple(_others(params.get("comparedWith"))),
        not_run=_text(params.get("error")),
    )


def _others(told: object) -> Iterator[tuple[DatasetRef, str | None]]:
    for one in told if isinstance(told, list) else ():
        if isinstance(one, dict) and "namespace" in one and "name" in one:
            ref = DatasetRef(str(one["namespace"]), str(one["name"]))
            yield ref, _text(one.get("column"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
