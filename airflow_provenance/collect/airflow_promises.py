"""The promises in Airflow's serialized DAGs, read by its ORM: for the service's process.

Beside `airflow_record`, and under the same rule: never in a task or the scheduler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.collect.airflow_record import _moment, _session, _us
from airflow_provenance.sla.declare import read_stamp

if TYPE_CHECKING:
    from airflow_provenance.sla.policy import Policy


class DagPromises(NamedTuple):
    """What the newest version of a DAG promises, and what is wrong with that."""

    dag_id: str
    version: int | None
    updated_us: int
    policies: list[Policy]
    problems: list[str]


def promises(since_us: int = 0) -> list[DagPromises]:
    """Return the promises of the DAGs that were written since a time, one entry for each DAG.

    A DAG without promises has an entry too, so that those that were taken back are noticed.
    """
    from airflow.models.dag_version import DagVersion  # noqa: TID251 - the service's process
    from airflow.models.serialized_dag import SerializedDagModel  # noqa: TID251 - the same
    from sqlalchemy import select

    found: dict[str, DagPromises] = {}
    with _session() as session:
        query = (
            select(SerializedDagModel, DagVersion.version_number)
            .join(DagVersion, DagVersion.id == SerializedDagModel.dag_version_id)
            .where(SerializedDagModel.last_updated >= _moment(since_us))
            .order_by(SerializedDagModel.dag_id, DagVersion.version_number)
        )
        for row, version in session.execute(query):
            policies, problems = read_stamp(_default_args(row.data))
            at_us = _us(row.last_updated) or 0
            found[row.dag_id] = DagPromises(row.dag_id, version, at_us, policies, problems)
    return list(found.values())


def _default_args(data: object) -> object:
    """Return the ``default_args`` of a serialized DAG, freed from the marks of its encoding."""
    dag = data.get("dag") if isinstance(data, dict) else None
    return _decoded(dag.get("default_args")) if isinstance(dag, dict) else None


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"__var", "__type"}:
            return _decoded(value["__var"])
        return {name: _decoded(one) for name, one in value.items()}
    return [_decoded(one) for one in value] if isinstance(value, list) else value


def serialized() -> set[str]:
    """Return the ids of all DAGs that are serialized: also of those whose file is broken or gone.

    A DAG's promises last until the DAG is deleted: an import error must not take them back.
    """
    from airflow.models.serialized_dag import SerializedDagModel  # noqa: TID251 - as above
    from sqlalchemy import select

    with _session() as session:
        return set(session.scalars(select(SerializedDagModel.dag_id).distinct()))
