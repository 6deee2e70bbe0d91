"""The simulator that predictions are scored against does what it says."""

from __future__ import annotations

from statistics import median

from tests.support.sla_simulator import DAY, FIRST_DAY, POOLS, SECOND, simulate


def test_the_same_seed_gives_the_same_days() -> None:
    assert simulate(1, days=5) == simulate(1, days=5)
    assert simulate(1, days=5) != simulate(2, days=5)


def test_tasks_take_their_median_time_and_no_pool_is_overrun() -> None:
    lived = simulate(1)
    took = [
        ((run.ended_us or 0) - (run.started_us or 0)) / SECOND
        for run in lived.provenance.tasks
        if run.job == "ingest.extract" and run.succeeded
    ]
    assert len(took) == 200
    assert 850 < median(took) < 970
    pooled = [
        run
        for run in lived.provenance.tasks
        if run.job in {"report.load", "report.join", "report.features", "noise.a", "noise.b"}
    ]
    steps = sorted(
        [((run.started_us or 0), 1) for run in pooled]
        + [((run.ended_us or 0), -1) for run in pooled]
    )
    running, most = 0, 0
    for _, step in steps:
        running += step
        most = max(most, running)
    assert most == POOLS["warehouse"]


def test_what_is_planted_is_slow_and_what_is_not_mostly_ends_in_time() -> None:
    lived = simulate(1)
    slow_days = {one.day for one in lived.planted}
    assert 15 < len(slow_days) < 50
    took = {
        int(((run.started_us or 0) - FIRST_DAY) // DAY): (run.ended_us or 0) % DAY / SECOND
        for run in lived.provenance.dag_runs
        if run.job == "report"
    }
    usual = median(us for day, us in took.items() if day not in slow_days)
    slow = median(took[day] for day in slow_days)
    assert 3.3 * 3600 < usual < 4.2 * 3600
    assert slow > usual + 1800


def test_a_downstream_dag_begins_after_what_it_consumed() -> None:
    lived = simulate(3, days=20)
    ends = {(run.job, run.run_id): run.ended_us or 0 for run in lived.provenance.tasks}
    for run in lived.provenance.dag_runs:
        for dag, run_id, task, _ in run.consumed:
            assert ends[f"{dag}.{task}", run_id] < (run.started_us or 0)
