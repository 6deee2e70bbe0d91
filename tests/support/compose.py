"""`docker/compose.yaml` as Docker Compose reads it, as far as the file makes use of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).resolve().parents[2] / "docker"
FILE = FOLDER / "compose.yaml"
_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::\?(?P<advice>[^}]*))?\})")


class NotSetError(Exception):
    """A variable that the file needs is not set; the message is what the file says of it."""


def read(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the file with its anchors followed and its variables put in."""
    found: dict[str, Any] = _filled(yaml.safe_load(FILE.read_text()), environment)
    return found


def variables() -> set[str]:
    """Return the names of all variables in it."""
    return {found["name"] for found in _VARIABLE.finditer(FILE.read_text()) if found["name"]}


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, environment) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, environment) for one in value]
    if not isinstance(value, str):
        return value

    def fill(found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        text = environment.get(found["name"], "")
        if not text and found["advice"] is not None:
            raise NotSetError(f"{found['name']}: {found['advice']}")
        return text

    return _VARIABLE.sub(fill, value)
