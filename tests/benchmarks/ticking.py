"""The process whose ticks `tests.benchmarks.promises` measures; it prints what they took as JSON.

A process of its own, so that its greatest memory is that of evaluation alone. Ticks are, in turn:

first    the promises have been in force for nine days, and nothing was ever told of them: all that
         came due meanwhile is judged and written
restart  another process, an hour later: all is judged again, what is known is not written again
idle     nothing changed
one      one run has ended since
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

from airflow_provenance.alerts.excuses import excusals_of
from airflow_provenance.collect.evaluator import Evaluator
from airflow_provenance.collect.promise_sources import PromiseSources
from airflow_provenance.domain.clock import FixedClock, format_time
from airflow_provenance.store.sql.store import SqlStore
from tests.benchmarks.promised import LAST_DAY_US
from tests.support.sla_events import task_run

_HOUR_US = 3_600_000_000
_NIGHT_US = LAST_DAY_US + 23 * _HOUR_US
_IN_FORCE_US = 9 * 24 * _HOUR_US


def _peak_mb() -> int:
    # What the system counts of a process it counts from its parent's on; this does not.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return round(int(line.split()[1]) / 1024)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _arrives(store: SqlStore) -> None:
    day = (format_time(_NIGHT_US) or "")[:10]
    times = {"start": f"{day}T23:00:00", "end": f"{day}T23:04:00"}
    # By hand, so that it counts for no promise: the next size is told the same of the same runs.
    times |= {"run_type": "manual"}
    events = task_run("dag0", "task3", f"manual__{time.time_ns()}", times["start"], **times)
    entries = [("E", json.dumps(one).replace('"air"', '"bench"').encode()) for one in events]
    store.ingest(entries, received_us=_NIGHT_US)  # type: ignore[arg-type]


def _tick(evaluator: Evaluator) -> dict[str, Any]:
    start, cpu = time.perf_counter(), time.process_time()
    ticked = evaluator.run_once()
    return {
        "wall_s": round(time.perf_counter() - start, 4),
        "cpu_s": round(time.process_time() - cpu, 4),
        "evaluated": ticked.evaluated,
        "changes": len(ticked.changes),
        "peak_mb": _peak_mb(),
    }


def main() -> None:
    """Do the ticks that are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("promises", type=Path)
    parser.add_argument("--first", action="store_true")
    options = parser.parse_args()
    store = SqlStore(options.url)
    start = time.perf_counter()
    sources = PromiseSources(str(options.promises), None, store.policies())
    sources.refresh()
    found: dict[str, Any] = {"read_s": round(time.perf_counter() - start, 3)}
    clock = FixedClock(_NIGHT_US)
    if options.first:
        store.put_policies(sources.rows(), _NIGHT_US - _IN_FORCE_US)
        store.set_mark("evaluated", _NIGHT_US)
        found["first"] = _tick(Evaluator(store, sources, None, clock, excusals_of))
    else:
        clock.us += _HOUR_US
        evaluator = Evaluator(store, sources, None, clock, excusals_of)
        found["restart"] = _tick(evaluator)
        clock.us += 1_000_000
        ticks = [_tick(evaluator) for _ in range(5)]
        found["idle"] = sorted(ticks, key=lambda one: one["wall_s"])[2]
        _arrives(store)
        clock.us += 1_000_000
        found["one"] = _tick(evaluator)
    store.close()
    print(json.dumps(found))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
