"""Which runs Airflow's schedules ask for, and what keeps DAGs from running, read by its ORM.

Beside `airflow_record`, and under the same rule: for the service's process, never in a task or the
scheduler. `expectations` keeps what is read here in our store.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.collect.airflow_record import _moment, _session, _us
from airflow_provenance.sla import causes
from airflow_provenance.store.promises import ExpectedRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

_log = logging.getLogger(__name__)
# A DAG that runs every minute has so many in 13 days; nobody waits for more.
_MOST = 20_000
_PAUSE_EVENTS = ("patch_dag", "patch_dags", "cli_dag_pause", "cli_dag_unpause", "pause", "unpause")


class Seen(NamedTuple):
    """Something that keeps a DAG from running now; `from_us`: since when, where Airflow says."""

    dag_id: str
    kind: str
    detail: str = ""
    from_us: int | None = None


class DagRunSeen(NamedTuple):
    """A run that a schedule made."""

    dag_id: str
    due_us: int
    logical_us: int | None
    came_us: int


def conditions_now(dag_ids: Collection[str]) -> list[Seen]:
    """Return what keeps these DAGs from running at this moment."""
    from airflow.models.dag import DagModel  # noqa: TID251 - the service's process
    from airflow.models.errors import ParseImportError  # noqa: TID251 - the same
    from sqlalchemy import select

    names = ("dag_id", "is_paused", "is_stale", "has_import_errors", "exceeds_max_non_backfill")
    more = ("max_active_runs", "bundle_name", "relative_fileloc", "asset_expression")
    found: list[Seen] = []
    with _session() as session:
        columns = [getattr(DagModel, name) for name in (*names, *more)]
        rows = session.execute(select(*columns).where(DagModel.dag_id.in_(dag_ids))).all()
        errors = {
            (row.bundle_name, row.filename): _us(row.timestamp)
            for row in session.execute(
                select(
                    ParseImportError.bundle_name,
                    ParseImportError.filename,
                    ParseImportError.timestamp,
                )
            )
        }
        there = {row.dag_id for row in rows}
        found += [Seen(one, causes.DAG_DELETED) for one in dag_ids if one not in there]
        paused = [row.dag_id for row in rows if row.is_paused]
        since = _paused_since(session, paused)
        found += [Seen(one, causes.PAUSED, from_us=since.get(one)) for one in paused]
        for row in rows:
            place = (row.bundle_name, row.relative_fileloc)
            if row.has_import_errors or place in errors:
                file = row.relative_fileloc or ""
                found.append(Seen(row.dag_id, causes.IMPORT_ERROR, file, errors.get(place)))
            elif row.is_stale:
                found.append(Seen(row.dag_id, causes.DAG_REMOVED))
            if row.exceeds_max_non_backfill:
                detail = str(row.max_active_runs or "")
                found.append(Seen(row.dag_id, causes.MAX_ACTIVE_RUNS, detail))
        waiting = [row.dag_id for row in rows if row.asset_expression]
        found += _waiting_for_assets(session, waiting)
        found += _in_full_pools(session, sorted(there))
    return found


def _paused_since(session: Any, dag_ids: Sequence[str]) -> dict[str, int]:
    """Return when DAGs that are paused were last said to be."""
    from airflow.models.log import Log  # noqa: TID251 - the service's process
    from sqlalchemy import func, select

    if not dag_ids:
        return {}
    query = select(Log.dag_id, func.max(Log.dttm)).where(
        Log.dag_id.in_(dag_ids), Log.event.in_(_PAUSE_EVENTS)
    )
    rows = session.execute(query.group_by(Log.dag_id))
    return {dag_id: us for dag_id, at in rows if (us := _us(at)) is not None}


def _waiting_for_assets(session: Any, dag_ids: Sequence[str]) -> Iterator[Seen]:
    from airflow.models.asset import (  # noqa: TID251 - the service's process
        AssetDagRunQueue,
        AssetModel,
        DagScheduleAssetReference,
    )
    from sqlalchemy import and_, select

    if not dag_ids:
        return
    reference = DagScheduleAssetReference
    query = (
        select(reference.dag_id, AssetModel.name)
        .join(AssetModel, AssetModel.id == reference.asset_id)
        .outerjoin(
            AssetDagRunQueue,
            and_(
                AssetDagRunQueue.asset_id == reference.asset_id,
                AssetDagRunQueue.target_dag_id == reference.dag_id,
            ),
        )
        .where(reference.dag_id.in_(dag_ids), AssetDagRunQueue.asset_id.is_(None))
        .order_by(reference.dag_id, AssetModel.name)
    )
    for dag_id, rows in itertools.groupby(session.execute(query), key=lambda row: row[0]):
        yield Seen(dag_id, causes.WAITS_FOR_ASSETS, ", ".join(row[1] for row in rows)[:200])


def _in_full_pools(session: Any, dag_ids: Sequence[str]) -> list[Seen]:
    from airflow.models.pool import Pool  # noqa: TID251 - the service's process
    from airflow.models.taskinstance import TaskInstance  # noqa: TID251 - the same
    from sqlalchemy import select

    full = [name for name, one in Pool.slots_stats(session=session).items() if one["open"] <= 0]
    if not (full and dag_ids):
        return []
    query = select(TaskInstance.dag_id, TaskInstance.pool).where(
        TaskInstance.dag_id.in_(dag_ids),
        TaskInstance.state == "scheduled",
        TaskInstance.pool.in_(full),
    )
    rows = sorted({tuple(row) for row in session.execute(query)})
    return [Seen(dag_id, causes.POOL_FULL, pool) for dag_id, pool in dict(rows).items()]


def scheduler_gaps(since_us: int, now_us: int) -> list[tuple[int, int | None]]:
    """Return from when to when no scheduler lived; None: none does now.

    A scheduler lived from its start to its last heartbeat, and one that does not tell for as long
    as Airflow itself lets it is dead since that heartbeat.
    """
    from airflow.configuration import conf
    from airflow.jobs.job import Job  # the service's process
    from sqlalchemy import select

    threshold_us = conf.getint("scheduler", "scheduler_health_check_threshold") * 1_000_000
    with _session() as session:
        query = select(Job.start_date, Job.latest_heartbeat).where(
            Job.job_type == "SchedulerJob", Job.latest_heartbeat >= _moment(since_us)
        )
        lives = sorted((_us(row[0]) or 0, _us(row[1]) or 0) for row in session.execute(query))
        if not lives:
            newest = (
                select(Job.latest_heartbeat)
                .where(Job.job_type == "SchedulerJob")
                .order_by(Job.latest_heartbeat.desc())
                .limit(1)
            )
            last_us = _us(session.execute(newest).scalar())
            return [] if last_us is None else [(last_us, None)]
    found: list[tuple[int, int | None]] = []
    until_us = lives[0][1]
    for start_us, beat_us in lives[1:]:
        if start_us > until_us + 1_000_000:
            found.append((until_us, start_us))
        until_us = max(until_us, beat_us)
    return [*found, (until_us, None)] if now_us > until_us + threshold_us else found


def scheduled_runs(dag_ids: Collection[str], since_us: int) -> list[DagRunSeen]:
    """Return the runs that schedules and assets made that were due since a time."""
    from airflow.models.dagrun import DagRun  # noqa: TID251 - the service's process
    from sqlalchemy import select

    names = ("dag_id", "run_after", "logical_date", "created_at", "queued_at", "start_date")
    with _session() as session:
        query = select(*[getattr(DagRun, name) for name in names]).where(
            DagRun.dag_id.in_(dag_ids),
            DagRun.run_after >= _moment(since_us),
            DagRun.run_type.in_(("scheduled", "asset_triggered")),
        )
        found = []
        for row in session.execute(query):
            due_us, logical_us, *came = map(_us, row[1:])
            first = min(us for us in (*came, _NEVER) if us is not None)
            if due_us is not None and first != _NEVER:
                found.append(DagRunSeen(row[0], due_us, logical_us, first))
        return found


_NEVER = 1 << 62


class Timetables:
    """What the schedules of DAGs ask for; a DAG is read again only when it was written anew."""

    def __init__(self) -> None:
        self._dags: dict[str, tuple[Any, Any]] = {}
        self._failed: set[str] = set()  # told already

    def expected(self, dag_ids: Collection[str], until_us: int) -> dict[str, list[ExpectedRow]]:
        """Return the runs that DAGs are to have next, from the first that Airflow has yet to make.

        A DAG that has no schedule, or is not there, is left out.
        """
        from airflow.models.dag import DagModel  # noqa: TID251 - the service's process
        from airflow.models.serialized_dag import SerializedDagModel  # noqa: TID251 - the same
        from sqlalchemy import func, select

        found = {}
        with _session() as session:
            written = dict(
                session.execute(
                    select(SerializedDagModel.dag_id, func.max(SerializedDagModel.last_updated))
                    .where(SerializedDagModel.dag_id.in_(dag_ids))
                    .group_by(SerializedDagModel.dag_id)
                ).all()
            )
            models = session.scalars(select(DagModel).where(DagModel.dag_id.in_(written))).all()
            for model in models:
                dag_id, stamp = model.dag_id, written[model.dag_id]
                if dag_id not in self._dags or self._dags[dag_id][0] != stamp:
                    row = SerializedDagModel.get(dag_id, session=session)
                    if row is None:
                        continue
                    self._dags[dag_id] = (stamp, row.dag)
                dag = self._dags[dag_id][1]
                if not getattr(dag.timetable, "can_be_scheduled", True):
                    continue
                try:
                    found[dag_id] = list(_chain(dag, model, until_us))
                except Exception as error:  # noqa: BLE001 - a timetable is anybody's code
                    if dag_id not in self._failed:
                        text = f"{type(error).__name__}: {error}"
                        _log.warning("the schedule of %s cannot be told (%s)", dag_id, text)
                    self._failed.add(dag_id)
        return found


def _chain(dag: Any, model: Any, until_us: int) -> Iterator[ExpectedRow]:
    """Give the run that Airflow is to make next and those after it, as with ``catchup``."""
    from airflow.timetables.base import TimeRestriction

    earliest, latest, _ = dag._time_restriction  # noqa: SLF001 - nothing public has it
    restriction = TimeRestriction(earliest, latest, catchup=True)
    info = dag.timetable.next_run_info_from_dag_model(dag_model=model)
    for _ in range(_MOST):
        if info is None or (due_us := _instant(info.run_after)) > until_us:
            return
        logical = getattr(info, "logical_date", None)
        logical_us = None if logical is None else _instant(logical)
        yield ExpectedRow(dag_id=dag.dag_id, due_us=due_us, logical_us=logical_us)
        info = dag.timetable.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)


def _instant(moment: datetime) -> int:
    """Return a time of a timetable: pendulum's, whose differences are no plain timedelta."""
    return round(moment.timestamp() * 1e6)
