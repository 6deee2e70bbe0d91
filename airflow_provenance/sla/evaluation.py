"""The verdict on a promise for one period: what was observed, and when the promise broke."""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from airflow_provenance.domain.clock import format_time
from airflow_provenance.sla.burn_rate import Budget, Burn
from airflow_provenance.sla.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.sla.facts import RunFact
    from airflow_provenance.sla.policy import Policy


class State(StrEnum):
    """How a promise stands. See REQUIREMENTS A."""

    PENDING = "pending"
    OK = "ok"
    AT_RISK = "at_risk"
    BREACHED = "breached"
    RECOVERED = "recovered"  # broken, and then made good late
    EXPIRED = "expired"  # broken, and no longer waited for
    SUSPENDED = "suspended"
    NO_DATA = "no_data"
    INSUFFICIENT_HISTORY = "insufficient_history"


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What is likely; `sla.prediction` makes it.

    Attributes:
        probability: of a breach; None where history is too short to say.
        p50_us, p90_us: by when it is done with even odds, and with nine in ten.
        slack_us: from then (even odds) to when it is due; below 0: it is expected to be late.
        deciding: the task, as ``DAG.TASK``, that has not ended and that the end hangs on.
        history: how many past runs it was learned from, of the DAG that has fewest.
    """

    probability: float | None
    p50_us: int | None = None
    p90_us: int | None = None
    slack_us: int | None = None
    deciding: str | None = None
    history: int = 0


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One verdict.

    Attributes:
        period: what it is about: a run's ``dag/run_id``, a local due instant, or a window's end.
        breached_us: when the promise broke; `detected_us` when that was noticed.
        recovered_us: when it was made good.
        runs: the numbers of the runs it was computed from.
        cause: why what was expected did not come: one of `sla.causes`.
        prediction: what is likely to come of it, where the promise asks for that.
        severity: where it is another than the promise's.
        budget: of a success ratio, what may still go wrong; ``burns`` how fast it is used up.
    """

    policy_id: str
    revision: str
    kind: str
    target: str
    period: str
    state: State
    observed: float | None = None
    threshold: float | None = None
    unit: str = ""
    due_us: int | None = None
    breached_us: int | None = None
    recovered_us: int | None = None
    detected_us: int | None = None
    runs: tuple[int, ...] = ()
    reason: str = ""
    cause: str | None = None
    prediction: Prediction | None = None
    severity: Literal["page", "ticket"] | None = None
    budget: Budget | None = None
    burns: tuple[Burn, ...] = ()

    @property
    def late_by_us(self) -> int | None:
        """By how much it was made good too late."""
        if self.recovered_us is None or self.breached_us is None:
            return None
        return self.recovered_us - self.breached_us

    @property
    def is_miss(self) -> bool:
        """Whether the promise was broken in this period, whatever came of it."""
        return self.breached_us is not None


class Maker:
    """Makes the evaluations of one promise at one moment."""

    def __init__(self, policy: Policy, now_us: int) -> None:
        self.policy = policy
        self.now_us = now_us
        self._revision = policy.revision
        self._expires_us = int(policy.expires_after.total_seconds() * 1e6)

    def make(
        self, state: State, period: str, runs: Iterable[RunFact | int] = (), **values: Any
    ) -> Evaluation:
        """Return an evaluation; a broken one that nobody waits for any more has expired."""
        policy, breached_us = self.policy, values.get("breached_us")
        if breached_us is not None:
            values["detected_us"] = self.now_us
        if state is State.BREACHED and values.pop("waits", False) and breached_us is not None:
            state = State.EXPIRED if self.now_us - breached_us > self._expires_us else state
        values.pop("waits", None)
        return Evaluation(
            policy_id=policy.id,
            revision=self._revision,
            kind=policy.kind,
            target=str(policy.target),
            period=period,
            state=state,
            runs=tuple(sorted({one if isinstance(one, int) else one.id for one in runs})),
            **values,
        )

    def nothing(self, reason: str, state: State = State.NO_DATA) -> Evaluation:
        """Return that there is nothing to judge by."""
        return self.make(state, format_time(self.now_us) or "", reason=reason)

    def awaited(
        self,
        period: str,
        due_us: int,
        came_us: int | None,
        runs: Iterable[RunFact | int],
        **values: Any,
    ) -> Evaluation:
        """Judge something that had to come by a time: it came, it may yet, or it is late."""
        values["due_us"] = due_us
        if came_us is not None and came_us <= due_us:
            return self.make(State.OK, period, runs, **values)
        if came_us is not None:
            times = {"breached_us": due_us, "recovered_us": came_us}
            return self.make(State.RECOVERED, period, runs, **values, **times)
        if self.now_us <= due_us:
            return self.make(State.PENDING, period, runs, **values)
        return self.make(State.BREACHED, period, runs, **values, breached_us=due_us, waits=True)

    def measured(
        self,
        period: str,
        observed: float,
        at_us: int,
        runs: Iterable[RunFact | int],
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        **values: Any,
    ) -> Evaluation:
        """Judge a number that is what it is: nothing that comes later makes it good."""
        too_low = at_least is not None and observed < at_least
        too_high = at_most is not None and observed > at_most
        bound = at_least if too_low or at_most is None else at_most
        if too_low or too_high:
            values["breached_us"] = values.pop("broke_us", None) or at_us
        values.pop("broke_us", None)
        state = State.BREACHED if too_low or too_high else State.OK
        return self.make(state, period, runs, observed=observed, threshold=bound, **values)


def evaluation_json(one: Evaluation) -> dict[str, Any]:
    """Return an evaluation as JSON."""
    late_us = one.late_by_us
    said: dict[str, Any]
    said = {} if one.prediction is None else {"prediction": prediction_json(one.prediction)}
    if one.severity is not None:
        said["severity"] = one.severity
    if one.budget is not None:
        said["error_budget"] = budget_json(one.budget, one.burns)
    return {
        "policy": one.policy_id,
        "revision": one.revision,
        "kind": one.kind,
        "target": one.target,
        "period": one.period,
        "state": one.state.value,
        "observed": one.observed,
        "threshold": one.threshold,
        "unit": one.unit,
        "due_at": format_time(one.due_us),
        "breached_at": format_time(one.breached_us),
        "detected_at": format_time(one.detected_us),
        "recovered_at": format_time(one.recovered_us),
        "late_by_seconds": None if late_us is None else late_us / 1e6,
        "runs": list(one.runs),
        "reason": one.reason,
        "cause": one.cause,
        **said,
    }


def budget_json(budget: Budget, burns: Iterable[Burn]) -> dict[str, Any]:
    """Return an error budget, and how fast it burns, as JSON; a rate without bounds is null."""
    return {
        "events": budget.total,
        "failures": budget.bad,
        "failures_allowed": budget.allowed,
        "failures_left": round(budget.left, 9),
        "burn_rates": [
            {
                "severity": one.pair.severity,
                "factor": one.pair.factor,
                "fires": one.fires,
                "long": format_duration(one.pair.long),
                "long_rate": one.long_rate if isfinite(one.long_rate) else None,
                "long_events": one.long_events,
                "short": format_duration(one.pair.short),
                "short_rate": one.short_rate if isfinite(one.short_rate) else None,
                "short_events": one.short_events,
            }
            for one in burns
        ],
    }


def prediction_json(one: Prediction) -> dict[str, Any]:
    """Return a prediction as JSON."""
    return {
        "state": "insufficient_history" if one.probability is None else "predicted",
        "probability": one.probability,
        "p50_at": format_time(one.p50_us),
        "p90_at": format_time(one.p90_us),
        "slack_seconds": None if one.slack_us is None else one.slack_us / 1e6,
        "deciding_task": one.deciding,
        "history": one.history,
    }
