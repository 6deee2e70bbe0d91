"""The clock of promises: tick by tick, what changed of how they stand goes into the store.

A tick looks at what may have changed: promises about what was recorded since the last tick, those
of which a moment has come, and those of DAGs of which Airflow's own record tells something new.
All of them are looked at in the first tick, back to the watermark of the last that was: so every
moment that nobody watched is caught up, with the time at which its promise broke. How one promise
is judged, `judging` says.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.collect.judging import Span, Watched, dags_of, facts_for, judge, together
from airflow_provenance.collect.touched import touched
from airflow_provenance.errors import PolicyError, ProvenanceError, StoreUnavailableError
from airflow_provenance.sla.changes import LEVELS
from airflow_provenance.sla.evaluate import LOOKBACK_US
from airflow_provenance.sla.policy import from_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provenance.collect.expectations import Expectations
    from airflow_provenance.collect.promise_sources import PromiseSources
    from airflow_provenance.domain.alert import Action
    from airflow_provenance.domain.clock import Clock
    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.sla.calendar import Excusal
    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.sla.prediction import Known
    from airflow_provenance.store.base import Store

    ExcusalsOf = Callable[[Sequence[Action], Iterable[Policy]], dict[str, tuple[Excusal, ...]]]

_log = logging.getLogger(__name__)
MARK = "evaluated"
OBSERVED = "airflow_observed"
_OBSERVE_US = 10_000_000
_MARK_US = 60_000_000
_AT_ONCE = 500  # promises that are read for, judged and written together
_EXCUSED_US = 400 * 86_400_000_000  # no window of a promise is longer, as good as ever


class Ticked(NamedTuple):
    """What a tick did."""

    evaluated: int = 0
    changes: Sequence[EvaluationChange] = ()
    policies: int = 0


class Evaluator:
    """See this module.

    Args:
        store: what was recorded, and where changes go.
        sources: the promises.
        expectations: the ledger; None where there is no Airflow.
        clock: the time.
        excusals_of: says what people excused by hand, promise by promise; see `alerts.excuses`.
    """

    def __init__(
        self,
        store: Store,
        sources: PromiseSources,
        expectations: Expectations | None,
        clock: Clock,
        excusals_of: ExcusalsOf = lambda _actions, _policies: {},
    ) -> None:
        self._store, self._sources, self._expectations = store, sources, expectations
        self._clock, self._excusals_of = clock, excusals_of
        self._watched: dict[str, Watched] = {}
        self._known: dict[tuple[str, str], dict[str, EvaluationChange]] = {}
        self._wakes: dict[str, int] = {}
        self._seq = -1
        self._mark_us: int | None = None
        self._told: set[str] = set()
        self._observe_at_us = 0
        self._from_us = 0
        self._outage: str | None = None  # of Airflow's database
        self._dues: dict[tuple[str, str], int | None] = {}
        self._said: list[Action] = []
        self._excusals: dict[str, tuple[Excusal, ...]] = {}

    def run_once(self, should_stop: Callable[[], bool] = lambda: False) -> Ticked:
        """Do a tick."""
        now_us = self._clock.now_us()
        due = self._started(now_us)
        is_first = self._seq < 0
        asks = now_us >= self._observe_at_us
        due |= self._renew(now_us, asks)
        if asks:
            due |= self._observe(now_us)
            self._observe_at_us = now_us + _OBSERVE_US
        seq = self._store.last_seq()
        if seq != self._seq and not is_first:
            policies = [one.policy for one in self._watched.values()]
            due |= touched(self._store, policies, self._seq)
        due |= {slug for slug, us in self._wakes.items() if us <= now_us}
        due |= self._excused(now_us)
        written = self._evaluate(
            [one for one in sorted(due) if one in self._watched], now_us, should_stop
        )
        if should_stop():
            return Ticked(0, written, len(self._watched))
        self._seq = seq
        if self._mark_us is None or written or now_us - self._mark_us >= _MARK_US:
            self._store.set_mark(MARK, now_us)
            self._mark_us = now_us
        return Ticked(len(due), written, len(self._watched))

    # ---- What is to be looked at -----------------------------------------------------------------

    def _started(self, now_us: int) -> set[str]:
        """In the first tick, and where another host led meanwhile, know what the store knows."""
        mark_us = self._store.mark(MARK)
        if self._seq >= 0 and mark_us == self._mark_us:
            return set()
        self._seq = -1
        self._from_us = min(now_us, now_us if mark_us is None else mark_us)
        self._mark_us = mark_us
        self._known = {}
        for one in self._store.latest_changes(self._from_us - 2 * LOOKBACK_US):
            self._known.setdefault((one.policy_id, one.revision), {})[one.period] = one
        self._take_rows()
        return set(self._watched)

    def _renew(self, now_us: int, asks: bool) -> set[str]:
        """Take up other promises; return the ids of those that are new."""
        try:
            changed = self._sources.refresh(ask_airflow=asks)
        except StoreUnavailableError as error:
            self._outage = str(error)
            changed = True
        else:
            self._outage = None if asks else self._outage
        outage = [] if self._outage is None else [self._outage]
        self._tell([*self._sources.problems, *outage])
        if not changed:
            return set()
        self._store.put_policies(self._sources.rows(), now_us)
        before = self._watched
        self._take_rows()
        return {slug for slug, one in self._watched.items() if before.get(slug) != one}

    def _take_rows(self) -> None:
        self._watched = {}
        for row in self._store.policies():
            try:
                policy = from_plain(json.loads(row.body))
            except PolicyError as error:
                self._tell([f"{row.place}: {error}"])
                continue
            self._watched[row.policy_id] = Watched(policy, row.revision, row.since_us)
        self._wakes = {slug: us for slug, us in self._wakes.items() if slug in self._watched}
        self._excusals = self._excusals_of(self._said, self._ratios())

    def _tell(self, problems: Sequence[str]) -> None:
        """Say what is wrong, once for as long as it is."""
        for one in problems:
            if one not in self._told:
                _log.warning("%s; what was in force stays", one, extra={"role": "evaluate"})
        self._told = set(problems)

    def _observe(self, now_us: int) -> set[str]:
        """Look at Airflow; return the promises about DAGs of which something changed."""
        dag_ids = sorted(dags_of(self._watched.values()))
        if self._expectations is None or not dag_ids:
            return set()
        try:
            changed = self._expectations.observe(dag_ids, now_us, self._store.mark(OBSERVED))
        except StoreUnavailableError as error:
            self._outage = self._outage or str(error)
            self._expectations.unreachable(now_us)
            return set()
        self._store.set_mark(OBSERVED, now_us)
        return {slug for slug, one in self._watched.items() if one.policy.target.dag in changed}

    def _excused(self, now_us: int) -> set[str]:
        """Take up what people excused; return the promises whose budgets that may spare."""
        said = [one for one in self._store.actions(now_us - _EXCUSED_US) if one.kind == "excuse"]
        if said == self._said:
            return set()
        before, self._excusals = self._excusals, self._excusals_of(said, self._ratios())
        self._said = said
        return {
            slug for slug in before | self._excusals if before.get(slug) != self._excusals.get(slug)
        }

    def _ratios(self) -> list[Policy]:
        policies = (one.policy for one in self._watched.values())
        return [one for one in policies if isinstance(one.objective, LEVELS)]

    # ---- What is found ---------------------------------------------------------------------------

    def _evaluate(
        self, slugs: Sequence[str], now_us: int, should_stop: Callable[[], bool]
    ) -> list[EvaluationChange]:
        written: list[EvaluationChange] = []
        if not slugs:
            return written
        span = Span(now_us, self._from_us, self._mark_us)
        # Those about one DAG or dataset together: what they look at is read once, and forgotten
        # with them, so that memory does not grow with what is promised. Those that need whole
        # documents come last, or all would.
        ordered = sorted(slugs, key=lambda slug: together(self._watched[slug]))
        for start in range(0, len(ordered), _AT_ONCE):
            if should_stop():
                break
            changes: list[EvaluationChange] = []
            dues: dict[tuple[str, str], int | None] = {}
            wakes: dict[str, int] = {}
            some = ordered[start : start + _AT_ONCE]
            watched = [self._watched[slug] for slug in some]
            provenance = facts_for(self._store, watched, span)
            predicted: dict[int, Known] = {}
            for slug in some:
                one = self._watched[slug]
                try:
                    told = self._known.get((slug, one.revision), {})
                    excused = self._excusals.get(slug, ())
                    judged = judge(one, excused, told, provenance, predicted, span)
                except ProvenanceError as error:
                    if isinstance(error, StoreUnavailableError):
                        raise
                    _log.warning("promise %s: %s", slug, error, extra={"role": "evaluate"})
                    wakes[slug] = now_us + _MARK_US
                    continue
                changes += judged.changes
                dues[slug, one.revision], wakes[slug] = judged.due_us, judged.wake_us
            written += self._write(changes, dues, now_us)
            self._wakes |= wakes
        return written

    def _write(
        self,
        changes: list[EvaluationChange],
        dues: dict[tuple[str, str], int | None],
        now_us: int,
    ) -> list[EvaluationChange]:
        if not changes and all(self._dues.get(key, -1) == us for key, us in dues.items()):
            return []
        written = self._store.add_changes(changes, dues, now_us)
        self._dues |= dues
        for one in written:
            known = self._known.setdefault((one.policy_id, one.revision), {})
            known[one.period] = one
        return written
