"""Checks of a dataset: what must hold for its rows, declared in a DAG and run by SQL.

    definitions   what a check is; immutable, refused at parse time where it cannot work
    predicates    a definition as SQL in a dialect: which rows fail
    author_sql    the author's own SQL is one condition, or one query
    dialects      how PostgreSQL, SQLite and DuckDB quote, compare and match
    sources       where the rows are: a table through an Airflow hook, a file or dataframe by DuckDB
    evaluate      runs the checks on a source: an `Outcome` each
    sampling      keys of failing rows, hashed

**A null passes** every check but `NotNull`, as in SQL and dbt: who wants both declares both.
No value of the data is in an outcome, a message or a log line: columns, counts and what the author
wrote are, and the keys of some failing rows only as keyed hashes.

Importing this is cheap, for DAG files do it: engines are loaded when a check runs.
Knows `errors` only: settings, notes and exceptions of Airflow are for `capture.dataset_checks`.

>>> NotNull("dest").label
'not_null(dest)'
"""

from __future__ import annotations

from airflow_provenance.checks.definitions import (
    AcceptedValues,
    Check,
    Expression,
    FailingRows,
    ForeignKey,
    Freshness,
    Measure,
    NotNull,
    Pattern,
    Range,
    RowCount,
    Table,
    Unique,
)

__all__ = [
    "AcceptedValues",
    "Check",
    "Expression",
    "FailingRows",
    "ForeignKey",
    "Freshness",
    "Measure",
    "NotNull",
    "Pattern",
    "Range",
    "RowCount",
    "Table",
    "Unique",
]
