"""How good predictions are, on simulated days: alarms, lead times, Brier score, calibration.

Every promise of the simulator is asked about every 5 % of its budget, as known at that moment;
the answers are compared with what came. The first `WARM_UP` days are history alone.
"""

from __future__ import annotations

from datetime import time
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.sla.calendar import due_instants
from airflow_provenance.sla.facts import AsOf
from airflow_provenance.sla.objectives import Deadline, Duration
from airflow_provenance.sla.plain import PlainProvenance
from airflow_provenance.sla.policy import Policy, from_plain
from airflow_provenance.sla.prediction import Goal, Known, predict
from tests.support.sla_simulator import DAY, FIRST_DAY, PROMISES, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.sla.dag_history import DagHistory
    from airflow_provenance.sla.facts import RunFact

WARM_UP = 20
STEPS = 20  # moments in a budget
THRESHOLD = 0.6
INGEST_AT = 2 * 3600 * 1_000_000


class Period(NamedTuple):
    """A promise on a day: when it began and was due, whether it was broken, what was said."""

    policy: str
    begun_us: int
    due_us: int
    broken: bool
    said: list[tuple[int, float]]

    def first_alarm_us(self, threshold: float) -> int | None:
        return next((at for at, p in self.said if p >= threshold), None)

    def lead(self, threshold: float) -> float:
        """The part of the budget that was left at the first alarm; 0 where there was none."""
        alarm = self.first_alarm_us(threshold)
        return 0.0 if alarm is None else (self.due_us - alarm) / (self.due_us - self.begun_us)


def lived_on(whole: PlainProvenance, day: int) -> PlainProvenance:
    """One day of what was simulated."""
    mine = lambda run: (run.queued_us - FIRST_DAY) // DAY == day  # noqa: E731
    return PlainProvenance(
        dag_runs=[run for run in whole.dag_runs if mine(run)],
        tasks=[run for run in whole.tasks if mine(run)],
    )


def goal_of(policy: Policy, runs: Iterable[RunFact], day: int) -> tuple[int, Goal, int]:
    """Return when the budget began, what must be done, and when it was."""
    dag = policy.target.dag or ""
    run = next(run for run in runs if run.job == dag)
    ended, started = run.ended_us or 0, run.started_us or 0
    if isinstance(policy.objective, Duration):
        due = started + int(policy.objective.at_most.total_seconds() * 1e6)
        return started, Goal(dag=dag, run_ids=(run.run_id,), due_us=due, after_us=started), ended
    assert isinstance(policy.objective, Deadline)
    midnight = FIRST_DAY + day * DAY
    at = time.fromisoformat(policy.objective.at)
    due = next(iter(due_instants(midnight, midnight + DAY, at, policy.tz, policy.calendar)))
    return midnight + INGEST_AT, Goal(dag=dag, due_us=due, after_us=due - DAY), ended


def score_seed(seed: int, policies: Iterable[dict[str, Any]] = PROMISES) -> list[Period]:
    """Return what was said of every period of a seed's days."""
    lived, found = simulate(seed), []
    mine = [from_plain(dict(one)) for one in policies]
    for day in range(WARM_UP, 200):
        today = lived_on(lived.provenance, day)
        before = Known(AsOf(lived.provenance, FIRST_DAY + day * DAY), FIRST_DAY + day * DAY)
        histories = {dag: before.history(dag) for dag in ("ingest", "report")}
        found += [_period(policy, today, day, histories) for policy in mine]
    return found


def _period(
    policy: Policy, today: PlainProvenance, day: int, histories: dict[str, DagHistory]
) -> Period:
    begun, goal, ended = goal_of(policy, today.dag_runs, day)
    said = []
    for step in range(1, STEPS):
        now = begun + (goal.due_us - begun) * step // STEPS
        if now >= ended:
            break
        seen = AsOf(today, now)
        going = [one.run_id for one in Known(seen, now).lived(goal.dag)]
        asked = Goal(dag=goal.dag, run_ids=tuple(going), due_us=goal.due_us, after_us=goal.after_us)
        one = predict(Known(seen, now, histories), asked, f"{policy.id}/{day}")
        assert one.probability is not None
        said.append((now, one.probability))
    return Period(policy.id, begun, goal.due_us, ended > goal.due_us, said)


class Score(NamedTuple):
    """Figures over many periods."""

    periods: int
    broken: int
    warned: float
    false_of_alarms: float
    false_of_kept: float
    lead: float
    brier: float
    base_brier: float
    calibration: list[tuple[float, float, int]]

    def __str__(self) -> str:
        rows = [f"  said {p:5.2f}  came {q:5.2f}  n={n}" for p, q, n in self.calibration]
        head = (
            f"{self.periods} periods, {self.broken} broken; warned of {self.warned:.1%}; "
            f"false {self.false_of_alarms:.1%} of alarms, {self.false_of_kept:.1%} of kept; "
            f"median lead {self.lead:.1%} of the budget; "
            f"Brier {self.brier:.4f}, base rate {self.base_brier:.4f}"
        )
        return "\n".join([head, *rows])


def score(periods: list[Period], threshold: float = THRESHOLD) -> Score:
    """Return the figures of REQUIREMENTS A8."""
    broken = [one for one in periods if one.broken]
    alarms = [one for one in periods if one.first_alarm_us(threshold) is not None]
    false = [one for one in alarms if not one.broken]
    base = {
        name: sum(one.broken for one in those) / len(those)
        for name in {one.policy for one in periods}
        if (those := [one for one in periods if one.policy == name])
    }
    pairs = [(p, one.broken, base[one.policy]) for one in periods for _, p in one.said]
    bins: dict[int, list[tuple[float, bool]]] = {}
    for p, came, _ in pairs:
        bins.setdefault(min(int(p * 10), 9), []).append((p, came))
    return Score(
        periods=len(periods),
        broken=len(broken),
        warned=sum(one in alarms for one in broken) / len(broken),
        false_of_alarms=len(false) / max(len(alarms), 1),
        false_of_kept=len(false) / (len(periods) - len(broken)),
        lead=median(one.lead(threshold) for one in broken),
        brier=sum((p - came) ** 2 for p, came, _ in pairs) / len(pairs),
        base_brier=sum((b - came) ** 2 for _, came, b in pairs) / len(pairs),
        calibration=[
            (sum(p for p, _ in some) / len(some), sum(c for _, c in some) / len(some), len(some))
            for _, some in sorted(bins.items())
        ],
    )
