"""Bringing a store's schema up to date, and telling when it is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from airflow_provenance.errors import StoreMigrationError
from airflow_provenance.store.sql.engine import told

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

# Our own, so that a store may share a database with another Alembic user.
VERSION_TABLE = "airflow_provenance_version"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def current_revision(engine: Engine) -> str | None:
    """Return the revision a store is at; None for an empty database."""
    with told(engine), engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()


def head_revision() -> str:
    """Return the revision that this release works with."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise StoreMigrationError("the installation has no migrations: install it again")
    return head


def migrate(engine: Engine) -> tuple[str | None, str]:
    """Bring the schema to this release's revision; return the one it was at, and is at."""
    before = current_revision(engine)
    _refuse_newer(before)
    config = _config()
    config.attributes["engine"] = engine
    with told(engine):
        command.upgrade(config, "head")
    return before, head_revision()


def check(engine: Engine) -> str:
    """Return the revision when it is this release's; `StoreMigrationError` otherwise."""
    revision = current_revision(engine)
    if revision is None:
        raise StoreMigrationError(
            f"the store {engine.url.render_as_string(hide_password=True)} is empty: "
            "run 'airflow-provenance db migrate'"
        )
    _refuse_newer(revision)
    if revision != head_revision():
        raise StoreMigrationError(
            f"the store is at revision {revision}, this release needs {head_revision()}: "
            "run 'airflow-provenance db migrate'"
        )
    return revision


def _refuse_newer(revision: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise StoreMigrationError(
            f"the store is at revision {revision}, which a newer release made: "
            "upgrade airflow-provenance"
        )
