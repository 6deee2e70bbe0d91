"""One suite, every store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance.store.memory import MemoryStore
from airflow_provenance.store.sql.store import SqlStore
from airflow_provenance.store.sql.tables import metadata
from tests.support.entries import data, event, put_all, task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provenance.store.base import Store


class FreshMemoryStore(MemoryStore):
    """A memory store that can make another, empty one."""

    def fresh(self) -> FreshMemoryStore:
        return FreshMemoryStore()


class FreshSqlStore(SqlStore):
    """A SQL store that can be emptied: that is quicker than making another."""

    def fresh(self) -> FreshSqlStore:
        with self._engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.exec_driver_sql(f"DELETE FROM {table.name}")
        return self


@pytest.fixture(scope="session")
def _postgres_store(postgres_server: str) -> Iterator[FreshSqlStore]:
    from tests.support import postgres

    with postgres.new_database(postgres_server) as url:
        store = FreshSqlStore(url, create=True)
        yield store
        store.close()


@pytest.fixture(scope="session")
def _sqlite_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshSqlStore]:
    path = tmp_path_factory.mktemp("store") / "provenance.db"
    store = FreshSqlStore(f"sqlite:///{path}", create=True)
    with store._engine.connect() as connection:  # tests need no power cut to be survived
        connection.exec_driver_sql("PRAGMA synchronous = OFF")
    yield store
    store.close()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Any:
    """An empty store of each kind."""
    if request.param == "memory":
        return FreshMemoryStore()
    shared: FreshSqlStore = request.getfixturevalue(f"_{request.param}_store")
    return shared.fresh()


@pytest.fixture
def chain(store: Store) -> Store:
    """Build source -> one -> a -> two -> b -> three, and a -> three."""
    put_all(
        store,
        task("COMPLETE", 10, "one", run=1, inputs=[data("source")], outputs=[data("a")]),
        event("START", 20, "two", run=2, inputs=[data("a")]),
        event("COMPLETE", 25, "two", run=2, outputs=[data("b")]),
        event("START", 30, "three", run=3, inputs=[data("a"), data("b")]),
    )
    return store
