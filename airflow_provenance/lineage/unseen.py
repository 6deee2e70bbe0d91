"""Why the content of what a run wrote is not known, or not sure to be what it wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from airflow_provenance.formats import facets

if TYPE_CHECKING:
    from airflow_provenance.domain.identity import DatasetRef
    from airflow_provenance.domain.run import RunDoc


def unseen_outputs(doc: RunDoc) -> dict[tuple[DatasetRef, str | None], str]:
    """Return the reason that was noted of each output that has one, by dataset and partition."""
    found = {}
    for io in doc.outputs.values():
        content = io.facets.get(facets.CONTENT)
        reason = None if content is None else json.loads(content[2]).get("reason")
        if isinstance(reason, str):
            found[io.dataset, io.partition] = reason
    return found
