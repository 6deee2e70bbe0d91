"""Promises that are not broken yet, and how likely it is that they will be.

`prediction` says when something is likely to be done; this says of what to ask that, and adds the
answer to the evaluation. A run of the period that failed can keep nothing: then a breach is certain
unless somebody acts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provenance.sla.deadlines import due_windows
from airflow_provenance.sla.evaluation import Evaluation, Prediction, State
from airflow_provenance.sla.objectives import Deadline, Duration
from airflow_provenance.sla.prediction import LEAST_RUNS, Goal, predict

if TYPE_CHECKING:
    from airflow_provenance.sla.facts import AsOf, RunFact
    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.sla.prediction import Known

_DAY_US = 86_400_000_000


def with_predictions(
    policy: Policy, seen: AsOf, known: Known, found: list[Evaluation]
) -> list[Evaluation]:
    """Return evaluations, those that are pending with what is likely to come of them."""
    return [
        _predicted(policy, seen, known, one) if one.state is State.PENDING else one for one in found
    ]


def _predicted(policy: Policy, seen: AsOf, known: Known, one: Evaluation) -> Evaluation:
    runs = _runs_of(policy, seen, one)
    goal: Goal | None = None
    if runs and all(run.failed for run in runs):
        said = Prediction(probability=1.0, deciding=runs[-1].job)
    else:
        if isinstance(policy.objective, Duration):
            goal = _finished_in_time(policy, policy.objective, one, runs)
        elif isinstance(policy.objective, Deadline):
            goal = _finished_by(policy, policy.objective, seen, known, one, runs)
        if goal is None:
            return one
        said = predict(known, goal, f"{policy.id}/{one.period}")
    if said.probability is None:
        told = f"too little history to predict: {said.history} of {LEAST_RUNS} runs"
        reason = ", ".join(text for text in (one.reason, told) if text)
        return msgspec.structs.replace(one, prediction=said, reason=reason)
    state = State.AT_RISK if said.probability >= (policy.at_risk or 1.0) else one.state
    return msgspec.structs.replace(one, prediction=said, state=state)


def _runs_of(policy: Policy, seen: AsOf, one: Evaluation) -> list[RunFact]:
    if policy.target.dataset is not None or one.due_us is None:
        return []
    runs = seen.runs(policy.target, one.due_us - 8 * _DAY_US)
    return [run for run in runs if run.id in one.runs]


def _finished_in_time(
    policy: Policy, promised: Duration, one: Evaluation, runs: list[RunFact]
) -> Goal | None:
    """A run that has begun; of a mapped task's instance nothing is said, it may end long before."""
    if not runs or policy.target.job is not None or runs[-1].map_index >= 0 or one.due_us is None:
        return None
    run = runs[-1]
    return Goal(
        dag=policy.target.dag or "",
        task=policy.target.task,
        run_ids=(run.run_id,),
        due_us=one.due_us,
        after_us=run.started_us or one.due_us,
        one_try=promised.over == "try" and policy.target.task is not None,
    )


def _finished_by(
    policy: Policy,
    promised: Deadline,
    seen: AsOf,
    known: Known,
    one: Evaluation,
    runs: list[RunFact],
) -> Goal | None:
    if policy.target.job is not None or one.due_us is None:
        return None
    windows = due_windows(policy, promised, known.now_us, known.now_us)
    after_us = next((before for before, due in windows if due == one.due_us), None)
    if after_us is None:
        return None
    dag, task = policy.target.dag, policy.target.task
    if policy.target.dataset is not None:
        written = seen.writes(policy.target.dataset)
        if not written or written[-1].run.dag is None:
            return None
        dag, task = written[-1].run.dag, written[-1].run.task_name
        going = [
            lived.run_id
            for lived in known.lived(dag)
            if lived.ended_us is None and (lived.due_us or lived.started_us) > after_us
        ]
    else:
        # A task's run may be there only once the tasks before it have ended. Of a DAG's own runs
        # those that go on and are not of this period are late for another.
        counted = {run.run_id for run in runs if not run.failed}
        going = [
            lived.run_id
            for lived in known.lived(dag or "")
            if lived.run_id in counted
            or (
                (task is not None or lived.run is None)
                and lived.ended_us is None
                and after_us < (lived.due_us or lived.started_us)
            )
        ]
    return Goal(
        dag=dag or "", task=task, run_ids=tuple(going), due_us=one.due_us, after_us=after_us
    )
