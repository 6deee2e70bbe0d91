"""The migrations make exactly the schema that `store.sql.tables` describes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from airflow_provenance.store.base import RunQuery
from airflow_provenance.store.sql import migrate, migrations
from airflow_provenance.store.sql.engine import open_engine
from airflow_provenance.store.sql.store import SqlStore
from airflow_provenance.store.sql.tables import metadata
from tests.support.entries import GOOD, MANIFEST, data, event, manifest, put_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Engine


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgres":
        given: str = request.getfixturevalue("postgres_url")
        return given
    return f"sqlite:///{tmp_path}/provenance.db"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


def config_of(engine: Engine | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["engine"] = engine
    return config


def tables_in(engine: Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names())


def differences(engine: Engine) -> list[object]:
    """Return what Alembic would put into a new migration."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": migrate.VERSION_TABLE, "compare_type": True}
        )
        return list(compare_metadata(context, metadata))


def test_there_is_one_head_and_the_revisions_are_those_that_opening_a_store_knows() -> None:
    scripts = ScriptDirectory.from_config(config_of())

    assert scripts.get_heads() == [migrate.HEAD]
    # Walked from the newest.
    assert [one.revision for one in scripts.walk_revisions()][::-1] == list(migrate.REVISIONS)


def test_migrating_an_empty_database_makes_exactly_the_tables_described(engine: Engine) -> None:
    assert migrate.current_revision(engine) is None

    assert migrate.migrate(engine) == (None, migrate.HEAD)

    assert tables_in(engine) == {*metadata.tables, migrate.VERSION_TABLE}
    assert differences(engine) == []
    assert migrate.check(engine) == migrate.HEAD


def test_the_schema_is_the_one_that_the_description_alone_would_make(tmp_path: Path) -> None:
    # Alembic compares neither primary keys nor conditions of indexes: SQLite's own words do.
    migrated = open_engine(f"sqlite:///{tmp_path}/provenance.db")
    migrate.migrate(migrated)
    described = sa.create_engine("sqlite://")
    metadata.create_all(described)

    assert words_of(migrated) == words_of(described)
    assert words_of(migrated).keys() > metadata.tables.keys()
    migrated.dispose()


def words_of(engine: Engine) -> dict[str, list[str]]:
    """Return the members of each table and index as SQLite keeps them."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> "
            f"'{migrate.VERSION_TABLE}'"
        ).all()
    return {name: sorted(" ".join(sql.split()).split(", ")) for name, sql in rows}


def test_migrating_twice_changes_nothing(engine: Engine, url: str) -> None:
    migrate.migrate(engine)
    store = SqlStore(url)
    put_all(store, GOOD)

    assert migrate.migrate(engine) == (migrate.HEAD, migrate.HEAD)

    assert store.counts()["runs"] == 1
    store.close()


def test_down_and_up_again_works(engine: Engine, url: str) -> None:
    migrate.migrate(engine)

    command.downgrade(config_of(engine), "base")

    assert tables_in(engine) == {migrate.VERSION_TABLE}
    assert migrate.current_revision(engine) is None
    assert migrate.migrate(engine) == (None, migrate.HEAD)
    assert differences(engine) == []
    store = SqlStore(url)
    put_all(store, GOOD)
    store.close()


def test_lists_of_what_is_installed_are_read_out_of_the_raw_events_of_an_older_store(
    engine: Engine, url: str
) -> None:
    migrate.migrate(engine)
    store = SqlStore(url)
    no_list = {MANIFEST: {"dependencies": {"of": "another kind"}}}
    wrong = manifest(["a==1"], "0" * 64)
    for number, facets in enumerate((manifest(["a==1", "é==2"]), no_list, wrong, manifest([]))):
        # Together more than one chunk holds.
        put_all(store, *(event("START", s, "j", number + 1, facets) for s in range(50)))
    known = sorted(store.scan_dependencies())
    store.close()
    assert [one for _, one in known] == [["a==1", "é==2"], []]
    command.downgrade(config_of(engine), "0001")
    assert "dependency_set" not in tables_in(engine)

    migrate.migrate(engine)

    store = SqlStore(url)
    assert sorted(store.scan_dependencies()) == known
    put_all(store, event("START", 60, "j", 9, manifest(["a==1", "é==2"])))
    store.close()


def test_runs_of_an_older_store_have_the_briefs_of_their_documents(
    engine: Engine, url: str
) -> None:
    migrate.migrate(engine)
    store = SqlStore(url)
    put_all(store, event("COMPLETE", 1, "d.t", 1, outputs=[data()]), event("FAIL", 2, "j", 2))
    told = store.run_briefs(view.id for view in store.runs(RunQuery()))
    store.close()
    assert [len(one.writes) for one in told.values()] == [1, 0]
    command.downgrade(config_of(engine), "0006")

    migrate.migrate(engine)

    store = SqlStore(url)
    assert store.run_briefs(told) == told
    put_all(store, event("FAIL", 3, "d.t", 1))
    assert sorted(store.run_briefs(told)) == sorted(told)
    store.close()


def test_a_store_shares_its_database_with_another_user_of_alembic(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('of another')")

    migrate.migrate(engine)

    with engine.connect() as connection:
        versions = connection.exec_driver_sql("SELECT version_num FROM alembic_version").all()
    assert [tuple(row) for row in versions] == [("of another",)]
    SqlStore(url).close()


def test_threads_that_open_one_empty_store_at_once_all_find_it_made(url: str) -> None:
    def open_(_: int) -> None:
        together.wait()
        SqlStore(url, create=True).close()

    together = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_, range(4)))
