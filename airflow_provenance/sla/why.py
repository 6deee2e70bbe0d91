"""Why a promise was broken: from an evaluation to what made it late, and to who is hit by that."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.identity import WireKey
from airflow_provenance.domain.run import RunState
from airflow_provenance.errors import PolicyError
from airflow_provenance.lineage.short import is_named
from airflow_provenance.sla.attribution import Asked, Attribution, Hop, attribute
from airflow_provenance.sla.deadlines import due_windows
from airflow_provenance.sla.durations import format_duration
from airflow_provenance.sla.evaluation import Evaluation, State
from airflow_provenance.sla.facts import AsOf
from airflow_provenance.sla.objectives import Deadline, Duration
from airflow_provenance.sla.periods import in_periods
from airflow_provenance.sla.policy import Target
from airflow_provenance.sla.prediction import Known
from airflow_provenance.sla.words import verdict_text
from airflow_provenance.store.base import RunQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.sla.facts import Provenance, RunFact
    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.store.base import ProvenanceReader

_DAY_US = 86_400_000_000
# How far downstream a cause is followed.
_DEPTH = 40


class Blast(msgspec.Struct, frozen=True, kw_only=True):
    """What is downstream of a cause."""

    datasets: tuple[str, ...] = ()
    dags: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    promises: tuple[str, ...] = ()


def why_late(policy: Policy, provenance: Provenance, one: Evaluation, now_us: int) -> Attribution:
    """Say what made a promise late.

    Args:
        policy: the promise, a deadline or duration.
        provenance: what was recorded.
        one: its evaluation for the period that is asked about.
        now_us: the moment, which counts where it is not done yet.

    Raises:
        PolicyError: the promise is of another kind, or nothing is known of what it is about.
    """
    seen = AsOf(provenance, now_us)
    known = Known(seen, now_us)
    asked = _asked(policy, seen, one)
    if asked.run_id is None and asked.task is not None:
        asked = msgspec.structs.replace(asked, run_id=_run_of_period(seen, asked))
    return attribute(seen, known, asked)


def _run_of_period(seen: AsOf, asked: Asked) -> str | None:
    """Return the DAG run of a period in which a task has not begun yet."""
    runs = seen.runs(Target(dag=asked.dag), asked.after_us - _DAY_US)
    (mine,) = in_periods(seen, runs, [(asked.after_us, asked.due_us)])
    return mine[-1].run_id if mine else None


def _asked(policy: Policy, seen: AsOf, one: Evaluation) -> Asked:
    if not isinstance(policy.objective, Duration | Deadline) or policy.target.job is not None:
        raise PolicyError(f"{policy.id}: why it was late is told of deadlines and durations")
    if one.due_us is None:
        raise PolicyError(f"{policy.id}: nothing was due in {one.period}")
    if policy.target.dataset is not None:
        return _asked_of_dataset(policy.target.dataset, policy, seen, one, one.due_us)
    since_us = one.due_us - 40 * _DAY_US
    all_runs = [run for run in seen.runs(policy.target, since_us) if run.id in one.runs]
    runs = [run for run in all_runs if not run.failed] or all_runs
    if isinstance(policy.objective, Duration):
        first, last = runs[0], runs[-1]
        return Asked(
            dag=policy.target.dag or "",
            task=policy.target.task,
            run_id=last.run_id,
            due_us=one.due_us,
            after_us=one.due_us - _DAY_US,
            from_us=first.started_us if policy.objective.since == "start" else None,
            done_us=last.ended_us if last.state.is_done else None,
        )
    done_us = None if one.observed is None else round(one.observed * 1e6)
    return Asked(
        dag=policy.target.dag or "",
        task=policy.target.task,
        run_id=_of_end(runs, done_us),
        due_us=one.due_us,
        after_us=_after(policy, one.due_us),
        done_us=done_us,
    )


def _of_end(runs: Sequence[RunFact], done_us: int | None) -> str | None:
    """Return the run that ended then; else the newest."""
    same = [run.run_id for run in runs if done_us is not None and run.ended_us == done_us]
    return same[0] if same else runs[-1].run_id if runs else None


def _asked_of_dataset(
    dataset: str, policy: Policy, seen: AsOf, one: Evaluation, due_us: int
) -> Asked:
    writes = list(seen.writes(dataset))
    if not writes:
        raise PolicyError(f"{policy.id}: nobody is known to have written {dataset}")
    mine = [write for write in writes if write.run.id in one.runs]
    run = (mine or writes)[-1].run
    return Asked(
        dag=run.dag_name,
        task=run.task_name,
        run_id=run.run_id if mine else None,
        due_us=due_us,
        after_us=_after(policy, due_us),
        done_us=mine[-1].at_us if mine else None,
    )


def _after(policy: Policy, due_us: int) -> int:
    if not isinstance(policy.objective, Deadline):
        return due_us - _DAY_US
    windows = due_windows(policy, policy.objective, due_us, due_us)
    return next((before for before, due in windows if due == due_us), due_us - _DAY_US)


def blast_radius(store: ProvenanceReader, policies: Iterable[Policy], found: Attribution) -> Blast:
    """Return what is downstream of the first cause, by what its runs fed, now or the last time."""
    if not found.hops:
        return Blast()
    job, ids = found.ranked[0].job, [*found.ranked[0].runs]
    ids += [view.id for view in store.runs(RunQuery(job=job, state=RunState.COMPLETE, limit=3))]
    return _downstream(store, policies, ids)


def blast_of_data(
    store: ProvenanceReader, policies: Iterable[Policy], policy: Policy, one: Evaluation
) -> Blast:
    """Return what is downstream of bad data: of the runs that made it, or of what they checked."""
    ids = list(one.runs)
    if policy.target.dataset is not None:
        # Who checked a dataset made nothing of it: what was checked leads on.
        sources = {edge.src for edge in store.trace(ids, "upstream", 1)}
        versions = store.versions_by_id(sources).values()
        named = policy.target.dataset_name
        ids += [view.id for view in versions if is_named(view.dataset, named)]
    return _downstream(store, policies, ids)


def _downstream(store: ProvenanceReader, policies: Iterable[Policy], ids: list[int]) -> Blast:
    edges = store.trace(ids, "downstream", _DEPTH)
    reached = {edge.dst for edge in edges} | set(ids)
    datasets = {"/".join(one.dataset) for one in store.versions_by_id(reached).values()}
    runs = store.runs_by_id(reached)
    dags = {view.dag_id for view in runs.values() if not isinstance(view.key, WireKey)}
    names = {name for name in dags if name is not None}
    hit = [
        one for one in policies if one.target.dag in names or (one.target.dataset or "") in datasets
    ]
    owners = {one.owner for one in hit if one.owner is not None}
    for doc in store.run_docs(runs).values():
        told = json.loads(doc.job_facets["ownership"][2]) if "ownership" in doc.job_facets else {}
        listed = told.get("owners") if isinstance(told, dict) else None
        owners |= {str(one.get("name")) for one in listed or () if isinstance(one, dict)}
    return Blast(
        datasets=tuple(sorted(datasets)),
        dags=tuple(sorted(names)),
        owners=tuple(sorted(owners)),
        promises=tuple(sorted(one.id for one in hit)),
    )


def why_json(one: Evaluation, found: Attribution, blast: Blast) -> dict[str, Any]:
    """Return an attribution as JSON; the causes first to last."""
    return {
        "policy": one.policy_id,
        "period": one.period,
        "state": one.state.value,
        "due_at": format_time(found.due_us),
        "until": format_time(found.until_us),
        "late_by_seconds": found.late_us / 1e6,
        "spare_seconds": found.spare_us / 1e6,
        "causes": [
            {
                "job": hop.job,
                "kind": hop.kind,
                "run_id": hop.run_id or None,
                "runs": list(hop.runs),
                "from": format_time(hop.from_us),
                "until": format_time(hop.until_us),
                "took_seconds": hop.took_us / 1e6,
                "usual_seconds": hop.usual_us / 1e6,
                "past_runs": hop.past,
                "excess_seconds": hop.excess_us / 1e6,
                "share": round(found.share(hop), 4),
                "hostname": hop.hostname,
                "reads": list(hop.reads),
                "dag_version": hop.dag_version,
                "was_version": hop.was_version,
            }
            for hop in found.ranked
        ],
        "downstream": blast_json(blast),
    }


def blast_json(blast: Blast) -> dict[str, list[str]]:
    """Return what is downstream as JSON."""
    return {
        "datasets": list(blast.datasets),
        "dags": list(blast.dags),
        "owners": list(blast.owners),
        "promises": list(blast.promises),
    }


_SAID = {
    "run": "{job} ran {took}",
    "queue": "{job} waited {took} for a slot",
    "gap": "{took} passed before {job} went on",
    "retry": "{job} lost {took} to tries that failed",
    "begin": "{job} began {took} after it could",
    "failed": "{job} failed, {took} ago",
    "missing": "{job} has not run, due {took} ago",
}


def why_words(one: Evaluation, found: Attribution, blast: Blast) -> list[str]:
    """Return an attribution as lines: the verdict, the lateness, the causes, what is downstream."""
    spare = _text(abs(found.spare_us))
    room = f"{spare} to spare" if found.spare_us >= 0 else f"{spare} too little"
    late = f"late by {_text(found.late_us)}" if found.late_us >= 0 else "not late yet"
    lines = [verdict_text(one), f"  {late}; usually there is {room}"]
    for hop in found.ranked:
        if hop.excess_us <= 0 or found.share(hop) < _LEAST_SHARE:
            continue
        lines.append(f"  {found.share(hop):4.0%}  {hop_words(hop)}")
    return [*lines, *blast_words(blast)]


def blast_words(blast: Blast) -> list[str]:
    """Return what is downstream as lines."""
    told = (
        ("datasets", blast.datasets),
        ("promises", blast.promises),
        ("owners", blast.owners),
    )
    return [f"  downstream {title}: {', '.join(names)}" for title, names in told if names]


_LEAST_SHARE = 0.01


def hop_words(hop: Hop) -> str:
    """Return what took time, and how much is usual, as a person reads it."""
    going = {"run": "{job} still runs, for {took} now"} if hop.is_open else {}
    said = {**_SAID, **going}[hop.kind].format(job=hop.job, took=_text(hop.took_us))
    if hop.past:
        said += f", usually {_text(hop.usual_us)}"
    elif hop.kind not in ("failed", "missing"):
        said += ", and there is no earlier run to compare with"
    more = []
    if hop.run_id:
        more.append(hop.run_id)
    if hop.kind == "run" and hop.hostname:
        more.append(f"on {hop.hostname}")
    if hop.dag_version is not None and hop.was_version is not None:
        more.append(f"version {hop.dag_version} of the DAG, was {hop.was_version}")
    if hop.reads:
        more.append(f"read {', '.join(hop.reads[:3])}")
    return f"{said} ({'; '.join(more)})" if more else said


def _text(us: int) -> str:
    return format_duration(timedelta(seconds=round(us / 1e6)))


def blamed_hop(policy: Policy, provenance: Provenance, change: EvaluationChange) -> Hop:
    """Return what made a promise late more than anything else, of a change that was recorded.

    Raises:
        PolicyError: it is not told of such promises, or nothing is known of it.
    """
    one = Evaluation(
        policy_id=change.policy_id,
        revision=change.revision,
        kind=policy.kind,
        target=change.target,
        period=change.period,
        state=State(change.state),
        observed=change.observed,
        threshold=change.threshold,
        unit=change.unit,
        due_us=change.due_us,
        breached_us=change.breached_us,
        recovered_us=change.recovered_us,
        runs=change.runs,
    )
    late = why_late(policy, provenance, one, change.at_us)
    if not late.hops:
        raise PolicyError(f"{policy.id}: nothing is known of what made it late")
    return late.ranked[0]
