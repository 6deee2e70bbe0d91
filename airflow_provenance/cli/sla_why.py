"""``sla why``: what broke a promise: what was late, or which data it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.cli.why import why_lines
from airflow_provenance.errors import PolicyError
from airflow_provenance.lineage.answers import why_json as data_json
from airflow_provenance.lineage.why import why_nodes
from airflow_provenance.sla.evaluate import evaluate
from airflow_provenance.sla.evaluation import State, evaluation_json
from airflow_provenance.sla.explanation import OF_DATA, last_error
from airflow_provenance.sla.ledger import recorded_with_ledger
from airflow_provenance.sla.objectives import Deadline, Duration
from airflow_provenance.sla.why import (
    blast_json,
    blast_of_data,
    blast_radius,
    blast_words,
    why_json,
    why_late,
    why_words,
)
from airflow_provenance.sla.words import period_text, verdict_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.lineage.short import Names
    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.store.base import Store

_BACK_US = 41 * 86_400_000_000


class Asked(NamedTuple):
    """Which promise, which of its periods (None: the newest that was broken), and when."""

    promise: str
    period: str | None
    at_us: int


class Told(NamedTuple):
    """The answer, as data and as lines."""

    json: dict[str, Any]
    lines: list[str]


def found(store: Store, declared: Sequence[Policy], asked: Asked, names: Names) -> Told:
    """Return what broke a promise.

    Args:
        store: what was recorded.
        declared: the promises in force.
        asked: which of them.
        names: how datasets are named in lines.

    Raises:
        PolicyError: there is no such promise or period, or it was not broken.
    """
    policy = next((one for one in declared if one.id == asked.promise), None)
    if policy is None:
        raise PolicyError(f"no promise is named {asked.promise!r}: 'sla status' lists them")
    dags = {policy.target.dag} if policy.target.dag is not None else set[str]()
    provenance = recorded_with_ledger(store, dags, asked.at_us - _BACK_US)
    periods = [
        one
        for one in evaluate(policy, provenance, asked.at_us)
        if asked.period in (one.period, period_text(one.period))
        or (asked.period is None and (one.is_miss or one.state is State.AT_RISK))
    ]
    if not periods:
        text = "it was not broken" if asked.period is None else f"no period {asked.period}"
        raise PolicyError(f"{policy.id}: {text}: 'sla evaluate' lists its periods")
    one = periods[-1]
    if isinstance(policy.objective, Deadline | Duration):
        late = why_late(policy, provenance, one, asked.at_us)
        blast = blast_radius(store, declared, late)
        return Told(why_json(one, late, blast), why_words(one, late, blast))
    if isinstance(policy.objective, OF_DATA) and one.runs:
        answer = why_nodes(store, one.runs)
        wanted = getattr(policy.objective, "assertions", ())
        answer.findings.sort(key=lambda found: found.outcome.name not in wanted)
        hit = blast_of_data(store, declared, policy, one)
        return Told(
            {**evaluation_json(one), "why": data_json(answer), "downstream": blast_json(hit)},
            [verdict_text(one), *why_lines(answer, names), *blast_words(hit)],
        )
    error = last_error(store, one.runs)
    told = [text for text in (one.cause, error) if text]
    nothing = [] if one.reason else ["Nothing that was recorded says why."]
    return Told(
        {**evaluation_json(one), "error": error},
        [verdict_text(one), *(told or nothing)],
    )
