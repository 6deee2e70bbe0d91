"""Publishing: each change of how a promise stands becomes a run in the store, and so in the feeds.

What is published is read off the ledger of changes behind a mark that moves afterwards: a crash
between a change and its run loses nothing, and what was published already is not published again.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.collect.standing import (
    PUBLISHED,
    Standing,
    dataset_named,
    newest_run,
    of_dataset,
    promised,
    standing_of,
)
from airflow_provenance.domain.identity import WireKey
from airflow_provenance.errors import PolicyError, ProvenanceError, StoreUnavailableError
from airflow_provenance.sla.ledger import recorded_with_ledger
from airflow_provenance.sla.policy import from_plain
from airflow_provenance.sla.published import (
    Blamed,
    Published,
    Row,
    events_of,
    is_of_earlier_period,
    job_name,
    refs_of,
    row_of,
    run_uuid,
)
from airflow_provenance.sla.why import blamed_hop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provenance.collect.standing import Promised
    from airflow_provenance.domain.clock import Clock
    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.store.base import RunView, Store
    from airflow_provenance.store.promises import PolicyRow

_log = logging.getLogger(__name__)
_BATCH = 100
_ROUND_US = 1_000_000  # what takes longer goes on in the next round: evaluating must not wait
# A walk upstream for each: after an outage the rest is put down to the run it was computed from.
_WALKS_AT_MOST = 20
_BROKEN = {"breached", "recovered", "expired"}


class _Now(NamedTuple):
    """What is in force while a round lasts."""

    rows: Mapping[str, PolicyRow]
    promised: Promised

    def policy(self, policy_id: str) -> Policy | None:
        """Return a promise; None for one that was withdrawn meanwhile, or cannot be read."""
        row = self.rows.get(policy_id)
        try:
            return None if row is None else from_plain(json.loads(row.body))
        except PolicyError:
            return None  # the evaluator says so


class Publisher:
    """See this module.

    Args:
        store: which has the changes, and takes the runs.
        namespace: of the jobs; the one of Airflow's own.
        clock: the time.
        clean: takes secrets out of an author's words.
        horizon_us: before which events are not kept, so none is made of what changed before.
    """

    def __init__(
        self,
        store: Store,
        namespace: str,
        clock: Clock,
        clean: Callable[[str], str] = str,
        horizon_us: Callable[[], int] = lambda: 0,
    ) -> None:
        self._store, self._namespace, self._clock, self._clean = store, namespace, clock, clean
        self._horizon_us = horizon_us
        self._walks = 0
        self._last_us = 0
        self._rows: dict[tuple[str, DatasetRef], Row | None] = {}

    def run_once(self, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Publish what changed since the last time; return how many changes that were."""
        mark, count, now = self._store.mark(PUBLISHED) or 0, 0, None
        until_us, self._walks, self._rows = self._clock.now_us() + _ROUND_US, 0, {}
        while not should_stop():
            changes = self._store.evaluation_changes(mark, _BATCH)
            if not changes:
                break
            now = now or self._in_force()
            self._publish(changes, now)
            mark, count = changes[-1].seq, count + len(changes)
            self._store.set_mark(PUBLISHED, mark)
            if self._clock.now_us() >= until_us:
                break
        return count

    def _in_force(self) -> _Now:
        rows = self._store.policies()
        return _Now({row.policy_id: row for row in rows}, promised(rows))

    def _publish(self, changes: Sequence[EvaluationChange], now: _Now) -> None:
        keys = {one.seq: self._key(one) for one in changes}
        there = self._store.runs_by_key(keys.values())
        views = self._store.runs_by_id({run for one in changes for run in one.runs})
        entries: list[tuple[Kind, bytes]] = []
        horizon_us = self._horizon_us()
        for one in changes:
            if one.at_us < horizon_us:
                continue
            before = there.get(keys[one.seq])
            if before is not None and before.state.is_done:
                self._last_us = max(self._last_us, before.ended_us or 0)
                continue
            entries += [("E", raw) for raw in events_of(one, self._told(one, now, views))]
        report = self._store.ingest(entries, received_us=self._clock.now_us(), source="promises")
        if report.quarantined:
            _log.warning(
                "%d events of promises are in the quarantine: %s",
                report.quarantined,
                report.refused[0].message,
                extra={"role": "evaluate"},
            )

    def _key(self, change: EvaluationChange) -> WireKey:
        uuid = run_uuid(self._namespace, change)
        return WireKey(self._namespace, job_name(change.policy_id), uuid)

    def _told(self, change: EvaluationChange, now: _Now, views: Mapping[int, RunView]) -> Published:
        policy = now.policy(change.policy_id)
        runs = [views[one] for one in change.runs if one in views]
        kind = "promise" if policy is None else policy.kind
        dataset, rows = self._watched(change, kind, now)
        last = newest_run(self._store, change.policy_id)
        if last is not None:
            self._last_us = max(self._last_us, last.ended_us or 0)
        # Later than what was said before, or that would hide it.
        at_us = max(change.at_us, self._last_us + 1)
        self._last_us = at_us + 1
        return Published(
            namespace=self._namespace,
            kind=kind,
            at_us=at_us,
            runs=refs_of((one.job, one.run_uuid) for one in runs),
            dataset=dataset,
            rows=rows,
            blamed=self._blamed(change, policy, runs),
            description=None if policy is None else self._clean(policy.description),
        )

    def _watched(
        self, change: EvaluationChange, kind: str, now: _Now
    ) -> tuple[DatasetRef | None, list[Row]]:
        """Return the dataset that is watched, and how all promises about it stand."""
        target, _, name = change.target.partition(":")
        dataset = dataset_named(self._store, name) if target == "dataset" else None
        if dataset is None:
            return None, []
        before, row = self._row(change.policy_id, dataset), row_of(change, kind)
        if before is not None and is_of_earlier_period(change, before):
            row = before
        self._rows[change.policy_id, dataset] = row
        others = set(of_dataset(self._store, now.promised, dataset)) - {change.policy_id}
        rows = [row, *[self._row(one, dataset) for one in sorted(others)]]
        return dataset, sorted((one for one in rows if one), key=lambda one: one["assertion"])

    def _row(self, policy_id: str, dataset: DatasetRef) -> Row | None:
        key = policy_id, dataset
        if key not in self._rows:
            found: Standing | None = standing_of(self._store, policy_id, dataset)
            self._rows[key] = None if found is None else found.row
            if found is not None:
                self._last_us = max(self._last_us, found.at_us)
        return self._rows[key]

    def _blamed(
        self, change: EvaluationChange, policy: Policy | None, runs: Sequence[RunView]
    ) -> Blamed | None:
        """Return what broke the promise: what took longest beyond the usual, else its last run."""
        if change.state not in _BROKEN:
            return None
        if policy is not None and self._walks < _WALKS_AT_MOST:
            self._walks += 1
            try:
                return self._walked(change, policy)
            except StoreUnavailableError:
                raise
            except (ProvenanceError, LookupError):
                pass  # it is of a kind that nothing leads back from, or its runs are gone
        if not runs:
            return None
        return Blamed(*runs[-1].job, runs[-1].run_uuid)

    def _walked(self, change: EvaluationChange, policy: Policy) -> Blamed:
        dags = [policy.target.dag] if policy.target.dag is not None else []
        provenance = recorded_with_ledger(self._store, dags, change.due_us or change.at_us)
        hop = blamed_hop(policy, provenance, change)
        views = self._store.runs_by_id(hop.runs)
        view = views.get(hop.runs[-1]) if hop.runs else None
        if view is None:
            return Blamed(self._namespace, hop.job)
        return Blamed(*view.job, view.run_uuid)
