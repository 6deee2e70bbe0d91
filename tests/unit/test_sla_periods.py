"""Which period of a deadline a run belongs to, by exact instants."""

from __future__ import annotations

from airflow_provenance.domain.run import RunState
from airflow_provenance.sla.evaluate import evaluate
from airflow_provenance.sla.facts import RunFact
from airflow_provenance.sla.plain import PlainProvenance
from airflow_provenance.sla.policy import from_plain
from tests.support.sla_events import us

POLICY = from_plain(
    {"id": "p", "target": {"dag": "report"}, "objective": {"kind": "deadline", "at": "09:00"}}
)
SINCE = us("2026-03-02T00:00:00")


def ran(dag: str, run_id: str, start: str, due: str | None = None, *by: str) -> RunFact:
    """A run of ten minutes: of a schedule where it was due, else begun by runs of ``load``."""
    start_us = us(f"2026-03-{start}")
    return RunFact(
        id=hash((dag, run_id)),
        job=dag,
        dag=dag,
        run_id=run_id,
        state=RunState.COMPLETE,
        run_type="asset_triggered" if due is None else "scheduled",
        run_after_us=start_us if due is None else us(f"2026-03-{due}"),
        started_us=start_us,
        ended_us=start_us + 600_000_000,
        consumed=tuple((*one.split("/"), "t", -1) for one in by),  # type: ignore[misc]
    )


def told(*runs: RunFact, at: str = "04T12:00:00", since: int = SINCE) -> dict[str, tuple[str, int]]:
    """State, and how many minutes late, of each day's period."""
    found = evaluate(POLICY, PlainProvenance(dag_runs=list(runs)), us(f"2026-03-{at}"), since)
    return {
        one.period[8:10]: (one.state.value, (one.late_by_us or 0) // 60_000_000) for one in found
    }


def test_a_run_that_assets_began_late_belongs_to_the_day_of_the_run_that_fed_it() -> None:
    fed = ran("load", "mon", "02T05:00:00", "02T05:00:00")
    late = ran("report", "r", "03T08:00:00", None, "load/mon")  # before Tuesday's deadline
    assert told(fed, late) == {
        "02": ("recovered", 23 * 60 + 10),
        "03": ("breached", 0),
        "04": ("breached", 0),
        "05": ("pending", 0),
    }


def test_who_fed_it_may_have_been_fed_itself_and_the_newest_counts() -> None:
    monday = ran("load", "mon", "02T05:00:00", "02T05:00:00")
    tuesday = ran("load", "tue", "03T09:30:00", "03T05:00:00")  # late itself
    between = ran("clean", "c", "03T09:45:00", None, "load/mon", "load/tue")
    late = ran("report", "r", "03T10:00:00", None, "clean/c")
    assert told(monday, tuesday, between, late)["03"] == ("recovered", 70)
    assert told(monday, tuesday, between, late)["02"] == ("breached", 0)


def test_a_circle_of_assets_ends() -> None:
    one = ran("report", "r", "02T08:00:00", None, "clean/c")
    other = ran("clean", "c", "02T07:00:00", None, "report/r")
    assert told(one, other)["02"] == ("ok", 0)


def test_where_nobody_knows_who_fed_it_a_run_is_late_for_the_first_period_that_lacks_one() -> None:
    first = ran("report", "r1", "02T10:30:00")
    second = ran("report", "r2", "02T12:00:00")
    assert told(first)["02"] == ("recovered", 100)
    assert told(first)["03"] == ("breached", 0)
    assert told(first, second)["03"] == ("ok", 0)


def test_more_than_half_a_period_later_it_is_early_for_the_next() -> None:
    assert told(ran("report", "r", "02T21:00:00"))["02"] == ("recovered", 12 * 60 + 10)
    early = told(ran("report", "r", "02T21:00:01"))
    assert (early["02"], early["03"]) == (("breached", 0), ("ok", 0))


def test_the_first_period_that_is_told_takes_no_run_of_the_one_before() -> None:
    late = ran("report", "r", "02T10:30:00")
    assert told(late, since=us("2026-03-03T00:00:00"))["03"] == ("breached", 0)


def test_a_run_of_a_schedule_belongs_where_it_was_due_however_late() -> None:
    late = ran("report", "r", "04T08:00:00", "02T05:00:00")
    assert told(late)["02"] == ("recovered", 47 * 60 + 10)
    assert told(late)["04"] == ("breached", 0)
