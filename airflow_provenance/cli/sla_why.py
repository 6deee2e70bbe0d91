"""``sla why``: what broke a promise: what was late, or which data it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.cli.why import why_lines
from airflow_provenance.lineage.answers import why_json as data_json
from airflow_provenance.sla.broken import broken_period, what_broke
from airflow_provenance.sla.evaluation import evaluation_json
from airflow_provenance.sla.why import blast_json, blast_words, why_json, why_words
from airflow_provenance.sla.words import verdict_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.lineage.short import Names
    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.store.base import Store


class Asked(NamedTuple):
    """Which promise, which of its periods (None: the newest that was broken), and when."""

    policy: Policy
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
        PolicyError: there is no such period, or it was not broken.
    """
    one = broken_period(store, asked.policy, asked.period, asked.at_us)
    told = what_broke(store, store, declared, asked.policy, one, asked.at_us)
    if told.late is not None and told.blast is not None:
        late = one, told.late, told.blast
        return Told(why_json(*late), why_words(*late))
    if told.data is not None and told.blast is not None:
        downstream = blast_json(told.blast)
        return Told(
            {
                **evaluation_json(one),
                "explanation": told.explanation,
                "why": data_json(told.data),
                "downstream": downstream,
            },
            [
                verdict_text(one),
                *([f"  {names.text(told.explanation)}"] if told.explanation else []),
                *why_lines(told.data, names),
                *blast_words(told.blast),
            ],
        )
    said = [text for text in (one.cause, told.error) if text]
    nothing = [] if one.reason else ["Nothing that was recorded says why."]
    return Told(
        {**evaluation_json(one), "error": told.error}, [verdict_text(one), *(said or nothing)]
    )
