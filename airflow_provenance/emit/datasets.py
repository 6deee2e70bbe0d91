"""What is known of the datasets of an event, as facets of theirs. Pure.

What the producer of the event said stays; `observe` comes before what was seen in a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.emit.observed import Observation
from airflow_provenance.formats import facets
from airflow_provenance.formats.facets import standard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provenance.emit.notes import AssetNotes, Content, TaskRunNotes, Written
    from airflow_provenance.emit.observed import Check
    from airflow_provenance.formats.facets import Facet

Side = Literal["inputs", "outputs"]
_Dataset = dict[str, Any]
_NOTHING = Observation()


def with_known(
    datasets: list[_Dataset], notes: TaskRunNotes, side: Side, written: Iterable[DatasetRef]
) -> list[_Dataset]:
    """Return the datasets, and after them those that only the notes know, without facets.

    Args:
        datasets: of one side of an event.
        notes: what is known.
        side: which side.
        written: outputs of the event, where they are known.
    """
    known, outputs = set(refs(datasets)), set(written)
    told = [*_assets(notes, side), *(ref for ref, _ in getattr(notes.observed, side))]
    told += getattr(notes, side)
    if side == "inputs":  # who checks a dataset that it did not write has read it
        told += [ref for ref in notes.observed.checks if ref not in outputs]
    return datasets + [
        {"namespace": ref.namespace, "name": ref.name}
        for ref in dict.fromkeys(told)
        if ref not in known
    ]


def described(
    datasets: list[_Dataset], notes: TaskRunNotes, side: Side, written: Iterable[DatasetRef]
) -> list[_Dataset]:
    """Return the datasets with their facets; one for each partition that was observed.

    Args:
        datasets: of one side of an event.
        notes: what is known.
        side: which side.
        written: outputs of the event; their checks stand there, not at the inputs.
    """
    written = set(written)
    return [found for one in datasets for found in _described(one, notes, side, written)]


def refs(datasets: list[_Dataset]) -> list[DatasetRef]:
    """Return which datasets these are."""
    return [_ref(one) for one in datasets]


def _assets(notes: TaskRunNotes, side: Side) -> dict[DatasetRef, AssetNotes | None]:
    return notes.asset_inputs if side == "inputs" else notes.asset_outputs


def _described(
    dataset: _Dataset, notes: TaskRunNotes, side: Side, written: set[DatasetRef]
) -> Iterator[_Dataset]:
    ref = _ref(dataset)
    content: Content | None = getattr(notes, side).get(ref)
    observed: dict[tuple[DatasetRef, str | None], Observation] = getattr(notes.observed, side)
    of_dataset = [one for (observed_ref, _), one in observed.items() if observed_ref == ref]
    partition = _there(dataset, "facets").get(facets.PARTITION)
    matching = [one for one in of_dataset if partition is None or one.partition == partition["key"]]
    asset = _assets(notes, side).get(ref)
    checks = notes.observed.checks.get(ref, {}) if side == "outputs" or ref not in written else {}
    for observation in matching or [_NOTHING]:
        added, of_role = _facets(side, content, observation, is_whole=len(of_dataset) < 2)
        told = notes.written.get(ref) if side == "outputs" else None
        if told is not None:
            added, of_role = _with_written(added, of_role, told, content)
        found = {**dataset, "facets": {**added, **_there(dataset, "facets")}}
        if asset is not None:
            found["facets"][facets.ASSET] = facets.asset_facet(
                asset.name, asset.uri, asset.extra, asset.aliases
            )
        if content is not None:
            found["facets"][facets.CONTENT] = _content_facet(content)
        if told is not None and told.column_lineage is not None:
            found["facets"][standard.COLUMN_LINEAGE] = told.column_lineage
        role_slot = "inputFacets" if side == "inputs" else "outputFacets"
        if of_role:
            found[role_slot] = {**of_role, **_there(dataset, role_slot)}
        if checks:
            # The standard has no such facet for outputs, and consumers look for it here.
            is_there = standard.ASSERTIONS in found["facets"]  # where Airflow's operators say it
            slot = "inputFacets" if side == "inputs" and not is_there else "facets"
            found[slot] = _with_checks(_there(found, slot), checks.values())
        yield found if found["facets"] or "facets" in dataset else _without_facets(found)


def _facets(
    side: Side, content: Content | None, said: Observation, *, is_whole: bool
) -> tuple[dict[str, Facet], dict[str, Facet]]:
    """Return facets of the dataset, and of its role."""
    structure = content.structure if content is not None else None
    columns = said.columns or (structure.columns if structure is not None else ())
    rows, size = said.rows, None
    # A content that may not be what the task read or wrote says nothing of how much that was.
    is_table = structure is not None and structure.format == "table"
    if content is not None and content.is_verified and is_whole and not is_table:
        size = content.size_bytes
        rows = structure.rows if rows is None and structure is not None else rows
    added: dict[str, Facet] = {}
    if columns:
        added[standard.SCHEMA] = standard.schema_facet(columns)
    if said.partition is not None:
        added[facets.PARTITION] = facets.partition_facet(said.partition)
    if said.replaces:
        added[standard.LIFECYCLE] = standard.lifecycle_facet()
    if said.version is not None:
        added[facets.VERSION] = facets.version_facet(said.version)
    elif content is not None and content.digest is not None:
        added[facets.VERSION] = facets.version_facet(f"{content.algorithm}:{content.digest}")
    if rows is None and size is None:
        return added, {}
    if side == "inputs":
        of_role = standard.statistics_facet(standard.INPUT_STATISTICS, rows, size)
        return added, {standard.INPUT_STATISTICS: of_role}
    of_role = standard.statistics_facet(standard.OUTPUT_STATISTICS, rows, size)
    return added, {standard.OUTPUT_STATISTICS: of_role}


def _with_written(
    added: dict[str, Facet], of_role: dict[str, Facet], written: Written, content: Content | None
) -> tuple[dict[str, Facet], dict[str, Facet]]:
    if written.change is not None:
        added.setdefault(standard.LIFECYCLE, standard.lifecycle_facet(written.change))
    rows = written.rows
    if rows is None and written.change in standard.REPLACING and content is not None:
        # No cursor tells the rows of CREATE TABLE AS; what is new is all there is.
        rows = content.structure.rows if content.is_verified and content.structure else None
    if rows is not None and not of_role:
        statistics = standard.statistics_facet(standard.OUTPUT_STATISTICS, rows, None)
        return added, {standard.OUTPUT_STATISTICS: statistics}
    return added, of_role


def _content_facet(content: Content) -> Facet:
    structure = content.structure
    return facets.content_facet(
        algorithm=content.algorithm,
        digest=content.digest,
        size_bytes=content.size_bytes,
        modified_at=format_time(content.modified_at_us),
        verified=content.is_verified,
        reason=content.reason,
        format_=None if structure is None else structure.format,
        column_count=None if structure is None else structure.column_count,
        # What a task read or wrote of a file is all of it: its statistics have the rows.
        row_count=structure.rows if structure is not None and structure.format == "table" else None,
        note=None if structure is None else structure.note,
    )


def _with_checks(there: dict[str, Any], checks: Iterable[Check]) -> dict[str, Any]:
    ours = [
        standard.assertion(
            check.name,
            success=check.is_passed,
            column=check.column,
            severity=check.severity,
            failed_rows=check.failed_rows,
            kind=check.kind,
            rows=check.rows,
            expected=check.expected,
            actual=check.actual,
            sql=check.sql,
            params=check.params,
        )
        for check in checks
    ]
    facet = there.get(standard.ASSERTIONS)
    if facet is None:
        return {**there, standard.ASSERTIONS: standard.assertions_facet(ours)}
    theirs = facet.get("assertions") if isinstance(facet, dict) else None
    if not isinstance(theirs, list):
        return there
    said_anew = {_check_name(one) for one in ours if "name" in one}
    kept = [one for one in theirs if _check_name(one) not in said_anew and one not in ours]
    return {**there, standard.ASSERTIONS: {**facet, "assertions": [*kept, *ours]}}


def _check_name(assertion: Any) -> tuple[object, object] | None:
    """Return by which name and column two producers tell of the same check."""
    named = assertion.get("name") if isinstance(assertion, dict) else None
    return None if named is None else (named, assertion.get("column"))


def _there(dataset: _Dataset, slot: str) -> dict[str, Any]:
    """Return what is there already; a facet that is null is none."""
    return {name: facet for name, facet in (dataset.get(slot) or {}).items() if facet is not None}


def _without_facets(dataset: _Dataset) -> _Dataset:
    return {name: value for name, value in dataset.items() if name != "facets"}


def _ref(dataset: _Dataset) -> DatasetRef:
    return DatasetRef(str(dataset.get("namespace")), str(dataset.get("name")))
