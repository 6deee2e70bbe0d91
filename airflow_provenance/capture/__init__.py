"""In Airflow's processes: seeing what happens, and noting it.

`listener` implements Airflow's listener hooks. In a task it leaves notes (`emit.notes`) for the
transport; in the scheduler and the API server it writes note lines to the spool (`note_lines`). It
observes, and never sends: the official OpenLineage provider stays the only producer of task events.

`assets` says which datasets a task declared or touched (`hook_lineage`), named by `asset_names`;
`files` looks at their content and `inspectors` say what it means. `observe` is what a task's author
calls to say more. `sql_jobs` says which tables a task's SQL read and wrote, and `tables` what is in
them. `links` says what a try follows, and `manifest` with which code, environment and
parameters it runs, with the help of `git` and `installed`.
"""

from __future__ import annotations
