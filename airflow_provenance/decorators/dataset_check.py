"""``@task.dataset_check``: checks what a function returns: a dataframe, a file or a table.

    @task.dataset_check(checks=[NotNull("dest")], asset="file:///data/flights.csv")
    def flights():
        return pandas.read_csv("/data/flights.csv")

The dataset is an input of the task; what the task returns are counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import (
    DecoratedOperator,
    determine_kwargs,
    task_decorator_factory,
)
from airflow.sdk.definitions.context import context_merge

from airflow_provenance.capture.dataset_checks import Plan, check_dataset, conclude, parsed_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator


class _DatasetCheckDecoratedOperator(DecoratedOperator):
    """Calls the function, and checks what it returns. See `DatasetCheckOperator` for arguments."""

    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, "asset", "as_of")
    custom_operator_name: str = "@task.dataset_check"
    ui_color = "#e8f0e0"

    def __init__(
        self,
        *,
        checks: Sequence[Any],
        asset: Any = None,
        key: str | Sequence[str] | None = None,
        on_failure: str = "fail",
        null_values: Sequence[str] = ("",),
        as_of: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.asset = asset
        self.as_of = as_of
        self.plan = Plan.of(checks, key, on_failure, null_values)

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the function and run the checks."""
        plan = self.plan.rendered(lambda text: self.render_template(text, context))
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        # Not by way of PythonOperator: that one logs what the function returns.
        data = self.python_callable(*self.op_args, **kwargs)
        return conclude(plan, *check_dataset(plan, data, self.asset, parsed_time(self.as_of)))


def dataset_check_task(
    python_callable: Callable[..., Any] | None = None, **kwargs: Any
) -> TaskDecorator:
    """Check what a function returns: ``@task.dataset_check(checks=[...])``.

    Args:
        python_callable: returns a dataframe of pandas, Polars or Arrow, a list of records, a file
            (path, URI, Asset, ObjectStoragePath), or a table: `airflow_provenance.checks.Table`.
        kwargs: ``checks`` and the rest, as of `DatasetCheckOperator`; ``asset`` says which asset a
            dataframe is.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        decorated_operator_class=_DatasetCheckDecoratedOperator,
        **kwargs,
    )
