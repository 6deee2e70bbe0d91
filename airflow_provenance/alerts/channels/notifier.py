"""Any notifier of Airflow's, by its dotted path, outside of a task.

Its templates see ``sla`` (what `message` says, as a dictionary), ``message`` (the text), and a
``dag_run`` with what is known of it. What needs a task's own context, as ``ti``, cannot be used.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provenance.errors import ChannelUnavailableError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provenance.alerts.message import Message


class NotifierChannel:
    """See `base.Channel`.

    A notifier renders its templates in place, so there is a new one for each message.

    Args:
        path: of the class, as ``airflow.providers.smtp.notifications.smtp.SmtpNotifier``.
        arguments: that it is made with.
        clean: takes secrets out of what it raises.
    """

    def __init__(
        self, path: str, arguments: Mapping[str, Any], clean: Callable[[str], str]
    ) -> None:
        self._path, self._arguments, self._clean = path, dict(arguments), clean

    def send(self, message: Message) -> None:
        """Make the notifier, and let it notify."""
        try:
            notifier = self._class()(**self._arguments)
            notifier(context_of(message))
        except SettingsError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it raises, it did not notify
            text = self._clean(" ".join(str(error).split()))[:300]
            name = self._path.rpartition(".")[2]
            raise ChannelUnavailableError(
                f"{name} failed ({type(error).__name__}: {text})"
            ) from None

    def _class(self) -> Any:
        module, _, name = self._path.rpartition(".")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise SettingsError(
                f"there is no notifier {self._path}: check its path, and install its provider"
            ) from error

    def close(self) -> None:
        """Nothing stays open."""


def context_of(message: Message) -> dict[str, Any]:
    """Return what a notifier's templates may use."""
    items = message.data["firing"] or message.data["resolved"]
    kind, _, target = items[0]["target"].partition(":")
    dag_id = target.partition(".")[0] if kind == "task" else target if kind == "dag" else None
    _, _, run_id = (items[0]["period"] or "").partition("/")
    run = SimpleNamespace(dag_id=dag_id, run_id=run_id or None, conf={}, logical_date=None)
    return {
        "dag": None,
        "dag_run": run,
        "run_id": run.run_id,
        "sla": {**message.data, "facts": dict(message.facts)},
        "message": message.text,
        "reason": message.title,
    }
