"""What our HTTP endpoint takes: for a minute, and beside others that take OpenLineage events.

The minute: clients post recorded-like events, one a request, to `serve` in a process of its own.

Side by side: rounds in which each server in turn gets the same new events, first from one client,
then from several. A stub keeps in memory what it was sent and so is no rival but a measure: of what
the clients, HTTP and the machine leave to be had. Marquez is there where MARQUEZ_URL says.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provenance.store.sql.store import SqlStore
from tests.benchmarks.corpus import corpus
from tests.benchmarks.posting import Posted, Target, post_all
from tests.benchmarks.rounds import rivals, summary, table
from tests.support import postgres
from tests.support.datahub_stub import OPENLINEAGE_PATH, DataHubStub
from tests.support.marquez_stub import MarquezStub
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

_MANY = 100_000_000
_STUBS = {"marquez stub": MarquezStub, "datahub stub": DataHubStub}


@contextlib.contextmanager
def ours(rival: str, server: str | None) -> Iterator[tuple[Target, str]]:
    """Serve an empty store; give where, and the store's URL."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="provenance-http-")))
        store = f"sqlite:///{folder / 'provenance.db'}"
        if rival == "postgres":
            store = stack.enter_context(postgres.new_database(str(server)))
        served = stack.enter_context(serving(folder, store=store))
        yield Target(served.url, {"Authorization": f"Bearer {served.token}"}), store


@contextlib.contextmanager
def _stub(name: str) -> Iterator[Target]:
    """Run a stub in a process of its own, as a server is."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        path = OPENLINEAGE_PATH if name == "datahub stub" else Target._field_defaults["path"]
        try:
            yield Target(url, {}, path)
        finally:
            process.communicate("\n", timeout=30)


def _stored(url: str) -> int:
    store = SqlStore(url)
    count = store.counts()["entries"]
    store.close()
    return count


def _checked(posted: Posted) -> Posted:
    if posted.refused:
        raise AssertionError(f"{len(posted.refused)} refused, the first with {posted.refused[0]}")
    return posted


def _minute(server: str | None, seconds: float, clients: int) -> dict[str, Any]:
    found = {}
    for rival in rivals(server):
        with ours(rival, server) as (target, store):
            post_all(target, corpus(clients), clients, 60)  # not measured: opens the store
            before = os.getloadavg()[0]
            events = itertools.islice(corpus(_MANY), clients, None)
            posted = _checked(post_all(target, events, clients, seconds))
            if (stored := _stored(store)) != len(posted.latencies) + clients:
                raise AssertionError(f"{stored} events are in the store of {posted}")
            load = [round(one, 2) for one in (before, os.getloadavg()[0])]
        found[rival] = {**posted.figures(), "stored": stored, "load_average": load}
    return found


def _side_by_side(server: str | None, events: int, rounds: int, clients: int) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        opened = {f"ours, {one}": stack.enter_context(ours(one, server)) for one in rivals(server)}
        targets = {name: target for name, (target, _) in opened.items()}
        targets |= {name: stack.enter_context(_stub(name)) for name in _STUBS}
        if url := os.environ.get("MARQUEZ_URL"):
            # Nobody else's events: a real server keeps what earlier runs sent.
            targets["marquez"] = Target(url.rstrip("/"), {})
        rates: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        stream = corpus(_MANY)
        for target in targets.values():
            _checked(post_all(target, corpus(clients), clients, 600))  # opens, compiles, connects
        sent = 0
        for number, count in itertools.product(range(rounds), (1, clients)):
            batch = list(itertools.islice(stream, events))
            sent += len(batch)
            order = list(targets.items())
            for name, target in order if number % 2 == 0 else reversed(order):
                posted = _checked(post_all(target, batch, count, 600))
                if len(posted.latencies) != len(batch):
                    raise AssertionError(f"{name} got {len(posted.latencies)} of {len(batch)}")
                rates[name][count].append(len(batch) / posted.seconds)
        # All rivals give the same answer: what they were sent is there.
        for name, (_, store) in opened.items():
            if (stored := _stored(store)) != sent:
                raise AssertionError(f"{name} has {stored} of {sent}")
    return {
        name: {str(count): summary(values, 1) for count, values in of.items()}
        for name, of in rates.items()
    }


def run(
    server: str | None, *, seconds: float, events: int, rounds: int, clients: int = 8
) -> dict[str, Any]:
    """Measure the minute, then the rounds."""
    began = time.time()
    size = sum(len(raw) for raw in corpus(1000)) / 1000
    return {
        "seconds": seconds,
        "clients": clients,
        "events": events,
        "rounds": rounds,
        "bytes_per_event": round(size),
        "minute": _minute(server, seconds, clients),
        "side_by_side": _side_by_side(server, events, rounds, clients),
        "took_s": round(time.time() - began, 1),
    }


def text(result: dict[str, Any]) -> str:
    """Return the result for people."""
    clients = result["clients"]
    minute = [
        [
            f"serve, {name}",
            f"{one['events']:,}",
            f"{one['events_per_s']:,.0f}",
            *(f"{one[f'{q}_ms']:.1f}" for q in ("p50", "p99", "max")),
            " -> ".join(map(str, one["load_average"])),
        ]
        for name, one in result["minute"].items()
    ]
    beside = result["side_by_side"]
    first = next(iter(beside.values()))
    rows = []
    for name, figures in beside.items():
        row: list[str] = [name]
        for count in ("1", str(clients)):
            one = figures[count]
            row.append(f"{one['median']:,.0f} / {one['min']:,.0f}")
            row.append(f"{one['median'] / first[count]['median']:.2f}")
        rows.append(row)
    header = [f"{clients} clients, {result['seconds']:g} s", "events", "events/s", "p50 ms"]
    beside_header = ["events/s, median / min", "1 client", "ratio", f"{clients} clients", "ratio"]
    return (
        f"HTTP: one event of {result['bytes_per_event']:,} bytes a request, none refused\n"
        f"{table([*header, 'p99 ms', 'max ms', 'load average'], minute)}\n"
        f"Side by side: {result['events']:,} events a round, {result['rounds']} rounds\n"
        f"{table(beside_header, rows)}"
    )


if __name__ == "__main__":
    with _STUBS[sys.argv[1]]() as stub:
        sys.stdout.write(f"{stub.url}\n")
        sys.stdout.flush()
        sys.stdin.readline()
