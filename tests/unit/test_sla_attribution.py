"""What made it late, on simulated days with a known cause (A9)."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from airflow_provenance.domain.run import RunState
from airflow_provenance.sla.attribution import Asked, Attribution, attribute
from airflow_provenance.sla.facts import AsOf
from airflow_provenance.sla.policy import Target
from airflow_provenance.sla.prediction import Known
from tests.support.sla_simulator import (
    DAY,
    FIRST_DAY,
    PIPELINE,
    SECOND,
    SimDag,
    SimTask,
    Simulated,
    Slow,
    simulate,
)

if TYPE_CHECKING:
    from airflow_provenance.sla.facts import RunFact

LAST = 30
MIDNIGHT = FIRST_DAY + LAST * DAY
DUE = MIDNIGHT + int(3.75 * 3600) * SECOND


def steady(*, fails: float = 0.0) -> tuple[SimDag, ...]:
    """The pipeline, hardly varying: what is planted is all that is unusual."""
    return tuple(
        SimDag(
            dag.name,
            tuple(task._replace(sigma=0.002, fails=fails) for task in dag.tasks),
            dag.at_s,
            dag.begun_by,
        )
        for dag in PIPELINE
        if dag.name != "noise"
    )


def lived(slow: Slow | None = None, **values: object) -> Simulated:
    planted = {} if slow is None else {LAST: slow}
    return simulate(5, LAST + 1, dags=steady(), slow=planted, **values)  # type: ignore[arg-type]


def asked_of(whole: Simulated, now: int, dag: str = "report") -> Attribution:
    seen = AsOf(whole.provenance, now)
    mine = seen.runs(Target(dag=dag), MIDNIGHT)
    today = [run for run in mine if (run.started_us or 0) >= MIDNIGHT]
    run = today[-1] if today else None
    done = run.ended_us if run is not None and run.state.is_done else None
    return attribute(
        seen,
        Known(seen, now),
        Asked(
            dag=dag,
            run_id=None if run is None else run.run_id,
            due_us=DUE,
            after_us=DUE - DAY,
            done_us=done,
        ),
    )


def adds_up(found: Attribution) -> None:
    excess = sum(hop.excess_us for hop in found.hops)
    assert abs(excess - found.spare_us - found.late_us) <= SECOND
    assert found.hops[-1].until_us == found.until_us
    for one, after in pairwise(found.hops):
        assert one.until_us == after.from_us


def test_twenty_minutes_more_in_an_upstream_dag_are_nine_tenths_of_the_lateness() -> None:
    clean = 1200.0
    whole = lived(Slow(LAST, "ingest", "clean", (clean + 1200) / clean))
    found = asked_of(whole, MIDNIGHT + DAY)
    adds_up(found)
    first = found.ranked[0]
    assert (first.job, first.kind) == ("ingest.clean", "run")
    assert first.excess_us == pytest.approx(1200 * SECOND, rel=0.02)
    assert first.excess_us >= 0.9 * found.late_us
    assert found.share(first) >= 0.9
    assert found.from_us == MIDNIGHT + 2 * 3600 * SECOND
    usual_end = median(
        (run.ended_us or 0) % DAY
        for run in whole.provenance.dag_runs
        if run.job == "report" and (run.started_us or 0) < MIDNIGHT
    )
    assert found.spare_us == pytest.approx(DUE % DAY - usual_end, abs=10 * SECOND)
    assert first.runs
    assert first.hostname in {"worker-0", "worker-1", "worker-2"}


def test_a_wait_for_a_slot_is_the_queue_of_the_task_that_waited() -> None:
    whole = lived()
    held = [run for run in whole.provenance.tasks if run.job == "report.score"][-1]
    wait = 1800 * SECOND
    queued = held.queued_us or 0

    def later(run: RunFact) -> RunFact:
        if (run.started_us or 0) < queued:
            return run
        keep = run.queued_us if run.id == held.id else (run.queued_us or 0) + wait
        return msgspec.structs.replace(
            run,
            queued_us=keep,
            started_us=(run.started_us or 0) + wait,
            ended_us=(run.ended_us or 0) + wait,
        )

    whole.provenance.tasks[:] = [later(run) for run in whole.provenance.tasks]
    whole.provenance.dag_runs[:] = [
        msgspec.structs.replace(run, ended_us=(run.ended_us or 0) + wait)
        if (run.ended_us or 0) > queued
        else run
        for run in whole.provenance.dag_runs
    ]
    found = asked_of(whole, MIDNIGHT + DAY)
    adds_up(found)
    first = found.ranked[0]
    assert (first.job, first.kind) == ("report.score", "queue")
    assert first.excess_us == pytest.approx(wait, rel=0.02)


def test_tries_that_failed_are_the_retry_of_their_task() -> None:
    dags = tuple(
        dag._replace(
            tasks=tuple(
                task._replace(fails=1.0) if task.name == "load" else task for task in dag.tasks
            )
        )
        for dag in steady()
    )
    good, bad = lived(), simulate(5, LAST + 1, dags=dags, slow={})
    whole = Simulated(
        msgspec.structs.replace(
            good.provenance,
            dag_runs=[r for r in good.provenance.dag_runs if (r.started_us or 0) < MIDNIGHT]
            + [r for r in bad.provenance.dag_runs if (r.started_us or 0) >= MIDNIGHT],
            tasks=[r for r in good.provenance.tasks if (r.started_us or 0) < MIDNIGHT]
            + [
                msgspec.structs.replace(r, id=r.id + 100_000)
                for r in bad.provenance.tasks
                if (r.started_us or 0) >= MIDNIGHT
            ],
        ),
        [],
    )
    found = asked_of(whole, MIDNIGHT + DAY)
    adds_up(found)
    first = found.ranked[0]
    assert (first.job, first.kind, len(first.runs)) == ("report.load", "retry", 2)


def test_where_the_upstream_dag_never_ran_the_missing_run_is_the_cause() -> None:
    whole = lived()
    for runs in (whole.provenance.dag_runs, whole.provenance.tasks):
        runs[:] = [run for run in runs if (run.started_us or 0) < MIDNIGHT]
    now = DUE + 600 * SECOND
    found = asked_of(whole, now)
    adds_up(found)
    assert [(hop.job, hop.kind) for hop in found.hops] == [("ingest", "missing")]
    assert found.hops[0].from_us == MIDNIGHT + 2 * 3600 * SECOND
    assert found.late_us == 600 * SECOND


def test_where_the_upstream_task_failed_it_is_the_cause() -> None:
    whole = lived()
    tasks = []
    for run in whole.provenance.tasks:
        if (run.started_us or 0) >= MIDNIGHT:
            if run.job.startswith(("ingest.publish", "report")):
                continue
            if run.job == "ingest.clean":
                run = msgspec.structs.replace(run, state=RunState.FAIL)
        tasks.append(run)
    whole.provenance.tasks[:] = tasks
    whole.provenance.dag_runs[:] = [
        run for run in whole.provenance.dag_runs if (run.started_us or 0) < MIDNIGHT
    ]
    found = asked_of(whole, DUE + 60 * SECOND)
    adds_up(found)
    first = found.ranked[0]
    assert (first.job, first.kind) == ("ingest.clean", "failed")


def test_a_task_that_still_runs_is_the_cause_while_it_runs() -> None:
    whole = lived(Slow(LAST, "report", "score", 9.0))
    found = asked_of(whole, DUE + 60 * SECOND)
    adds_up(found)
    assert (found.ranked[0].job, found.ranked[0].kind) == ("report.score", "run")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.lists(st.sets(st.integers(0, 5), max_size=3), min_size=1, max_size=6),
    hour=st.floats(0.1, 20),
    fails=st.sampled_from([0.0, 0.3]),
)
def test_hops_always_add_up(seed: int, shape: list[set[int]], hour: float, fails: float) -> None:
    tasks = tuple(
        SimTask(f"t{k}", 600, tuple(f"t{one}" for one in sorted(above) if one < k), 0.5, fails, "p")
        for k, above in enumerate(shape)
    )
    first = SimDag("ingest", tasks, at_s=3600)
    second = SimDag("report", tasks, begun_by=("ingest", tasks[-1].name))
    whole = simulate(seed, LAST + 1, dags=(first, second), pools={"p": 2}, slow={})
    found = asked_of(whole, MIDNIGHT + int(hour * 3600) * SECOND)
    assert found.hops
    adds_up(found)
    assert all(hop.took_us >= 0 for hop in found.hops)
