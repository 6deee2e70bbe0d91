"""Fixtures for every folder of tests."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUN = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Prepare for a PostgreSQL server; the first test that needs it starts it."""
    if hasattr(config, "workerinput"):
        return  # an xdist worker uses what the main process prepared
    stack = config.stash[_RUN] = ExitStack()
    os.environ[postgres.RUN] = str(stack.enter_context(postgres.Run.open()).folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server."""
    if _RUN in config.stash:
        config.stash[_RUN].close()


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The URL of a PostgreSQL server on which databases may be made."""
    try:
        return postgres.server_url()
    except postgres.PostgresError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The SQLAlchemy URL of a PostgreSQL database that is empty, and this test's alone."""
    with postgres.new_database(postgres_server) as url:
        yield url
