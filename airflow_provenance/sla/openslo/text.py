"""Promises and OpenSLO documents as YAML text that reads back as what was written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from airflow_provenance.sla.files import scalar
from airflow_provenance.sla.openslo.plain import plain_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.sla.policy import Policy


_ODD = re.compile(r"^\d+:|[\n\t]")


class _Dumper(yaml.SafeDumper):  # type: ignore[misc] # it has no types
    """Quotes what one reader of YAML or another takes for something else than a text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: ARG002 - so, too
        return super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Some readers take 09:00 for minutes, and some fold lines.
    odd = scalar(text, is_plain=True) != text or _ODD.search(text) is not None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if odd else None)


_Dumper.add_representer(str, _text)


def promises_text(policies: Iterable[Policy]) -> str:
    """Return a file of promises, for ``[provenance] sla_files``."""
    return _dump({"promises": [plain_of(one) for one in policies]})


def documents_text(documents: Iterable[dict[str, Any]]) -> str:
    """Return documents in one text."""
    return "---\n".join(map(_dump, documents))


def _dump(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9)
    return text
