"""Health, readiness and metrics, over HTTP on loopback."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from airflow_provenance.emit.spool import SUFFIX
from airflow_provenance.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from airflow_provenance.service.loop import Loop

_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_PREFIX = "airflow_provenance"


def serve(port: int, loops: Sequence[Loop], spool_dir: Path) -> ThreadingHTTPServer:
    """Answer on 127.0.0.1 in threads of their own.

    Raises `SettingsError` where the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers: dict[str, Callable[[], tuple[int, str, str]]] = {
                "/health": lambda: (200, "text/plain", "alive\n"),
                "/ready": lambda: _ready(loops),
                "/metrics": lambda: (200, _TYPE, metrics(loops, spool_dir)),
            }
            answer = answers.get(self.path.partition("?")[0])
            status, kind, text = answer() if answer else (404, "text/plain", "not here\n")
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Tell no request: a probe comes every few seconds."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"--health-port {port} cannot be used ({reason}): give another"
        ) from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.2,), name="health", daemon=True).start()
    return server


def _ready(loops: Sequence[Loop]) -> tuple[int, str, str]:
    problems = [f"{loop.role.name}: {loop.problem}" for loop in loops if loop.problem]
    return (
        (503, "text/plain", "\n".join([*problems, ""]))
        if problems
        else (200, "text/plain", "ready\n")
    )


def metrics(loops: Sequence[Loop], spool_dir: Path) -> str:
    """Return what is measured, as OpenMetrics text."""
    lines: list[str] = []

    def family(name: str, kind: str, said: str, values: dict[str, float]) -> None:
        full = f"{_PREFIX}_{name}"
        lines.extend((f"# TYPE {full} {kind}", f"# HELP {full} {said}"))
        suffix = "_total" if kind == "counter" else ""
        lines.extend(f"{full}{suffix}{labels} {value:.17g}" for labels, value in values.items())

    counts: dict[str, float] = {}
    for loop in loops:
        for name, count in list(loop.counts.items()):
            counts[name] = counts.get(name, 0) + count
    for name in ("events_ingested", "events_repeated", "events_quarantined", "events_expired"):
        counts.setdefault(name, 0)
    for name, number in sorted(counts.items()):
        family(name, "counter", name.replace("_", " ").capitalize() + ".", {"": number})
    gauges: dict[str, dict[str, float]] = {}
    for loop in loops:
        for (name, labels), value in sorted(loop.gauges.copy().items()):
            gauges.setdefault(name, {})[labels] = value
    for name, values in sorted(gauges.items()):
        family(name, "gauge", name.replace("_", " ").capitalize() + ".", values)
    size, age = _spool(spool_dir)
    family("spool_bytes", "gauge", "Size of the spool's files.", {"": size})
    family(
        "spool_oldest_file_seconds", "gauge", "Age of the oldest spool file's last line.", {"": age}
    )
    by_role = {f'{{role="{loop.role.name}"}}': loop for loop in loops}
    families: list[tuple[str, str, str, Callable[[Loop], float]]] = [
        ("loop_seconds", "counter", "Time spent working.", lambda loop: loop.busy_seconds),
        ("loop_steps", "counter", "Rounds of work.", lambda loop: float(loop.steps)),
        ("loop_errors", "counter", "Rounds that failed.", lambda loop: loop.errors),
        ("loop_ready", "gauge", "Whether the role does its work.", lambda o: o.problem is None),
        ("loop_leader", "gauge", "Whether it works here.", lambda loop: loop.is_leader),
    ]
    for name, kind, said, read in families:
        family(name, kind, said, {label: float(read(loop)) for label, loop in by_role.items()})
    failed = {label: loop.last_error_at for label, loop in by_role.items()}
    family(
        "last_error_timestamp_seconds",
        "gauge",
        "When a round failed last.",
        {label: at for label, at in failed.items() if at is not None},
    )
    return "\n".join([*lines, "# EOF", ""])


def _spool(spool_dir: Path) -> tuple[float, float]:
    size: float = 0.0
    oldest = time.time()
    for path in spool_dir.glob(f"*{SUFFIX}"):
        try:
            status = path.stat()
        except OSError:
            continue  # drained meanwhile
        size += status.st_size
        oldest = min(oldest, status.st_mtime)
    return size, max(time.time() - oldest, 0.0)
