"""What a check of ``doctor`` found."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """What a check found, and what to do about it."""

    level: Literal["ok", "warn", "fail"]
    check: str
    message: str
