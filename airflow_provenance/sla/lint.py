"""What only a store can say of promises: that what they are about does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.sla.dataset_names import dataset_name
from airflow_provenance.sla.objectives import EndToEndLatency
from airflow_provenance.sla.refusals import meant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.sla.files import Declared
    from airflow_provenance.sla.policy import Target
    from airflow_provenance.store.base import ProvenanceReader


def unknown_targets(store: ProvenanceReader, declared: Iterable[Declared]) -> list[tuple[str, str]]:
    """Return (where, reason) of each promise about something that nothing was recorded of."""
    jobs = {name for _, name in store.job_names()}
    found = []
    for one in declared:
        if one.is_of_dag:
            continue  # of what is in the DAG's own file: it exists, though it may not have run yet
        target, objective = one.policy.target, one.policy.objective
        if reason := _unknown(store, jobs, target):
            found.append((one.where, reason))
        if isinstance(objective, EndToEndLatency) and not store.datasets_named(
            dataset_name(objective.source)
        ):
            found.append((one.where, f"no dataset {objective.source!r} is known"))
    return found


def _unknown(store: ProvenanceReader, jobs: set[str], target: Target) -> str | None:
    if target.dataset is not None:
        count = len(store.datasets_named(dataset_name(target.dataset)))
        if count > 1:
            return f"{count} datasets are named {target.dataset!r}: write NAMESPACE/NAME"
        if count:
            return None
        near = _near(target.dataset, ["/".join(ref) for ref in store.dataset_names()])
        return f"no dataset {target.dataset!r} is known{near}"
    if target.job is not None:
        known = target.job in jobs or target.job.rpartition("/")[2] in jobs
        return None if known else f"no job {target.job!r} is known"
    if target.task is not None and f"{target.dag}.{target.task}" not in jobs:
        begin = f"{target.dag}."
        tasks = [name.removeprefix(begin) for name in jobs if name.startswith(begin)]
        near = _near(target.task, tasks)
        return f"no task {target.task!r} of DAG {target.dag!r} is known{near}"
    has_dag = target.dag in jobs or any(name.startswith(f"{target.dag}.") for name in jobs)
    near = _near(target.dag, {name.partition(".")[0] for name in jobs})
    return None if has_dag else f"no DAG {target.dag!r} is known{near}"


def _near(name: str | None, known: Iterable[str]) -> str:
    found = meant(name, sorted(known)).strip()
    return f": {found}" if found else ""
