"""Which promises a viewer may see, and what of them: the rules of SEMANTICS "Who may see what".

A promise is seen by who may see what it is about. A verdict is of all that was recorded; the runs
it was computed from, and words that could name one, are told as far as these runs are seen.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import Depends, Request

from airflow_provenance.api.parameters import CurrentViewer, Visible
from airflow_provenance.api.security import Viewer
from airflow_provenance.api.visible import VisibleReader
from airflow_provenance.errors import PolicyError, SubjectError
from airflow_provenance.sla.dataset_names import dataset_name
from airflow_provenance.sla.evaluation import Evaluation, evaluation_json
from airflow_provenance.sla.policy import Policy, Target, from_plain
from airflow_provenance.store.base import Store
from airflow_provenance.store.promises import PolicyRow

_OF_DAG = "dag:"  # what the source of a promise from a DAG's file begins with


class Hidden(NamedTuple):
    """Runs that must not be told of: `unseen`, of which the store still has those in `kept`."""

    unseen: frozenset[int]
    kept: frozenset[int]

    def of(self, target: Target) -> frozenset[int]:
        """Return those of a promise: what expired of a DAG was its own, of data maybe another's."""
        return self.kept if target.dag is not None else self.unseen


class SeenPromises:
    """The promises in force that a viewer may see. Lives as long as a request.

    Args:
        store: what the viewer may see.
        whole: what there is.
        viewer: who asks.
    """

    def __init__(self, store: VisibleReader, whole: Store, viewer: Viewer) -> None:
        self.store, self.whole = store, whole
        self._is_admin = viewer.is_admin()

    def is_seen(self, target: Target, source: str | None = None) -> bool:
        """Whether a promise may be seen.

        Args:
            target: what it is about.
            source: of one in force, whence it is: of what nothing is recorded yet, it is seen by
                who may see the DAG that made it. None: who asks knows it anyhow.
        """
        if self._is_admin:
            return True
        if target.dag is not None:
            return self.store.may_read(target.dag)
        if target.dataset is not None:
            there = self.whole.datasets_named(target.dataset_name)
            seen = self.store.datasets_named(target.dataset_name)
            return len(seen) == len(there) if there else self._is_own(source)
        if any(target.job in (name, f"{of}/{name}") for of, name in self._jobs):
            return True
        return source is not None and self._is_own(source) and not self._is_job(target.job or "")

    def _is_own(self, source: str | None) -> bool:
        return source is None or (source.startswith(_OF_DAG) and self._may_read_source(source))

    def _may_read_source(self, source: str) -> bool:
        dag_id = source.removeprefix(_OF_DAG)
        return not source.startswith(_OF_DAG) or self.store.may_read(dag_id)

    def _is_job(self, job: str) -> bool:
        return any(job in (name, f"{of}/{name}") for of, name in self.whole.job_names())

    @functools.cached_property
    def _jobs(self) -> list[tuple[str, str]]:
        return self.store.job_names()

    @functools.cached_property
    def rows(self) -> list[PolicyRow]:
        """Those in force, by id."""
        return [
            row
            for row in sorted(self.whole.policies(), key=lambda one: one.policy_id)
            if (target := _target(row)) is not None and self.is_seen(target, row.source)
        ]

    def row(self, policy_id: str) -> PolicyRow:
        """Return one by its id; `SubjectError` for one that is hidden as for one that is not."""
        found = next((one for one in self.rows if one.policy_id == policy_id), None)
        if found is None:
            raise SubjectError(f"there is no promise {policy_id!r}, or not for you")
        return found

    @functools.cached_property
    def policies(self) -> list[Policy]:
        """Those in force that can be read."""
        return [one for row in self.rows if (one := policy_of(row)) is not None]

    def told(self, row: PolicyRow) -> dict[str, Any]:
        """Return a promise as JSON, and where it was made, without names that are hidden."""
        plain: dict[str, Any] = json.loads(row.body)
        plain["objective"] = self._without_sources(plain.get("objective"))
        is_told = self._is_admin or self._may_read_source(row.source)
        return {"promise": plain, "where": row.place if is_told else ""}

    def _without_sources(self, objective: Any) -> Any:
        if not isinstance(objective, dict):
            return objective
        told = {key: self._without_sources(value) for key, value in objective.items()}
        source = told.get("source")
        if isinstance(source, str) and not self.is_dataset(source):
            told["source"] = None
        return told

    def is_dataset(self, name: str) -> bool:
        """Whether a dataset of this name may be told of."""
        return self._is_admin or bool(self.store.datasets_named(dataset_name(name)))

    def target(self, row: PolicyRow) -> Target:
        """Return what one of `rows` is about."""
        return msgspec.convert(json.loads(row.body)["target"], Target)

    def hides_sources(self, row: PolicyRow) -> bool:
        """Whether a promise is measured from a dataset that must not be told of."""
        objective = json.loads(row.body).get("objective")
        return bool(self._without_sources(objective) != objective)

    def hidden_of(self, row: PolicyRow, runs: Iterable[int]) -> frozenset[int]:
        """Return of the runs of a promise those that must not be told of."""
        return self.hidden(runs).of(self.target(row))

    def hidden(self, runs: Iterable[int]) -> Hidden:
        """Return which of some runs must not be told of."""
        if self._is_admin:
            return Hidden(frozenset(), frozenset())
        unseen = set(runs)
        unseen -= self.store.runs_by_id(unseen).keys()
        return Hidden(frozenset(unseen), frozenset(self.whole.runs_by_id(unseen)))

    def verdicts(self, policy: Policy, found: Sequence[Evaluation]) -> list[dict[str, Any]]:
        """Return evaluations of a promise as JSON, cut to what may be seen."""
        hidden = self.hidden(run for one in found for run in one.runs).of(policy.target)
        return [self.verdict(policy, one, hidden) for one in found]

    def verdict(self, policy: Policy, one: Evaluation, hidden: Collection[int]) -> dict[str, Any]:
        """Return an evaluation of a promise as JSON, without what tells of hidden runs."""
        told = cut(evaluation_json(one), hidden)
        plain = msgspec.to_builtins(policy.objective)
        if self._without_sources(plain) != plain:
            told["reason"] = ""  # it may name the source
        if said := told.get("prediction"):
            said["deciding_task"] = self.job(said["deciding_task"], policy.target)
        return told

    def job(self, name: str | None, target: Target) -> str | None:
        """Return the name of a DAG or task, None where it must not be told."""
        if name is None or self._is_admin:
            return name
        own = target.dag is not None and name in (target.dag, f"{target.dag}.{target.task}")
        return name if own or name in self._job_names else None

    @functools.cached_property
    def _job_names(self) -> frozenset[str]:
        hidden = {name for _, name in set(self.whole.job_names()) - set(self._jobs)}
        return frozenset(name for _, name in self._jobs) - hidden


def seen_promises(request: Request, store: Visible, viewer: CurrentViewer) -> SeenPromises:
    """Return the promises that who asks may see."""
    return SeenPromises(store, request.app.state.stores.get(), viewer)


Seen = Annotated[SeenPromises, Depends(seen_promises)]


def policy_of(row: PolicyRow) -> Policy | None:
    """Return the promise of a row; None for one that another version wrote, and cannot be read."""
    try:
        return from_plain(json.loads(row.body))
    except PolicyError:
        return None


def _target(row: PolicyRow) -> Target | None:
    try:
        return msgspec.convert(json.loads(row.body)["target"], Target)
    except (msgspec.ValidationError, PolicyError, KeyError):
        return None


def cut(told: Mapping[str, Any], hidden: Collection[int]) -> dict[str, Any]:
    """Return a verdict without what tells of hidden runs: their numbers, and words of any run."""
    seen = [run for run in told["runs"] if run not in hidden]
    if len(seen) == len(told["runs"]):
        return dict(told)
    words = {"period": "", "reason": "", "cause": None}
    return {**told, **{key: words[key] for key in words.keys() & told.keys()}, "runs": seen}
