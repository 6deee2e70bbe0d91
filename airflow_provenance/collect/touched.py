"""Which promises may stand otherwise by what was recorded since: those about the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.sla.objectives import EndToEndLatency
from airflow_provenance.store.base import is_of_promise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.store.base import ProvenanceReader

_PAGE, _PAGES = 1000, 5
# Of so many runs it is asked which datasets they touched; of more, all promises are looked at.
_RUNS_AT_MOST = 500


def touched(store: ProvenanceReader, policies: Sequence[Policy], after_seq: int) -> set[str]:
    """Return the ids of the promises about what was recorded since an entry."""
    runs: set[int] = set()
    is_all = False
    for _ in range(_PAGES):
        entries = store.entries(after_seq=after_seq, limit=_PAGE)
        runs |= {one.run_id for one in entries if one.run_id is not None}
        is_all = is_all or any(one.run_id is None for one in entries)
        if len(entries) < _PAGE:
            break
        after_seq = entries[-1].seq
    else:
        is_all = True
    if is_all:
        return {one.id for one in policies}
    runs |= set(store.absorbers(runs).values())
    views = store.runs_by_id(runs).values()
    dags = {view.dag_id for view in views}
    jobs = {name for view in views for name in (view.job[1], "/".join(view.job))}
    of_data = {view.id for view in views if not is_of_promise(view)}
    datasets = _datasets(store, policies, of_data)
    return {one.id for one in policies if _is_of(one, dags, jobs, datasets)}


def _datasets(
    store: ProvenanceReader, policies: Sequence[Policy], runs: set[int]
) -> set[str] | None:
    """Return the datasets of some runs by their names; None: better look at all."""
    if not any(one.target.dataset for one in policies):
        return set()
    if len(runs) > _RUNS_AT_MOST:
        return None
    refs = {one.dataset for run in runs for one in store.versions_of_run(run)}
    refs |= {one.dataset for run in runs for one in store.reads_of_run(run)}
    return {name for ref in refs for name in (ref[1], "/".join(ref))}


def _is_of(
    policy: Policy, dags: set[str | None], jobs: set[str], datasets: set[str] | None
) -> bool:
    target = policy.target
    if target.dag is not None:
        return target.dag in dags
    if target.job is not None:
        return target.job in jobs
    if datasets is None or isinstance(policy.objective, EndToEndLatency):
        return True
    name = target.dataset or ""
    name = f"file/{name.removeprefix('file://')}" if name.startswith("file:///") else name
    return name in datasets
