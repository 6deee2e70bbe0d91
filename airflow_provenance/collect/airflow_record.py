"""Airflow's own record of what ran, read by its ORM: the only module here that touches it.

For the service's process and the command line, never a task or the scheduler: a session opened in
the scheduler's listener kills it. Columns are listed, so that one that Airflow drops is noticed by
the test of this module, and nothing large is read.
"""

from __future__ import annotations

import importlib
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.domain.clock import to_us
from airflow_provenance.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_TRY = (
    "dag_id",
    "run_id",
    "task_id",
    "map_index",
    "try_number",
    "state",
    "scheduled_dttm",
    "queued_dttm",
    "start_date",
    "end_date",
    "hostname",
    "updated_at",
)
_DAG_RUN = (
    "dag_id",
    "run_id",
    "state",
    "queued_at",
    "start_date",
    "end_date",
    "updated_at",
    "run_after",
    "triggered_by",
)
_AT_ONCE = 500
_TEST = "TEST"  # of DagRunTriggeredByType
_loading = threading.Lock()
_ASKED = (
    "airflow.jobs.job",
    "airflow.models.asset",
    "airflow.models.dag",
    "airflow.models.dag_version",
    "airflow.models.dagrun",
    "airflow.models.errors",
    "airflow.models.log",
    "airflow.models.pool",
    "airflow.models.serialized_dag",
    "airflow.models.taskinstance",
    "airflow.models.taskinstancehistory",
    "airflow.timetables.base",
    "airflow.utils.session",
)


class TryRecord(NamedTuple):
    """One try of a task instance, as Airflow's database has it. Times in UTC microseconds."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    state: str | None
    scheduled_us: int | None
    queued_us: int | None
    started_us: int | None
    ended_us: int | None
    hostname: str | None
    updated_us: int
    is_test: bool = False  # of a DAG run of ``airflow dags test``


class DagRunRecord(NamedTuple):
    """One DAG run, as Airflow's database has it; one of a test began when it could.

    Airflow writes the logical date as the start of a test, which may be years ago.
    """

    dag_id: str
    run_id: str
    state: str | None
    queued_us: int | None
    started_us: int | None
    ended_us: int | None
    updated_us: int
    is_test: bool = False  # by ``airflow dags test``


def load() -> None:
    """Import what the modules here ask Airflow by, one thread at a time.

    Two threads that import parts of Airflow at once, which import each other, wait for ever.
    """
    with _loading:
        for name in _ASKED:
            importlib.import_module(name)


def tries(since_us: int) -> Iterator[list[TryRecord]]:
    """Give the tries of every DAG run that changed since a time, some DAG runs at once.

    Earlier tries of those DAG runs come too: a row that becomes history keeps the time at which it
    was changed, which may be long ago. A row that Airflow's decision gave the number of a try that
    ran before (a cleared task whose upstream failed) is no try, and is left out.
    """
    from airflow.models.taskinstance import TaskInstance  # noqa: TID251 - the one place
    from airflow.models.taskinstancehistory import TaskInstanceHistory  # noqa: TID251 - the same
    from sqlalchemy import select, tuple_

    with _session() as session:
        changed = select(TaskInstance.dag_id, TaskInstance.run_id).where(
            TaskInstance.updated_at >= _moment(since_us)
        )
        runs = [tuple(row) for row in session.execute(changed.distinct().order_by(*_ids(changed)))]
        for start in range(0, len(runs), _AT_ONCE // 10):
            some = runs[start : start + _AT_ONCE // 10]
            found: dict[tuple[Any, ...], TryRecord] = {}
            tests = _tests_among(session, some)
            for model in (TaskInstance, TaskInstanceHistory):  # history wins
                columns = [getattr(model, name) for name in _TRY]
                query = select(*columns).where(tuple_(model.dag_id, model.run_id).in_(some))
                for row in session.execute(query):
                    times = map(_us, row[6:10])
                    is_test = (row[0], row[1]) in tests
                    values = (*row[:6], *times, row[10] or None, _us(row[11]) or 0, is_test)
                    found[tuple(row[:5])] = TryRecord._make(values)
            yield list(found.values())


def dag_runs(since_us: int) -> Iterator[list[DagRunRecord]]:
    """Give the DAG runs that changed since a time."""
    from airflow.models.dagrun import DagRun  # noqa: TID251 - the one place
    from sqlalchemy import select

    with _session() as session:
        query = select(*[getattr(DagRun, name) for name in _DAG_RUN]).where(
            DagRun.updated_at >= _moment(since_us)
        )
        for rows in session.execute(query.order_by(DagRun.id)).partitions(_AT_ONCE):
            yield [_dag_run(row) for row in rows]


def _dag_run(row: Any) -> DagRunRecord:
    queued_us, started_us, ended_us, updated_us, run_after_us = map(_us, row[3:8])
    is_test = getattr(row[8], "name", row[8]) == _TEST
    if is_test and started_us is not None:
        started_us = run_after_us
    dag_id, run_id, state = row[:3]
    return DagRunRecord(
        dag_id, run_id, state, queued_us, started_us, ended_us, updated_us or 0, is_test
    )


def _tests_among(session: Any, runs: list[tuple[Any, ...]]) -> set[tuple[str, str]]:
    """Return which DAG runs are of ``airflow dags test``."""
    from airflow.models.dagrun import DagRun  # noqa: TID251 - the one place
    from sqlalchemy import select, tuple_

    columns = (DagRun.dag_id, DagRun.run_id, DagRun.triggered_by)
    found = session.execute(select(*columns).where(tuple_(DagRun.dag_id, DagRun.run_id).in_(runs)))
    return {(row[0], row[1]) for row in found if getattr(row[2], "name", row[2]) == _TEST}


def _ids(query: Any) -> Any:
    return query.selected_columns


def _session() -> Any:
    from contextlib import contextmanager

    from airflow.utils.session import create_session  # noqa: TID251 - the one place
    from sqlalchemy.exc import SQLAlchemyError

    @contextmanager
    def told() -> Iterator[Any]:
        try:
            with create_session(scoped=False) as session:
                yield session
        except SQLAlchemyError as error:
            text = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise StoreUnavailableError(
                f"Airflow's database cannot be read ({text[:200]}): check [database] "
                "sql_alchemy_conn, and that the server runs"
            ) from error

    return told()


def _moment(us: int) -> datetime:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(us // 1_000_000, UTC)


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)
