"""Alembic's entry: run by `store.sql.migrate` with the engine to migrate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import context

from airflow_provenance.store.sql.engine import WRITE_LOCK
from airflow_provenance.store.sql.migrate import VERSION_TABLE
from airflow_provenance.store.sql.tables import metadata

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

engine: Engine = context.config.attributes["engine"]
with engine.connect() as connection:
    if connection.dialect.name == "sqlite":
        # Two processes may find the same empty database: the second waits, then finds it done.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transactional_ddl=False,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    context.run_migrations()
    connection.commit()
