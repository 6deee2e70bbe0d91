"""Validating facets and events: ours by the schemas we ship, OpenLineage's by the shared ones."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from airflow_provenance.formats import facets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Beside the checkout where the project is built; users of a release do not have it.
OPENLINEAGE_VALIDATOR = (
    Path(__file__).resolve().parents[3] / "shared" / "openlineage-spec" / "validate.py"
)

# What our schemas refer to: the base of every facet, as OpenLineage 2-0-2 has it.
_BASE_ID = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
_BASE_FACET = {
    "type": "object",
    "properties": {
        "_producer": {"type": "string", "format": "uri"},
        "_schemaURL": {"type": "string", "format": "uri"},
    },
    "required": ["_producer", "_schemaURL"],
}
_BASE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": _BASE_ID,
    "$defs": {"RunFacet": _BASE_FACET, "DatasetFacet": _BASE_FACET},
}


@cache
def _validator(name: str) -> Draft202012Validator:
    registry = Registry().with_resource(_BASE_ID, Resource.from_contents(_BASE))
    schema = facets.load_schema(name)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())


def own_facet_problems(name: str, facet: object) -> list[str]:
    """What is wrong with one facet of ours, a line each."""
    return [error.message for error in _validator(name).iter_errors({name: facet})]


def own_facets(event: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every facet of ours in an event."""
    holders = [event.get("run") or {}, *event.get("inputs", []), *event.get("outputs", [])]
    for holder in holders:
        for name, facet in (holder.get("facets") or {}).items():
            if name.startswith("airflowProvenance_"):
                yield name, facet


@cache
def openlineage_validator() -> Callable[[dict[str, Any]], list[str]] | None:
    """The shared validator of OpenLineage events, or None where it is absent; in CI it must be."""
    if not OPENLINEAGE_VALIDATOR.is_file():
        assert os.environ.get("CI") != "true", f"no OpenLineage schemas: {OPENLINEAGE_VALIDATOR}"
        return None
    spec = importlib.util.spec_from_file_location("openlineage_validate", OPENLINEAGE_VALIDATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    validate: Callable[[dict[str, Any]], list[str]] = module.validate
    return validate
