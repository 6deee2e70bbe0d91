"""Which OpenLineage dataset a table of an Airflow connection is.

Named as the official provider names it where the hook tells of its database (PostgreSQL:
``postgres://host:port``, ``database.schema.table``). That provider knows nothing of SQLite: there
it is ``sqlite:///absolute/path.db`` and the table, without ``main``.
"""

from __future__ import annotations

from typing import Any

from airflow_provenance.checks.sources.database import name_parts, sqlite_path
from airflow_provenance.domain.identity import DatasetRef

_MOST_PARTS = 3


def table_ref(hook: Any, table: str) -> DatasetRef | None:
    """Return the dataset of a table, None where the hook does not say enough to name it.

    Args:
        hook: of the connection.
        table: its name, with schema and database in front where they are not the connection's; a
            part with a dot in it stands in double quotes.
    """
    parts = name_parts(table)
    if getattr(hook, "conn_type", None) == "sqlite":
        path = sqlite_path(hook)
        named = parts[1:] if len(parts) > 1 and parts[0] == "main" else parts
        return None if path is None else DatasetRef(f"sqlite://{path}", ".".join(named))
    if len(parts) > _MOST_PARTS or not hasattr(hook, "get_openlineage_database_info"):
        return None
    connection = hook.get_connection(hook.get_conn_id())
    info = hook.get_openlineage_database_info(connection)
    if info is None:
        return None
    schema = parts[-2] if len(parts) > 1 else hook.get_openlineage_default_schema()
    database = parts[0] if len(parts) == _MOST_PARTS else info.database
    # The provider writes a schema that it does not know as None; such a name joins with nothing.
    name = ".".join(part for part in (database, schema, parts[-1]) if part)
    return DatasetRef(namespace_of(info), name.upper() if info.is_uppercase_names else name)


def namespace_of(info: Any) -> str:
    """Return the namespace of a database's tables, by what the hook tells of the database."""
    return f"{info.scheme}://{info.authority}" if info.authority else str(info.scheme)
