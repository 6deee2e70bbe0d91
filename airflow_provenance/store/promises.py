"""What a store keeps of promises: those in force, how they stood, and what was expected of DAGs.

Changes are never altered, and kept for as long as `expire_promises` is asked to. Expectations and
conditions are written by who sees Airflow's database (`collect.airflow_expected`), so that they are
known while that cannot be reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from airflow_provenance.domain.evaluation_change import EvaluationChange


class PolicyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A revision of a promise.

    Attributes:
        source: whence it is: ``file``, or ``dag:ID``; ``place`` says where in it.
        body: the promise as JSON.
        since_us: since when it is in force.
        next_us: when it is due next, as far as that is known.
    """

    policy_id: str
    revision: str
    source: str
    place: str
    body: str
    since_us: int = 0
    next_us: int | None = None
    active: bool = True


class ExpectedRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run that a DAG's schedule asks for, and when Airflow made it."""

    dag_id: str
    due_us: int
    logical_us: int | None = None
    came_us: int | None = None


class ConditionRow(msgspec.Struct, frozen=True, kw_only=True):
    """What kept a DAG from running for a time; ``dag_id`` is empty where it kept all of them."""

    dag_id: str
    kind: str
    from_us: int
    until_us: int | None = None
    detail: str = ""


class PromiseStore(Protocol):
    """What evaluation and alerts ask of a store."""

    def put_policies(self, rows: Sequence[PolicyRow], at_us: int) -> None:
        """Put these promises in force, and no others; a new revision is in force from `at_us`."""

    def policies(self) -> list[PolicyRow]:
        """Return the promises in force, by id."""

    def add_changes(
        self,
        changes: Sequence[EvaluationChange],
        next_us: Mapping[tuple[str, str], int | None],
        at_us: int,
    ) -> list[EvaluationChange]:
        """Append what differs in state from the last row of its policy, revision and period.

        Args:
            changes: in order; ``seq`` and ``at_us`` of them are not looked at.
            next_us: when promises are due next, by id and revision.
            at_us: now.

        Returns what was written, with its ``seq``.
        """

    def evaluation_changes(self, after_seq: int = 0, limit: int = 1000) -> list[EvaluationChange]:
        """Return changes in the order in which they were written."""

    def latest_changes(self, since_us: int = 0) -> list[EvaluationChange]:
        """Return the last change of each policy, revision and period, in order of ``seq``.

        Of those written since a time, and all that still are broken.
        """

    def expire_promises(self, before_us: int) -> int:
        """Drop what was written or expected before a time, and what held DAGs back until then.

        What is broken, and may still be made good, stays as it stands; so does the newest change
        of all, after which others are numbered. Returns how many changes were dropped.
        """

    def put_expected(self, dag_id: str, after_us: int, rows: Sequence[ExpectedRow]) -> None:
        """Replace the runs expected of a DAG that are due after a time; add or mend others."""

    def expected_runs(self, dag_ids: Collection[str], since_us: int) -> list[ExpectedRow]:
        """Return the runs expected of DAGs that are due since a time."""

    def put_conditions(self, rows: Iterable[ConditionRow]) -> None:
        """Keep conditions; one of the same DAG, kind and begin is replaced."""

    def conditions(self, since_us: int) -> list[ConditionRow]:
        """Return the conditions that held at or after a time, the earliest first."""


def in_force(
    known: Iterable[PolicyRow], wanted: Sequence[PolicyRow], at_us: int
) -> list[PolicyRow]:
    """Return the rows to write so that exactly these promises are in force.

    One that comes back is in force from now on again: nobody watched meanwhile.
    """
    before = {(row.policy_id, row.revision): row for row in known}
    after = {}
    for row in wanted:
        key = row.policy_id, row.revision
        old = before.get(key)
        goes_on = old is not None and old.active
        since_us = old.since_us if old is not None and goes_on else at_us
        next_us = old.next_us if old is not None and goes_on else None
        after[key] = msgspec.structs.replace(row, since_us=since_us, next_us=next_us, active=True)
    gone = [
        msgspec.structs.replace(row, active=False)
        for key, row in before.items()
        if row.active and key not in after
    ]
    return [*gone, *[row for key, row in after.items() if before.get(key) != row]]


# Its period may still be made good.
OPEN = ("breached", "at_risk")
