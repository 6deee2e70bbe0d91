"""Waits in the triggerer until a dataset is fresh. `sensors.freshness` defers to it.

It also has what is asked: the sensor, where it does not defer, asks the same.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provenance.errors import PolicyError, SettingsError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provenance.sla.check import Stands

_ID = "freshness-sensor"
_LEAST = timedelta(microseconds=1)


def ask_freshness(
    dataset: str, at_most_seconds: float | None, since: str | None, clock: str, runs: list[str]
) -> Stands:
    """Say how fresh a dataset is now; it is fresh where the state is ``ok``.

    Raises:
        PolicyError: it cannot be asked so.
        SettingsError: there is nobody whom to ask.
        StoreError: nobody answers now.
    """
    from airflow_provenance import wiring
    from airflow_provenance.domain.clock import SystemClock, parse_time
    from airflow_provenance.sla.check import Asked
    from airflow_provenance.sla.objectives import Freshness
    from airflow_provenance.sla.policy import Policy, Target, to_plain

    if since is not None:  # no older than the time that passed since
        age = timedelta(microseconds=SystemClock().now_us() - parse_time(since))
    else:
        age = timedelta(seconds=at_most_seconds or 0.0)
    if since is not None and age <= timedelta(0):
        age = _LEAST  # of a time to come
    promised: Any = Freshness(at_most=age, clock=clock)  # type: ignore[arg-type]
    types: Any = tuple(runs)
    policy = Policy(id=_ID, target=Target(dataset=dataset), objective=promised, runs=types)
    (found,) = wiring.ask_promises(Asked(policies=(to_plain(policy),))).promises
    return found


class FreshnessTrigger(BaseTrigger):
    """Fires when a dataset is fresh; what cannot be asked fires, too, with an ``error``.

    Args:
        dataset: as OpenLineage names it.
        at_most_seconds: how old it may be.
        since: or since when it must have been written, in ISO 8601.
        clock: see `sla.objectives.Freshness`.
        runs: the types of run that count.
        poke_seconds: between two looks.
    """

    def __init__(
        self,
        dataset: str,
        at_most_seconds: float | None,
        since: str | None,
        clock: str,
        runs: list[str],
        poke_seconds: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._asked: dict[str, Any] = {
            "dataset": dataset,
            "at_most_seconds": at_most_seconds,
            "since": since,
            "clock": clock,
            "runs": runs,
        }
        self._poke_seconds = poke_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return how to make it again."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {**self._asked, "poke_seconds": self._poke_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until it is fresh."""
        told = ""
        while True:
            try:
                found = await asyncio.to_thread(ask_freshness, **self._asked)
            except (PolicyError, SettingsError) as error:
                yield TriggerEvent({"error": str(error)})  # type: ignore[no-untyped-call]
                return
            except StoreError as error:  # it may answer later; the sensor's timeout ends this
                if str(error) != told:
                    told = str(error)
                    self.log.warning("Looked in vain: %s", told)
            else:
                if found.state == "ok":
                    promise = msgspec.to_builtins(found)
                    yield TriggerEvent({"promise": promise})  # type: ignore[no-untyped-call]
                    return
            await asyncio.sleep(self._poke_seconds)
