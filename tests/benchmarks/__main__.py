"""Run the benchmarks: ``python -m tests.benchmarks [--quick | --full] [--only NAME]``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks import hashing, ingest, over_http, overhead, overview, promises, trace
from tests.benchmarks.rounds import machine, postgres_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

# What published figures are measured with; it takes most of an hour.
FULL = {
    "ingest": {"events": 40_000, "rounds": 5},
    "trace": {"runs": 1_000_000, "nodes": 300, "rounds": 3},
    "hashing": {"megabytes": 1024, "rounds": 3},
    "http": {"seconds": 60, "events": 400, "rounds": 5},
    "overhead": {"tasks": 100, "pairs": 200},
    "promises": {
        "sizes": ((1_000, 100_000), (10_000, 100_000), (1_000, 1_000_000), (10_000, 1_000_000)),
        "rounds": 3,
    },
}
# Below ten minutes on two cores that nobody else uses.
USUAL = {
    "ingest": {"events": 20_000, "rounds": 3},
    "trace": {"runs": 100_000, "nodes": 100, "rounds": 3},
    "hashing": {"megabytes": 128, "rounds": 3},
    "http": {"seconds": 15, "events": 100, "rounds": 3},
    "overhead": {"tasks": 30, "pairs": 60},
    "promises": {"sizes": ((1_000, 100_000), (10_000, 100_000)), "rounds": 1},
}
QUICK = {
    "ingest": {"events": 4_000, "rounds": 1},
    "trace": {"runs": 5_000, "nodes": 30, "rounds": 1},
    "hashing": {"megabytes": 4, "rounds": 1},
    "http": {"seconds": 1, "events": 16, "rounds": 1},
    "overhead": {"tasks": 1, "pairs": 2, "modes": ("thread",)},  # each starts Airflow anew
    "promises": {"sizes": ((50, 500),), "rounds": 1},
}

_BENCHMARKS = {
    "ingest": ingest,
    "trace": trace,
    "hashing": hashing,
    "http": over_http,
    "overhead": overhead,
    "promises": promises,
}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(names: Sequence[str], sizes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what was measured, telling it on the way."""
    result: dict[str, Any] = {"machine": machine()}
    with postgres_server() as server:
        if server is None:
            _say("There is no PostgreSQL server: SQLite alone.")
        else:
            result["machine"]["postgres"] = server_settings(server)
        _say("\n".join(f"{name}: {value}" for name, value in result["machine"].items()))
        for number, name in enumerate(names, 1):
            asked = ", ".join(f"{of} {size}" for of, size in sizes[name].items())
            _say(f"\n[{number}/{len(names)}] {name}: {asked} ...")
            module, began, before = _BENCHMARKS[name], time.monotonic(), os.getloadavg()[0]
            found = module.run(server, **sizes[name])
            load = [round(one, 2) for one in (before, os.getloadavg()[0])]
            result[name] = {**found, "load": load, "took_s": round(time.monotonic() - began, 1)}
            _say(f"{module.text(result[name])}\ntook {result[name]['took_s']} s, load {load}")
    result["machine"]["load_average_after"] = [round(one, 2) for one in os.getloadavg()]
    result["overview"] = overview.rows(result)
    _say(f"\n{overview.text(result['overview'])}")
    return result


def main(arguments: Sequence[str]) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Run the benchmarks."
    )
    parser.add_argument("--only", choices=list(FULL), help="one benchmark instead of all")
    parser.add_argument("--seconds", type=float, help="how long http posts")
    sized = parser.add_mutually_exclusive_group()
    sized.add_argument("--quick", action="store_true", help="small, to see that it runs")
    sized.add_argument("--full", action="store_true", help="as large as published figures need")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    options = parser.parse_args(arguments)
    sizes: dict[str, dict[str, Any]] = {
        **(QUICK if options.quick else FULL if options.full else USUAL)
    }
    if options.seconds is not None:
        sizes["http"] = {**sizes["http"], "seconds": options.seconds}
    result = run([options.only] if options.only else list(FULL), sizes)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
