"""What SQL reads and writes: tables, columns and where the columns come from. Pure.

::

    text ──> split: one statement at a time ──> statements: what each reads and writes
                                                   └─> relations: where its columns come from
    Reading.statements ──> effects: what they did, all together, to each table

Nothing is guessed. A column whose origin is not certain without a schema that was not given is left
out, a statement that cannot be read is skipped with the reason, and the others hold. sqlglot, which
takes a while to import, is imported by the first statement.

>>> reading = SqlReader("postgres").read("INSERT INTO t (a) SELECT b FROM u; SELEC 1")
>>> [(str(one.reads[0]), str(one.writes[0].table)) for one in reading.statements]
[('u', 't')]
>>> reading.left_out
['statement 2: SELEC is not understood']
>>> sorted(reading.statements[0].writes[0].columns["a"])
[Source(table=Table(parts=('u',), key=('u',)), column='b', kind='IDENTITY')]
"""

from __future__ import annotations

from airflow_provenance.formats.sql.effects import Effect, effects_of
from airflow_provenance.formats.sql.model import (
    Change,
    Reading,
    Source,
    Statement,
    Table,
    Write,
)
from airflow_provenance.formats.sql.reader import SqlReader

__all__ = [
    "Change",
    "Effect",
    "Reading",
    "Source",
    "SqlReader",
    "Statement",
    "Table",
    "Write",
    "effects_of",
]
