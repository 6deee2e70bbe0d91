"""Run the benchmarks: ``python -m tests.benchmarks [--quick] [--only NAME] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks import hashing, ingest, over_http, overhead, overview, trace
from tests.benchmarks.rounds import machine, postgres_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

FULL = {
    "ingest": {"events": 40_000, "rounds": 5},
    "trace": {"runs": 1_000_000, "nodes": 300, "rounds": 3},
    "hashing": {"megabytes": 1024, "rounds": 3},
    "http": {"seconds": 60, "events": 400, "rounds": 5},
    "overhead": {"tasks": 100, "pairs": 200},
}
QUICK = {
    "ingest": {"events": 4_000, "rounds": 1},
    "trace": {"runs": 5_000, "nodes": 30, "rounds": 1},
    "hashing": {"megabytes": 4, "rounds": 1},
    "http": {"seconds": 1, "events": 16, "rounds": 1},
    "overhead": {"tasks": 3, "pairs": 2},
}

_BENCHMARKS = {
    "ingest": ingest,
    "trace": trace,
    "hashing": hashing,
    "http": over_http,
    "overhead": overhead,
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
            asked = ", ".join(f"{count:,} {of}" for of, count in sizes[name].items())
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
    parser.add_argument("--seconds", type=float, help="how long http posts, instead of a minute")
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    options = parser.parse_args(arguments)
    sizes: dict[str, dict[str, Any]] = {**(QUICK if options.quick else FULL)}
    if options.seconds is not None:
        sizes["http"] = {**sizes["http"], "seconds": options.seconds}
    result = run([options.only] if options.only else list(FULL), sizes)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
