"""Whether Airflow's own database is there and has its tables: asked without importing Airflow."""

from __future__ import annotations

from airflow_provenance import settings

MIGRATE = "run 'airflow db migrate'"
_SECONDS = 5


def airflow_database_problem() -> str | None:
    """Return what is wrong with Airflow's database, in a line without its address; None if nothing.

    Also None where this host is to have none, as one that only runs tasks.
    """
    url = settings.airflow_database_url()
    if not settings.is_airflow_database_set():
        return f"Airflow's database is not there yet: {MIGRATE}" if "sqlite" in url else None
    from sqlalchemy import create_engine, inspect, pool
    from sqlalchemy.exc import SQLAlchemyError

    timeout = {"connect_timeout": _SECONDS} if url.startswith("postgres") else {}
    try:
        engine = create_engine(url, poolclass=pool.NullPool, connect_args=timeout)
        with engine.connect() as connection:
            has_tables = inspect(connection).has_table("dag_run")
    except (SQLAlchemyError, ImportError) as error:
        text = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return (
            f"Airflow's database cannot be read ({text[:200]}): check [database] sql_alchemy_conn"
        )
    return None if has_tables else f"Airflow's database has no tables yet: {MIGRATE}"
