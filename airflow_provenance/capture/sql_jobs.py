"""Which tables a task's SQL read and wrote, from what hooks report, and what is in them.

First it is said which tables these are, so that they are told even where the time is up; then they
are looked at, the written before the read; last, with the columns that were seen, where the columns
of each come from. All of it happens in a thread that is left behind with the deadline.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance import settings
from airflow_provenance.capture.databases import Database, database_of, identity
from airflow_provenance.capture.files import within
from airflow_provenance.capture.tables import NO_TIME, inspect_table
from airflow_provenance.emit.notes import Content, Written
from airflow_provenance.emit.sql_lineage import column_lineage
from airflow_provenance.formats.sql import SqlReader, effects_of

if TYPE_CHECKING:
    from airflow_provenance.capture.files import Deadline
    from airflow_provenance.capture.hook_lineage import SqlJobs
    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.emit.notes import TaskRunNotes
    from airflow_provenance.formats.sql import Reading, Statement, Table

_log = logging.getLogger(__name__)
# To have read it imports all that reading SQL of a dialect needs.
_ANY_SQL = "INSERT INTO a SELECT b FROM c"
_READ_EARLIER = "looked at after the task had read it"
_FAILED = "the task failed, and what it wrote may have been rolled back"
_ROLLED_BACK = "the task rolled something back, which may be what it wrote"
_WROTE_TOO = "the task wrote it too"
_CHANGES_SCHEMA = re.compile(
    r"\bsearch_path\b|\bset\s+(?:session\s+|local\s+)?schema\b", re.IGNORECASE
)
# Not to a savepoint: what came before that stays.
_ROLLS_BACK = re.compile(r"(?:^|;)\s*(?:rollback|abort)\b(?!(?:\s+\w+)?\s+to\b)", re.IGNORECASE)
# By namespace and name of datasets.
_Columns = dict[str, dict[str, list[str]]]
_Places = dict["DatasetRef", tuple[Database, "Table"]]
# Looks into a table, unless the granularity policy says that it is only named.
_Inspect = Callable[["DatasetRef", tuple[Database, "Table"]], Content | None]


class _Job(NamedTuple):
    """One text that a hook ran."""

    database: Database
    default_database: str | None
    hook: int
    sql: str
    rows: int | None  # as its cursor told
    times: int

    def ref(self, table: Table) -> DatasetRef | None:
        return self.database.ref(table, self.default_database)


@dataclass(slots=True)
class _Found:
    """What was found out so far; the task's thread reads it when the time is up."""

    inputs: dict[DatasetRef, Content] = field(default_factory=dict)
    outputs: dict[DatasetRef, Content] = field(default_factory=dict)
    written: dict[DatasetRef, Written] = field(default_factory=dict)
    not_datasets: set[DatasetRef] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)
    is_done: bool = False


def note_tables(noted: TaskRunNotes, jobs: SqlJobs, deadline: Deadline) -> None:
    """Note the tables that the SQL of a task read and wrote. Takes no longer than the deadline."""
    found, most_rows = _Found(), settings.table_max_rows()
    looks_at = noted.granularity.looks_at

    def inspect(ref: DatasetRef, place: tuple[Database, Table]) -> Content | None:
        database, table = place
        return inspect_table(database.tables, table, most_rows) if looks_at(ref) else None

    def look() -> None:
        try:
            _look(found, ours, inspect, is_all=jobs.is_all)
            found.is_done = True
        except BaseException as error:  # noqa: BLE001 - drivers are others' code
            found.left_out.append(type(error).__name__)
            _log.debug("Tables could not be looked at", exc_info=error)

    if deadline.is_over:
        return  # turned off
    # Both here: a fork beside an import of the thread would wait for ever for that module, and its
    # event be lost; one beside a question for a connection would speak to the supervisor, too.
    ours = _jobs(jobs, deadline, found)
    for dialect in {job.database.dialect for job in ours}:
        SqlReader(dialect).read(_ANY_SQL)
    within(deadline, look)
    # Copies: the thread may still be writing when the time is up.
    inputs = dict(found.inputs)
    outputs, written = dict(found.outputs), dict(found.written)
    failed = noted.state in ("FAIL", "UP_FOR_RETRY")
    if failed or any(_ROLLS_BACK.search(job.sql) for job in ours):
        reason = _FAILED if failed else _ROLLED_BACK
        outputs = {ref: _maybe_rolled_back(one, reason) for ref, one in outputs.items()}
        written = {ref: replace(one, rows=None) for ref, one in written.items()}
    for seen, contents, named in (
        (inputs, noted.inputs, noted.asset_inputs),
        (outputs, noted.outputs, noted.asset_outputs),
    ):
        contents.update({ref: content for ref, content in seen.items() if looks_at(ref)})
        named.update({ref: named.get(ref) for ref in seen})
    noted.written |= written
    noted.not_datasets |= set(found.not_datasets)
    if not found.is_done and not (outputs or inputs):
        found.left_out.append(NO_TIME)
    if found.left_out:
        said = "; ".join(dict.fromkeys(found.left_out[:5]))
        _log.info("Provenance of SQL is not complete: %s. The task is not affected.", said)


def _maybe_rolled_back(content: Content, reason: str) -> Content:
    return replace(content, is_verified=False, reason=content.reason or reason)


def _look(found: _Found, ours: list[_Job], inspect: _Inspect, *, is_all: bool) -> None:
    opened = {
        key: _open(database, [job.sql for job in ours if job.database is database], found)
        for key, database in {id(job.database): job.database for job in ours}.items()
    }
    ours = [job for job in ours if opened[id(job.database)]]
    readings = _read(ours, {})
    for reading in readings:
        found.left_out += reading.left_out
    read, written = _places(ours, readings, found)
    found.written = _written(ours, readings, is_all=is_all)
    found.outputs |= {ref: Content(False, reason=NO_TIME) for ref in written}
    for ref in read:
        reason = _WROTE_TOO if ref in written else NO_TIME
        found.inputs[ref] = Content(False, reason=reason)
    for ref, place in written.items():
        found.outputs[ref] = inspect(ref, place) or found.outputs[ref]
    for ref, place in read.items():
        if ref not in written and (content := inspect(ref, place)) is not None:
            # The task read it before, and anybody may have written since.
            reason = content.reason or _READ_EARLIER
            found.inputs[ref] = replace(content, is_verified=False, reason=reason)
    columns = _columns({**found.inputs, **found.outputs})
    if columns:
        found.written = _written(ours, _read(ours, columns), is_all=is_all)


def _open(database: Database, texts: list[str], found: _Found) -> bool:
    """Return whether tables of this database can be named."""
    try:
        database.open()
    except BaseException as error:  # noqa: BLE001 - hooks are others' code, and one may call `sys.exit`
        found.left_out.append(f"a hook of {database.dialect} raises {type(error).__name__}")
        return False
    if any(_CHANGES_SCHEMA.search(text) for text in texts):
        database.forget_schema()
    if database.problem is not None:
        where = f"tables without schema at {database.namespace}"
        found.left_out.append(f"{where}: {database.problem}")
    return True


def _columns(contents: dict[DatasetRef, Content]) -> _Columns:
    """Return the columns of tables whose columns are all known."""
    columns: _Columns = {}
    for ref, content in contents.items():
        structure = content.structure
        if structure is not None and structure.column_count == len(structure.columns) > 0:
            names = [column.name for column in structure.columns]
            columns.setdefault(ref.namespace, {})[ref.name] = names
    return columns


def _jobs(jobs: SqlJobs, deadline: Deadline, found: _Found) -> list[_Job]:
    databases: dict[tuple[object, ...], Database | None] = {}
    ours = []
    for info in jobs.infos:
        hook, value = info.context, info.value
        if (key := _identity(hook)) not in databases:
            databases[key] = _database(hook, deadline, found)
        database = databases[key]
        sql = value.get("sql")
        if database is not None and isinstance(sql, str):
            rows, default = value.get("row_count"), value.get("default_db")
            ours.append(_Job(database, default, id(hook), sql, rows, info.count))
    return ours


def _identity(hook: Any) -> tuple[object, ...]:
    try:
        return identity(hook)
    except Exception:  # noqa: BLE001 - hooks are others' code
        return (id(hook),)


def _database(hook: Any, deadline: Deadline, found: _Found) -> Database | None:
    try:
        return database_of(hook, deadline)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - hooks are others' code
        found.left_out.append(f"{type(hook).__name__} raises {type(error).__name__}")
        return None


def _read(jobs: list[_Job], columns: _Columns) -> list[Reading]:
    readers: dict[int, SqlReader] = {}  # a hook's connections come and go; temporary names stay
    readings = []
    for job in jobs:
        if job.hook not in readers:
            known = columns.get(job.database.namespace)
            readers[job.hook] = SqlReader(job.database.dialect, known)
        readings.append(readers[job.hook].read(job.sql))
    return readings


def _places(jobs: list[_Job], readings: list[Reading], found: _Found) -> tuple[_Places, _Places]:
    """Return where to look for what was read, and for what was written and is still there."""
    read: _Places = {}
    written: _Places = {}
    for job, reading in zip(jobs, readings, strict=True):
        for statement in reading.statements:
            writes = [write.table for write in statement.writes]
            for table, places in [
                *((table, read) for table in statement.reads),
                *((table, written) for table in writes),
            ]:
                ref = job.ref(table)
                if ref is not None and job.database.is_system(table):
                    found.not_datasets.add(ref)
                elif ref is not None:
                    places.setdefault(ref, (job.database, table))
            found.not_datasets |= {
                ref for table in statement.set_aside if (ref := job.ref(table)) is not None
            }
    kept = {ref for ref, _ in _effects(jobs, readings)}
    for ref in written.keys() - kept:  # renamed: what it was called in between is no dataset
        found.not_datasets.add(ref)
        written.pop(ref)
        read.pop(ref, None)
    return read, written


def _effects(jobs: list[_Job], readings: list[Reading]) -> list[tuple[DatasetRef, Any]]:
    """Return what was done to each table, and how to name those that its columns come from."""
    by_database: dict[tuple[str, str | None], tuple[_Job, list[Statement]]] = {}
    for job, reading in zip(jobs, readings, strict=True):
        group = by_database.setdefault((job.database.namespace, job.default_database), (job, []))
        group[1].extend(reading.statements)
    return [
        (ref, (job, effect))
        for job, statements in by_database.values()
        for table, effect in effects_of(statements, job.database.key).items()
        if (ref := job.ref(table)) is not None
    ]


def _written(
    jobs: list[_Job], readings: list[Reading], *, is_all: bool
) -> dict[DatasetRef, Written]:
    rows = _rows(jobs, readings)
    return {
        ref: Written(
            rows.get(ref) if is_all else None, effect.change, column_lineage(effect, job.ref)
        )
        for ref, (job, effect) in _effects(jobs, readings)
    }


def _rows(jobs: list[_Job], readings: list[Reading]) -> dict[DatasetRef, int | None]:
    """Return how many rows were written to each table, None where not every statement told."""
    rows: dict[DatasetRef, int | None] = {}
    for job, reading in zip(jobs, readings, strict=True):
        writes = [write for one in reading.statements for write in one.writes]
        # Of several statements, a cursor tells of the first or of the last.
        is_one = len(reading.statements) == len(writes) == 1 and not reading.left_out
        for write in writes:
            ref = job.ref(write.table)
            if ref is None or not write.is_counted:
                continue
            before = rows.get(ref, 0)
            if is_one and job.rows is not None and before is not None:
                rows[ref] = before + job.rows * job.times
            else:
                rows[ref] = None
    return rows
