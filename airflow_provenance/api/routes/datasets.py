"""``GET /datasets``, ``/versions`` and ``/versions/{version}``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from airflow_provenance.api.datamodels.answers import (
    DatasetPageResponse,
    VersionPageResponse,
    VersionResponse,
)
from airflow_provenance.api.parameters import Id, Limit, Text, Visible, cursor_of, page, place_of
from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.errors import SubjectError
from airflow_provenance.lineage.answers import version_json

router = APIRouter(tags=["datasets"])


@router.get("/datasets", response_model=DatasetPageResponse)
def list_datasets(store: Visible, limit: Limit = 50, cursor: Text | None = None) -> dict[str, Any]:
    """List datasets by name; what runs that you may not see wrote and read is not counted."""
    place = place_of(cursor, tuple[str, str])
    after = None if place is None else DatasetRef(*place)
    datasets, last = page(store.datasets(after, limit + 1), limit)
    uses = store.dataset_uses(datasets)
    return {
        "datasets": [
            {
                "namespace": ref.namespace,
                "name": ref.name,
                "writes": sum(use.writes for use in uses if use.dataset == ref),
                "reads": sum(use.reads for use in uses if use.dataset == ref),
            }
            for ref in datasets
        ],
        "next_cursor": last and cursor_of(*last),
    }


@router.get("/versions", response_model=VersionPageResponse)
def list_versions(
    store: Visible,
    namespace: Annotated[str, Query(pattern=r"^[^\x00]*$", max_length=2000)],
    name: Annotated[str, Query(pattern=r"^[^\x00]*$", max_length=2000)],
    limit: Limit = 50,
    cursor: Text | None = None,
) -> dict[str, Any]:
    """List the versions of a dataset, in the order in which they became known."""
    ref = DatasetRef(namespace, name)
    if ref not in store.datasets_named("/".join(ref)):
        raise SubjectError(f"no dataset is named {'/'.join(ref)!r}")
    (after,) = place_of(cursor, tuple[int]) or (0,)
    rows, last = page(store.version_page(ref, after, limit + 1), limit)
    return {
        "versions": [version_json(version) for version in rows],
        "next_cursor": last and cursor_of(last.id),
    }


@router.get("/versions/{version}", response_model=VersionResponse)
def get_version(store: Visible, version: Id) -> dict[str, Any]:
    """Tell of one version, by its number."""
    found = store.versions_by_id([version]).get(version)
    if found is None:
        raise SubjectError(f"there is no version {version}")
    return version_json(found)
