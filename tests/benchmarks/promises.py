"""How long a tick of the evaluator takes, with many promises over many runs, and how it grows.

Each size is measured in a process of its own (`ticking`), on a store that is filled once.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provenance.store.sql.engine import writing
from tests.benchmarks.promised import PROMISES, TASKS, Promised
from tests.benchmarks.rounds import Timer, empty_store, rivals, summary, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.store.sql.store import SqlStore

TICKS = ("first", "restart", "idle", "one")


def _ticks(url: str, promises: Path, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.ticking", url, str(promises), *more]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _measured(url: str, promises: Path, rounds: int) -> dict[str, Any]:
    """Return what ticks took: the first once, as it writes, the others in several processes."""
    first = _ticks(url, promises, "--first")
    others = [_ticks(url, promises) for _ in range(rounds)]
    found: dict[str, Any] = {"first": {"s": summary([first["first"]["wall_s"]]), **first["first"]}}
    for name in TICKS[1:]:
        each = [one[name] for one in others]
        found[name] = {
            "s": summary([one["wall_s"] for one in each], 4),
            "cpu_s": summary([one["cpu_s"] for one in each], 4),
            "peak_mb": max(one["peak_mb"] for one in each),
            "evaluated": each[0]["evaluated"],
            "changes": each[0]["changes"],
        }
    if found["restart"]["changes"]:
        raise AssertionError("a restart told again what was known")
    found["read_s"] = summary([one["read_s"] for one in others])
    return found


def run(server: str | None, *, sizes: Sequence[tuple[int, int]], rounds: int) -> dict[str, Any]:
    """Measure each (promises, task runs), on both stores where there are two."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="provenance-promises-") as folder:
        for runs in dict.fromkeys(runs for _, runs in sizes):
            most = max(promises for promises, of in sizes if of == runs)
            world = Promised(most // PROMISES, runs)
            for store_name in rivals(server):
                with contextlib.ExitStack() as stack:
                    store = stack.enter_context(empty_store(store_name, server))
                    with Timer() as timer:
                        world.fill(store)
                    url = store._engine.url.render_as_string(hide_password=False)
                    for promises in sorted({count for count, of in sizes if of == runs}):
                        asked = Path(folder) / "promises.yaml"
                        made = world.promises()[:promises]
                        asked.write_text(json.dumps({"promises": made}))
                        found[f"{promises:,} over {world.task_runs:,}, {store_name}"] = {
                            "promises": promises,
                            "task_runs": world.task_runs,
                            "fill_s": round(timer.spent.wall, 1),
                            **_measured(_untold(store, url), asked, rounds),
                        }
    return {"sizes": found, "rounds": rounds, "tasks": TASKS}


def _untold(store: SqlStore, url: str) -> str:
    """Forget what was told of an earlier size's promises."""
    with writing(store._engine) as bulk:
        for table_name in ("evaluation_change", "policy"):
            bulk.execute(f"DELETE FROM {table_name} WHERE policy_id <> ?", [("",)])
    return url


def text(result: dict[str, Any]) -> str:
    """Return the result for people."""
    rows = []
    for name, one in result["sizes"].items():
        for tick in TICKS:
            took = one[tick]["s"]
            rows.append(
                [
                    f"{name}, {tick}",
                    f"{took['median']:.3f} / {took['min']:.3f}",
                    f"{one[tick]['peak_mb']:,}",
                    f"{one[tick]['evaluated']:,}",
                    f"{one[tick]['changes']:,}",
                ]
            )
    header = ["promises over task runs, tick", "s, median / least", "peak MB", "judged", "written"]
    return (
        f"Promises: one tick of the evaluator in a process of its own, {result['rounds']} rounds\n"
        f"{table(header, rows)}"
    )
