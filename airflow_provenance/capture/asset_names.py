"""Which OpenLineage dataset an asset is, by the converters that the official provider uses.

A local file is named here, as that provider's converter does it, for asking Airflow for converters
loads every provider, which takes seconds. What has no converter is named by its URI, and an asset
that is only a name belongs to this Airflow: ``airflow://NAMESPACE`` of its jobs.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from airflow_provenance import settings
from airflow_provenance.domain.identity import DatasetRef

_log = logging.getLogger(__name__)


class Named(NamedTuple):
    """A dataset, and where it lies if that is on this host."""

    ref: DatasetRef
    path: Path | None = None


def name_asset(asset: Any) -> Named:
    """Return the dataset of an Asset, a URI, an ObjectStoragePath or a path.

    Raises `ValueError` for what is none of these.

    >>> name_asset("file:///data/flights.csv").ref
    DatasetRef(namespace='file', name='/data/flights.csv')
    """
    uri = _uri(asset)
    if (local := local_file(uri)) is not None:
        return local
    parts = urlsplit(uri)
    if not parts.scheme or not (parts.netloc or parts.path.strip("/")):
        if (name := getattr(asset, "name", None)) and hasattr(asset, "uri"):
            return Named(DatasetRef(f"airflow://{quote(settings.namespace(), safe='')}", str(name)))
        raise ValueError(
            f"{uri!r} is no URI and no absolute path: give /data/flights.csv, "
            "Path('flights.csv') or a URI with its scheme, as s3://raw/flights.csv"
        )
    host = parts.netloc.rpartition("@")[2]  # before it: a connection of Airflow, or a password
    return Named(
        _converted(parts._replace(netloc=host).geturl())
        or DatasetRef(f"{parts.scheme}://{host}", parts.path.strip("/") or "/")
    )


def local_file(uri: str) -> Named | None:
    """Return dataset and path of a ``file:`` URI of this host, or None for any other.

    The dataset is named as the official provider's converter for files names it.

    >>> local_file("file:///data/flights.csv").ref
    DatasetRef(namespace='file', name='/data/flights.csv')
    """
    with suppress(ValueError):  # not a URI
        parts = urlsplit(uri)
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and len(parts.path) > 1:
            namespace = f"file://{parts.netloc}" if parts.netloc else "file"
            return Named(DatasetRef(namespace, parts.path), _existing(parts.path))
    return None


def _existing(path: str) -> Path:
    # `ObjectStoragePath` does not quote what it reports, a URI in an Asset may be quoted.
    as_it_is = Path(path)
    return as_it_is if "%" not in path or as_it_is.exists() else Path(unquote(path))


def _uri(asset: Any) -> str:
    if isinstance(asset, str):
        return f"file://{asset}" if asset.startswith("/") else asset
    if isinstance(asset, PurePath):
        # Not `as_uri`, which quotes: hook lineage names files as they are.
        return f"file://{os.path.abspath(asset)}"  # noqa: PTH100 - `absolute` leaves `..`
    if isinstance(uri := getattr(asset, "uri", None), str):  # an Asset
        return uri
    if "://" in (text := str(asset)) and hasattr(asset, "protocol"):  # an ObjectStoragePath
        return text
    raise ValueError(f"a {type(asset).__name__} is no asset: give an Asset, a URI or a path")


def _converted(uri: str) -> DatasetRef | None:
    try:
        from airflow.providers.openlineage.utils.utils import translate_airflow_asset
        from airflow.sdk import Asset

        dataset = translate_airflow_asset(Asset(uri=uri), None)
    except Exception as error:  # noqa: BLE001 - converters are others' code, and there is a fallback
        _log.debug("No converter for %s", uri, exc_info=error)
        return None
    return None if dataset is None else DatasetRef(dataset.namespace, dataset.name)
