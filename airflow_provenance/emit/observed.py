"""What is said of datasets, beside their content: by `observe`, and by looking into files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow_provenance.domain.identity import DatasetRef

# A schema of more columns is cut here: all the events of a task carry it.
MOST_COLUMNS = 1000
# The reason why nothing is known of what a file holds that is not there.
NO_FILE = "no such file"


class Column(NamedTuple):
    """A column; without type where the data does not say it."""

    name: str
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Structure:
    """What the bytes of a file mean, or what a table has.

    Attributes:
        format: ``csv``, ``jsonl``, ``parquet`` or ``table``.
        columns: at most `MOST_COLUMNS`.
        column_count: how many there are.
        rows: records, without the header.
        note: why something of this is missing.
    """

    format: str
    columns: tuple[Column, ...] = ()
    column_count: int | None = None
    rows: int | None = None
    note: str | None = None


@dataclass(slots=True)
class Observation:
    """What the task itself says of a dataset, or of one partition, that it read or wrote."""

    partition: str | None = None
    version: str | None = None
    rows: int | None = None
    columns: tuple[Column, ...] = ()
    replaces: bool = False


class Check(NamedTuple):
    """The outcome of a quality check.

    Attributes:
        name: of this check; without a kind, its kind as well.
        failed_rows, rows: how many rows are not as they should be, and were looked at.
        kind: of check, as ``not_null``.
        expected, actual: what the author asks for, and the count that was found instead.
        sql: the author's own.
        params: what else is known.
    """

    name: str
    is_passed: bool
    column: str | None = None
    failed_rows: int | None = None
    severity: str = "error"
    kind: str | None = None
    rows: int | None = None
    expected: str | None = None
    actual: str | None = None
    sql: str | None = None
    params: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Observations:
    """All that `observe` was told by one task.

    Attributes:
        inputs, outputs: by dataset and partition.
        input_files, output_files: those of them that are local files.
        checks: the last of each name and column.
        sql_checks: those of a SQL check operator by name; None for what only Airflow tells.
        complaints: what was said of bad arguments, so that a loop says it once.
    """

    inputs: dict[tuple[DatasetRef, str | None], Observation] = field(default_factory=dict)
    outputs: dict[tuple[DatasetRef, str | None], Observation] = field(default_factory=dict)
    input_files: dict[DatasetRef, Path] = field(default_factory=dict)
    output_files: dict[DatasetRef, Path] = field(default_factory=dict)
    checks: dict[DatasetRef, dict[tuple[str, str | None], Check]] = field(default_factory=dict)
    sql_checks: dict[str, Check | None] = field(default_factory=dict)
    complaints: set[str] = field(default_factory=set)
