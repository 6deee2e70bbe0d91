"""The list of what is installed, apart from the manifest that brings it.

A list is long and the same for thousands of runs, so a store keeps it once, by its hash, and the
manifest of a run keeps the hash. A list is held as its text: a line for each ``name==version``,
which is what the hash is taken over.

>>> known = listed(["attrs==25.3.0", "pyyaml==6.0.2"])
>>> dependencies_of(known.text)
['attrs==25.3.0', 'pyyaml==6.0.2']
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class DependencySet(NamedTuple):
    """A list of dependencies as it is kept."""

    hash: str
    text: bytes


def listed(dependencies: Iterable[str]) -> DependencySet:
    """Return a list with its hash: the SHA-256 of its text."""
    text = "".join(f"{one}\n" for one in dependencies).encode()
    return DependencySet(hashlib.sha256(text).hexdigest(), text)


def dependencies_of(text: bytes) -> list[str]:
    """Return the list that a text holds."""
    return text.decode().split("\n")[:-1]


class _Environment(msgspec.Struct, rename="camel"):
    dependencies_hash: str | None = None


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENVIRONMENT = msgspec.json.Decoder(_Environment)
_LIST = msgspec.json.Decoder(list[str])


def split_manifest(facet: bytes) -> tuple[bytes, DependencySet] | None:
    """Return a manifest facet without its list, and the list; None for one that has none.

    Raises:
        ValueError: the list is none, or not the one whose hash the manifest tells.
    """
    # Most manifests have no list, and looking for a word is many times as fast as decoding.
    if b'"dependencies"' not in facet:
        return None
    members = _MEMBERS.decode(facet)
    raw = members.pop("dependencies", None)
    if raw is None:
        return None
    found = _read(bytes(raw))
    environment = _ENVIRONMENT.decode(members.get("environment", b"{}"))
    if found.hash != environment.dependencies_hash:
        raise ValueError("dependencies are not the list that dependenciesHash is of")
    return msgspec.json.encode(members), found


@lru_cache(maxsize=32)
def _read(raw: bytes) -> DependencySet:
    """Return the list of a JSON array: the same one comes thousands of times."""
    dependencies = _LIST.decode(raw)
    # Two lists would have one text.
    if any("\n" in one for one in dependencies):
        raise ValueError("dependencies hold a line break")
    return listed(dependencies)
