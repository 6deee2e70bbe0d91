"""The plugin Airflow loads by entry point. No work at import: no I/O, no settings, no database."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin
from airflow.providers.openlineage import conf
from airflow.sdk.lineage import HookLineageReader

from airflow_provenance.api.lazy import LazyApp


def _listeners() -> list[Any]:
    """Return our listeners and the official one; none while OpenLineage is turned off.

    Where another plugin has taken the official listener out (DataHub's does), naming it here puts
    it back. Airflow does not register an object twice, so events still flow once.
    """
    if conf.is_disabled():
        return []
    from airflow.providers.openlineage.plugins.listener import get_openlineage_listener

    from airflow_provenance.capture import listener

    return [listener, get_openlineage_listener(), listener.after_others]


def _open_api() -> Any:
    from airflow_provenance import wiring

    return wiring.open_api(is_in_airflow=True)


class ProvenancePlugin(AirflowPlugin):
    """Our listener, and the hook-lineage reader that makes Airflow collect what hooks touch."""

    name = "airflow_provenance"
    listeners = _listeners()
    # Without a reader Airflow's collector is a no-op.
    hook_lineage_readers = [HookLineageReader]  # noqa: RUF012 - as Airflow declares it
    fastapi_apps = [  # noqa: RUF012 - as Airflow declares it
        {"app": LazyApp(_open_api), "url_prefix": "/provenance", "name": "airflow-provenance"}
    ]
