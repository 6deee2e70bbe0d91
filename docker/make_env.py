"""Make ``docker/.env``: a random value for every secret that ``compose.yaml`` needs.

    python3 docker/make_env.py

One that is there stays as it is: databases keep the passwords that they were made with.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

PASSWORDS = (
    "AIRFLOW_ADMIN_PASSWORD",
    "AIRFLOW_DB_PASSWORD",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_SECRET_KEY",
    "MARQUEZ_DB_PASSWORD",
    "POSTGRES_PASSWORD",
    "PROVENANCE_DB_PASSWORD",
    "PROVENANCE_HASH_KEY",
    "WAREHOUSE_DB_PASSWORD",
)


def values() -> dict[str, str]:
    """Return every secret. Hexadecimal: they stand in URLs, too."""
    fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return {"AIRFLOW_FERNET_KEY": fernet, **{one: secrets.token_hex(32) for one in PASSWORDS}}


def main(path: Path) -> int:
    """Write the file, for its owner's eyes alone."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{path} is there, and stays as it is")
        return 0
    with os.fdopen(file, "w") as opened:
        opened.writelines(f"{name}={value}\n" for name, value in values().items())
    print(f"wrote {path}: AIRFLOW_ADMIN_PASSWORD in it is what the user admin logs in with")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name(".env")))
