"""An Airflow plugin that times our hooks and our transport in the processes where they run.

Copied to the plugins folder by `overhead`. Each call adds a line to the file that a variable names:
what was called, and seconds. The manifest and looking into data are lines of their own, and part of
their hooks'; a terminal event is synced to the disk, others are not.
"""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, Any

from airflow_provenance.capture import listener, task_notes
from airflow_provenance.emit.transport import ProvenanceTransport

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES = "PROVENANCE_BENCHMARK_TIMES"
INSPECTION = "_note_contents"
MANIFEST = "manifest_of"
SETTLE = "settle"  # after the official listener's running hook, and at the end
HOOKS = ("on_task_instance_running", "on_task_instance_success")


def _name_of_emit(_: Any, event: Any) -> str:
    type_ = getattr(event, "eventType", None)
    return f"emit {getattr(type_, 'value', type_)}"


def _timed(
    name: str, function: Callable[..., Any], full_name: Callable[..., str] | None = None
) -> Callable[..., Any]:
    # `wraps` keeps what pluggy has put on a hook.
    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds = time.perf_counter() - began
            file = os.open(os.environ[TIMES], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            called = full_name(*args) if full_name is not None else name
            os.write(file, f"{called} {seconds:.9f}\n".encode())
            os.close(file)

    return timed


# Before Airflow registers the listener: it imports every plugin first, and in some processes twice.
if TIMES in os.environ and not hasattr(listener, "is_timed"):
    listener.is_timed = True  # type: ignore[attr-defined]
    for _module, _names in ((listener, HOOKS), (task_notes, (MANIFEST, SETTLE, INSPECTION))):
        for _name in _names:
            setattr(_module, _name, _timed(_name, getattr(_module, _name)))
    ProvenanceTransport.emit = _timed(  # type: ignore[method-assign]
        "emit", ProvenanceTransport.emit, _name_of_emit
    )
