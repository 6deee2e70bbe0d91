"""Run the flights story once: ``seed.py MONTH ...`` unpauses its DAGs and runs each month.

By Airflow's REST API, as anybody could. A month that was run stays as it is.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

DAG_ID, TAG = "flights_month", "flights"
PATIENCE_SECONDS = 900.0


class Airflow:
    """Airflow's REST API, as the user admin."""

    def __init__(self, url: str, password: str) -> None:
        self._url, self._token = url, ""
        login = {"username": "admin", "password": password}
        self._token = self.ask("POST", "/auth/token", login)["access_token"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return what it answers."""
        request = urllib.request.Request(  # noqa: S310 - the URL is this file's own setting
            f"{self._url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return json.loads(answer.read())


def unpause(airflow: Airflow, deadline: float) -> None:
    """Unpause every DAG of the story, once Airflow has read them."""
    while True:
        dags = airflow.ask("GET", f"/api/v2/dags?tags={TAG}&limit=100")["dags"]
        if any(dag["dag_id"] == DAG_ID for dag in dags):
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"Airflow does not know the DAG {DAG_ID}")
        time.sleep(2)
    for dag in dags:
        airflow.ask("PATCH", f"/api/v2/dags/{dag['dag_id']}", {"is_paused": False})
        print(f"unpaused {dag['dag_id']}", flush=True)


def run(airflow: Airflow, month: str, deadline: float) -> str:
    """Run a month to its end, and return how it ended."""
    runs, run_id = f"/api/v2/dags/{DAG_ID}/dagRuns", f"seed__{month}"
    wanted = {"dag_run_id": run_id, "logical_date": None, "conf": {"month": month}}
    try:
        airflow.ask("POST", runs, wanted)
    except urllib.error.HTTPError as error:
        if error.code != 409:  # it is there
            raise
    while time.monotonic() < deadline:
        state = str(airflow.ask("GET", f"{runs}/{run_id}")["state"])
        if state in ("success", "failed"):
            return state
        time.sleep(2)
    raise TimeoutError(f"{DAG_ID} {run_id} did not end")


def main(months: list[str]) -> int:
    """Run them one after another: what a month reads, an earlier one may have written."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    airflow = Airflow(os.environ["AIRFLOW_URL"], os.environ["AIRFLOW_ADMIN_PASSWORD"])
    unpause(airflow, deadline)
    states = {}
    for month in months:
        states[month] = run(airflow, month, deadline)
        print(f"{DAG_ID} {month}: {states[month]}", flush=True)
    return 0 if set(states.values()) <= {"success"} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
