"""Trivial tasks run in pairs, one with our plugin and transport and one without.

    python -m tests.benchmarks.overhead_pairs PAIRS YEAR

prints JSON: seconds with and without, pair by pair. Its DAG runs are of that year. Airflow's home
is the environment's, with a migrated database that knows the DAG, which Airflow finds in this file,
too. Run by `overhead` as a program of its own: it changes Airflow's listeners.

One process and warm, so a pair differs by us alone. The official provider is on in both; without
us its transport is ``noop``, the cheapest there is. Who comes first changes from pair to pair.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pendulum
from airflow.providers.openlineage.plugins.listener import get_openlineage_listener
from airflow.sdk import dag, task
from airflow.sdk.execution_time import supervisor
from airflow.sdk.listener import get_listener_manager
from openlineage.client.transport.noop import NoopConfig, NoopTransport

from airflow_provenance.emit import notes
from airflow_provenance.emit.transport import ProvenanceConfig, ProvenanceTransport
from airflow_provenance.plugin import ProvenancePlugin

_TASKS_OF_A_RUN = 20
_UNCOUNTED = 2  # the first tasks import what all others find


class Switch:
    """Puts us in and takes us out."""

    def __init__(self) -> None:
        official = get_openlineage_listener()
        self._manager = get_listener_manager().pm
        self._listeners = [one for one in ProvenancePlugin.listeners if one is not official]
        self._client = official.adapter.get_or_create_openlineage_client()
        self._ours, self._none = (
            ProvenanceTransport(ProvenanceConfig()),
            NoopTransport(NoopConfig()),
        )

    def set(self, *, is_on: bool) -> None:
        self._client.transport = self._ours if is_on else self._none
        notes.clear()
        for listener in self._listeners:
            if self._manager.is_registered(listener) != is_on:
                (self._manager.register if is_on else self._manager.unregister)(listener)


def measure(pairs: int, year: int) -> list[dict[str, float]]:
    """Return the seconds of both tasks of every pair."""
    switch, found = Switch(), [dict[str, float]() for _ in range(pairs + _UNCOUNTED)]
    real, done = supervisor.run_task_in_process, 0

    def timed(**given: Any) -> Any:
        nonlocal done
        pair, second = divmod(done, 2)
        done += 1
        is_on = bool(second) == bool(pair % 2)
        switch.set(is_on=is_on)
        began = time.perf_counter()
        result = real(**given)
        if pair < len(found):
            found[pair]["with" if is_on else "without"] = time.perf_counter() - began
        return result

    supervisor.run_task_in_process = timed
    number = 0
    while done < 2 * len(found):
        trivial().test(logical_date=pendulum.datetime(year, 1, 1).add(days=number))
        number += 1
    return found[_UNCOUNTED:]


@dag(schedule=None, start_date=pendulum.datetime(2013, 1, 1))
def trivial() -> None:
    @task
    def nothing() -> None:
        """Do nothing."""

    for _ in range(_TASKS_OF_A_RUN):
        nothing()


trivial_dag = trivial()

if __name__ == "__main__":
    measured = measure(int(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.write(f"\n{json.dumps(measured)}\n")
