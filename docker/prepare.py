"""Make the databases and their owners, their schemas, and the file of Airflow's passwords.

Run before anything else, as PostgreSQL's administrator (``PGHOST`` and the like say where). A
second run finds everything there, and sets the passwords that the environment has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
from psycopg import sql

# Each is a role, its database, and its password's variable before _DB_PASSWORD.
DATABASES = ("airflow", "marquez", "provenance", "warehouse")


def make_databases() -> None:
    """Give each its own role and database, which no other role can use."""
    with psycopg.connect(dbname="postgres", autocommit=True) as connection:
        for name in DATABASES:
            known = {"name": sql.Identifier(name)}
            password = sql.Literal(os.environ[f"{name.upper()}_DB_PASSWORD"])
            role = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
            verb = sql.SQL("CREATE" if role.fetchone() is None else "ALTER")
            connection.execute(
                sql.SQL("{verb} ROLE {name} LOGIN PASSWORD {password}").format(
                    verb=verb, password=password, **known
                )
            )
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if there.fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {name} OWNER {name}").format(**known))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {name} FROM PUBLIC").format(**known))


def write_passwords() -> None:
    """Say what the user admin logs in with, where Airflow looks for it."""
    path = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps({"admin": os.environ["AIRFLOW_ADMIN_PASSWORD"]}) + "\n")


def main() -> int:
    """Do all of it; the first command that fails ends it."""
    make_databases()
    write_passwords()
    for command in (["airflow", "db", "migrate"], ["airflow_provenance.cli", "db", "migrate"]):
        done = subprocess.run([sys.executable, "-m", *command], check=False)
        if done.returncode:
            return done.returncode
    print("prepared", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
