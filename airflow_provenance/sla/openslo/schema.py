"""Whether documents are OpenSLO v1, by the JSON schema that lies beside this file."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

    from airflow_provenance.sla.files import Problem
    from airflow_provenance.sla.openslo.documents import Document

FILE = "openslo-v1.schema.json"
KINDS = (
    *("SLO", "SLI", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"),
    *("Service", "DataSource"),
)
_LONGEST = 200


def check(document: Document) -> tuple[list[Problem], list[Problem]]:
    """Return what is wrong with a document, and which fields of it nobody knows.

    OpenSLO may be extended, so that a field more is no error.
    """
    plain = document.plain
    if not isinstance(plain, dict):
        return [document.problem((), "it is no object with apiVersion, kind and metadata")], []
    version, kind = plain.get("apiVersion"), plain.get("kind")
    if version != "openslo/v1":
        text = f"apiVersion is {version!r}: only openslo/v1 is read"
        return [document.problem(("apiVersion",), text)], []
    if kind not in KINDS:
        known = ", ".join(KINDS)
        return [document.problem(("kind",), f"kind is {kind!r}: use one of {known}")], []
    wrong, unknown = [], []
    for error in sorted(_validator(kind).iter_errors(plain), key=lambda one: [*map(str, one.path)]):
        if error.validator == "additionalProperties":
            known = error.schema["properties"]
            for name in error.instance.keys() - known.keys():
                path = (*error.absolute_path, name)
                text = f"{dotted(path)} is not taken over: OpenSLO v1 has no such field"
                unknown.append(document.problem(path, text))
        else:
            wrong.append(_told(document, error))
    return wrong, unknown


@functools.cache
def _validator(kind: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    schema: dict[str, Any] = json.loads(
        resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    )
    return Draft202012Validator({**schema, "$ref": f"#/$defs/{kind}"})


def _told(document: Document, error: ValidationError) -> Problem:
    # A choice names none of its cases: its comment says what there is to choose from.
    comment = error.schema.get("$comment") if error.validator != "required" else None
    reason = comment or error.message
    if len(reason) > _LONGEST:
        reason = f"{reason[:_LONGEST]}…"
    path = tuple(error.absolute_path)
    return document.problem(path, f"{dotted(path)}: {reason}" if path else reason)


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as ``spec.objectives[0].target``."""
    text = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path)
    return text.removeprefix(".")
