"""Clients that post events to a server, one a request, over connections that they keep."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from tests.benchmarks.rounds import quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Target(NamedTuple):
    """Where to post to."""

    url: str
    headers: Mapping[str, str]
    path: str = "/api/v1/lineage"


class Posted(NamedTuple):
    """What came of it: how long it took, and each request; what was not taken, by its status."""

    seconds: float
    latencies: list[float]
    refused: list[int]

    def figures(self) -> dict[str, Any]:
        """Return rate and latencies, in ms."""
        ms = {name: quantile(self.latencies, q) * 1e3 for name, q in _QUANTILES.items()}
        return {
            "events": len(self.latencies),
            "refused": len(self.refused),
            "seconds": round(self.seconds, 3),
            "events_per_s": round(len(self.latencies) / self.seconds, 1),
            **{f"{name}_ms": round(value, 2) for name, value in ms.items()},
        }


_QUANTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def post_all(target: Target, events: Iterable[bytes], clients: int, seconds: float) -> Posted:
    """Post until there are no more events, or the time is over; each event once."""
    shared = _Shared(iter(events))
    latencies: list[list[float]] = [[] for _ in range(clients)]
    refused: list[int] = []
    gate = threading.Barrier(clients + 1)
    deadline = [float("inf")]

    def client(mine: list[float]) -> None:
        parts = urlsplit(target.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        connection.connect()
        headers = {"Content-Type": "application/json", **target.headers}
        gate.wait()
        while time.perf_counter() < deadline[0] and (event := shared.next()) is not None:
            began = time.perf_counter()
            connection.request("POST", target.path, event, headers)
            answer = connection.getresponse()
            answer.read()
            mine.append(time.perf_counter() - began)
            if answer.status >= 300:
                refused.append(answer.status)
        connection.close()

    threads = [threading.Thread(target=client, args=(one,), daemon=True) for one in latencies]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    deadline[0] = began + seconds
    gate.wait()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    return Posted(took, list(itertools.chain.from_iterable(latencies)), refused)


class _Shared:
    """Gives each event to one client."""

    def __init__(self, events: Iterator[bytes]) -> None:
        self._events, self._lock = events, threading.Lock()

    def next(self) -> bytes | None:
        with self._lock:
            return next(self._events, None)
