"""Which database a hook talks to, and what its tables are called as datasets.

A table is named as the official provider names it, where the hook gives that provider what it needs
(PostgreSQL); SQLite's are named here: ``sqlite:///data/flights.db`` and the table's name.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provenance.capture.table_names import namespace_of
from airflow_provenance.capture.tables import PostgresTables, SqliteTables, UnseenError
from airflow_provenance.checks.sources.database import sqlite_path
from airflow_provenance.domain.identity import DatasetRef

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.capture.files import Deadline
    from airflow_provenance.capture.tables import TableInspector
    from airflow_provenance.formats.sql import Table


class Database(Protocol):
    """The database of a hook."""

    @property
    def dialect(self) -> str:
        """Of its SQL."""
        ...

    @property
    def namespace(self) -> str:
        """Of its tables."""
        ...

    @property
    def tables(self) -> TableInspector:
        """How to look at them."""
        ...

    @property
    def problem(self) -> str | None:
        """Why tables that are named without their schema are not known, if so."""
        ...

    def open(self) -> None:
        """Ask hook and database what naming its tables needs.

        Both may take long to answer, and the hook may raise anything.
        """
        ...

    def forget_schema(self) -> None:
        """Take the schema of tables that are named without one for unknown from now on."""
        ...

    def key(self, table: Table) -> tuple[str, ...]:
        """Return the same for names that mean the same table."""
        ...

    def ref(self, table: Table, default_database: str | None = None) -> DatasetRef | None:
        """Return which dataset a table is, None where that is not known or it is none of ours."""
        ...

    def is_system(self, table: Table) -> bool:
        """Whether this is a table of the database itself, which says what others there are."""
        ...


class Postgres:
    """A PostgreSQL database."""

    dialect = "postgres"

    def __init__(self, hook: Any, deadline: Deadline) -> None:
        """Ask Airflow for the connection; hook and database are asked by `open`."""
        # What the hook imports to answer, here for the reason that `note_tables` gives.
        import airflow.providers.openlineage.sqlparser  # noqa: F401

        self._hook, self._connection = hook, _connection(hook)
        self.namespace = ""
        self._database: str | None = None
        # A copy: the hook that the task had keeps its connection.
        self.tables = PostgresTables(copy.copy(hook).get_conn, deadline)
        self.problem: str | None = None
        self._schema: str | None = None

    def open(self) -> None:
        """Ask for its name and schema; if it cannot be reached, that is told with each table."""
        info = self._hook.get_openlineage_database_info(self._connection)
        self.namespace = namespace_of(info)
        self._database = info.database
        if not self.namespace.startswith("postgres://"):
            return  # Redshift, by a hook of PostgreSQL
        try:
            self._schema = self.tables.default_schema()
        except UnseenError as error:
            self.problem = str(error)

    def forget_schema(self) -> None:
        """Take the schema of tables that are named without one for unknown from now on."""
        self._schema, self.problem = None, "the task changed search_path"

    def key(self, table: Table) -> tuple[str, ...]:
        """Return schema and name."""
        return (*(table.key[-2:-1] or (self._schema or "",)), table.key[-1])

    def ref(self, table: Table, default_database: str | None = None) -> DatasetRef | None:
        """Return the dataset: ``database.schema.table``, as it is written."""
        if not self.namespace.startswith("postgres://"):
            return None
        *before, name = table.parts
        schema = before[-1] if before else self._schema
        database = before[-2] if len(before) > 1 else default_database or self._database
        if schema is None:
            return None
        return DatasetRef(self.namespace, ".".join(filter(None, (database, schema, name))))

    def is_system(self, table: Table) -> bool:
        """Whether it is a catalog's."""
        schema = table.key[-2] if len(table.key) > 1 else ""
        is_catalog = schema in ("information_schema", "pg_catalog")
        return is_catalog or (not schema and table.key[-1].startswith("pg_"))


class Sqlite:
    """A SQLite database in a file."""

    dialect = "sqlite"
    problem = None

    def __init__(self, path: Path, deadline: Deadline) -> None:
        self.namespace = f"sqlite://{path}"
        self.tables = SqliteTables(path, deadline)

    def open(self) -> None:
        """Do nothing: a file has no schema."""

    def forget_schema(self) -> None:
        """Do nothing: a file has no schema."""

    def key(self, table: Table) -> tuple[str, ...]:
        """Return the name."""
        return table.key[1:] if table.key[:-1] == ("main",) else table.key

    def ref(self, table: Table, default_database: str | None = None) -> DatasetRef | None:  # noqa: ARG002 - there is one
        """Return the dataset: the table's name; those of attached files are not known."""
        is_main = len(table.parts) == 1 or table.key[:-1] == ("main",)
        return DatasetRef(self.namespace, table.name) if is_main else None

    def is_system(self, table: Table) -> bool:
        """Whether it is one of SQLite's own."""
        return table.key[-1].startswith("sqlite_")


def identity(hook: Any) -> tuple[object, ...]:
    """Return the same for hooks that talk to the same database in the same way."""
    name = getattr(hook, "conn_name_attr", None)
    own = [getattr(hook, one, None) for one in (name or "conn_id", "database", "options", "schema")]
    return (type(hook), *map(str, own))


def database_of(hook: Any, deadline: Deadline) -> Database | None:
    """Return the database of a hook, not opened yet; None for one that is not looked at.

    Airflow is asked for the connection, so this must not run beside a fork of the task's process:
    both would speak to the supervisor at once.
    """
    kind = getattr(hook, "conn_type", None)
    if kind == "sqlite":
        path = sqlite_path(hook)
        return None if path is None else Sqlite(path, deadline)
    if kind == "postgres" and hasattr(hook, "get_openlineage_database_info"):
        return Postgres(hook, deadline)
    return None


def _connection(hook: Any) -> Any:
    if (known := getattr(hook, "connection", None)) is not None:
        return known
    name = hook.get_conn_id() if hasattr(hook, "get_conn_id") else hook.postgres_conn_id
    return hook.get_connection(name)
