"""Bringing a store's schema up to date, and telling when it is not."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from airflow_provenance.errors import StoreMigrationError
from airflow_provenance.store.sql.engine import shown, told

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

# Our own, so that a store may share a database with another Alembic user.
VERSION_TABLE = "airflow_provenance_version"
# Oldest to newest, as in `migrations.versions` (a test compares): opening a store must not import
# Alembic, which takes longer than most answers.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
HEAD = REVISIONS[-1]
# Alembic keeps what it is doing in module variables; other processes are kept out by the database.
_one_at_a_time = threading.Lock()


def current_revision(engine: Engine) -> str | None:
    """Return the revision a store is at; None for an empty database."""
    with told(engine), engine.connect() as connection:
        if not sa.inspect(connection).has_table(VERSION_TABLE):
            return None
        revision = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
        return None if revision is None else str(revision)


def migrate(engine: Engine) -> tuple[str | None, str]:
    """Bring the schema to this release's revision; return the one it was at, and is at."""
    from alembic import command
    from alembic.config import Config

    before = current_revision(engine)
    _refuse_newer(before)
    # It tells every connection it makes; what matters is returned.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = engine
    with told(engine), _one_at_a_time:
        command.upgrade(config, "head")
    return before, HEAD


def check(engine: Engine) -> str:
    """Return the revision when it is this release's; `StoreMigrationError` otherwise."""
    revision = current_revision(engine)
    if revision is None:
        raise StoreMigrationError(
            f"the store {shown(engine.url)} is empty yet: run 'airflow-provenance db migrate'"
        )
    _refuse_newer(revision)
    if revision != HEAD:
        raise StoreMigrationError(
            f"the store is at revision {revision}, this release needs {HEAD}: "
            "run 'airflow-provenance db migrate'"
        )
    return revision


def _refuse_newer(revision: str | None) -> None:
    if revision is not None and revision not in REVISIONS:
        raise StoreMigrationError(
            f"the store is at revision {revision}, which a newer release made: "
            "upgrade airflow-provenance"
        )
