"""All benchmarks in one table: the figure of each, what it is set against, the load, the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tests.benchmarks.rounds import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Row(NamedTuple):
    """One line. The ratio says of what; it is empty where nothing is compared."""

    name: str
    figure: str
    ratio: str
    counts: str


def rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of all benchmarks in a result, with the load before and after each."""
    return [
        {**row._asdict(), "load": result[benchmark]["load"], "took_s": result[benchmark]["took_s"]}
        for benchmark, those in _ROWS.items()
        if benchmark in result
        for row in those(result[benchmark])
    ]


def text(lines: list[dict[str, Any]]) -> str:
    """Return the lines as a table."""
    names = ("name", "figure", "ratio", "load", "counts")
    shown = [
        [
            " -> ".join(f"{one:.2f}" for one in line["load"]) if name == "load" else line[name]
            for name in names
        ]
        for line in lines
    ]
    return f"Overview\n{table(names, shown)}"


def _ingest(result: dict[str, Any]) -> Iterator[Row]:
    counts = f"{result['events']:,} events, {result['rounds']} rounds"
    for store, one in result["stores"].items():
        rate, floor = one["events_per_s"]["median"], one["share_of_floor"]["median"]
        yield Row(f"ingest, {store}", f"{rate:,.0f} events/s", f"{floor:.0%} of the floor", counts)


def _trace(result: dict[str, Any]) -> Iterator[Row]:
    counts = f"{result['rows']['run']:,} runs, {result['nodes']} nodes, {result['rounds']} rounds"
    for question, asked in result["questions"].items():
        least = min(one["p50_ms"]["median"] for one in asked["stores"].values())
        for store, one in asked["stores"].items():
            p50, p99 = one["p50_ms"]["median"], one["p99_ms"]["median"]
            ratio = f"{p50 / least:.1f} of the fastest" if least else ""
            figure = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
            yield Row(f"trace {question}, {store}", figure, ratio, counts)


def _hashing(result: dict[str, Any]) -> Iterator[Row]:
    for name, one in result["files"].items():
        figure = f"{result['megabytes'] / one['ours_seconds']:,.0f} MB/s"
        ratio = f"{one['share']:.0%} of sha256sum" if "share" in one else ""
        yield Row(f"hashing, {name}", figure, ratio, f"{result['megabytes']:,} MB")


def _http(result: dict[str, Any]) -> Iterator[Row]:
    for store, one in result["minute"].items():
        figure = f"{one['events_per_s']:,.0f} events/s, p99 {one['p99_ms']:.1f} ms"
        counts = f"{one['events']:,} events, {result['clients']} clients, {result['seconds']:g} s"
        yield Row(f"http, {store}", figure, "", counts)
    clients = str(result["clients"])
    beside = result["side_by_side"]
    first = next(iter(beside.values()))[clients]["median"]
    counts = f"{result['events']:,} events, {result['clients']} clients, {result['rounds']} rounds"
    for name, one in beside.items():
        rate = one[clients]["median"]
        yield Row(f"beside, {name}", f"{rate:,.0f} events/s", f"{rate / first:.2f} of ours", counts)


def _overhead(result: dict[str, Any]) -> Iterator[Row]:
    for name, one in result.get("hooks", {}).items():
        figure = f"p50 {one['p50'] * 1e3:.2f} ms, p99 {one['p99'] * 1e3:.2f} ms"
        yield Row(f"hook {name}", figure, "", f"{one['count']} times")
    for mode, one in result["pairs"].items():
        low, high = (1e3 * each for each in one["interval"])
        figure = f"{1e3 * one['difference']:+.2f} ms ({low:.2f} to {high:.2f})"
        ratio = f"{one['with'] / one['without']:.2f} of a task without"
        yield Row(f"task, {mode}", figure, ratio, f"{one['count']} pairs")


def _promises(result: dict[str, Any]) -> Iterator[Row]:
    for name, one in result["sizes"].items():
        for tick in ("restart", "idle"):
            figure = f"{one[tick]['s']['median']:.3f} s, {one[tick]['peak_mb']:,} MB"
            counts = f"{one[tick]['evaluated']:,} judged, {result['rounds']} rounds"
            yield Row(f"tick {tick}, {name}", figure, "", counts)


_ROWS: dict[str, Callable[[dict[str, Any]], Iterator[Row]]] = {
    "ingest": _ingest,
    "trace": _trace,
    "hashing": _hashing,
    "http": _http,
    "overhead": _overhead,
    "promises": _promises,
}
