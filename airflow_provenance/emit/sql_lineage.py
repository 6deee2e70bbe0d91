"""Column lineage of the outputs of an event, from the SQL in it. Pure.

The official provider puts one columnLineage, of all statements together, on every output, and makes
up names for expressions without one. Here an output gets that of the statements that write it.
Where that is not certain it gets none: wrong lineage is worse than none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.formats.facets import standard
from airflow_provenance.formats.sql import SqlReader, effects_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from airflow_provenance.formats.facets import Facet
    from airflow_provenance.formats.sql import Effect, Statement, Table

Event = dict[str, Any]
# Schemes of namespaces whose datasets are tables.
_SCHEMES = frozenset(
    """awsathena bigquery clickhouse databricks duckdb hive mssql mysql oracle postgres postgresql
    redshift snowflake spark sqlite sqlserver synapse teradata trino
    """.split()  # noqa: SIM905 - it reads better so
)
_MOST_COLUMNS = 1000  # a schema that has as many may have been cut


def with_column_lineage(event: Event, settled: Collection[DatasetRef] = ()) -> Event:
    """Return the event with the column lineage that its SQL gives, and without any other.

    Args:
        event: with a ``sql`` facet on its job; any other is returned as it is.
        settled: outputs whose column lineage is known from elsewhere.
    """
    sql, outputs = _sql(event), event.get("outputs") or []
    namespaces = {
        str(one.get("namespace")) for one in outputs if scheme(one.get("namespace")) in _SCHEMES
    }
    if sql is None or not namespaces:
        return event
    datasets = [*(event.get("inputs") or []), *outputs]
    found: dict[DatasetRef, Facet | None] = {}
    for namespace in namespaces:
        found |= _lineage(sql, namespace, [one for one in datasets if _is_in(one, namespace)])
    corrected = [
        one if (ref := _ref(one)) in settled else _corrected(one, found.get(ref)) for one in outputs
    ]
    return {**event, "outputs": corrected}


def scheme(namespace: object) -> str:
    """Return what kind of database a namespace is of."""
    return str(namespace).partition("://")[0].lower()


def column_lineage(effect: Effect, name: Callable[[Table], DatasetRef | None]) -> Facet | None:
    """Return the facet of one output, None where no column is known.

    Args:
        effect: what was done to the output.
        name: which dataset a table is; a column that comes from one that is none is left out.
    """
    fields: dict[str, list[standard.InputField]] = {}
    for column, sources in effect.columns.items():
        named = [(name(one.table), one) for one in sources]
        if named and all(ref is not None for ref, _ in named):
            fields[column] = sorted(
                standard.InputField(*ref, one.column, one.kind, one.is_direct)
                for ref, one in named
                if ref is not None
            )
    if not fields:
        return None
    influences = sorted(
        standard.InputField(*ref, one.column, one.kind, is_direct=False)
        for one in effect.influences
        if (ref := name(one.table)) is not None
    )
    return standard.column_lineage_facet(fields, influences)


def _lineage(
    sql: str, namespace: str, datasets: list[dict[str, Any]]
) -> dict[DatasetRef, Facet | None]:
    refs = list(dict.fromkeys(_ref(one) for one in datasets))
    statements = SqlReader(scheme(namespace), _schema(datasets)).read(sql).statements
    names = _named(_tables(statements), refs)
    effects = effects_of(statements, lambda one: names.get(one.key) or one.key)
    return {
        ref: column_lineage(effect, lambda one: names.get(one.key))
        for table, effect in effects.items()
        if (ref := names.get(table.key)) is not None
    }


def _tables(statements: Iterable[Statement]) -> list[Table]:
    found: dict[Table, None] = {}
    for statement in statements:
        found |= dict.fromkeys(statement.reads)
        for write in statement.writes:
            found[write.table] = None
            sources = [*write.influences, *(one for of in write.columns.values() for one in of)]
            found |= dict.fromkeys(source.table for source in sources)
    return list(found)


def _named(tables: list[Table], refs: list[DatasetRef]) -> dict[tuple[str, ...], DatasetRef | None]:
    """Return which dataset each table is: the only one whose name ends with the table's.

    Tables that are written with their schema choose first.
    """
    named: dict[tuple[str, ...], DatasetRef | None] = {}
    taken: set[DatasetRef] = set()
    for table in sorted(tables, key=lambda one: -len(one.parts)):
        if table.key in named:
            continue
        fitting = [ref for ref in refs if _fits(table, ref)]
        free = [ref for ref in fitting if ref not in taken] or fitting
        named[table.key] = free[0] if len(free) == 1 else None
        taken |= set(free) if len(free) == 1 else set()
    return named


def _fits(table: Table, ref: DatasetRef) -> bool:
    parts = table.parts
    if scheme(ref.namespace) == "sqlite" and len(parts) == 2 and parts[0].lower() == "main":
        parts = parts[1:]
    written, name = ".".join(parts).lower(), ref.name.lower()
    return name == written or name.endswith(f".{written}")


def _schema(datasets: list[dict[str, Any]]) -> dict[str, list[str]]:
    known: dict[str, list[str]] = {}
    for dataset in datasets:
        facet = (dataset.get("facets") or {}).get(standard.SCHEMA)
        fields = facet.get("fields") if isinstance(facet, dict) else None
        if isinstance(fields, list) and 0 < len(fields) < _MOST_COLUMNS:
            columns = [str(one.get("name")) for one in fields if isinstance(one, dict)]
            known[str(dataset.get("name"))] = columns
    return known


def _corrected(dataset: dict[str, Any], lineage: Facet | None) -> dict[str, Any]:
    facets: dict[str, Any] = dataset.get("facets") or {}
    if lineage is not None:
        return {**dataset, "facets": {**facets, standard.COLUMN_LINEAGE: lineage}}
    if not _is_of_sql(dataset, facets.get(standard.COLUMN_LINEAGE)):
        return dataset
    kept = {name: facet for name, facet in facets.items() if name != standard.COLUMN_LINEAGE}
    return {**dataset, "facets": kept}


def _is_of_sql(dataset: dict[str, Any], lineage: Any) -> bool:
    """Whether a column lineage may have been made from SQL: all of it is in the same database."""
    if not isinstance(lineage, dict) or scheme(dataset.get("namespace")) not in _SCHEMES:
        return False
    fields = lineage.get("fields")
    inputs = [
        one
        for field in (fields.values() if isinstance(fields, dict) else ())
        if isinstance(field, dict)
        for one in field.get("inputFields") or ()
    ]
    return all(
        isinstance(one, dict) and one.get("namespace") == dataset.get("namespace") for one in inputs
    )


def _sql(event: Event) -> str | None:
    facet = ((event.get("job") or {}).get("facets") or {}).get("sql")
    query = facet.get("query") if isinstance(facet, dict) else None
    return query if isinstance(query, str) else None


def _is_in(dataset: dict[str, Any], namespace: str) -> bool:
    return dataset.get("namespace") == namespace


def _ref(dataset: dict[str, Any]) -> DatasetRef:
    return DatasetRef(str(dataset.get("namespace")), str(dataset.get("name")))
