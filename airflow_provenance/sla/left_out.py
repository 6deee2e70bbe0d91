"""Runs that a promise does not count by its ``runs``: told where nothing else can be judged."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provenance.sla.facts import Provenance
    from airflow_provenance.sla.policy import Policy

_HOW = {"manual": "by hand", "backfill": "of a backfill"}


def left_out(policy: Policy, provenance: Provenance, since_us: int) -> str:
    """Return how many runs since a time are of types that do not count; empty where none is."""
    if policy.target.dataset is not None:
        runs = [one.run for one in provenance.writes(policy.target.dataset, since_us)]
    else:
        runs = list(provenance.runs(policy.target, since_us))
    types = {(run.dag_name, run.run_id or str(run.id)): run.run_type for run in runs}
    counts = Counter(one for one in types.values() if one and one not in policy.runs)
    if not counts:
        return ""
    told = ", ".join(
        f"{count} {'run' if count == 1 else 'runs'} {_HOW.get(kind, f'of type {kind}')}"
        for kind, count in sorted(counts.items())
    )
    is_one = sum(counts.values()) == 1
    named = ", ".join(policy.runs)
    return f"{told} {'is' if is_one else 'are'} not counted: `runs:` names {named} only"
