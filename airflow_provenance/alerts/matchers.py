"""Which alerts are meant: matchers on labels, written as Alertmanager has them.

>>> one = parse_matcher('severity=~"page|ticket"')
>>> one.matches({"severity": "page"}), one.matches({})
(True, False)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LABELS = ("policy", "target", "period", "severity", "owner", "dag", "channel")
_MATCHER = re.compile(r'\s*([a-z]+)\s*(=~|!~|!=|=)\s*(?:"(.*)"|(.*?))\s*', re.DOTALL)


class Matcher(NamedTuple):
    """One condition on one label; a label that is not there counts as empty."""

    label: str
    operator: str
    value: str
    pattern: re.Pattern[str]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it."""
        found = self.pattern.fullmatch(labels.get(self.label, "")) is not None
        return found != self.operator.startswith("!")

    def __str__(self) -> str:
        return f'{self.label}{self.operator}"{self.value}"'


def parse_matcher(text: str) -> Matcher:
    """Return a matcher; `SettingsError` where the text is none."""
    found = _MATCHER.fullmatch(text)
    if found is None or found[1] not in LABELS:
        raise SettingsError(
            f'{text[:80]!r} is no matcher: write LABEL="VALUE" (also !=, =~, !~) with one of the '
            f"labels {', '.join(LABELS)}"
        )
    label, operator = found[1], found[2]
    value = found[3] if found[3] is not None else found[4]
    try:
        pattern = re.compile(value if "~" in operator else re.escape(value), re.DOTALL)
    except re.error as error:
        raise SettingsError(f"{text[:80]!r} is no matcher: {error}") from error
    return Matcher(label, operator, value, pattern)


def match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether labels meet all matchers."""
    return all(one.matches(labels) for one in matchers)
