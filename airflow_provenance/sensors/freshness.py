"""``FreshnessSensor``: waits until a dataset is fresh, by what was recorded of its writers.

    FreshnessSensor(task_id="orders_there", dataset="pg/orders", at_most=timedelta(hours=2))
    FreshnessSensor(task_id="todays", dataset=orders, since="{{ data_interval_end.isoformat() }}")

A failed write makes nothing fresh, nor does an old partition that is written again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.bases.sensor import PokeReturnValue
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provenance.errors import PolicyError, SettingsError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

_RUNS = ("scheduled", "asset_triggered", "operator_triggered", "manual")


class FreshnessSensor(BaseSensorOperator):
    """Waits until a dataset is at most so old, or was written since a time.

    It frees its worker slot while it waits, in the triggerer, unless ``deferrable=False``. Returns
    how fresh it is. While nobody answers, it waits on; `timeout` and `soft_fail` are as of every
    sensor.

    Args:
        dataset: an Asset, a URI, or ``NAMESPACE/NAME`` as OpenLineage has it (templated).
        at_most: how old it may be.
        since: or since when it must have been written, in ISO 8601 with a zone (templated).
        clock: its age counts from the last good ``write``, from the ``interval_end`` of the run
            that wrote it, or from its newest ``event_time``.
        runs: the types of run that count.
        deferrable: whether to wait in the triggerer.
        kwargs: of every sensor.
    """

    template_fields: Sequence[str] = ("dataset", "since")
    ui_color = "#e0ecf0"

    def __init__(
        self,
        *,
        dataset: Any,
        at_most: timedelta | None = None,
        since: str | datetime | None = None,
        clock: str = "write",
        runs: Sequence[str] = _RUNS,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (at_most is None) == (since is None):
            raise PolicyError(f"{self.task_id}: give at_most= or since=")
        if at_most is not None and at_most <= timedelta(0):
            raise PolicyError(f"{self.task_id}: at_most is above 0")
        self.dataset = getattr(dataset, "uri", dataset)
        self.at_most = at_most
        self.since = since.isoformat() if isinstance(since, datetime) else since
        self.clock = clock
        self.runs = [*runs]
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Wait here, or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        found = self.poke(context)
        if found:
            return found.xcom_value
        from airflow_provenance.triggers.freshness import FreshnessTrigger

        return self.defer(
            trigger=FreshnessTrigger(**self._asked(), poke_seconds=self.poke_interval),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:  # noqa: ARG002
        """Return what the trigger found."""
        if "error" in event:
            raise AirflowException(str(event["error"]))
        found = event["promise"]
        self.log.info("%s is fresh: %s", self.dataset, found.get("period", ""))
        return found

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - as every sensor's
        """Look once."""
        import msgspec

        from airflow_provenance.triggers.freshness import ask_freshness

        try:
            found = ask_freshness(**self._asked())
        except (PolicyError, SettingsError) as error:
            raise AirflowFailException(str(error)) from error
        except StoreError as error:
            self.log.warning("Looked in vain: %s", error)
            return PokeReturnValue(is_done=False)
        self.log.info("%s: %s %s", self.dataset, found.state, found.reason or found.period)
        return PokeReturnValue(is_done=found.state == "ok", xcom_value=msgspec.to_builtins(found))

    def _asked(self) -> dict[str, Any]:
        from airflow_provenance.sla.declare import dataset_of_uri

        return {
            "dataset": dataset_of_uri(str(self.dataset)),
            "at_most_seconds": None if self.at_most is None else self.at_most.total_seconds(),
            "since": self.since,
            "clock": self.clock,
            "runs": self.runs,
        }
