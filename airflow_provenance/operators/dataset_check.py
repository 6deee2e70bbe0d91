"""``DatasetCheckOperator``: checks a table or a file, tells provenance, and stops bad data.

    DatasetCheckOperator(
        task_id="check_flights",
        asset="/data/flights_{{ ds }}.csv",
        checks=[NotNull("dest"), Range("distance", min=0), RowCount(min=1)],
    )

`airflow_provenance.checks` has the checks, and runs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provenance.capture.dataset_checks import Plan, check_dataset, conclude, parsed_time
from airflow_provenance.checks.definitions import Table
from airflow_provenance.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class DatasetCheckOperator(BaseOperator):
    """Checks a dataset, which is an input of the task.

    All checks run, whatever becomes of the others. If one of severity ``error`` does not pass, or
    cannot run, ``on_failure`` says what becomes of the task. ``fail`` raises a plain
    `AirflowException`, so that the task's retries count: data may be late.

    Returns counts: ``dataset``, ``rows``, ``checks``, ``passed``, ``failed``, ``warned``,
    ``not_run``.

    Args:
        checks: of `airflow_provenance.checks`; templates in their SQL and in ``ForeignKey.to`` are
            rendered.
        asset: a file: an Asset, a URI, an ObjectStoragePath or a path (templated).
        table: a table of ``conn_id``, ``schema.name`` or ``name`` (templated).
        conn_id: a connection to PostgreSQL or SQLite (templated).
        key: columns that name a row; given, the keys of at most ten failing rows are told, hashed.
        on_failure: ``fail``, ``skip`` or ``warn``.
        null_values: what a CSV file writes for a null.
        as_of: the time that freshness is measured from, in ISO 8601 (templated); the present
            unless given: a backfill wants ``{{ data_interval_end }}``, which fails where a DAG
            run has none, as one that an asset triggered: give it a ``default`` there.
        kwargs: of every operator.
    """

    template_fields: Sequence[str] = ("asset", "table", "conn_id", "as_of")
    ui_color = "#e8f0e0"

    def __init__(
        self,
        *,
        checks: Sequence[Any],
        asset: Any = None,
        table: str | None = None,
        conn_id: str | None = None,
        key: str | Sequence[str] | None = None,
        on_failure: str = "fail",
        null_values: Sequence[str] = ("",),
        as_of: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (asset is None) == (table is None) or (table is None) != (conn_id is None):
            raise CheckError(f"{self.task_id}: give asset=, or table= and conn_id=")
        self.asset = asset
        self.table = table
        self.conn_id = conn_id
        self.as_of = as_of
        self.plan = Plan.of(checks, key, on_failure, null_values)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the checks."""
        plan = self.plan.rendered(lambda text: self.render_template(text, context))
        data = self.asset if self.table is None else Table(str(self.conn_id), self.table)
        return conclude(plan, *check_dataset(plan, data, now=parsed_time(self.as_of)))
