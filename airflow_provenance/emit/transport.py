"""Our OpenLineage transport: every event of the official provider passes here once.

Configured as ``[openlineage] transport = {"type":
"airflow_provenance.emit.transport.ProvenanceTransport"}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from openlineage.client.serde import Serde
from openlineage.client.transport.transport import Config, Transport

from airflow_provenance import settings
from airflow_provenance.emit import failure, notes, spool
from airflow_provenance.emit.enrich import enrich, seal
from airflow_provenance.emit.left_out import leave_out_large_facets
from airflow_provenance.emit.redact import Redactor
from airflow_provenance.errors import SettingsError

if TYPE_CHECKING:
    from openlineage.client.client import Event

_TERMINAL = frozenset({"COMPLETE", "FAIL", "ABORT"})


class ProvenanceConfig(Config):
    """Our transport has no parameters of its own: see ``[provenance]``."""


class ProvenanceTransport(Transport):
    """Enriches an event from the notes, redacts it and appends one line to the spool."""

    kind = "provenance"
    config_class = ProvenanceConfig

    def __init__(self, config: ProvenanceConfig) -> None:
        self.config = config

    def emit(self, event: Event) -> None:
        """Spool the event; a failure is one line in the log and nothing else."""
        try:
            payload = prepare(Serde.to_dict(event))
            is_terminal = _event_type(event) in _TERMINAL
            spool.current().append("E", payload, sync=is_terminal)
        except OSError as error:
            failure.report("check space and rights of [provenance] spool_dir", error)
        except SettingsError as error:
            failure.report("mend the setting", error)
        except Exception as error:  # noqa: BLE001 - a transport must never fail the task
            failure.report("report this to airflow-provenance, an event was lost", error)


def prepare(event: dict[str, Any]) -> bytes:
    """Return the event as it is spooled: enriched, redacted, without facets that are too large.

    Raises `SettingsError`: without the user's rules for secrets nothing may be written.
    """
    noted = notes.current()
    manifest = None if noted is None else noted.manifest
    if manifest is not None:
        manifest.settle()
    redactor = (manifest and manifest.redactor) or Redactor.configured()
    event, found = redactor.redact_checks(event)
    redacted, removed = redactor.redact(enrich(event, noted))
    redacted = seal(redacted, removed + found, noted)
    payload = _to_json(redacted)
    limit = settings.max_facet_bytes()
    # No facet is larger than its event, so most events need no closer look.
    if len(payload) > limit:
        payload = _to_json(leave_out_large_facets(redacted, limit))
    return payload


def _to_json(event: dict[str, Any]) -> bytes:
    return msgspec.json.encode(event, enc_hook=_placeholder)


def _placeholder(value: object) -> str:
    # As the official client does for what is not JSON.
    return f"<<non-serializable: {type(value).__qualname__}>>"


def _event_type(event: Any) -> str | None:
    value = event.get("eventType") if isinstance(event, dict) else getattr(event, "eventType", None)
    return getattr(value, "value", value)
