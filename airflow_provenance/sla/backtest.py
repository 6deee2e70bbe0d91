"""How promises would have stood, moment by moment: the log replayed as it was received.

A store has facts as they are known now. What was known at a moment (SEMANTICS 1) is had by
replaying the log, in the order it was received, into a store in memory, and evaluating on the way:
with the same `evaluate`, so what is told is what a live evaluation at these moments told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.domain.evaluation_change import BURN
from airflow_provenance.errors import StoreError
from airflow_provenance.sla.evaluate import evaluate
from airflow_provenance.sla.recorded import RecordedProvenance
from airflow_provenance.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provenance.formats.spool_line import Kind
    from airflow_provenance.sla.evaluation import Evaluation
    from airflow_provenance.sla.facts import ExpectedRun
    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.store.base import LogEntry, ProvenanceReader, Store

_PAGE = 1000


class Moment(NamedTuple):
    """A verdict, and the moment for which it was given."""

    at_us: int
    evaluation: Evaluation


class Changes:
    """Tells the verdicts that differ from the last on the same period: what is new at a moment."""

    def __init__(
        self,
        policies: Sequence[Policy],
        expected: Mapping[str, Sequence[ExpectedRun]] | None = None,
    ) -> None:
        self._policies, self._expected = policies, expected
        self._last: dict[tuple[str, str], str] = {}

    def at(self, store: ProvenanceReader, now_us: int) -> list[Moment]:
        """Evaluate all promises at a moment; return those whose state is another than before."""
        provenance = RecordedProvenance(store, self._expected)
        found = []
        for policy in self._policies:
            for one in evaluate(policy, provenance, now_us):
                # Where there is nothing to judge, the period is the moment: one line for all.
                is_one = one.runs or one.due_us is not None or one.period.startswith(BURN)
                period = one.period if is_one else ""
                if self._last.get((policy.id, period)) != one.state:
                    self._last[policy.id, period] = one.state
                    found.append(Moment(now_us, one))
        return found


def backtest(
    store: ProvenanceReader,
    policies: Sequence[Policy],
    moments: Iterator[int],
    expected: Mapping[str, Sequence[ExpectedRun]] | None = None,
    known: Store | None = None,
) -> Iterator[Moment]:
    """Tell how promises would have changed their state, at rising moments.

    Args:
        store: has the log.
        policies: the promises.
        moments: when they are looked at.
        expected: the runs that were expected of DAGs.
        known: an empty store, to replay the log into: the runs that are told are of that.

    Raises:
        StoreError: the log's raw entries have expired, so nothing can be replayed.
    """
    known = MemoryStore() if known is None else known
    changes, rest = Changes(policies, expected), _entries(store)
    waiting = next(rest, None)
    for now_us in moments:
        while waiting is not None and waiting.received_us <= now_us:
            if waiting.raw is None:
                raise StoreError("the log's raw entries have expired: there is nothing to replay")
            kind: Kind = "N" if waiting.kind == "note" else "E"
            known.ingest([(kind, waiting.raw)], received_us=waiting.received_us)
            waiting = next(rest, None)
        yield from changes.at(known, now_us)


def _entries(store: ProvenanceReader) -> Iterator[LogEntry]:
    after = 0
    while page := store.entries(after_seq=after, limit=_PAGE, with_raw=True):
        yield from page
        after = page[-1].seq
