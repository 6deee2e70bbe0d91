"""From a task to the spool: what runs in the task's process, and so must be quick and harmless.

::

    capture.listener ──> notes ──┐
                                 v
    official provider ──> transport: enrich, redact, left_out ──> spool: one line, one write

Nothing here waits for a backend, opens a database or raises into the task: a failure is one line
in the log (`failure`). May import ``settings``, ``formats`` and ``domain``; Airflow's secrets
masker is used where Airflow has loaded it.
"""

from __future__ import annotations
