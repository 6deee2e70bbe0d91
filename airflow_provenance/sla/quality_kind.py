"""The promise that data is as checks say it should be: of a dataset, or of what a job checks.

A dataset that has another name each day (``2026-03-02/orders.csv``) is promised through its job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.domain.clock import format_time
from airflow_provenance.sla.evaluation import Evaluation, Maker, State
from airflow_provenance.sla.run_kinds import counted, period_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provenance.sla.facts import AssertionFact, Provenance
    from airflow_provenance.sla.objectives import DataQuality
    from airflow_provenance.sla.policy import Policy

_SEVERITIES = {"warn": 0, "error": 1}


class _Checked(NamedTuple):
    """What one run checked."""

    period: str
    run_id: int
    at_us: int
    facts: list[AssertionFact]


def data_quality(
    policy: Policy, promised: DataQuality, provenance: Provenance, maker: Maker, since_us: int
) -> list[Evaluation]:
    """The assertions of each run that checked: how many hold, or for what part of the rows."""
    found = []
    for one in _checked(policy, promised, provenance, since_us):
        failed = sorted({_title(fact) for fact in one.facts if not fact.success})
        reason = f"failed: {', '.join(failed)}" if failed else ""
        observed = _part(one.facts, promised)
        if observed is None:
            reason = f"how many rows were checked is not known{'; ' if reason else ''}{reason}"
            found.append(maker.make(State.NO_DATA, one.period, [one.run_id], reason=reason))
            continue
        found.append(
            maker.measured(
                *(one.period, observed, one.at_us, [one.run_id]),
                at_least=promised.at_least,
                unit="ratio",
                reason=reason,
            )
        )
    return found or [maker.nothing("nothing was checked")]


def _checked(
    policy: Policy, promised: DataQuality, provenance: Provenance, since_us: int
) -> Iterator[_Checked]:
    if policy.target.dataset is not None:
        groups: dict[int, list[AssertionFact]] = {}
        for one in provenance.assertions(policy.target.dataset, since_us):
            if one.at_us >= since_us:
                groups.setdefault(one.run_id, []).append(one)
        for run_id, those in sorted(groups.items(), key=lambda item: item[1][0].at_us):
            if facts := _wanted(those, promised):
                at_us = max(one.at_us for one in facts)
                yield _Checked(format_time(at_us) or "", run_id, at_us, facts)
        return
    is_dag = policy.target.kind == "dag"
    runs = (
        provenance.task_runs(policy.target.dag or "", since_us)
        if is_dag
        else provenance.runs(policy.target, since_us)
    )
    for run in counted(policy, runs):
        facts = _wanted(run.checks, promised)
        if facts and run.ended_us is not None and run.ended_us >= since_us:
            yield _Checked(period_of(run), run.id, run.ended_us, facts)


def _wanted(facts: Sequence[AssertionFact], promised: DataQuality) -> list[AssertionFact]:
    lowest = _SEVERITIES[promised.severity]
    return [
        one
        for one in facts
        if (not promised.assertions or one.name in promised.assertions)
        and _SEVERITIES.get(one.severity, 1) >= lowest
    ]


def _part(facts: Sequence[AssertionFact], promised: DataQuality) -> float | None:
    """Return the part of the assertions that hold, or of the rows, by the assertion worst off."""
    if promised.of == "assertions":
        return sum(one.success for one in facts) / len(facts)
    parts = [part for one in facts if (part := _part_of(one)) is not None]
    worst = min(parts, default=1.0)
    # One that nobody counted may be worse than all the others, which may be bad enough already.
    return worst if len(parts) == len(facts) or worst < promised.at_least else None


def _part_of(fact: AssertionFact) -> float | None:
    if fact.rows and fact.failed_rows is not None:
        return 1 - fact.failed_rows / fact.rows
    return 1.0 if fact.success else None


def _title(fact: AssertionFact) -> str:
    return f"{fact.name}({fact.column})" if fact.column else fact.name
