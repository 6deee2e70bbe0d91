"""How a store's database is opened, and what its errors mean to a user."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from airflow_provenance.errors import SettingsError, StoreMigrationError, StoreUnavailableError
from airflow_provenance.store.sql.bulk import Bulk, bulk_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL, Engine

# One lock for all writers of a store: held to commit, so that `seq` becomes visible in order.
WRITE_LOCK = 0x70726F76  # "prov"

# A process that hangs in the middle of a transaction would hold that lock for ever; the longest
# that one of ours computes between two statements is a few seconds.
HANGS_SECONDS = 60

# A stage has no statistics; from the stage through the indexes is right for few rows and for many.
# See `bulk.Bulk.joined`.
_LEFT_TO_RIGHT = "; ".join(
    f"SET LOCAL {name}"
    for name in (
        "join_collapse_limit = 1",
        "enable_hashjoin = off",
        "enable_mergejoin = off",
        "enable_material = off",
        "enable_seqscan = off",
        "jit = off",
    )
)


def shown(url: URL) -> str:
    """Return a URL without its password, which may also stand in the query."""
    hidden = {name: "***" for name in url.query if name.lower() in ("password", "passfile")}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def open_engine(url: str, *, create: bool = True) -> Engine:
    """Return an engine on a SQLite or PostgreSQL URL.

    Args:
        url: an SQLAlchemy URL.
        create: make a SQLite file that is not there, and its folder.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise SettingsError(
            "store is not a database URL: use sqlite:////absolute/path.db or "
            "postgresql://user:password@host/database"
        ) from error
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _open_sqlite(parsed, create=create)
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        if "@" in (parsed.host or ""):
            raise SettingsError("store has an @ in its password: write it as %40")
        try:
            return sa.create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise SettingsError(
                "a PostgreSQL store needs psycopg: pip install 'airflow-provenance[postgres]'"
            ) from error
    raise SettingsError(
        f"store is on {parsed.drivername}: only sqlite and postgresql (by psycopg) are supported"
    )


def _open_sqlite(url: URL, *, create: bool) -> Engine:
    if not url.database or url.database == ":memory:":
        raise SettingsError("store needs a file: use sqlite:////absolute/path.db")
    folder = Path(url.database).parent
    if not create and not Path(url.database).exists():
        # Asking must not leave an empty file behind where somebody mistyped a name.
        raise StoreMigrationError(
            f"there is no store at {url.database} yet: run 'airflow-provenance db migrate', or "
            "'airflow-provenance ingest --spool', which makes it too"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailableError(
            f"cannot make {folder} for the store ({error.strerror}): change its rights, or set "
            "[provenance] store to another place"
        ) from error
    engine = sa.create_engine(url)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun by `transaction`
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout = 30000")
        cursor.execute("PRAGMA cache_size = -65536")
        with contextlib.suppress(Exception):  # a read-only file answers queries all the same
            cursor.execute("PRAGMA journal_mode = WAL")
        # Spool files are unlinked once they are in the store, so a commit must be on the disk.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    return engine


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Bulk]:
    """Give a consistent view; errors of the database are told as ours."""
    with told(engine), engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            # Compiling a lineage query costs more than running it.
            connection.exec_driver_sql("SET LOCAL jit = off")
        yield bulk_of(connection)


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Bulk]:
    """Give one transaction that holds the store's write lock; commit unless it fails."""
    with told(engine), engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(
                f"SET LOCAL idle_in_transaction_session_timeout = '{HANGS_SECONDS}s'; "
                f"SELECT pg_advisory_xact_lock({WRITE_LOCK})"
            )
            connection.exec_driver_sql(_LEFT_TO_RIGHT)
        yield bulk_of(connection)
        connection.commit()


@contextlib.contextmanager
def told(engine: Engine) -> Iterator[None]:
    """Turn errors of the database into one line that says what to do."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) if isinstance(error, DBAPIError) else None
        raise _explained(engine, cause or error) from error
    except engine.dialect.loaded_dbapi.Error as error:
        raise _explained(engine, error) from error


def _explained(engine: Engine, error: BaseException) -> StoreUnavailableError:
    where = shown(engine.url)
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    lower = text.lower()
    if "no such table" in lower or ("relation" in lower and "does not exist" in lower):
        advice = "run 'airflow-provenance db migrate'"
    elif "readonly" in lower or "read-only" in lower or "permission denied" in lower:
        advice = "give this user the right to write there, or set [provenance] store elsewhere"
    elif any(word in lower for word in ("full", "no space", "disk i/o")):
        advice = "free some disk space; nothing was lost, spooled events wait"
    elif "unable to open" in lower:
        advice = "check that the folder exists and may be written"
    elif "locked" in lower:
        advice = "another process holds it for long; try again"
    elif "connect" in lower or "refused" in lower:
        advice = "check that the server runs and the URL is right"
    else:
        advice = "check 'airflow-provenance doctor'"
    return StoreUnavailableError(f"the store {where} cannot be used ({text[:200]}): {advice}")
