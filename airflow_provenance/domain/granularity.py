r"""How closely data is looked at: a policy of lines ``DAG_GLOB DATASET_GLOB LEVEL``. Pure.

===========  =====================================================================================
``dataset``  all: contents are hashed, files and tables looked into
``run``      datasets are named, with what `observe` was told; none is looked at
``none``     of a DAG: its runs are told, and nothing else of them; of a dataset: it is left out
===========  =====================================================================================

The last line that matches wins. A DAG's own level is that of the last line for it whose dataset
glob is ``*``; it bounds its datasets only where that is ``none``.

>>> from airflow_provenance.domain.identity import DatasetRef
>>> policy = parse_policy("* * run\n* postgres:*/public.* dataset  # the warehouse")
>>> policy.of_dag("flights").level
'run'
>>> policy.decide("flights", DatasetRef("postgres://db:5432", "air.public.flights")).level
'run'
>>> policy.decide("flights", DatasetRef("postgres://db:5432", "public.flights"))
Decision(level='dataset', rule='* postgres:*/public.* dataset')
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, NamedTuple, cast, get_args

if TYPE_CHECKING:
    from airflow_provenance.domain.identity import DatasetRef

Level = Literal["none", "run", "dataset"]
_LEVELS = get_args(Level)


class Rule(NamedTuple):
    """One line."""

    dag_glob: str
    dataset_glob: str
    level: Level

    @property
    def text(self) -> str:
        """The line as a user would write it."""
        return f"{self.dag_glob} {self.dataset_glob} {self.level}"


class Decision(NamedTuple):
    """A level, and the line that says so."""

    level: Level
    rule: str


class Policy(NamedTuple):
    """The lines, in the order they were written; behind them stands ``* * dataset``."""

    rules: tuple[Rule, ...] = ()

    def of_dag(self, dag_id: str) -> Decision:
        """Return what holds for a DAG itself."""
        return self._last(dag_id, None)

    def decide(self, dag_id: str, ref: DatasetRef) -> Decision:
        """Return what holds for a dataset in a DAG."""
        of_dag = self.of_dag(dag_id)
        return of_dag if of_dag.level == "none" else self._last(dag_id, ref)

    def _last(self, dag_id: str, ref: DatasetRef | None) -> Decision:
        subject = None if ref is None else f"{ref.namespace}/{ref.name}"
        for rule in reversed((_DEFAULT, *self.rules)):
            is_for_all = rule.dataset_glob == "*"
            if fnmatchcase(dag_id, rule.dag_glob) and (
                is_for_all or (subject is not None and fnmatchcase(subject, rule.dataset_glob))
            ):
                return Decision(rule.level, rule.text)
        raise AssertionError("the default matches everything")


_DEFAULT = Rule("*", "*", "dataset")


def parse_policy(text: str) -> Policy:
    """Return the policy that is written in lines; ``#`` begins a comment.

    Raises `ValueError`, which names the line.
    """
    rules = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 3:
            raise ValueError(f"line {number} is {line.strip()!r}: give DAG_GLOB DATASET_GLOB LEVEL")
        dag_glob, dataset_glob, level = words
        if level not in _LEVELS:
            raise ValueError(
                f"line {number} is {line.strip()!r}: give {', '.join(_LEVELS)} as its level"
            )
        rules.append(Rule(dag_glob, dataset_glob, cast("Level", level)))
    return Policy(tuple(rules))


class Looks(NamedTuple):
    """What the policy says of one task run's data; asked by all that look at datasets."""

    dag_id: str
    policy: Policy = Policy()

    @property
    def of_dag(self) -> Decision:
        """What holds for the DAG itself."""
        return self.policy.of_dag(self.dag_id)

    def decide(self, ref: DatasetRef) -> Decision:
        """Return what holds for a dataset."""
        return self.policy.decide(self.dag_id, ref)

    def looks_at(self, ref: DatasetRef) -> bool:
        """Whether the dataset may be looked at: hashed, read or queried."""
        return self.decide(ref).level == "dataset"

    def names(self, ref: DatasetRef) -> bool:
        """Whether the dataset may be named at all."""
        return self.decide(ref).level != "none"

    @property
    def hides_some(self) -> bool:
        """Whether there may be datasets that must not be named."""
        return any(
            rule.level == "none" and fnmatchcase(self.dag_id, rule.dag_glob)
            for rule in self.policy.rules
        )
