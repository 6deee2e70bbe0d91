"""``sla why``: what broke a promise: what was late, or which data it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.cli.why import why_lines
from airflow_provenance.domain.clock import format_time
from airflow_provenance.errors import PolicyError
from airflow_provenance.lineage.answers import why_json as data_json
from airflow_provenance.lineage.why import why_nodes
from airflow_provenance.sla.evaluate import evaluate
from airflow_provenance.sla.evaluation import Evaluation, State, evaluation_json
from airflow_provenance.sla.explanation import OF_DATA, last_error
from airflow_provenance.sla.ledger import recorded_with_ledger
from airflow_provenance.sla.objectives import Deadline, Duration
from airflow_provenance.sla.why import blast_radius, why_json, why_late, why_words

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
        if one.period == asked.period
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
        return Told(
            {**evaluation_json(one), "why": data_json(answer)},
            [_verdict(one), *why_lines(answer, names)],
        )
    error = last_error(store, one.runs)
    told = [text for text in (one.reason, one.cause, error) if text]
    return Told(
        {**evaluation_json(one), "error": error},
        [_verdict(one), *(told or ["Nothing that was recorded says why."])],
    )


def _verdict(one: Evaluation) -> str:
    broke = f" since {format_time(one.breached_us)}" if one.breached_us is not None else ""
    return f"{one.policy_id} {one.period}: {one.state.value}{broke}."
