"""Which period of a deadline a run belongs to.

1. A run that a schedule or a person asked for belongs where it was due: by `RunFact.due_us`.
2. A run that assets began was due when they were, not when they came: it belongs where the newest
   of the runs was due whose asset events it consumed, through as many DAGs as there are.
3. Where nobody knows those, it belongs to the period in which it began; but to the one before where
   that had no success by then, and ended no longer ago than half its length (`_LATE_PART`): it is
   late for that one rather than early for the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.sla.policy import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.domain.run import ConsumedSource
    from airflow_provenance.sla.facts import Provenance, RunFact

    Window = tuple[int, int]  # (last deadline, deadline)

ASSETS = "asset_triggered"
_LATE_PART = 0.5
_DEEPEST = 20
# Whoever fed a run began at most so long before the first period that is looked at.
_BEFORE_US = 8 * 86_400_000_000


def in_periods(
    provenance: Provenance, runs: Iterable[RunFact], windows: Sequence[Window]
) -> list[list[RunFact]]:
    """Return the runs of each window; all tries in one DAG run go together."""
    groups: dict[str, list[RunFact]] = {}
    for run in runs:
        groups.setdefault(run.run_id or str(run.id), []).append(run)
    found: list[list[RunFact]] = [[] for _ in windows]
    since_us = windows[0][0] - _BEFORE_US if windows else 0
    for tries in sorted(groups.values(), key=lambda some: min(run.known_us for run in some)):
        first = min(tries, key=lambda run: run.known_us)
        due_us = min((run.due_us or 0 for run in tries), default=0)
        place = _place(windows, due_us)
        if first.run_type == ASSETS:
            nominal_us = _nominal_us(provenance, tries, since_us, _DEEPEST)
            if nominal_us is not None:
                place = _place(windows, nominal_us)
            elif place is None or place > 0:
                place = _late_for(windows, place, due_us, first, found)
        if place is not None:
            found[place] += tries
    return found


def _place(windows: Sequence[Window], us: int) -> int | None:
    return next((n for n, (before, due) in enumerate(windows) if before < us <= due), None)


def _late_for(
    windows: Sequence[Window],
    place: int | None,
    due_us: int,
    first: RunFact,
    found: Sequence[Sequence[RunFact]],
) -> int | None:
    """Return the period before, where a run is late for that (rule 3)."""
    earlier = len(windows) - 1 if place is None else place - 1
    if earlier < 0:
        return place
    before_us, ended_us = windows[earlier]
    if not 0 < due_us - ended_us <= (ended_us - before_us) * _LATE_PART:
        return place
    kept = any(
        run.succeeded and run.ended_us is not None and run.ended_us <= first.known_us
        for run in found[earlier]
    )
    return place if kept else earlier


def _nominal_us(
    provenance: Provenance, tries: Sequence[RunFact], since_us: int, depth: int
) -> int | None:
    """Return when the newest of the runs was due that a run was begun by."""
    sources = _sources(provenance, tries, since_us)
    dues = []
    for dag, run_id, *_ in sources if depth else ():
        above = [run for run in provenance.runs(Target(dag=dag), since_us) if run.run_id == run_id]
        if not above:
            continue
        if above[0].run_type == ASSETS:
            dues.append(_nominal_us(provenance, above, since_us, depth - 1))
        else:
            dues.append(above[0].due_us)
    return max((us for us in dues if us is not None), default=None)


def _sources(
    provenance: Provenance, tries: Sequence[RunFact], since_us: int
) -> set[ConsumedSource]:
    """Return who emitted the asset events that a run consumed; its tasks tell that."""
    told = {source for run in tries for source in run.consumed}
    first = tries[0]
    if told or first.dag is None or first.job != first.dag:
        return told
    every = provenance.task_runs(first.dag, since_us)
    return {source for run in every if run.run_id == first.run_id for source in run.consumed}
