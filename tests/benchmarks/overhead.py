"""What provenance costs a task: our hooks in real task processes, and whole tasks in pairs.

Two questions, for no one figure answers both. How long does each hook of ours take in a process
that a scheduler started for one task, cold, as users have it? And how much longer is a trivial task
with us than without us, all else being equal, which a scheduler is too noisy to tell?
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import fmean, quantiles, stdev
from typing import TYPE_CHECKING, Any

from tests.benchmarks import overhead_timing
from tests.support import postgres
from tests.support.airflow_standalone import TRANSPORT, Airflow

if TYPE_CHECKING:
    from collections.abc import Sequence

_HERE = Path(__file__).parent
_ON_TIME_SECONDS = 0.005  # the goal for the slowest of a hundred
_DAG = """
from airflow.sdk import ObjectStoragePath, dag, task

@dag(schedule=None)
def overhead():
    @task
    def nothing():
        "Do nothing."

    @task
    def writes_a_file():
        with ObjectStoragePath("file://{data}/file.csv").open("w") as file:
            file.write("carrier,dest\\n" + "UA,IAH\\n" * 100_000)

    writes_a_file()
    for _ in range({tasks}):
        nothing()

overhead()
"""


_MODES = ("fork", "thread")


def run(
    server: str | None, *, tasks: int, pairs: int, modes: Sequence[str] = _MODES
) -> dict[str, Any]:
    """Return the times of hooks (with a server: Airflow's database is PostgreSQL) and of pairs."""
    found: dict[str, Any] = {"load_average": [round(one, 2) for one in os.getloadavg()]}
    if server is not None:
        found["hooks"] = _hooks(server, tasks)
    found["pairs"] = _pairs(pairs, modes)
    return found


def text(result: dict[str, Any]) -> str:
    """Return the figures as lines."""
    lines = [f"Overhead: load average before {result['load_average']}"]
    for name, one in result.get("hooks", {}).items():
        lines.append(
            f"  {name:32} {one['count']:5} times  p50 {_ms(one['p50'])}  p99 {_ms(one['p99'])}"
            f"  max {_ms(one['max'])}"
        )
    for mode, one in result["pairs"].items():
        low, high = one["interval"]
        lines.append(
            f"  pairs of tasks, {mode:16} {one['count']:5} pairs  with {_ms(one['with'])}  "
            f"without {_ms(one['without'])}  difference {_ms(one['difference'])} "
            f"(95 %: {_ms(low)} to {_ms(high)})  load {one['load_average'][0]}"
        )
    return "\n".join(lines)


# ---- Hooks ---------------------------------------------------------------------------------------


def _hooks(server: str, tasks: int) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="provenance-bench-")))
        home, plugins, times = folder / "home", folder / "plugins", folder / "times"
        home.mkdir()
        plugins.mkdir()
        shutil.copy(overhead_timing.__file__, plugins)
        dag_file = folder / "overhead.py"
        dag_file.write_text(_DAG.format(tasks=tasks, data=folder))
        environment = {
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
            # One task at a time: two on two cores would time each other.
            "AIRFLOW__CORE__PARALLELISM": "1",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.05",
            overhead_timing.TIMES: str(times),
        }
        database = stack.enter_context(postgres.new_database(server))
        airflow = stack.enter_context(
            Airflow.start(home, database, dags=[dag_file], environment=environment)
        )
        run_id = airflow.trigger("overhead")
        airflow.wait_for_run("overhead", run_id, seconds=60 + 5 * tasks)
        return _of_hooks(times.read_text().splitlines())


def _of_hooks(lines: Sequence[str]) -> dict[str, Any]:
    seconds: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        name, _, figure = line.rpartition(" ")
        seconds[name].append(float(figure))
        if name == "on_task_instance_success":  # after what it spent on looking into data
            inspected = seconds[overhead_timing.INSPECTION][-1]
            seconds["success without inspection"].append(float(figure) - inspected)
    return {
        name.strip("_"): {
            "count": len(those),
            "p50": _quantile(those, 50),
            "p99": _quantile(those, 99),
            "max": max(those),
            "is_on_time": _quantile(those, 99) < _ON_TIME_SECONDS,
        }
        for name, those in seconds.items()
    }


def _quantile(seconds: Sequence[float], percent: int) -> float:
    return (
        quantiles(seconds, n=100, method="inclusive")[percent - 1]
        if len(seconds) > 1
        else seconds[0]
    )


# ---- Pairs ---------------------------------------------------------------------------------------


def _pairs(pairs: int, modes: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="provenance-bench-") as name:
        dags = Path(name) / "dags"
        dags.mkdir()
        shutil.copy(_HERE / "overhead_pairs.py", dags)
        environment = os.environ | {
            "AIRFLOW_HOME": name,
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(TRANSPORT),
            "AIRFLOW__PROVENANCE__SPOOL_DIR": f"{name}/spool",
        }
        _python(environment, "-m", "airflow", "db", "migrate")
        _python(environment, "-m", "airflow", "dags", "reserialize")
        found = {}
        for number, mode in enumerate(modes):
            environment["AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD"] = str(mode == "thread")
            program = ("-m", "tests.benchmarks.overhead_pairs", str(pairs), str(2013 + 10 * number))
            found[mode] = _of_pairs(json.loads(_python(environment, *program).splitlines()[-1]))
        return found


def _python(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=_HERE.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def _of_pairs(measured: list[dict[str, float]]) -> dict[str, Any]:
    differences = [one["with"] - one["without"] for one in measured]
    return {
        "count": len(measured),
        "with": fmean(one["with"] for one in measured),
        "without": fmean(one["without"] for one in measured),
        "difference": fmean(differences),
        "interval": confidence_interval(differences),
        "load_average": [round(one, 2) for one in os.getloadavg()],
    }


def confidence_interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return where their true mean lies in 95 of 100 such measurements.

    By the normal distribution, so not for a handful: for two or three it is too narrow.

    >>> low, high = confidence_interval([1.0, 2.0, 3.0] * 100)
    >>> round(low, 2), round(high, 2)
    (1.91, 2.09)
    """
    mean = fmean(differences)
    reach = 1.96 * stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return mean - reach, mean + reach


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"
