"""How long a lineage question takes in a store of a million runs."""

from __future__ import annotations

import contextlib
import random
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from airflow_provenance.store.sql.engine import writing
from tests.benchmarks.graph import COLUMNS, Graph
from tests.benchmarks.rounds import Timer, empty_store, quantile, rivals, summary, table

if TYPE_CHECKING:
    from airflow_provenance.store.base import Direction
    from airflow_provenance.store.sql.store import SqlStore

# Name -> (direction, depth)
QUESTIONS: dict[str, tuple[Direction, int | None]] = {
    "upstream, depth 10": ("upstream", 10),
    "downstream, depth 10": ("downstream", 10),
    "upstream, all": ("upstream", None),
}


def _fill(store: SqlStore, runs: int) -> tuple[dict[str, int], float]:
    """Insert the graph; return rows by table, and the seconds it took."""
    counts: dict[str, int] = defaultdict(int)
    with Timer() as timer:
        for part in Graph(runs).parts():
            with writing(store._engine) as bulk:
                for name, rows in part.items():
                    bulk.insert(name, COLUMNS[name], rows)
                    counts[name] += len(rows)
    # What a server with autovacuum does by itself, and ours for tests does not.
    with store._engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("VACUUM (ANALYZE)")
    return dict(counts), timer.spent.wall


def _measure(
    stores: dict[str, SqlStore], versions: range, nodes: int, rounds: int
) -> dict[str, Any]:
    """Ask both stores about the same nodes in turn; they must give the same edges."""
    found: dict[str, Any] = {}
    for question, (direction, depth) in QUESTIONS.items():
        chosen = random.Random(question).sample(versions, min(nodes, len(versions)))
        spent: dict[str, list[list[float]]] = {name: [[] for _ in range(rounds)] for name in stores}
        sizes = []
        for number in range(rounds):
            for node in chosen:
                answers = {}
                for name, store in stores.items():
                    start = time.perf_counter()
                    edges = store.trace([node], direction, depth)
                    spent[name][number].append((time.perf_counter() - start) * 1000)
                    answers[name] = {(edge.dst, edge.src, edge.via, edge.rule) for edge in edges}
                    if len(answers[name]) != len(edges):
                        raise AssertionError(f"{name} repeats edges of {node}")
                first = next(iter(answers.values()))
                if any(answer != first for answer in answers.values()):
                    raise AssertionError(f"stores differ on {question} of {node}")
                sizes.append(len(first))
        found[question] = {
            "edges": {"median": quantile(sizes, 0.5), "max": max(sizes), "sum": sum(sizes)},
            "stores": {
                name: {
                    "p50_ms": summary([quantile(one, 0.5) for one in each]),
                    "p99_ms": summary([quantile(one, 0.99) for one in each]),
                }
                for name, each in spent.items()
            },
        }
    return found


def run(server: str | None, *, runs: int, nodes: int, rounds: int) -> dict[str, Any]:
    """Fill both stores with the same graph and ask them the same questions."""
    with contextlib.ExitStack() as stack:
        stores = {name: stack.enter_context(empty_store(name, server)) for name in rivals(server)}
        filled = {name: _fill(store, runs) for name, store in stores.items()}
        counts, _ = filled["sqlite"]
        versions = Graph(runs).versions
        if any(rows != counts for rows, _ in filled.values()):
            raise AssertionError("stores were filled differently")
        return {
            "rows": counts,
            "nodes": min(nodes, len(versions)),
            "rounds": rounds,
            "fill_s": {name: round(seconds, 1) for name, (_, seconds) in filled.items()},
            "questions": _measure(stores, versions, nodes, rounds),
        }


def text(result: dict[str, Any]) -> str:
    """Return the result for people."""
    rows = []
    for question, figures in result["questions"].items():
        for name, each in figures["stores"].items():
            times = [
                f"{each[key]['median']:.2f} / {each[key]['min']:.2f}"
                for key in ("p50_ms", "p99_ms")
            ]
            edges = figures["edges"]
            rows.append([f"{question}, {name}", *times, f"{edges['median']:,} / {edges['max']:,}"])
    header = ["ms, median / least of the rounds", "p50", "p99", "edges: median / max"]
    return (
        f"Trace: {result['rows']['run']:,} runs, {result['nodes']} nodes, "
        f"{result['rounds']} rounds; a warm cache but for the first round\n"
        f"{table(header, rows)}\n"
        f"rows: {', '.join(f'{name} {n:,}' for name, n in result['rows'].items())}; "
        f"filled in {result['fill_s']} s"
    )
