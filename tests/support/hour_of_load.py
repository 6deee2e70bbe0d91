"""An hour of runs, written through real spools, and what must have become of it in the end."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from airflow_provenance.emit.spool import Spool
from tests.support.entries import data, task
from tests.support.marquez_rules import Marquez

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Json = dict[str, Any]
JOBS = 12
_SPOOLS = 4


class Load:
    """Runs of an hour, one every so many seconds; of each job one after the other.

    Args:
        spool_dir: where they are written.
        runs: how many; each has a START and an end.
        first: the number of the first.
    """

    def __init__(self, spool_dir: Path, runs: int, first: int = 0) -> None:
        self.runs, self._first = runs, first
        self.events: list[Json] = []  # written, in order within a job
        self.append_seconds: list[float] = []
        self._spools = [Spool(spool_dir) for _ in range(_SPOOLS)]
        self._next = 0

    def write(self, count: int) -> None:
        """Write the next runs."""
        for number in range(self._next, min(self._next + count, self.runs)):
            began = 3595.0 * number / self.runs
            run = self._first + number
            name, of = f"t{number % JOBS}", {"dag_run": f"r{run}", "run": run}
            end = "FAIL" if number % 10 == 3 else "COMPLETE"
            written = [data(f"out{number % JOBS}")]
            for kind, raw in (
                task("START", began, name, inputs=[data("in")], **of),
                task(end, began + 4.0, name, inputs=[data("in")], outputs=written, **of),
            ):
                asked = time.perf_counter()
                self._spools[number % _SPOOLS].append(kind, raw, sync=end in raw.decode())
                self.append_seconds.append(time.perf_counter() - asked)
                self.events.append(json.loads(raw))
        self._next = min(self._next + count, self.runs)

    def close(self) -> None:
        """Write what is left, and end as task processes do."""
        self.write(self.runs)
        for spool in self._spools:
            spool.close()

    def assert_arrived(self, received: Iterable[Json]) -> int:
        """Every event at least once, per job in order; return how many were repeats."""
        total, seen = 0, defaultdict[str, list[tuple[str, str]]](list)
        known = set()
        for event in received:
            total += 1
            if (key := key_of(event)) not in known:
                known.add(key)
                seen[event["job"]["name"]].append(key)
        wanted = defaultdict[str, list[tuple[str, str]]](list)
        for event in self.events:
            wanted[event["job"]["name"]].append(key_of(event))
        assert seen == wanted
        return total - len(self.events)


def key_of(event: Json) -> tuple[str, str]:
    """Return what tells an event here: its run and type."""
    return event["run"]["runId"], event["eventType"]


def distinct(received: Iterable[Json]) -> set[tuple[str, str]]:
    """Return which events arrived, however often: ends go again by rule (`deliveries`)."""
    return {key_of(one) for one in received}


def repeated_starts(received: Iterable[Json]) -> int:
    """Return how many STARTs came again: no rule sends one twice where runs come in order."""
    starts = [key_of(one) for one in received if one["eventType"] == "START"]
    return len(starts) - len(set(starts))


def shown(events: Iterable[Json]) -> Json:
    """Return what a person sees in Marquez after these events."""
    marquez = Marquez()
    for event in events:
        marquez.receive_run_event(event)
    return {
        "runs": {
            run.id: (run.job, run.state, run.started_at, run.ended_at)
            for run in marquez.runs.values()
        },
        "io": {job.name: (job.inputs, job.outputs) for job in marquez.jobs.values()},
        "versions": {
            one.name: [version.run_id for version in one.versions]
            for one in marquez.datasets.values()
        },
    }
