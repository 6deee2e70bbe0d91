"""What a check of a dataset reads beside it: the other end of a foreign key, an input as well."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provenance.capture.asset_names import Named, name_asset
from airflow_provenance.checks.definitions import ForeignKey
from airflow_provenance.emit.observed import Observation

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provenance.checks.definitions import Check
    from airflow_provenance.emit.observed import Observations

_log = logging.getLogger(__name__)


def as_asset(data: Any) -> Any:
    """Return what an author gave as data; a text that is no URI is a path."""
    if isinstance(data, str) and "://" not in data and not data.startswith("file:"):
        return Path(data)
    return data


def name_file(to: Any) -> Named | None:
    """Name the file that a foreign key points to."""
    return name_asset(as_asset(to))


def note_others(
    observed: Observations, check: Check, name: Callable[[Any], Named | None]
) -> list[dict[str, str]]:
    """Note what a check compared with as inputs of the task; return which, as its outcome says it.

    Members are named as OpenLineage names datasets, so that a policy that hides one finds it here.
    """
    if not isinstance(check, ForeignKey):
        return []
    try:
        named = name(check.to)
    except Exception as error:  # noqa: BLE001 - a hook's own, and only a name is lost
        _log.debug("What %s compares with has no name", check.label, exc_info=error)
        return []
    if named is None:
        return []
    observed.inputs.setdefault((named.ref, None), Observation())
    if named.path is not None:
        observed.input_files[named.ref] = named.path
    return [{"namespace": named.ref.namespace, "name": named.ref.name, "column": check.key}]
