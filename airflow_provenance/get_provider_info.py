"""What Airflow's provider manager is told of us, the ``[provenance]`` section included."""

from __future__ import annotations

from typing import Any

from airflow_provenance.settings import OPTIONS, SECTION, Option

# What the form of a connection shows, in the words of a feed.
_BACKEND_FORM: dict[str, Any] = {
    "hidden-fields": ["login", "schema", "extra"],
    "relabeling": {"host": "URL", "password": "API key"},
    "placeholders": {
        "host": "https://marquez.example.com",
        "password": "sent as a bearer token; Marquez needs none",
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, for the entry point ``apache_airflow_provider``.

    The plugin is not named here but in the entry point ``airflow.plugins``: Airflow discovers the
    plugins of provider metadata only with ``[core] lazy_discover_providers=False``.
    """
    return {
        "package-name": "airflow-provenance",
        "name": "Provenance",
        "description": "Turns task runs into provenance that can be trusted.",
        "task-decorators": [
            {
                "class-name": "airflow_provenance.decorators.dataset_check.dataset_check_task",
                "name": "dataset_check",
            }
        ],
        "connection-types": [
            {
                "connection-type": "provenance_backend",
                "hook-class-name": "airflow_provenance.hooks.backend.ProvenanceBackendHook",
                "hook-name": "Provenance backend (Marquez, DataHub, OpenLineage)",
                "ui-field-behaviour": _BACKEND_FORM,
            }
        ],
        "config": {
            SECTION: {
                "description": "Provenance of task runs: what is recorded, and where it is kept.",
                "options": {option.name: _describe(option) for option in OPTIONS.values()},
            }
        },
    }


def _describe(option: Option) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": option.description,
        "version_added": "0.1.0",
        "type": option.type,
        "example": option.example,
        "default": option.default,
    }
    if option.is_sensitive:
        described["sensitive"] = True
    return described
