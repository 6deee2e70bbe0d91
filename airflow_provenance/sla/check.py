"""Promises asked about now: for a task that goes on only where they are kept.

A task may ask before what ran before it is recorded: its events are on their way. So who asks can
name tasks of its own DAG run, and is told which of them the store does not know the end of yet.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provenance.domain.clock import format_time
from airflow_provenance.domain.identity import TaskRunKey
from airflow_provenance.errors import PolicyError
from airflow_provenance.sla.evaluate import LOOKBACK_US, evaluate
from airflow_provenance.sla.evaluation import Evaluation, State
from airflow_provenance.sla.ledger import recorded_with_ledger
from airflow_provenance.sla.policy import Policy, from_plain
from airflow_provenance.store.base import RunQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provenance.store.base import ProvenanceReader, Store

BROKEN = (State.BREACHED, State.EXPIRED)
UNKNOWN = (State.NO_DATA, State.INSUFFICIENT_HISTORY, State.SUSPENDED)
_TRIES = 20


class Upstream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tasks of a DAG run whose end must be known first."""

    dag: str
    run_id: str
    tasks: tuple[str, ...]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which promises are asked about.

    Attributes:
        ids: of promises in force.
        target: of promises in force: all about this DAG, task, dataset or job, as ``dag:shop``.
        policies: promises that only who asks knows, as JSON holds them.
        upstream: what must be recorded first.
    """

    ids: tuple[str, ...] = ()
    target: str | None = None
    policies: tuple[dict[str, Any], ...] = ()
    upstream: Upstream | None = None


class Stands(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one promise stands, by the newest of its periods that is decided."""

    policy: str
    target: str
    state: str
    kind: str = ""
    severity: str = "ticket"
    period: str = ""
    observed: float | None = None
    threshold: float | None = None
    unit: str = ""
    due_at: str | None = None
    breached_at: str | None = None
    reason: str = ""
    cause: str | None = None
    runs: tuple[int, ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether the promise is broken."""
        return self.state in BROKEN

    @property
    def is_unknown(self) -> bool:
        """Whether nobody can say."""
        return self.state in UNKNOWN


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How promises stand; ``waiting``: the tasks whose end is not recorded yet."""

    promises: tuple[Stands, ...]
    waiting: tuple[str, ...] = ()


def wanted(
    store: Store, asked: Asked, is_seen: Callable[[Policy], bool] = lambda _: True
) -> list[Policy]:
    """Return the promises that are asked about, each once.

    Args:
        store: has those in force.
        asked: which.
        is_seen: whether who asks may know of a promise in force.

    Raises:
        PolicyError: none is, or one that is not in force.
    """
    found = [from_plain(plain) for plain in asked.policies]
    if asked.ids or asked.target is not None:
        known = [from_plain(json.loads(row.body)) for row in store.policies()]
        rows = {one.id: one for one in known if is_seen(one)}
        unknown = [one for one in asked.ids if one not in rows]
        if unknown:
            raise PolicyError(
                f"no promise {unknown[0]!r} is in force: 'airflow-provenance sla status' lists them"
            )
        found += [rows[one] for one in asked.ids]
        if asked.target is not None:
            about = [one for one in rows.values() if str(one.target) == asked.target]
            if not about:
                raise PolicyError(f"no promise about {asked.target} is in force")
            found += [one for one in about if one.id not in asked.ids]
    if not found:
        raise PolicyError("nothing is asked: name promises, what they are about, or give one")
    return list({one.id: one for one in found}.values())


def answer(
    store: Store, policies: Sequence[Policy], upstream: Upstream | None, now_us: int
) -> Answer:
    """Say how promises stand at a moment."""
    dags = {one.target.dag for one in policies if one.target.dag is not None}
    provenance = recorded_with_ledger(store, dags, now_us - LOOKBACK_US)
    stand = [_stands(one, decided(evaluate(one, provenance, now_us))) for one in policies]
    return Answer(promises=tuple(stand), waiting=waiting(store, upstream))


def decided(found: Sequence[Evaluation]) -> Evaluation:
    """Return the newest of some evaluations that is more than pending; else the newest."""
    return next((one for one in reversed(found) if one.state is not State.PENDING), found[-1])


def waiting(store: ProvenanceReader, upstream: Upstream | None) -> tuple[str, ...]:
    """Return the tasks whose end is not recorded yet."""
    if upstream is None:
        return ()
    return tuple(one for one in upstream.tasks if not _has_ended(store, upstream, one))


def _has_ended(store: ProvenanceReader, upstream: Upstream, task: str) -> bool:
    runs = store.runs(RunQuery(job=f"{upstream.dag}.{task}", limit=_TRIES))
    mine = [
        run for run in runs if isinstance(run.key, TaskRunKey) and run.key.run_id == upstream.run_id
    ]
    return bool(mine) and all(run.state.is_done for run in mine)


def _stands(policy: Policy, one: Evaluation) -> Stands:
    return Stands(
        policy=policy.id,
        target=one.target,
        state=one.state.value,
        kind=one.kind,
        severity=policy.severity,
        period=one.period,
        observed=one.observed,
        threshold=one.threshold,
        unit=one.unit,
        due_at=format_time(one.due_us),
        breached_at=format_time(one.breached_us),
        reason=one.reason,
        cause=one.cause,
        runs=one.runs,
    )


def in_words(those: Iterable[Stands]) -> str:
    """Return promises and how they stand, in one line."""
    return "; ".join(_words(one) for one in those)


def _words(one: Stands) -> str:
    said = f"{one.policy} ({one.kind} of {one.target}) is {one.state}"
    since = f" since {one.breached_at}" if one.breached_at else ""
    numbers = ""
    if one.observed is not None and one.threshold is not None and one.unit != "time":
        numbers = f", {one.observed:g} against {one.threshold:g} {one.unit}".rstrip()
    why = one.reason or one.cause
    return f"{said}{since}{numbers}{f': {why}' if why else ''}"
