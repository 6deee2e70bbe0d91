"""OpenLineage's own facets that we add where the producer gave none.

Columns, checks and the like come as plain values: this knows the standard's form, nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from airflow_provenance.formats.facets import PRODUCER, Facet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMA: Final = "schema"
COLUMN_LINEAGE: Final = "columnLineage"
LIFECYCLE: Final = "lifecycleStateChange"
ASSERTIONS: Final = "dataQualityAssertions"
INPUT_STATISTICS: Final = "inputStatistics"
OUTPUT_STATISTICS: Final = "outputStatistics"
JOB_DEPENDENCIES: Final = "jobDependencies"
TEST: Final = "test"
TAGS: Final = "tags"
NOMINAL_TIME: Final = "nominalTime"
JOB_TYPE: Final = "jobType"

# Changes of a lifecycle after which nothing is left of what was there.
REPLACING: Final = frozenset({"OVERWRITE", "CREATE", "TRUNCATE"})

_SPEC: Final = "https://openlineage.io/spec/facets"
_SCHEMA_URLS: Final = {
    SCHEMA: f"{_SPEC}/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
    COLUMN_LINEAGE: (
        f"{_SPEC}/1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet"
    ),
    LIFECYCLE: (
        f"{_SPEC}/1-0-1/LifecycleStateChangeDatasetFacet.json"
        "#/$defs/LifecycleStateChangeDatasetFacet"
    ),
    ASSERTIONS: (
        f"{_SPEC}/1-1-0/DataQualityAssertionsDatasetFacet.json"
        "#/$defs/DataQualityAssertionsDatasetFacet"
    ),
    INPUT_STATISTICS: (
        f"{_SPEC}/1-0-0/InputStatisticsInputDatasetFacet.json"
        "#/$defs/InputStatisticsInputDatasetFacet"
    ),
    OUTPUT_STATISTICS: (
        f"{_SPEC}/1-0-2/OutputStatisticsOutputDatasetFacet.json"
        "#/$defs/OutputStatisticsOutputDatasetFacet"
    ),
    JOB_DEPENDENCIES: (
        f"{_SPEC}/1-0-1/JobDependenciesRunFacet.json#/$defs/JobDependenciesRunFacet"
    ),
    TEST: f"{_SPEC}/1-0-1/TestRunFacet.json#/$defs/TestRunFacet",
    TAGS: f"{_SPEC}/1-0-0/TagsRunFacet.json#/$defs/TagsRunFacet",
    JOB_TYPE: f"{_SPEC}/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
    NOMINAL_TIME: f"{_SPEC}/1-0-1/NominalTimeRunFacet.json#/$defs/NominalTimeRunFacet",
}


def schema_facet(columns: Iterable[tuple[str, str | None]]) -> Facet:
    """Return the columns, each a name and a type or None."""
    fields = [
        {"name": name} if type_ is None else {"name": name, "type": type_}
        for name, type_ in columns
    ]
    return _facet(SCHEMA, fields=fields)


def statistics_facet(
    name: Literal["inputStatistics", "outputStatistics"], rows: int | None, size_bytes: int | None
) -> Facet:
    """Return how much was read or written; what is None is not known."""
    return _facet(name, rowCount=rows, size=size_bytes)


def dependencies_facet(
    namespace: str, tasks: Iterable[str], writers: Iterable[str], trigger_rule: str | None
) -> Facet:
    """Return which jobs a task run waited for.

    Args:
        namespace: of all the jobs.
        tasks: jobs of the tasks before it in its DAG.
        writers: jobs of the tasks whose asset events triggered its DAG run; named as the official
            provider names that dependency on a DAG run.
        trigger_rule: Airflow's, as ``all_success``.
    """
    upstream = [
        {
            "job": {"namespace": namespace, "name": name},
            "dependency_type": kind,
            "sequence_trigger_rule": "FINISH_TO_START",
        }
        for kind, names in (("DIRECT_INVOCATION", tasks), ("IMPLICIT_ASSET_DEPENDENCY", writers))
        for name in names
    ]
    rule = None if trigger_rule is None else trigger_rule.upper()
    return _facet(JOB_DEPENDENCIES, upstream=upstream, trigger_rule=rule)


def blame_facet(namespace: str, name: str, run_id: str | None) -> Facet:
    """Return the job, and the run of it if there was one, that a breach is put down to."""
    job = {"namespace": namespace, "name": name}
    run = None if run_id is None else {"runId": run_id}
    upstream = _known(job=job, run=run, dependency_type="IMPLICIT_DEPENDENCY")
    return _facet(JOB_DEPENDENCIES, upstream=[upstream])


def test_facet(
    name: str,
    *,
    status: Literal["pass", "fail", "skip"],
    severity: str,
    kind: str,
    description: str | None,
    expected: str | None,
    actual: str | None,
    params: Mapping[str, object],
) -> Facet:
    """Return the outcome of one test that the run is."""
    test = _known(
        name=name,
        status=status,
        severity=severity,
        type=kind,
        description=description,
        expected=expected,
        actual=actual,
        params={**params},
    )
    return _facet(TEST, tests=[test])


def tags_facet(tags: Mapping[str, str]) -> Facet:
    """Return the tags of a run, of our own source."""
    source = "AIRFLOW_PROVENANCE"
    every = [{"key": key, "value": value, "source": source} for key, value in tags.items()]
    return _facet(TAGS, tags=every)


def job_type_facet(job_type: str) -> Facet:
    """Return what kind of job it is."""
    return _facet(JOB_TYPE, processingType="BATCH", integration="AIRFLOW", jobType=job_type)


def nominal_time_facet(start: str) -> Facet:
    """Return for when a run is."""
    return _facet(NOMINAL_TIME, nominalStartTime=start)


def lifecycle_facet(change: str = "OVERWRITE") -> Facet:
    """Return what became of the dataset; what was there before is gone if nothing else is said."""
    return _facet(LIFECYCLE, lifecycleStateChange=change)


class InputField(NamedTuple):
    """A column that another comes from, directly or because it had a say in it."""

    namespace: str
    name: str
    field: str
    subtype: str
    is_direct: bool


def column_lineage_facet(
    fields: Mapping[str, Iterable[InputField]], influences: Iterable[InputField]
) -> Facet:
    """Return where columns come from, and which had a say in the rows of the whole dataset."""
    return _facet(
        COLUMN_LINEAGE,
        fields={name: {"inputFields": _input_fields(inputs)} for name, inputs in fields.items()},
        dataset=_input_fields(influences) or None,
    )


def _input_fields(inputs: Iterable[InputField]) -> list[Facet]:
    by_field: dict[tuple[str, str, str], list[Facet]] = {}
    for one in inputs:
        kind = {"type": "DIRECT" if one.is_direct else "INDIRECT", "subtype": one.subtype}
        by_field.setdefault(one[:3], []).append(kind)
    return [
        {"namespace": namespace, "name": name, "field": field, "transformations": kinds}
        for (namespace, name, field), kinds in by_field.items()
    ]


def assertions_facet(assertions: Iterable[Facet]) -> Facet:
    """Return the outcomes of checks, each made by `assertion`."""
    return _facet(ASSERTIONS, assertions=[*assertions])


def assertion(
    name: str,
    *,
    success: bool,
    column: str | None,
    severity: str,
    failed_rows: int | None,
    kind: str | None = None,
    rows: int | None = None,
    expected: str | None = None,
    actual: str | None = None,
    sql: str | None = None,
    params: Mapping[str, object] | None = None,
) -> Facet:
    """Return the outcome of one check; its kind is the assertion, if it has one beside its name."""
    counts = _known(failedRows=failed_rows, rows=rows)
    return _known(
        assertion=kind or name,
        name=name if kind else None,
        success=success,
        column=column,
        severity=severity,
        expected=expected,
        actual=actual,
        content=sql,
        contentType="sql" if sql else None,
        params={**counts, **(params or {})} or None,
    )


def _facet(name: str, **members: object) -> Facet:
    return {"_producer": PRODUCER, "_schemaURL": _SCHEMA_URLS[name], **_known(**members)}


def _known(**members: object) -> Facet:
    return {key: value for key, value in members.items() if value is not None}
